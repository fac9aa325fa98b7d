"""Requests with bytes changed at random: whatever leaves the core, h11 reads as it was meant.

The gate here lets everything pass, so the core stands alone.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import h11
import pytest

from corewire import OK, Peer, core_wire

SEEDS = (
    b"GET /a?b=c HTTP/1.1\r\nHost: h\r\nX-Amz-Date: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT /k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET http://h/x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
    b"PUT /k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
)
ODD = (
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"\xff", b"0", b"9", b"f",
    b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.0", b"CONNECT a:1 HTTP/1.1\r\n\r\n",
)  # fmt: skip


def mutated(chance: random.Random) -> bytes:
    """Give two or three requests in a row, with a few bytes put in, taken out or changed."""
    data = bytearray(b"".join(chance.choice(SEEDS) for _ in range(chance.randint(2, 3))))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data))
        kind = chance.random()
        if kind < 0.6:
            data[at:at] = chance.choice(ODD)
        elif kind < 0.8:
            del data[at : at + chance.randint(1, 4)]
        else:
            data[at] = chance.randrange(256)
    return bytes(data)


def requests_in(received: bytes, *, whole: bool) -> int:
    """Count the requests that h11 reads in what a server got. Raises if there is no reading."""
    count = 0
    while received:
        peer = h11.Connection(h11.SERVER)
        peer.receive_data(received)
        while not isinstance(event := peer.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                assert not whole, "it ends within a request"
                return count
        count += 1
        received = peer.trailing_data[0]
    return count


@pytest.mark.parametrize("streams", [False, True], ids=["held", "streamed"])
async def test_what_reaches_a_server_has_one_reading(
    tmp_path: Path, streams: bool, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[bytearray] = []
    answered = 0

    async def serve(peer: Peer) -> None:
        nonlocal answered
        mine, seen = bytearray(), 0
        got.append(mine)
        while data := await peer.reader.read(65536):
            mine.extend(data)
            while requests_in(bytes(mine), whole=False) > seen:
                seen += 1
                answered += 1
                peer.send(OK)

    async with core_wire(tmp_path, serve) as wire:
        wire.gate.streams = streams
        for batch in range(10):
            clients = [await wire.client() for _ in range(40)]
            for number, client in enumerate(clients):
                client.send(mutated(random.Random(batch * 40 + number)))  # noqa: S311
            await asyncio.sleep(0.3)
            for client in clients:
                client.close()
        await asyncio.sleep(0.05)
        passed = len(wire.gate.flows)

    for received in got:
        requests_in(bytes(received), whole=not streams)
    assert answered > 100, "most of them are still requests"
    assert passed >= answered
    assert "a connection failed" not in caplog.text
    assert "an answer failed" not in caplog.text
