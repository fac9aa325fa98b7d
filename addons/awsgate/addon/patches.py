"""Every patch of mitmproxy's inside, in this one file.

Each patch replaces one method, and only if that method's source is one that was
read and tested: the SHA-256 of its text must be in ``KNOWN``. Otherwise the patch
is left out, said loudly at start, and mitmproxy behaves as it always did. Nothing
that fails closed depends on a patch; they make refusals early, bounded and
readable.

    respond_early          a refused upload is answered, not read (check_killed)
    bound_buffered_body    a chunked body stops at the limit (check_body_size)
    speak_aws              upstream failures in the caller's protocol (handle_protocol_error)
    bound_request_head     431 before a header section fills the memory (read_headers)
    guard_upstream_head    the third net of the tripwire (Http1Client.send)

Source: facts on mitmproxy 12.2.3; ``tests/addon/test_patches.py`` runs with and
without them.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import textwrap
from collections.abc import Callable, Generator
from typing import Any, Protocol

from mitmproxy import flow as mflow
from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import DropStream, HttpStream, SendHttp
from mitmproxy.proxy.layers.http import _http1 as h1
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

Commands = Generator[Any, Any, Any]

DRAIN_BYTES = 1024 * 1024
"""How much of a refused upload is read and thrown away. A client that is still
sending cannot read our answer; one that sends more than this is cut off."""


class Speaker(Protocol):
    """What the patches ask of the addon. Must not raise."""

    max_header_bytes: int

    def upstream_failed(self, flow: http.HTTPFlow, message: str) -> bool:
        """Set ``flow.response`` for a failed upstream; False: not our flow."""

    def body_exceeds(self, flow: http.HTTPFlow, buffered: int) -> bool:
        """True if the buffered body is over the limit; ``flow.response`` is set then."""

    def owes_continue(self, flow: http.HTTPFlow) -> bool:
        """True if the client waits for a 100 that mitmproxy will not send."""

    def may_send(self, request: http.Request) -> bool:
        """True if this request was signed by the gate."""


KNOWN: dict[str, frozenset[str]] = {
    "HttpStream.check_killed": frozenset(
        {"4cec665b2f0dc0f05f4d46544c3410ed4f44b4eec0ed7a74c10db07fe7a81ab5"}
    ),
    "HttpStream.check_body_size": frozenset(
        {"ae602ef9fc48ca898207605320a58ff9b3566759f93f5e4f59038a92244e0bc3"}
    ),
    "HttpStream.handle_protocol_error": frozenset(
        {"0dbef15c4f5bfb6c2cdda008fa3ca4ebd0fdcc41605d2cd6e5246031561750a2"}
    ),
    "Http1Server.read_headers": frozenset(
        {"496f9de6da56eb2dadaeb58210c0567d0d776a1be71d7a51b6b2c7970b4e85ce"}
    ),
    "Http1Client.send": frozenset(
        {"bf915de1a0fde10b6786bd84fa04c8f517791a06c5dce0f7e196ed82be0692d2"}
    ),
}
"""SHA-256 of the source of each patched method, per mitmproxy release that was read."""


def fingerprint(owner: type, method: str) -> str:
    """Give the SHA-256 of a method's source, indentation aside."""
    source = textwrap.dedent(inspect.getsource(getattr(owner, method)))
    return hashlib.sha256(source.encode()).hexdigest()


def install(speaker: Speaker) -> list[str]:
    """Put all patches in place, and give the names of those that could not be.

    Installing again (a script reload) replaces the speaker only.
    """
    global _speaker  # noqa: PLW0603 - patched classes belong to the process, as their speaker does
    _speaker = speaker
    left_out = []
    for owner, method, replacement in _PATCHES:
        name = f"{owner.__name__}.{method}"
        stock = getattr(owner, method)
        if getattr(stock, "awsgate_patch", False):
            continue
        try:
            known = fingerprint(owner, method) in KNOWN[name]
        except (OSError, TypeError):  # no source at hand: a frozen or stripped install
            known = False
        if known:
            setattr(owner, method, replacement(stock))
        else:
            left_out.append(name)
    return left_out


