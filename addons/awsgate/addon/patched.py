"""The patched methods of mitmproxy's HTTP layers; ``patches`` puts them in place.

Each takes the stock method and gives its replacement, which calls the stock one
wherever the gate has nothing to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Any

from mitmproxy import flow as mflow
from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers import tcp
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

from awsgate.addon.patched_words import unquoted
from awsgate.addon.speaker import as_patch, seat
from awsgate.errors import GateError

Commands = Generator[Any, Any, Any]
Method = Callable[..., Commands]

MAX_HEADS_AHEAD = 100
"""In one packet. AWS's clients send one after the other's answer."""
DRAIN_BYTES = 1024 * 1024
"""How much of a refused upload is read and thrown away. A client that is still
sending cannot read our answer; one that sends more than this is cut off."""


# --- respond_early ---------------------------------------------------------------


def respond_early(stock: Method) -> Method:
    """A refused upload is answered, not read."""

    @as_patch
    def check_killed(self: HttpStream, emit_error_hook: bool) -> Commands:
        if (yield from stock(self, emit_error_hook)):
            return True
        if self.client_state != self.state_wait_for_request_headers:
            return False
        if seat.speaker is not None and seat.speaker.owes_continue(self.flow):
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


def bound_buffered_body(stock: Method) -> Method:
    """A chunked body stops at the limit."""

    @as_patch
    def check_body_size(self: HttpStream, request: bool) -> Commands:
        if (yield from stock(self, request)):
            return True
        if not request or not self.request_body_buf or seat.speaker is None:
            return False
        if seat.speaker.body_exceeds(self.flow, len(self.request_body_buf)):
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


def speak_aws(stock: Method) -> Method:
    """Upstream failures are told in the protocol of the caller."""

    @as_patch
    def handle_protocol_error(
        self: HttpStream, event: RequestProtocolError | ResponseProtocolError
    ) -> Commands:
        if isinstance(event, ResponseProtocolError) and hasattr(self, _ANSWERED):
            return  # the connection that ``refuse_mid_body`` closed
        unanswered = self.server_state in (
            self.state_uninitialized,
            self.state_wait_for_response_headers,
        )
        if (
            isinstance(event, ResponseProtocolError)
            and event.code in _UPSTREAM_CODES
            and unanswered
            and self.client_state != self.state_errored
            and seat.speaker is not None
            and seat.speaker.upstream_failed(self.flow, event.message)
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


def bound_request_head(stock: Method) -> Method:
    """A head that never ends is answered with 431 before it fills the memory.

    One with a control character at the end of a value is answered with 400: mitmproxy takes
    it away, so the gate would not see it, and "chunked" with a VT behind it is no coding to
    the next reader.

    So is one too many in a packet: nobody else has a turn before all of them are answered.
    """

    @as_patch
    def read_headers(self: h1.Http1Server, event: events.ConnectionEvent) -> Commands:
        fault = _too_many(self, event) or _fault_of_head(bytes(self.buf), event)
        if not fault:
            yield from unquoted(stock(self, event))
            return
        yield commands.SendData(self.conn, fault)
        yield commands.CloseConnection(self.conn)
        self.state = self.done

    return read_headers


def _too_many(server: h1.Http1Server, event: events.ConnectionEvent) -> bytes:
    """Give the answer to one more head in a packet than may be in one; empty: it is none."""
    if not isinstance(event, events.DataReceived):
        return b""
    heads = 1 if event.data else getattr(server, _HEADS, 0) + 1  # b"": more is there
    setattr(server, _HEADS, heads)
    return _TOO_LARGE if heads > MAX_HEADS_AHEAD else b""


def _fault_of_head(data: bytes, event: events.ConnectionEvent) -> bytes:
    """Give the answer to a head, as far as it is there, that is not read; empty: it is."""
    limit = seat.speaker.max_header_bytes if seat.speaker is not None else 0
    new = len(event.data) if isinstance(event, events.DataReceived) else 0
    # What came before was searched: a head that comes a byte at a time costs no more.
    found = _HEAD_END.search(data, max(0, len(data) - new - 2) if new else 0)
    if found is not None:
        return _MALFORMED if _is_taken_away(data[: found.end()]) else b""
    # Twice the limit: the gate itself answers a head between one and two times
    # the limit in the call's protocol; this is for the one that never ends.
    return _TOO_LARGE if limit and len(data) > 2 * limit else b""


_HEAD_END = re.compile(rb"\n\r?\n")
# VT, FF and CR: ``bytes.strip`` takes them for blanks, and no grammar of HTTP does.
_AT_START = re.compile(rb":[ \t]*+[\x0b\x0c\r](?!\n)")
_AT_END = re.compile(rb"(?<![ \t\x0b\x0c\r])[ \t\x0b\x0c\r]++\n")  # linear: from the first alone


def _is_taken_away(head: bytes) -> bool:
    """True if a value of a head begins or ends with a VT, FF or CR."""
    strange = b"\x0b" in head or b"\x0c" in head or head.count(b"\r") != head.count(b"\r\n")
    if not strange:
        return False
    ends = (found[0].removesuffix(b"\n").removesuffix(b"\r") for found in _AT_END.finditer(head))
    return _AT_START.search(head) is not None or any(end.strip(b" \t") for end in ends)


_HEADS = "awsgate_heads"

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"x-awsgate-code: unsupported\r\nContent-Length: 0\r\n\r\n"
)
_MALFORMED = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
    b"x-awsgate-code: unsupported\r\nContent-Length: 0\r\n\r\n"
)


# --- guard_upstream_head --------------------------------------------------------------------


_REFUSED = "awsgate_refused"


def guard_upstream_head(stock: Method) -> Method:
    """The third net of the tripwire."""

    @as_patch
    def send(self: h1.Http1Client, event: Any) -> Commands:
        if hasattr(self, _REFUSED):  # the body of the request whose head was stopped
            return
        if (
            isinstance(event, RequestHeaders)
            and seat.speaker is not None
            and not seat.speaker.may_send(event.request)
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


# --- refuse_mid_body ------------------------------------------------------------------------


def refuse_mid_body(stock: Method) -> Method:
    """A body that breaks its promise midway never gets to its end upstream."""

    @as_patch
    def state_stream_request_body(self: HttpStream, event: Any) -> Commands:
        try:
            yield from stock(self, event)
        except GateError as exc:  # raised by ``request.stream``, before any of it is sent
            yield from _refuse_body(self, event, exc)

    return state_stream_request_body


def _refuse_body(stream: HttpStream, event: Any, exc: GateError) -> Commands:
    flow, client = stream.flow, stream.context.client
    unanswered = stream.server_state in (
        stream.state_uninitialized,
        stream.state_wait_for_response_headers,
    )
    gone = RequestProtocolError(stream.stream_id, "awsgate: body refused", ErrorCode.KILL)
    yield SendHttp(gone, stream.context.server)
    if unanswered and seat.speaker is not None and seat.speaker.body_refused(flow, exc):
        setattr(stream, _ANSWERED, True)
        yield from _answer(stream, close=False)
        if isinstance(event, RequestEndOfMessage):
            yield from stream.client_state(event)
        return
    flow.error = mflow.Error("awsgate: body refused")
    yield HttpErrorHook(flow)
    yield SendHttp(
        ResponseProtocolError(stream.stream_id, "awsgate: body refused", ErrorCode.KILL), client
    )
    stream.client_state = stream.server_state = stream.state_errored
    flow.live = False


_ANSWERED = "awsgate_answered"


# --- relay_upgrade --------------------------------------------------------------------------


def relay_upgrade(stock: Method) -> Method:
    """Relay a WebSocket that the gate signed byte for byte, held nowhere."""

    @as_patch
    def flow_done(self: HttpStream) -> Commands:
        if seat.speaker is None or not seat.speaker.relays(self.flow):
            yield from stock(self)
            return
        self.flow.live = False
        self.child_layer = tcp.TCPLayer(self.context, ignore=True)
        self._handle_event = _counted(self)
        yield from self.child_layer.handle_event(events.Start())
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    return flow_done


def _counted(stream: HttpStream) -> Callable[[events.Event], Commands]:
    def passthrough(event: events.Event) -> Commands:
        if isinstance(event, (RequestData, ResponseData)) and seat.speaker is not None:
            to_client = isinstance(event, ResponseData)
            seat.speaker.relayed(stream.flow, len(event.data), to_client=to_client)
        yield from stream.passthrough(event)

    return passthrough
