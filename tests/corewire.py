"""The own core of ``awsgate run`` between a client and a server of the test's, in one loop.

Real sockets, the real tripwire, a gate that lets everything pass to the one server. What
goes wrong is the test's to arrange.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any, cast

from mitmproxy import http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.test import taddons

from awsgate.addon import flows, tripwire
from awsgate.addon.ahead import Ahead
from awsgate.addon.dispatch import Hooks
from awsgate.addon.tunnels import Route, Routes, Way
from awsgate.aws.partitions import all_suffixes
from awsgate.ca import ensure_ca
from awsgate.errors import Refusal
from awsgate.server.core.listener import Listener
from awsgate.server.core.pool import IDLE_S, Pool
from awsgate.server.core.site import Site
from awsgate.server.core.tls import Leaves, Trust
from awsgate.wire import check_wire

HOST = "bucket.s3.amazonaws.com"
TIMEOUT_S = 5.0
LIMIT = 1000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Serve = Callable[["Peer"], Awaitable[None]]


class Gate:
    """Lets everything pass, to one server. What a test sets, it does."""

    name = "gate"

    def __init__(self, wire: tripwire.Tripwire, routes: Routes) -> None:
        self.wire, self.routes = wire, routes
        self.server: tuple[bytes, str, int, str] = (b"http", "127.0.0.1", 0, "")
        self.tunnels = self.streams = self.holds = False
        self.refuses = self.waits = False
        self.body: Any = True
        """What ``stream`` of a request is."""
        self.fired: list[str] = []
        self.flows: list[http.HTTPFlow] = []

    def http_connect(self, flow: http.HTTPFlow) -> None:
        way = Way.TUNNEL if self.tunnels else Way.INTERCEPT
        self.routes.put(flow.client_conn.id, Route(way, HOST, 443, "test"))
        flow.metadata[tripwire.ROUTED] = True
        _, host, port, _ = self.server
        if self.tunnels:
            flow.request.data.host, flow.request.data.port = host, port
            self.wire.approve(flow.client_conn, (host, port), "")

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        self.fired.append("requestheaders")
        self.flows.append(flow)
        if flow.error is not None:
            flow.response = http.Response.make(400, b"malformed")
        elif self.refuses or not _is_well_formed(flow):
            flow.response = http.Response.make(403, b"not allowed")
        elif self.streams and _has_body(flow.request):
            self._sign(flow)
            flow.request.stream = self.body
        else:
            flow.metadata[tripwire.PENDING] = True
        return asyncio.sleep(0.05) if self.waits else None

    def request(self, flow: http.HTTPFlow) -> None:
        self.fired.append("request")
        if flow.response is None and not flow.request.stream:
            self._sign(flow)

    def _sign(self, flow: http.HTTPFlow) -> None:
        data = flow.request.data
        data.scheme, data.host, data.port, name = self.server
        data.headers.pop("expect", None)
        self.wire.approve(flow.client_conn, (data.host, data.port), name)
        tripwire.stamp(flow.request)

    def tls_start_server(self, data: Any) -> None:
        data.conn.sni = self.wire.sni_for(data.context.client, data.context.server.address)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        self.fired.append("responseheaders")
        if flow.response is not None:
            flow.response.stream = not self.holds

    def response(self, _: http.HTTPFlow) -> None:
        self.fired.append("response")

    def error(self, _: http.HTTPFlow) -> None:
        self.fired.append("error")

    def client_disconnected(self, _: object) -> None:
        self.fired.append("client_disconnected")


def _is_well_formed(flow: http.HTTPFlow) -> bool:
    """Judge as the real gate does first of all."""
    facts = flows.facts_of(flow, None)
    # It came through a CONNECT, and Host is whatever a test says.
    facts = replace(facts, authority=flow.request.data.authority)
    try:
        check_wire(facts, max_header_bytes=LIMIT)
    except Refusal:
        return False
    return True


def _has_body(request: http.Request) -> bool:
    length: str = request.headers.get("content-length", "0")
    return "transfer-encoding" in request.headers or length != "0"


class Says:
    """The gate's word on what goes wrong."""

    max_header_bytes = LIMIT

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.relayed_bytes: list[tuple[int, bool]] = []
        limits = SimpleNamespace(max_body_bytes=LIMIT)
        self.gateway = SimpleNamespace(
            policy=SimpleNamespace(gateway=SimpleNamespace(limits=limits))
        )

    def upstream_failed(self, flow: http.HTTPFlow, message: str) -> bool:
        self.failures.append(message)
        flow.response = http.Response.make(502, b"in AWS's words")
        return True

    def body_exceeds(self, flow: http.HTTPFlow, buffered: int) -> bool:
        if buffered > LIMIT:
            flow.response = http.Response.make(413, b"too large")
        return buffered > LIMIT

    def body_refused(self, flow: http.HTTPFlow, exc: Exception) -> bool:
        flow.response = http.Response.make(403, type(exc).__name__.encode())
        return True

    def may_send(self, request: http.Request) -> bool:
        return tripwire.is_stamped(request)

    def relays(self, flow: http.HTTPFlow) -> bool:
        return flow.response is not None and flow.response.status_code == 101

    def relayed(self, _flow: http.HTTPFlow, size: int, *, to_client: bool) -> None:
        self.relayed_bytes.append((size, to_client))


