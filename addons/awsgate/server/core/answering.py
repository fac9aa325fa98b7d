"""The answer to a request: from a server as it comes, or from the gate.

``stream`` of the answer says whether it goes on as it comes. One that may hold credentials
is held until the gate has rewritten it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mitmproxy import flow as mflow
from mitmproxy import http

from awsgate.addon.dispatch import call
from awsgate.addon.flows import headers_of
from awsgate.server.core.framing import LAST_CHUNK, chunk
from awsgate.server.core.head import (
    CHUNKED,
    TO_THE_END,
    AnswerHead,
    Fields,
    RequestHead,
    write_answer,
)
from awsgate.server.core.relay import FULL, Relay
from awsgate.server.core.upstream import Upstream

if TYPE_CHECKING:
    from awsgate.server.core.client import Client

_BODILESS = (204, 304)


class Answering:
    """The half of an exchange that answers. Takes what its upstream tells."""

    def __init__(self, client: Client, head: RequestHead, flow: http.HTTPFlow) -> None:
        self.client, self.head, self.flow = client, head, flow
        self.hooks, self.answers = client.site.hooks, client.site.answers
        self.upstream: Upstream | None = None
        self.close = head.close
        """The client's connection ends with this answer."""
        self.request_done = False
        self.begun = False
        """Some of the answer is on its way to the client."""
        self.answer_done = False
        self.over = False
        """Whatever still happens is none of this request's business."""
        self._length = 0
        """Of the body that is streamed to the client."""
        self._streams = False
        self._collected: list[bytes] = []
        self._size = 0

    # --- what the server says ------------------------------------------------------------

    def on_answer(self, head: AnswerHead) -> None:
        """Show the head of the answer to the gate; begin to pass it on, or to hold it."""
        if self.over:
            return
        self.flow.response = http.Response(
            head.version, head.status, head.reason, headers_of(head.fields),
            None, None, time.time(), None,
        )  # fmt: skip
        if head.fault:
            self._drop_upstream()
            self._fail("malformed answer")
            return
        if call(self.hooks.of("responseheaders"), self.flow) is not None:
            raise RuntimeError("a hook wants to wait where none may")
        if self._is_stopped():
            return
        if head.status == 101:
            self._switch()
            return
        response = self.flow.response
        self._length = head.body
        self._streams = bool(head.body and response.stream)
        if self._streams:
            self._begin(response)

    def _begin(self, response: http.Response) -> None:
        """Write the head of an answer whose body follows as it comes."""
        fields: Fields = response.data.headers.fields
        if self._length == CHUNKED and self.head.version != b"HTTP/1.1":
            fields = _without(fields, b"transfer-encoding")
            self._length = TO_THE_END
        self.close = self.close or self._length == TO_THE_END or not self.request_done
        self._write_head(response, fields)

    def _write_head(self, response: http.Response, fields: Fields) -> None:
        said = [value.lower() for name, value in fields if name.lower() == b"connection"]
        if b"close" in said:
            self.close = True
        elif self.close:
            fields = (*fields, (b"Connection", b"close"))
        data = response.data
        self.client.write(write_answer(data.status_code, data.reason, fields))
        self.begun = True

    def on_body(self, piece: bytes) -> None:
        """Pass on a piece of the answer's body, or keep it."""
        if self.over:
            return
        if self._streams:
            self._write_body(piece)
            return
        self._collected.append(piece)
        self._size += len(piece)
        if self._size > self.answers.gateway.policy.gateway.limits.max_body_bytes:
            self._collected.clear()
            self._drop_upstream()
            self._fail("its answer is too large to be held")

    def _write_body(self, piece: bytes) -> None:
        response = self.flow.response
        stream = response.stream if response is not None else True
        made = stream(piece) if callable(stream) else piece
        for part in (made,) if isinstance(made, bytes) else made:
            if part:
                self.client.write(chunk(part) if self._length == CHUNKED else part)

    def on_end(self) -> None:
        """The answer is whole, and its connection is given back."""
        self.upstream = self.client.source = None
        if self.over:
            return
        self.client.resume(FULL)
        response = self.flow.response
        if not self.request_done:
            self.on_early_end()
        if response is None:
            raise RuntimeError("an answer has ended that never began")
        response.data.timestamp_end = time.time()
        if not self._streams:
            response.data.content = b"".join(self._collected)
            self._collected.clear()
            self.client.run("response", self.flow, self._judged)
            return
        self._write_body(b"")
        if self._length == CHUNKED:
            self.client.write(LAST_CHUNK)
        # Its last bytes go once it is recorded: a worker that is killed in between must not
        # leave a request that was answered and that the audit knows nothing of.
        self.client.run("response", self.flow, self._answered)

    def _judged(self) -> None:
        if self._is_stopped():
            return
        self._write_whole()
        self._answered()

    def on_early_end(self) -> None:
        """The answer is whole before the request is."""

    def on_sent_eof(self) -> None:
        """See ``Taker``."""

    def on_pause(self) -> None:
        """See ``Taker``."""
        self.client.flush()
        self.client.advance()

    def on_crash(self) -> None:
        """See ``Taker``. What is under way is recorded as the client's connection goes."""
        self.client.abort()

    def _switch(self) -> None:
        """Become a WebSocket, if it is one that the gate signed."""
        flow, upstream, client = self.flow, self.upstream, self.client
        response = flow.response
        if upstream is None or response is None or not self.answers.relays(flow):
            self._drop_upstream()
            self._fail("it switched to another protocol")
            return
        call(self.hooks.of("response"), flow)
        self.over, self.upstream, flow.live = True, None, False
        client.write(write_answer(101, response.data.reason, response.data.headers.fields))
        client.flush()
        client.start_relay(
            Relay(client, upstream, lambda n, out: self.answers.relayed(flow, n, to_client=out))
        )

    # --- what the gate says -----------------------------------------------------------

    def _answer_own(self) -> None:
        """Send ``flow.response``, which is of the gate's making."""
        if self.flow.response is not None:
            self.flow.response.data.timestamp_start = time.time()
        self.client.run("responseheaders", self.flow, self._own_headed)

    def _own_headed(self) -> None:
        if not self._is_stopped():
            self.client.run("response", self.flow, self._judged)

    def _fail(self, message: str) -> None:
        """Answer for a server that could not be reached or broke the protocol."""
        self._drop_upstream()
        self.answers.upstream_failed(self.flow, message)
        self.flow.error = mflow.Error(message)
        call(self.hooks.of("error"), self.flow)
        self.close = self.close or not self.request_done
        self._answer_failed(502)

    def _answer_failed(self, status: int) -> None:
        """Send what the gate says of a failure; without a word of it, our own."""
        response = self.flow.response
        if response is None or response.data.content is None:
            self.flow.response = http.Response.make(
                status, b"awsgate: the request failed\n", {"Content-Type": "text/plain"}
            )
        self._write_whole()
        self.request_done = True  # what still comes of it is thrown away
        self._answered()

    def _write_whole(self) -> None:
        """Write ``flow.response`` with its body, which is here."""
        response = self.flow.response
        if response is None:
            raise RuntimeError("there is no answer to write")
        status = response.data.status_code
        body = response.data.content or b""
        fields: Fields = response.data.headers.fields
        if self.head.method == b"HEAD" or status in _BODILESS:
            self._write_head(response, fields)
            return
        lengths = [value for name, value in fields if name.lower() == b"content-length"]
        fields = _without(fields, b"transfer-encoding")
        if lengths != [b"%d" % len(body)]:
            fields = (*_without(fields, b"content-length"), (b"Content-Length", b"%d" % len(body)))
        self._write_head(response, fields)
        self.client.write(body)

    @staticmethod
    def answer_connect(client: Client, flow: http.HTTPFlow) -> None:
        """Refuse a CONNECT, in the words of ``flow.response``."""
        head = RequestHead(b"CONNECT", b"", b"", b"", b"HTTP/1.1", ())
        said = Answering(client, head, flow)
        if flow.response is None or 200 <= flow.response.data.status_code < 300:
            flow.response = http.Response.make(500, b"awsgate: nobody decided this CONNECT\n")
        said._write_whole()
        client.finished(close=said.close)

    # --- its end -----------------------------------------------------------------------

    def _answered(self) -> None:
        self.answer_done = True
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self.answer_done and self.request_done and not self.over:
            self.over, self.flow.live = True, False
            self.client.finished(close=self.close)

    def _break_off(self, message: str) -> None:
        """End an answer in the middle: the client must not take it for whole."""
        self.over, self.flow.live = True, False
        self.flow.error = mflow.Error(message)
        call(self.hooks.of("error"), self.flow)
        if self._length == TO_THE_END:
            self.client.reset()
        else:
            self.client.close(whole=False)

    def _is_stopped(self) -> bool:
        """True if the client is gone, or an addon has killed the flow."""
        if self.over:
            return True
        error = self.flow.error
        if error is not None and error.msg == mflow.Error.KILLED_MESSAGE:
            self._drop_upstream()
            self.over = True
            call(self.hooks.of("error"), self.flow)
            self.client.abort()
            return True
        return False

    def _drop_upstream(self) -> None:
        """Cut the connection to the server: what it got is not to be taken for the whole."""
        upstream, self.upstream = self.upstream, None
        self.client.source = None
        if upstream is not None:
            upstream.abort()
            self.client.resume(FULL)


def _without(fields: Fields, drop: bytes) -> Fields:
    return tuple(field for field in fields if field[0].lower() != drop)
