"""What stands behind the tripwire in the own core, and the bounds of what a server says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from mitmproxy import http

from awsgate.server.core.upstream import MAX_ANSWER_HEAD_BYTES, MAX_INTERIM
from corewire import Peer, core_wire

GET = b"GET /k HTTP/1.1\r\nHost: h\r\n\r\n"
PUT = b"PUT /k HTTP/1.1\r\nHost: h\r\n"
NO_STAMP = "request without the gate's stamp"


async def test_for_a_request_without_a_stamp_no_server_is_looked_for(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        wire.says.may_send = lambda _: False  # type: ignore[method-assign]
        client = await wire.client()
        client.send(GET)

        assert await client.answer() == (502, b"in AWS's words")
        assert NO_STAMP in wire.says.failures[0]
        assert wire.servers == []


async def test_one_that_lost_it_while_a_server_was_looked_for_is_not_written(
    tmp_path: Path,
) -> None:
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        got.append(await peer.rest())

    async with core_wire(tmp_path, serve) as wire:
        asked: list[http.Request] = []

        def once(request: http.Request) -> bool:
            asked.append(request)
            return len(asked) == 1

        wire.says.may_send = once  # type: ignore[method-assign]
        client = await wire.client()
        client.send(GET)

        assert await client.answer() == (502, b"in AWS's words")
        assert NO_STAMP in wire.says.failures[0]
        await ended(got)
    assert got == [b""]


async def ended(got: list[bytes]) -> None:
    """Wait for the end of a server's connection, while the client's stays."""
    for _ in range(500):
        if got:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the server's connection does not end")


async def test_a_body_that_is_refused_ends_the_servers_connection_at_once(tmp_path: Path) -> None:
    """What came may look whole to the server: it must not wait until the client goes."""
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        got.append(await peer.rest())

    def check(data: bytes) -> bytes:
        if b"bad" in data:
            raise LookupError
        return data

    async with core_wire(tmp_path, serve) as wire:
        wire.gate.streams, wire.gate.body = True, check
        client = await wire.client()
        client.send(PUT + b"Content-Length: 7\r\n\r\ngood")
        await asyncio.sleep(0.05)
        client.send(b"bad")

        assert await client.answer() == (403, b"LookupError")
        await ended(got)
    assert b"bad" not in got[0]


async def test_of_a_body_that_is_longer_than_announced_nothing_more_is_sent(
    tmp_path: Path,
) -> None:
    """It would be read as the next request."""
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        got.append(await peer.rest())

    async with core_wire(tmp_path, serve) as wire:
        wire.gate.streams = True
        wire.gate.body = lambda data: data + b"GET /hidden HTTP/1.1\r\n\r\n" if data else b""
        client = await wire.client()
        client.send(PUT + b"Content-Length: 4\r\n\r\ngood")

        assert await client.answer() == (403, b"ValueError")
        await ended(got)
    assert b"hidden" not in got[0]


SAYS = {
    "a head without end": (
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_ANSWER_HEAD_BYTES, "its head is too long",
    ),
    "interim answers without end": (
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1), "nobody asked for",
    ),
    "a switch that nobody asked for": (b"HTTP/1.1 101 Switching\r\n\r\n", "nobody asked for"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "words"), SAYS.values(), ids=SAYS)
async def test_a_server_that_goes_on_and_on_is_not_waited_for(
    tmp_path: Path, said: bytes, words: str
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.send(said)
        await peer.rest()  # it stays

    async with core_wire(tmp_path, serve) as wire:
        client = await wire.client()
        client.send(GET)

        assert await client.answer() == (502, b"in AWS's words")
        assert words in wire.says.failures[0]


async def test_so_many_interim_answers_are_read_over(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_INTERIM)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with core_wire(tmp_path, serve) as wire:
        client = await wire.client()
        client.send(GET)

        assert await client.answer() == (200, b"ok")