_speaker: Speaker | None = None


def _patch(function: Callable[..., Commands]) -> Callable[..., Commands]:
    function.awsgate_patch = True  # type: ignore[attr-defined]
    return function


# --- respond_early ---------------------------------------------------------------


def _respond_early(stock: Callable[..., Commands]) -> Callable[..., Commands]:
    @_patch
    def check_killed(self: HttpStream, emit_error_hook: bool) -> Commands:
        if (yield from stock(self, emit_error_hook)):
            return True
        if self.client_state != self.state_wait_for_request_headers:
            return False
        if _speaker is not None and _speaker.owes_continue(self.flow):
            yield SendHttp(_continue(self.stream_id), self.context.client)
        if self.flow.response is None or not _has_body(self.flow.request):
            return False
        # A client that sent Expect is waiting and sends nothing: answer and close.
        # Any other is already sending: answer, then read on for a while.
        waits = "expect" in self.flow.request.headers
        yield from _answer(self, close=waits)
        return True

    return check_killed


def _continue(stream_id: int) -> ResponseHeaders:
    interim = http.Response.make(100)
    interim.headers.clear()
    return ResponseHeaders(stream_id, interim)


def _has_body(request: http.Request) -> bool:
    if "transfer-encoding" in request.headers:
        return True
    length: str = request.headers.get("content-length", "0")
    return length.strip("0") != ""


def _answer(stream: HttpStream, *, close: bool) -> Commands:
    """Send ``flow.response`` now, though the request body has not been read."""
    flow = stream.flow
    if flow.response is None:
        return
    if close:
        flow.response.headers["connection"] = "close"
    yield HttpResponseHeadersHook(flow)
    yield HttpResponseHook(flow)
    content = flow.response.raw_content
    yield SendHttp(
        ResponseHeaders(stream.stream_id, flow.response, not content), stream.context.client
    )
    if content:
        yield SendHttp(ResponseData(stream.stream_id, content), stream.context.client)
    stream.request_body_buf.clear()
    if close:
        yield commands.CloseConnection(stream.context.client)
        stream.client_state = stream.server_state = stream.state_errored
        flow.live = False
    else:
        stream.server_state = stream.state_done
        stream.client_state = _drain(stream)


def _drain(stream: HttpStream) -> Callable[[events.Event], Commands]:
    """Give a client state that throws the rest of the body away, up to a limit."""
    seen = 0

    def state_drain(event: events.Event) -> Commands:
        nonlocal seen
        if isinstance(event, RequestData):
            seen += len(event.data)
            if seen > DRAIN_BYTES:
                yield commands.CloseConnection(stream.context.client)
                stream.client_state = stream.state_errored
                stream.flow.live = False
        elif isinstance(event, RequestEndOfMessage):
            stream.client_state = stream.state_done
            stream.flow.live = False
            yield DropStream(stream.stream_id)
            yield SendHttp(ResponseEndOfMessage(stream.stream_id), stream.context.client)

    return state_drain


# --- bound_buffered_body ------------------------------------------------------------


def _bound_buffered_body(stock: Callable[..., Commands]) -> Callable[..., Commands]:
    @_patch
    def check_body_size(self: HttpStream, request: bool) -> Commands:
        if (yield from stock(self, request)):
            return True
        if not request or not self.request_body_buf or _speaker is None:
            return False
        if _speaker.body_exceeds(self.flow, len(self.request_body_buf)):
            yield from _answer(self, close=False)
            return True
        return False

    return check_body_size


# --- speak_aws -------------------------------------------------------------------------

_UPSTREAM_CODES = (
    ErrorCode.CONNECT_FAILED,
    ErrorCode.GENERIC_SERVER_ERROR,
    ErrorCode.RESPONSE_VALIDATION_FAILED,
)


