"""Requests that are sent ahead of their answers: in turn with others, and no faster than read."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from mitmproxy import http

from awsgate.server.core.client import AT_ONCE
from corewire import CoreWire, Peer, core_wire

GET = b"GET /k HTTP/1.1\r\nHost: bucket.s3.amazonaws.com\r\n\r\n"


async def test_a_packet_full_of_requests_holds_nobody_up(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        wire.gate.refuses = True
        client = await wire.client()
        client.send(GET * 1000)
        seen, most = 0, 0
        while seen < 1000:
            await asyncio.sleep(0)
            most, seen = max(most, len(wire.gate.flows) - seen), len(wire.gate.flows)

        assert most <= AT_ONCE
        assert [(await client.answer())[0] for _ in range(1000)] == [403] * 1000


async def reader_of_little(wire: CoreWire) -> Peer:
    """Open a connection whose kernel keeps next to nothing that is not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", wire.port))
    return Peer(*await asyncio.open_connection(sock=sock, limit=4096))


async def test_who_does_not_read_answers_gets_no_more_of_them(tmp_path: Path) -> None:
    """Else a few bytes of a request, over and over, would be kept as many of an answer."""
    size = 200_000

    async with core_wire(tmp_path) as wire:

        def refuse(flow: http.HTTPFlow) -> None:
            wire.gate.flows.append(flow)
            flow.response = http.Response.make(403, b"x" * size)

        wire.gate.requestheaders = refuse  # type: ignore[method-assign]
        client = await reader_of_little(wire)
        client.send(GET * 200)
        before = -1
        while before != len(wire.gate.flows):
            before = len(wire.gate.flows)
            await asyncio.sleep(0.2)

        assert 0 < before < 100, "the kernel's buffers, and a little"
        for _ in range(200):  # and all of them come, once they are read
            head = await client.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 403 ")
            await client.exactly(size)
        client.close()
