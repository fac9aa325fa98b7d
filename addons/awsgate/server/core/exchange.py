"""One request: the hooks it passes, its body, and what of it goes to a server.

    HOLD     the body is collected, since the gate must see it whole
    STREAM   the head is signed: the body goes on as it comes
    DRAIN    it is answered already; what still comes of the body is thrown away

Nothing is written upstream but in ``_send`` and ``_stream``. The first asks for the gate's
stamp at that moment; the second goes on with what the first began.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING

from mitmproxy import flow as mflow
from mitmproxy import http

from awsgate.addon.dispatch import call
from awsgate.addon.patched import DRAIN_BYTES
from awsgate.server.core.answering import Answering
from awsgate.server.core.framing import LAST_CHUNK, chunk
from awsgate.server.core.head import CHUNKED, RequestHead, body_of, write_request
from awsgate.server.core.pool import NotApproved
from awsgate.server.core.relay import FULL
from awsgate.server.core.upstream import Key, Upstream

if TYPE_CHECKING:
    from awsgate.server.core.client import Client

# RFC 9110, 9.2.2: to ask twice is to ask once.
_REPEATABLE = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE"})


STRETCH_BYTES = 64 * 1024
"""Of a body that is waited for: each stretch of it has to come at some speed."""


class Mode(Enum):
    """What becomes of the request's body."""

    HOLD, STREAM, DRAIN = range(3)


