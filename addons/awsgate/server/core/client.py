"""One client connection: CONNECT, TLS with a leaf of ours, one request after the other.

What it is at, its ``step``:

    HEAD    a request is awaited, or part of its head is there
    BODY    of the request under way
    WAIT    the request is complete; what comes now is the next one, kept up to a bound
    FIRST   CONNECT is answered: TLS or plain HTTP follows
    RELAY   a tunnel or a WebSocket: nothing is read here
    LINGER  our end is closed; what the client still sends is thrown away
    OVER    nothing more is read or written

What is under way on it is an ``Exchange`` or a ``Relay``.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import cast

from mitmproxy import connection, http
from mitmproxy.utils import asyncio_utils

from awsgate.addon.dispatch import call, call_on
from awsgate.addon.patched_bounds import MAX_AHEAD_BYTES
from awsgate.addon.tunnels import NOBODYS, Way
from awsgate.server.core.exchange import Exchange
from awsgate.server.core.flow import connect_flow, flow_of
from awsgate.server.core.framing import Broken, Reader, reader_of
from awsgate.server.core.head import RequestHead, Unreadable, end_of_head, read_request
from awsgate.server.core.near import Near, Step
from awsgate.server.core.pool import Asker, NotApproved
from awsgate.server.core.relay import LATER, WAITING, Relay
from awsgate.server.core.site import Site
from awsgate.server.core.tls import Tls, asked_name
from awsgate.server.core.upstream import Upstream
from awsgate.server.core.words import BAD_REQUEST, CONNECTED, TOO_LARGE

MAX_COLLECTED_BYTES = 256 * 1024
"""While a hook is waited for."""
WRITE_BUFFER_BYTES = 256 * 1024
AT_ONCE = 16
"""Steps of one client, before the others have their turn: a packet may hold thousands of heads."""
SILENCE_S = 1000.0
"""Of a request, tunnel or WebSocket under way; a Lambda call may be silent for 900."""
_TLS_RECORD = 0x16


class Client(Near):
    """A client connection. Also ``Held``, for time-outs and draining."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self.asked = self.relayed = self.nobodys = False
        self.heard = self.since = self.stirred
        """When the client last sent something; since when it owes a head."""
        self.body_since, self.body_bytes = 0.0, 0
        self.host = ""
        """Of the CONNECT; empty: there was none."""
        self.port = 0
        self._looked = 0
        self._waiting = self._advancing = False
        self._exchange: Exchange | None = None
        self._reader: Reader | None = None
        self._relay: Relay | None = None

    # --- asyncio's --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet it, or turn it away."""
        self._transport = tcp = cast("asyncio.Transport", transport)
        peer, ours = (tcp.get_extra_info(name) for name in ("peername", "sockname"))
        if peer is None or ours is None:  # it has gone already
            self._transport = None
            tcp.abort()
            return
        tcp.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        self.conn = connection.Client(
            peername=peer, sockname=ours, state=connection.ConnectionState.OPEN
        )
        self.site.connections[self.conn.id] = self
        self.asker = Asker(self.site.hooks, self.conn)
        self._guarded(self._greet)

    def _greet(self) -> None:
        waiting = call(self.site.hooks.of("client_connected"), self.conn)
        if self.conn.error or waiting is not None:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        self.heard = self.stirred = monotonic()
        self.since = self.since or self.heard
        try:
            self._received(data)
            self.flush()
        except ssl.SSLError:
            self.close(whole=False)  # its alert is on the way
        except Exception as exc:  # noqa: BLE001 - one connection's fault is not all others'
            self._crashed(exc)

    def _received(self, data: bytes) -> None:
        if self.tls is not None:
            data = self._deciphered(self.tls, data)
        if data:
            self._take(data)
        if self.tls is not None and self.tls.ended and self.step is not Step.OVER:
            self._gone()
            self.close()
        if (self._waiting or self.full) and len(self._buffer) > MAX_COLLECTED_BYTES:
            self.pause(WAITING)

    def eof_received(self) -> bool:
        """The client sends no more. Of HTTP that is taken for its end."""
        if self._relay is not None and self.halves and self.step is Step.RELAY:
            return self._relay.on_client_eof()
        self._guarded(self._gone)
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as it is called
        """Close the books on it."""
        if self._transport is None:
            return
        self.step, self._transport = Step.OVER, None
        self.conn.state = connection.ConnectionState.CLOSED
        self.conn.timestamp_end = time.time()
        self._guarded(self._gone)
        self.site.connections.pop(self.conn.id, None)
        call(self.site.hooks.of("client_disconnected"), self.conn)

    # --- for exchange and relay ----------------------------------------------------------

    def run(self, name: str, flow: http.HTTPFlow, then: Callable[[], None]) -> None:
        """Run the hooks of an event, then go on; nothing is read while one of them waits."""
        hooks = self.site.hooks.of(name)
        waiting = call(hooks, flow)
        if waiting is None:
            then()
        else:
            self.wait_for(call_on(hooks[waiting[1] :], flow, waiting[0]), then)

    def wait_for(self, work: Awaitable[None], then: Callable[[], None]) -> None:
        """Do something that takes its time, and read no request meanwhile."""
        self._waiting = True

        async def wait() -> None:
            try:
                await work
            except asyncio.CancelledError:
                self.abort()  # else it would wait for ever: no clock looks at who waits
                raise
            except Exception as exc:  # noqa: BLE001 - as above
                self._crashed(exc)
            self._waiting = False
            self.resume(WAITING)
            self._guarded(then)
            self.advance()

        asyncio_utils.create_task(wait(), name="awsgate wait", keep_ref=True)

    def finished(self, *, close: bool) -> None:
        """The request under way is answered, and over."""
        self._exchange = self.source = None
        self.asked, self.heard, self.body_since = False, monotonic(), 0.0
        self.since = self.heard if self._buffer else 0.0
        if close:
            self.linger()
        elif self.step is not Step.OVER:
            self.step, self._looked = Step.HEAD, 0

    def start_relay(self, relay: Relay) -> None:
        """Pass everything on from here."""
        self._relay, self.relayed, self.asked = relay, True, False
        self.step = Step.RELAY
        relay.begin()

    # --- Held ---------------------------------------------------------------------------

    def end(self) -> None:
        """Close, after what is written, and all that it leads to."""
        if self.step is not Step.OVER:
            self._guarded(self._gone)
            self.close()

    def tick(self, now: float) -> None:
        """Look at the clock: what is over ends, and so does what has long been silent."""
        if self.step in (Step.OVER, Step.LINGER):
            self.end_in_time(now)
        elif (self.asked or self.relayed) and not self._waiting and now - self.stirred > SILENCE_S:
            self.end()

    # --- what comes ------------------------------------------------------------------------

    def _deciphered(self, tls: Tls, data: bytes) -> bytes:
        established = tls.established
        try:
            plain = tls.receive(data)
        finally:
            self.put(tls.unsent())
        if not established and tls.established:
            self.conn.sni = asked_name(tls)
            self.conn.alpn = b"http/1.1"
            self.conn.timestamp_tls_setup = time.time()
            self.since = 0.0
        return plain

    def _take(self, data: bytes) -> None:
        if self.step is Step.BODY and not self._buffer and not self._waiting:
            self._body(data)
        elif self.step is Step.RELAY and self._relay is not None:
            self._relay.on_client(data)
            return
        elif self.step in (Step.LINGER, Step.OVER):
            return
        else:
            self._buffer += data
        self.advance()

    def advance(self) -> None:
        """Go on with what is there, as far as it goes and for a while."""
        if self._advancing:
            return
        self._advancing, left = True, AT_ONCE
        try:
            while left and self._buffer and not self._waiting and self._step_on():
                left -= 1
            self.flush()
            if not left:
                self.pause(LATER)
                asyncio.get_running_loop().call_soon(self._go_on)
        except ssl.SSLError:
            self.close(whole=False)
        except Exception as exc:  # noqa: BLE001 - as above
            self._crashed(exc)
        finally:
            self._advancing = False

    def resume_writing(self) -> None:
        """See ``Near``: nor is its next request read while it does not read."""
        super().resume_writing()
        self.resume(WAITING)
        self.advance()

    def _go_on(self) -> None:
        self.resume(LATER)
        self.advance()

    def _step_on(self) -> bool:
        """Take one step; False: more has to come first, or to go."""
        if self.step is Step.HEAD:
            return not self.full and self._head()
        if self.step is Step.WAIT:
            if len(self._buffer) > MAX_AHEAD_BYTES:
                self._gone()
                self.abort()
            return False
        rest = bytes(self._buffer)
        self._buffer.clear()
        if self.step is Step.BODY:
            self._body(rest)
        elif self.step is Step.FIRST:
            self._first(rest)
        elif self.step is Step.RELAY and self._relay is not None:
            self._relay.on_client(rest)
        return True

    def _head(self) -> bool:
        """Read a head and begin with its request; False: it is not all there."""
        buffer = self._buffer
        if buffer[:2] == b"\r\n" and not self._looked:  # RFC 9112, 2.2: one may be there
            del buffer[:2]
        try:
            end = end_of_head(buffer, self._looked)
            if end < 0:
                self._looked = len(buffer)
                # The gate itself answers a head between one and two times the limit.
                if self._looked > 2 * self.site.answers.max_header_bytes:
                    self._refuse(TOO_LARGE)
                return False
            raw = bytes(buffer[:end])
            del buffer[: end + 4]
            self._looked, self.since = 0, 0.0
            self._begin(read_request(raw))
        except Unreadable:
            self._refuse(BAD_REQUEST)
            return False
        return True

    def _refuse(self, answer: bytes) -> None:
        """Answer what is no request. No hook hears of it."""
        self.write(answer)
        self.linger()

    def _begin(self, head: RequestHead) -> None:
        if head.method == b"CONNECT" and not self.host:
            self._connect(head)
            return
        if head.method == b"CONNECT":
            head.fault, head.authority = "CONNECT inside of a tunnel", b""
        self.asked = True
        inside = (b"https" if self.tls is not None else b"http", self.host, self.port)
        flow = flow_of(self.conn, self.asker.server, head, inside if self.host else None)
        self._exchange = Exchange(self, head, flow)
        if head.body and not head.fault:
            self.step, self._reader = Step.BODY, reader_of(head.body)
        else:
            self.step = Step.WAIT
        self._exchange.begin()

    def _body(self, data: bytes) -> None:
        reader, exchange = self._reader, self._exchange
        if reader is None or exchange is None:
            return
        try:
            content, rest = reader.feed(data)
        except Broken:
            self._gone("the request's framing is broken")
            self.close()
            return
        self._buffer += rest
        if content:
            exchange.on_client_body(content)
        if reader.done and self.step is Step.BODY:
            self.step, self._reader = Step.WAIT, None
            exchange.on_client_end()

    # --- CONNECT -------------------------------------------------------------------------

    def _connect(self, head: RequestHead) -> None:
        flow = connect_flow(self.conn, self.asker.server, head)
        host, port = flow.request.data.host, flow.request.data.port
        self.step = Step.WAIT
        self.run("http_connect", flow, lambda: self._decided(flow, host, port))

    def _decided(self, flow: http.HTTPFlow, host: str, port: int) -> None:
        if self.step is Step.OVER:
            return
        route = self.site.routes.get(self.conn.id)
        if flow.response is None and route is not None:
            self.host, self.port = host.lower().rstrip("."), port
            call(self.site.hooks.of("http_connected"), flow)
            self.write(CONNECTED)
            self.since = 0.0
            if route.way is Way.TUNNEL:
                self.nobodys = bool(flow.metadata.get(NOBODYS))
                self._tunnel(flow.request.data.host, flow.request.data.port)
            else:
                self.step = Step.FIRST
            return
        call(self.site.hooks.of("http_connect_error"), flow)
        Exchange.answer_connect(self, flow)

    def _tunnel(self, host: str, port: int) -> None:
        self.relayed = True
        opened: list[Upstream] = []

        async def dial() -> None:
            try:
                opened.append(await self.site.tunnel(self.conn, self.asker, host, port))
            except (OSError, NotApproved):
                return

        def begin() -> None:
            if opened and self.step is not Step.OVER:
                self.start_relay(Relay(self, opened[0]))
                opened[0].resume_reading()
            else:
                for each in opened:
                    each.close()
                self.close()

        self.flush()
        self.wait_for(dial(), begin)

    def _first(self, data: bytes) -> None:
        """Tell TLS from plain HTTP: a head never begins with the type of a record."""
        self.step = Step.HEAD
        if data[0] != _TLS_RECORD:
            self._buffer += data
            return
        self.tls = self.site.leaves.begin(self.host)
        self.conn.tls = True
        plain = self._deciphered(self.tls, data)
        self._buffer += plain

    # --- its end -------------------------------------------------------------------------

    def _gone(self, why: str = "the client closed the connection") -> None:
        exchange, relay = self._exchange, self._relay
        self._exchange = self._relay = None
        if exchange is not None:
            exchange.on_client_gone(why)
        if relay is not None:
            relay.on_client_gone()