@dataclass
class Peer:
    """One end of a connection: reads what it is told to, within a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.readuntil(end)

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """Give all that comes before the end."""
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(ConnectionError):
                return await self.reader.read()
        return b""

    async def request(self) -> bytes:
        """Read a head and the body that its length announces."""
        head = await self.until(b"\r\n\r\n")
        length = http_length(head)
        return head + (await self.exactly(length) if length else b"")

    async def answer(self) -> tuple[int, bytes]:
        """Read an answer: status, and body by its length."""
        head = await self.until(b"\r\n\r\n")
        return int(head.split(b" ")[1]), await self.exactly(http_length(head))

    def close(self) -> None:
        self.writer.close()


def http_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


@dataclass
class CoreWire:
    """Client, core and server."""

    gate: Gate
    says: Says
    site: Site
    port: int
    ca: Path
    servers: list[Peer] = field(default_factory=list)
    """The connections that the core opened."""
    clients: list[Peer] = field(default_factory=list)

    async def client(self, *, connect: bool = True) -> Peer:
        """Open a connection, and a CONNECT on it without TLS in it."""
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(peer)
        if connect:
            peer.send(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            assert (await peer.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        return peer


def serving(*answers: bytes) -> Serve:
    """Answer one request after the other with these bytes; then close."""

    async def serve(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            peer.send(answer)
        await peer.writer.drain()
        peer.close()

    return serve


async def always(peer: Peer) -> None:
    """Answer every request."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            await peer.until(b"\r\n\r\n")
            peer.send(OK)


@asynccontextmanager
async def core_wire(
    folder: Path,
    serve: Serve = always,
    *,
    tls: ssl.SSLContext | None = None,
    trusted: Path | None = None,
    name: str = "",
) -> AsyncIterator[CoreWire]:
    """Run all of it; ``tls`` is the server's, which is to prove ``name``."""
    ensure_ca(folder / "certs", suffixes=all_suffixes(), now=datetime.now(UTC))
    wire, routes, says = tripwire.Tripwire(), Routes(), Says()
    gate = Gate(wire, routes)
    with taddons.context(Proxyserver()):
        hooks = Hooks([gate, wire])
        pool = Pool(hooks, Trust(lambda: str(trusted) if trusted else None), lambda: TIMEOUT_S)
        straight = Ahead(cast("Any", SimpleNamespace(ahead=None)))
        site = Site(hooks, cast("Any", says), routes, Leaves(folder / "certs"), pool, straight)
        sock = socket.create_server(("127.0.0.1", 0))
        listener = Listener(site)
        await listener.start([sock])
        made = CoreWire(gate, says, site, sock.getsockname()[1], folder / "certs" / "ca-cert.pem")

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(reader, writer)
            made.servers.append(peer)
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await serve(peer)

        server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
        gate.server = (
            b"https" if tls is not None else b"http",
            "127.0.0.1", server.sockets[0].getsockname()[1], name,
        )  # fmt: skip
        try:
            yield made
        finally:
            listener.stop()
            server.close()
            for held in list(site.connections.values()):
                held.end()
            pool.sweep(monotonic() + 10 * IDLE_S)
            for peer in (*made.servers, *made.clients):
                peer.writer.transport.abort()
            await asyncio.sleep(0.02)
