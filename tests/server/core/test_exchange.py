"""One request through the own core: what reaches the server, and what the client is told."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from awsgate.addon.patched import DRAIN_BYTES
from awsgate.server.core.client import MAX_AHEAD_BYTES
from awsgate.server.core.near import Step
from corewire import LIMIT, OK, Peer, core_wire, serving

GET = b"GET /k HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
PUT = b"PUT /k HTTP/1.1\r\nHost: h\r\n"


async def test_a_request_goes_through_and_its_hooks_are_called_in_order(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        got.append(await peer.request())
        peer.send(OK)

    async with core_wire(tmp_path, serve) as wire:
        client = await wire.client()
        client.send(POST)

        assert await client.answer() == (200, b"ok")
        await asyncio.sleep(0)
        assert wire.gate.fired == ["requestheaders", "request", "responseheaders", "response"]
    assert got == [POST]


async def test_what_is_sent_byte_by_byte_is_read_alike(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        for byte in GET * 2:
            client.send(bytes([byte]))
            await asyncio.sleep(0)

        assert [await client.answer() for _ in range(2)] == [(200, b"ok")] * 2


async def test_requests_sent_at_once_are_answered_in_order(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        while True:
            path = (await peer.request()).split(b" ")[1]
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    async with core_wire(tmp_path, serve) as wire:
        client = await wire.client()
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(5)))

        assert [await client.answer() for _ in range(5)] == [(200, b"/%d" % n) for n in range(5)]


async def test_hooks_that_wait_hold_up_their_own_connection_alone(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        first, second = await wire.client(), await wire.client()
        wire.gate.waits = True
        first.send(GET + GET)
        await asyncio.sleep(0.01)
        wire.gate.waits = False
        second.send(GET)

        assert await second.answer() == (200, b"ok")
        assert not first.reader._buffer  # type: ignore[attr-defined]
        assert [await first.answer() for _ in range(2)] == [(200, b"ok")] * 2


async def test_a_client_that_goes_while_a_hook_waits_sends_nothing(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        wire.gate.waits = True
        client = await wire.client()
        client.send(GET)
        await asyncio.sleep(0.01)
        client.close()
        await asyncio.sleep(0.15)

        assert wire.servers == []
        assert wire.gate.fired == ["requestheaders", "error", "client_disconnected"]


async def test_what_waits_for_something_that_is_cancelled_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    async with core_wire(tmp_path) as wire:
        monkeypatch.setattr(wire.gate, "requestheaders", lambda _: cancelled())
        client = await wire.client()
        client.send(GET)

        assert await asyncio.wait_for(client.rest(), 5) == b""
        assert wire.servers == []


# --- what is no request -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"not http\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 3 * LIMIT, 431),
    ],
)
async def test_what_is_no_request_is_told_so_and_no_hook_hears_of_it(
    tmp_path: Path, raw: bytes, status: int
) -> None:
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        client.send(raw)

        assert (await client.answer())[0] == status
        assert await client.rest() == b""
        assert (wire.gate.fired, wire.servers) == ([], [])


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked",
        b"Content-Length: 2\r\nContent-Length: 2",
        b"Content-Length: +2",
        b"X-A : 1",
    ],
)
async def test_a_malformed_request_is_recorded_answered_and_the_end(
    tmp_path: Path, lines: bytes
) -> None:
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n\r\nhi" + GET)

        assert (await client.answer())[0] == 400
        assert await client.rest() == b""
        assert (wire.gate.fired, wire.servers) == (["requestheaders", "error"], [])


async def test_a_connect_within_a_connect_is_malformed(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        client.send(b"CONNECT other:443 HTTP/1.1\r\nHost: other\r\n\r\n")

        assert (await client.answer())[0] == 400
        assert wire.gate.fired == ["requestheaders", "error"]


async def test_too_much_sent_ahead_ends_the_connection(tmp_path: Path) -> None:
    async def never(peer: Peer) -> None:
        await peer.rest()

    async with core_wire(tmp_path, never) as wire:
        client = await wire.client()
        client.send(GET + b"x" * (2 * MAX_AHEAD_BYTES))

        assert await client.rest() == b""
        assert "error" in wire.gate.fired


# --- bodies ---------------------------------------------------------------------------------


async def test_a_body_that_streams_goes_on_as_it_comes(tmp_path: Path) -> None:
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        while (piece := await peer.until(b"\r\n")) != b"0\r\n":
            seen.put_nowait((await peer.exactly(int(piece, 16) + 2))[:-2])
        await peer.until(b"\r\n")
        peer.send(OK)

    async with core_wire(tmp_path, serve) as wire:
        wire.gate.streams = True
        client = await wire.client()
        client.send(PUT + b"Transfer-Encoding: chunked\r\n\r\n")
        for piece in (b"one", b"two"):
            client.send(b"3;ext=1\r\n" + piece + b"\r\n")
            assert await asyncio.wait_for(seen.get(), 5) == piece
        client.send(b"0\r\n\r\n")

        assert await client.answer() == (200, b"ok")
        assert wire.gate.fired == ["requestheaders", "request", "responseheaders", "response"]


async def test_a_body_over_the_limit_is_answered_and_thrown_away(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        client.send(PUT + b"Transfer-Encoding: chunked\r\n\r\n")
        client.send((b"258\r\n" + b"x" * 600 + b"\r\n") * 5)

        assert await client.answer() == (413, b"too large")
        client.send(b"0\r\n\r\n" + GET)
        assert await client.answer() == (200, b"ok"), "the connection serves on"


async def test_a_refused_upload_is_read_no_further_than_so(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        wire.gate.refuses = True
        client = await wire.client()
        client.send(PUT + b"Content-Length: 900000000\r\n\r\n")
        assert await client.answer() == (403, b"not allowed")

        client.send(b"x" * (DRAIN_BYTES + 300_000))

        assert await client.rest() == b""
        assert wire.servers == []


async def test_a_client_that_waits_for_a_100_gets_it_or_a_no(tmp_path: Path) -> None:
    upload = PUT + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    async with core_wire(tmp_path, serving(OK)) as wire:
        client = await wire.client()
        client.send(upload)
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hi")
        assert await client.answer() == (200, b"ok")

        wire.gate.refuses = True
        client.send(upload)
        assert await client.answer() == (403, b"not allowed")
        assert await client.rest() == b""


@pytest.mark.parametrize("framing", [b"Content-Length: 20", b"Transfer-Encoding: chunked"])
async def test_a_body_that_breaks_its_promise_never_ends_upstream(
    tmp_path: Path, framing: bytes
) -> None:
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        got.append(await peer.rest())

    def check(data: bytes) -> list[bytes]:
        if b"bad" in data:
            raise LookupError
        return [data] if data else []

    async with core_wire(tmp_path, serve) as wire:
        wire.gate.streams, wire.gate.body = True, check
        client = await wire.client()
        chunked = b"chunked" in framing
        client.send(PUT + framing + b"\r\n\r\n" + (b"4\r\ngood\r\n" if chunked else b"good"))
        await asyncio.sleep(0.1)
        client.send(b"3\r\nbad\r\n0\r\n\r\n" if chunked else b"bad" * 5 + b"!")

        assert await client.answer() == (403, b"LookupError")
        await asyncio.sleep(0.05)
    assert got[0].endswith(b"good\r\n" if chunked else b"good")
    assert b"bad" not in got[0]


@pytest.mark.parametrize("made", [b"longer than it was", b"short"])
async def test_a_body_of_another_length_than_announced_is_cut_off(
    tmp_path: Path, made: bytes
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.rest()

    async with core_wire(tmp_path, serve) as wire:
        wire.gate.streams = True
        wire.gate.body = lambda data: made if data else b""
        client = await wire.client()
        client.send(PUT + b"Content-Length: 10\r\n\r\n0123456789")

        assert (await client.answer())[0] == 403


async def test_a_client_that_goes_in_the_middle_cuts_the_upload(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        got.append(await peer.rest())

    async with core_wire(tmp_path, serve) as wire:
        wire.gate.streams = True
        client = await wire.client()
        client.send(PUT + b"Content-Length: 10\r\n\r\n01234")
        await asyncio.sleep(0.1)
        client.close()
        await asyncio.sleep(0.1)

        assert wire.gate.fired[-2:] == ["error", "client_disconnected"]
    assert got[0].endswith(b"01234")


@pytest.mark.parametrize("trailing", [b"0\r\nX-Trailer: 1\r\n\r\n", b"zz\r\n"])
async def test_a_broken_framing_ends_both_connections(tmp_path: Path, trailing: bytes) -> None:
    got: list[bytes] = []

    async def serve(peer: Peer) -> None:
        got.append(await peer.rest())

    async with core_wire(tmp_path, serve) as wire:
        wire.gate.streams = True
        client = await wire.client()
        client.send(PUT + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await asyncio.sleep(0.1)
        client.send(trailing)

        assert await client.rest() == b""
        await asyncio.sleep(0.05)
        assert "error" in wire.gate.fired
    assert got[0].endswith(b"2\r\nhi\r\n"), "no last chunk"


async def test_an_unstamped_request_is_written_nowhere(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        signed = wire.gate._sign

        def spoilt(flow: object) -> None:
            signed(flow)  # type: ignore[arg-type]
            flow.request.headers["x-later"] = "1"  # type: ignore[attr-defined]

        wire.gate._sign = spoilt  # type: ignore[method-assign]
        client.send(GET)

        assert (await client.answer())[0] == 500, "the tripwire's own"
        assert wire.servers == []


async def test_a_slow_client_reads_the_end_of_an_answer_that_closes(tmp_path: Path) -> None:
    size = 250_000  # less than what is written ahead of a client

    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)

    async with core_wire(tmp_path, serve) as wire:
        client = await wire.client()
        (held,) = wire.site.connections.values()
        transport = held._transport  # type: ignore[attr-defined]
        for each, option in ((transport, socket.SO_SNDBUF), (client.writer, socket.SO_RCVBUF)):
            each.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await asyncio.sleep(0.2)
        assert held.step is Step.LINGER  # type: ignore[attr-defined]
        assert transport.get_write_buffer_size() > 50_000
        now = asyncio.get_running_loop().time()
        for seconds in (0, 10, 20):
            held.tick(now + seconds)  # type: ignore[attr-defined]
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]

        assert len((await client.rest()).partition(b"\r\n\r\n")[2]) == size


async def test_a_client_that_never_reads_the_end_is_let_go(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert await client.answer() == (200, b"ok")
        (held,) = wire.site.connections.values()
        now = asyncio.get_running_loop().time()
        held.tick(now)  # type: ignore[attr-defined]
        await asyncio.sleep(0.02)
        assert wire.site.connections, "it may still say goodbye"

        held.tick(now + 3)  # type: ignore[attr-defined]
        await asyncio.sleep(0.02)
        assert wire.site.connections == {}


async def test_what_is_silent_for_too_long_ends(tmp_path: Path) -> None:
    async def never(peer: Peer) -> None:
        await peer.rest()

    async with core_wire(tmp_path, never) as wire:
        client = await wire.client()
        client.send(GET)
        await asyncio.sleep(0.05)
        (held,) = wire.site.connections.values()
        now = asyncio.get_running_loop().time()
        held.tick(now + 900)  # type: ignore[attr-defined]
        await asyncio.sleep(0.02)
        assert wire.site.connections, "as long as a Lambda call may take"

        held.tick(now + 1001)  # type: ignore[attr-defined]
        assert await client.rest() == b""
        assert "error" in wire.gate.fired
