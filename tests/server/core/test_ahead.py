"""What a client sends on and on: in turn with others, and no faster than it reads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from mitmproxy import http

from awsgate.server.core import exchange
from awsgate.server.core.client import AT_ONCE, MAX_COLLECTED_BYTES, Client
from corewire import OK, TIMEOUT_S, CoreWire, Peer, core_wire, serving

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

        assert most < 2 * AT_ONCE, "of one packet and the next"
        assert [(await client.answer())[0] for _ in range(1000)] == [403] * 1000


async def holds(what: Callable[[], bool]) -> bool:
    """Wait until it does; False: it does not within five seconds."""
    for _ in range(500):
        if what():
            return True
        await asyncio.sleep(0.01)
    return False


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


async def test_what_came_of_a_body_long_ago_is_no_reason_to_wait_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who sends much at once may hold that for a day."""
    monkeypatch.setattr(exchange, "STRETCH_BYTES", 100)
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        client.send(GET.replace(b"GET", b"POST")[:-2] + b"Content-Length: 900\r\n\r\n")
        (held,) = wire.site.connections.values()
        assert isinstance(held, Client)
        assert await holds(lambda: held.body_since > 0)
        began = held.body_since
        client.send(b"x" * 99)
        assert await holds(lambda: held.body_bytes == 99)
        assert held.body_since == began
        client.send(b"x" * 50)

        assert await holds(lambda: held.body_since > began)
        assert held.body_bytes < 99


@pytest.mark.parametrize("nobodys", [False, True])
async def test_a_body_that_streams_may_take_its_time_if_somebody_sends_it(
    tmp_path: Path, nobodys: bool
) -> None:
    """Of nobody it is waited for like any other: else its connection would give way to none."""
    async with core_wire(tmp_path, serving(OK)) as wire:
        wire.gate.streams, wire.says.nobodys = True, nobodys
        client = await wire.client()
        client.send(GET.replace(b"GET", b"POST")[:-2] + b"Content-Length: 9\r\n\r\n12345")
        (held,) = wire.site.connections.values()
        assert isinstance(held, Client)
        assert await holds(lambda: bool(wire.servers))
        assert (held.asked, held.body_since > 0) == (True, nobodys)
        client.send(b"6789")

        assert (await client.answer())[0] == 200
        assert held.body_since == 0


async def test_an_answer_may_take_its_time_once_the_body_is_there(tmp_path: Path) -> None:
    there, may_answer = asyncio.Event(), asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        there.set()
        await may_answer.wait()
        peer.send(OK)

    async with core_wire(tmp_path, serve) as wire:
        wire.gate.streams = wire.says.nobodys = True
        client = await wire.client()
        (held,) = wire.site.connections.values()
        assert isinstance(held, Client)
        client.send(GET.replace(b"GET", b"POST")[:-2] + b"Content-Length: 9\r\n\r\n123456789")
        async with asyncio.timeout(TIMEOUT_S):
            await there.wait()

        assert (held.asked, held.body_since) == (True, 0)
        may_answer.set()
        assert (await client.answer())[0] == 200


async def test_who_does_not_read_is_not_read_either(tmp_path: Path) -> None:
    """What they send ahead is kept, and that has an end."""
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        (held,) = wire.site.connections.values()
        assert isinstance(held, Client)
        held.pause_writing()  # as asyncio does when its buffer is full
        client.send(GET * (2 * MAX_COLLECTED_BYTES // len(GET)))

        assert await holds(lambda: held._paused != 0)
        assert wire.gate.flows == []
        held.resume_writing()
        assert (await client.answer())[0] == 200