def _speak_aws(stock: Callable[..., Commands]) -> Callable[..., Commands]:
    @_patch
    def handle_protocol_error(
        self: HttpStream, event: RequestProtocolError | ResponseProtocolError
    ) -> Commands:
        unanswered = self.server_state in (
            self.state_uninitialized,
            self.state_wait_for_response_headers,
        )
        if (
            isinstance(event, ResponseProtocolError)
            and event.code in _UPSTREAM_CODES
            and unanswered
            and self.client_state != self.state_errored
            and _speaker is not None
            and _speaker.upstream_failed(self.flow, event.message)
        ):
            self.flow.error = mflow.Error(event.message)
            yield HttpErrorHook(self.flow)
            yield from _answer_failure(self)
            return
        yield from stock(self, event)

    return handle_protocol_error


def _answer_failure(stream: HttpStream) -> Commands:
    """Send ``flow.response``; the connection stays if the request was complete."""
    flow, client = stream.flow, stream.context.client
    if flow.response is None:
        return
    complete = stream.client_state == stream.state_done
    if not complete:
        flow.response.headers["connection"] = "close"
    content = flow.response.raw_content
    yield SendHttp(ResponseHeaders(stream.stream_id, flow.response, not content), client)
    if content:
        yield SendHttp(ResponseData(stream.stream_id, content), client)
    flow.live = False
    if complete:
        stream.server_state = stream.state_done
        yield DropStream(stream.stream_id)
        yield SendHttp(ResponseEndOfMessage(stream.stream_id), client)
    else:
        stream.client_state = stream.server_state = stream.state_errored
        yield commands.CloseConnection(client)


# --- bound_request_head ------------------------------------------------------------------


def _bound_request_head(stock: Callable[..., Commands]) -> Callable[..., Commands]:
    @_patch
    def read_headers(self: h1.Http1Server, event: events.ConnectionEvent) -> Commands:
        limit = _speaker.max_header_bytes if _speaker is not None else 0
        # Twice the limit: the gate itself answers a head between one and two times
        # the limit in the call's protocol; this is for the one that never ends.
        if limit and len(self.buf) > 2 * limit and _HEAD_END.search(bytes(self.buf)) is None:
            yield commands.SendData(self.conn, _TOO_LARGE)
            yield commands.CloseConnection(self.conn)
            self.state = self.done
            return
        yield from stock(self, event)

    return read_headers


_HEAD_END = re.compile(rb"\n\r?\n")

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"x-awsgate-code: unsupported\r\nContent-Length: 0\r\n\r\n"
)


# --- guard_upstream_head --------------------------------------------------------------------


_REFUSED = "awsgate_refused"


def _guard_upstream_head(stock: Callable[..., Commands]) -> Callable[..., Commands]:
    @_patch
    def send(self: h1.Http1Client, event: Any) -> Commands:
        if hasattr(self, _REFUSED):  # the body of the request whose head was stopped
            return
        if (
            isinstance(event, RequestHeaders)
            and _speaker is not None
            and not _speaker.may_send(event.request)
        ):
            setattr(self, _REFUSED, True)
            yield commands.CloseConnection(self.conn)
            yield ReceiveHttp(
                ResponseProtocolError(
                    event.stream_id,
                    "awsgate: request without the gate's stamp",
                    ErrorCode.GENERIC_SERVER_ERROR,
                )
            )
            return
        yield from stock(self, event)

    return send


_PATCHES: tuple[tuple[type, str, Callable[[Callable[..., Commands]], Callable[..., Commands]]], ...]
_PATCHES = (
    (HttpStream, "check_killed", _respond_early),
    (HttpStream, "check_body_size", _bound_buffered_body),
    (HttpStream, "handle_protocol_error", _speak_aws),
    (h1.Http1Server, "read_headers", _bound_request_head),
    (h1.Http1Client, "send", _guard_upstream_head),
)