class Exchange(Answering):
    """A request of a client, from its head to the last byte of its answer."""

    def __init__(self, client: Client, head: RequestHead, flow: http.HTTPFlow) -> None:
        super().__init__(client, head, flow)
        self._mode = Mode.HOLD
        self._parts: list[bytes] = []
        self._held = self._drained = 0
        self._chunked = False
        self._left = 0
        """Bytes of the body that the head which went upstream still owes."""
        self._again = False

    # --- the head --------------------------------------------------------------------

    def begin(self) -> None:
        """Have the gate look at the head."""
        if self.head.fault:
            self._malformed()
        else:
            self.client.run("requestheaders", self.flow, self._seen)

    def _malformed(self) -> None:
        """Have it recorded, and answered; nothing after it can be trusted."""
        self.flow.error = mflow.Error(self.head.fault)
        call(self.hooks.of("requestheaders"), self.flow)
        call(self.hooks.of("error"), self.flow)
        self.request_done = self.close = True
        self._answer_failed(400)

    def _seen(self) -> None:
        flow, head = self.flow, self.head
        if self._is_stopped():
            return
        if flow.response is not None:
            if head.body:
                self._answer_early(close=head.expects)
            else:
                self._whole(b"")
            return
        if not head.body:
            self._whole(b"")
            return
        if head.expects:
            self.client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if "expect" in flow.request.headers:
                del flow.request.headers["expect"]
        if flow.request.stream:
            self._mode = Mode.STREAM
            if self.answers.is_nobodys(flow):
                self._begin_stretch()
            self._go_upstream()
        else:
            self._begin_stretch()

    # --- the body ---------------------------------------------------------------------

    def on_client_body(self, piece: bytes) -> None:
        """Take a piece of the request's body."""
        if self._mode is Mode.STREAM:
            self._stream(piece)
        elif self._mode is Mode.HOLD:
            self._parts.append(piece)
            self._held += len(piece)
            self._came(len(piece))
            if self.answers.body_exceeds(self.flow, self._held):
                self._answer_early(close=False)
        else:
            self._drained += len(piece)
            self._came(len(piece))
            if self._drained > DRAIN_BYTES:
                self.over = True
                self.client.close()

    def _begin_stretch(self) -> None:
        """From now on the client owes a stretch of its body."""
        self.client.body_since, self.client.body_bytes = monotonic(), 0

    def _came(self, size: int) -> None:
        """Have the clock know. What came long ago, however much, is no reason to wait for more."""
        self.client.body_bytes += size
        if self.client.body_since and self.client.body_bytes >= STRETCH_BYTES:
            self._begin_stretch()

    def on_client_end(self) -> None:
        """The request's body is complete."""
        if self._mode is Mode.STREAM:
            self._stream_end()
        elif self._mode is Mode.HOLD:
            self._whole(b"".join(self._parts))
        else:
            self.request_done = True
            self._finish_if_done()

    def _whole(self, body: bytes) -> None:
        """The request is complete: have the gate decide."""
        self._parts.clear()
        self.client.body_since = 0.0
        data = self.flow.request.data
        data.content, data.timestamp_end = body, time.time()
        self.request_done = True
        self.client.run("request", self.flow, self._decided)

    def _decided(self) -> None:
        if self._is_stopped():
            return
        if self.flow.response is not None:
            self._answer_own()
        else:
            self._go_upstream()

    def _stream(self, piece: bytes) -> None:
        """Pass on a piece, as the gate has it. A body that breaks its promise is cut off."""
        self._came(len(piece))
        try:
            for part in _pieces(self.flow.request.stream, piece):
                self._pass_on(part)
        except Exception as exc:  # noqa: BLE001 - whatever it was, the body must not be whole
            self._refuse_body(exc)

    def _stream_end(self) -> None:
        self.client.body_since = 0.0
        try:
            for part in _pieces(self.flow.request.stream, b""):
                self._pass_on(part)
            self._check_length()
        except Exception as exc:  # noqa: BLE001 - as above
            self.request_done = True
            self._refuse_body(exc)
            return
        self.flow.request.data.timestamp_end = time.time()
        self.request_done = True
        self.client.run("request", self.flow, self._sent)

    def _sent(self) -> None:
        if self._is_stopped() or self.upstream is None:
            return
        if self._chunked:
            self.upstream.send(LAST_CHUNK)
        self.upstream.sent_all()
        self._finish_if_done()

    def _pass_on(self, part: bytes) -> None:
        if not part or self.upstream is None:
            return
        if self._chunked:
            self.upstream.send(chunk(part))
            return
        self._left -= len(part)
        if self._left < 0:
            raise ValueError("the body is longer than its head says")
        self.upstream.send(part)

    def _check_length(self) -> None:
        if self._left:
            raise ValueError("the body is shorter than its head says")

    def _refuse_body(self, exc: Exception) -> None:
        self._drop_upstream()
        if not self.begun and self.answers.body_refused(self.flow, exc):
            self._answer_early(close=False)
            return
        self.over = True
        self.flow.error = mflow.Error("awsgate: body refused")
        call(self.hooks.of("error"), self.flow)
        self.client.abort()

    def _answer_early(self, *, close: bool) -> None:
        """Answer, though the body has not come: a client that waits for a 100 is let go."""
        self._mode = Mode.DRAIN
        self._parts.clear()
        # It is thrown away, but the connection is taken until it has come, or does not.
        self.client.body_since = self.client.body_since or monotonic()
        self.close = self.close or close
        self._answer_own()
        if close and not self.over:
            self.over = True
            self.client.linger()

    # --- upstream ----------------------------------------------------------------------

    def _go_upstream(self, *, fresh: bool = False) -> None:
        """Find a connection to the server that the gate named, or open one."""
        request = self.flow.request
        if not self.answers.may_send(request):
            self._fail(_NO_STAMP)
            return
        try:
            key = self.client.asker.ask(request)
        except NotApproved as exc:
            self._fail(f"Connection killed: {exc}")
            return
        repeatable = self._mode is Mode.HOLD and request.data.method in _REPEATABLE
        found = None if fresh else self.client.site.pool.take(key, repeatable=repeatable)
        if found is not None:
            self._send(found)
        else:
            self._dial(key)

    def _dial(self, key: Key) -> None:
        client = self.client
        made: list[Upstream] = []
        failed: list[str] = []

        async def dial() -> None:
            try:
                made.append(await client.site.pool.dial(key, client.conn))
            except OSError as exc:
                failed.append(str(exc) or type(exc).__name__)

        def opened() -> None:
            if self.over:
                for each in made:
                    each.close()
            elif made:
                self._send(made[0])
            else:
                self._fail(failed[0] if failed else "connection cancelled")

        client.flush()
        client.wait_for(dial(), opened)

    def _send(self, upstream: Upstream) -> None:
        """Write the head, and the body if it is here: the one place where a request begins."""
        request = self.flow.request
        data = request.data
        try:
            fields = data.headers.fields
            length = body_of(fields)
            raw = write_request(data.method, data.path, fields)
            if self._mode is Mode.HOLD:
                raw += _framed(data.content or b"", length)
        except ValueError as exc:
            upstream.close()
            self._fail(f"awsgate: {exc}")
            return
        # Asked last of all: a hook may have changed it while the connection was opened.
        if not self.answers.may_send(request):
            upstream.close()
            self._fail(_NO_STAMP)
            return
        self.upstream = self.client.source = upstream
        self.flow.server_conn = upstream.server
        upstream.take(self, data.method, upgrade=self.head.upgrade)
        if self.client.full:
            upstream.pause_reading()
        self._chunked = length == CHUNKED
        self._left = 0 if self._chunked else length
        upstream.send(raw)
        if self._mode is Mode.HOLD:
            upstream.sent_all()

    def on_failure(self, message: str, *, silent: bool) -> None:
        """The connection to the server is gone, before the answer was whole."""
        upstream, self.upstream = self.upstream, None
        self.client.source = None
        self.client.resume(FULL)
        if self.over:
            return
        if self.begun:
            self._break_off(message)
        elif (
            silent
            and not self._again
            and upstream is not None
            and upstream.carried
            and self._mode is Mode.HOLD
            and self.flow.request.data.method in _REPEATABLE
        ):
            # An idle connection that the server was closing: it never saw the request.
            self._again = True
            self._go_upstream(fresh=True)
        else:
            self._fail(message)
        self.client.flush()
        self.client.advance()

    def on_full(self) -> None:
        """See ``Taker``."""
        self.client.pause(FULL)

    def on_room(self) -> None:
        """See ``Taker``."""
        self.client.resume(FULL)

    def on_early_end(self) -> None:
        """The answer is whole before the request is: the rest of that goes nowhere."""
        self._mode = Mode.DRAIN

    def on_client_gone(self, why: str) -> None:
        """The client's connection is gone, or is to go."""
        if self.over:
            return
        self.over = True
        self._parts.clear()
        self._drop_upstream()
        if not self.answer_done:
            self.flow.error = mflow.Error(why)
            call(self.hooks.of("error"), self.flow)
        self.flow.live = False


_NO_STAMP = "awsgate: request without the gate's stamp"


def _pieces(stream: object, data: bytes) -> Iterable[bytes]:
    """Give what a ``stream`` of mitmproxy's makes of a piece; b"" stands for the end."""
    if not callable(stream):
        return (data,) if data else ()
    made = stream(data)
    return ((made,) if made else ()) if isinstance(made, bytes) else made


def _framed(body: bytes, length: int) -> bytes:
    if length == CHUNKED:
        return chunk(body) + LAST_CHUNK
    if length != len(body):
        raise ValueError("the body is not as long as its head says")
    return body
