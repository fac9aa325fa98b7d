"""What servers answer, or do instead; and whose connections are used again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import Mock

import pytest
from mitmproxy import connection, http

from awsgate.server.core import pool as pools
from awsgate.server.core.through import _Asked
from awsgate.server.core.upstream import Upstream
from corewire import LIMIT, OK, TIMEOUT_S, Peer, core_wire, serving

GET = b"GET /k HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
PUT = b"PUT /k HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def ask(folder: Path, answer: bytes, request: bytes = GET, *, hold: bool = False) -> bytes:
    """Give all that the client reads of this answer, on a connection that ends with it."""
    async with core_wire(folder, serving(answer)) as wire:
        wire.gate.holds = hold
        client = await wire.client()
        client.send(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        return await client.rest()


@pytest.mark.parametrize("hold", [False, True], ids=["streamed", "held"])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        CHUNKED + b"2\r\nhe\r\n3;x=1\r\nllo\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["by length", "in chunks", "with a trailer", "to the end", "of 1.0", "after interim ones"],
)
async def test_an_answer_arrives_whole(tmp_path: Path, answer: bytes, hold: bool) -> None:
    got = await ask(tmp_path, answer, hold=hold)
    head, _, body = got.partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" in head
    if b"chunked" in head.lower():
        body = b"".join(piece for piece in body.split(b"\r\n")[1::2])
    assert body == b"hello"
    assert b"X-Trailer" not in got
    assert b"Link" not in got


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (GET.replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
async def test_an_answer_without_a_body_has_none(
    tmp_path: Path, request_: bytes, answer: bytes
) -> None:
    got = await ask(tmp_path, answer, request_)

    assert got == answer[:-2] + b"Connection: close\r\n\r\n"


async def test_a_client_of_1_0_gets_no_chunks(tmp_path: Path) -> None:
    got = await ask(
        tmp_path, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", GET.replace(b"HTTP/1.1", b"HTTP/1.0")
    )

    assert got.endswith(b"\r\n\r\nhello")
    assert b"chunked" not in got


# --- what goes wrong ---------------------------------------------------------------------

MALFORMED = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi",
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "compressed on its way": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\n\r\n",
    "likewise, to the end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "a bare CR": b"HTTP/1.1 200 OK\r\nX: 1\rY: 2\r\n\r\n",
    "a switch that nobody asked for": b"HTTP/1.1 101 x\r\n\r\n",
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000,
    "lines that end with LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_answer_is_answered_for(tmp_path: Path, answer: bytes) -> None:
    async with core_wire(tmp_path, serving(answer)) as wire:
        client = await wire.client()
        client.send(POST)

        assert await client.answer() == (502, b"in AWS's words")
        await asyncio.sleep(0)
        assert len(wire.says.failures) == 1
        assert wire.gate.fired[-1] == "error"
        assert wire.site.pool.take(_key(wire), repeatable=True) is None


BROKEN_OFF = {
    "a length that is not kept": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    "chunks without a last one": CHUNKED + b"5\r\nhello\r\n",
    "chunks that break the framing": CHUNKED + b"5\r\nhello\r\nzz\r\n",
}


@pytest.mark.parametrize("answer", BROKEN_OFF.values(), ids=BROKEN_OFF)
async def test_what_breaks_off_is_never_whole_for_the_client(tmp_path: Path, answer: bytes) -> None:
    async with core_wire(tmp_path, serving(answer)) as wire:
        client = await wire.client()
        client.send(GET)
        got = await client.rest()

        assert got.count(b"HTTP/1.1 ") == 1, "an answer that began is not begun again"
        assert not got.endswith(b"0\r\n\r\n")
        assert len(got.partition(b"\r\n\r\n")[2]) < 11
        assert wire.gate.fired[-2:] == ["error", "client_disconnected"]


async def test_a_held_answer_that_breaks_off_is_answered_for(tmp_path: Path) -> None:
    async with core_wire(tmp_path, serving(BROKEN_OFF["a length that is not kept"])) as wire:
        wire.gate.holds = True
        client = await wire.client()
        client.send(POST)

        assert await client.answer() == (502, b"in AWS's words")


async def test_a_held_answer_is_held_up_to_a_bound(tmp_path: Path) -> None:
    async with core_wire(tmp_path, serving(CHUNKED + b"fff\r\n" + b"x" * (LIMIT + 1))) as wire:
        wire.gate.holds = True
        client = await wire.client()
        client.send(GET)

        assert await client.answer() == (502, b"in AWS's words")


async def test_a_server_that_cannot_be_reached_is_answered_for(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        wire.gate.server = (b"http", "127.0.0.1", 1, "")
        client.send(POST + POST)

        assert [await client.answer() for _ in range(2)] == [(502, b"in AWS's words")] * 2
        assert wire.gate.fired.count("error") == 2


async def test_an_answer_before_the_request_is_whole_is_passed_on(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await peer.rest()

    async with core_wire(tmp_path, serve) as wire:
        wire.gate.streams = True
        client = await wire.client()
        client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)

        assert await client.answer() == (413, b"no")
        client.send(b"x" * 50 + GET)
        assert await client.rest() == b"", "the rest is read, and the connection ends"


# --- whose connection ----------------------------------------------------------------------


def _key(wire: object) -> tuple[str, str, int, str]:
    scheme, host, port, name = wire.gate.server  # type: ignore[attr-defined]
    return scheme.decode(), host, port, name


async def test_one_connection_serves_one_client_after_the_other(tmp_path: Path) -> None:
    async with core_wire(tmp_path) as wire:
        for _ in range(5):
            client = await wire.client()
            client.send(GET)
            assert await client.answer() == (200, b"ok")
            client.close()

        assert len(wire.servers) == 1


async def test_two_at_a_time_have_two(tmp_path: Path) -> None:
    async def slow(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(0.1)
            peer.send(OK)

    async with core_wire(tmp_path, slow) as wire:
        clients = [await wire.client() for _ in range(3)]
        for client in clients:
            client.send(GET)

        assert [await client.answer() for client in clients] == [(200, b"ok")] * 3
        assert len(wire.servers) == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
    ],
    ids=["it closes", "it is of 1.0", "it says more than it was asked"],
)
async def test_some_connections_serve_once(tmp_path: Path, answer: bytes) -> None:
    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            peer.send(answer)

    async with core_wire(tmp_path, serve) as wire:
        client = await wire.client()
        for number in (1, 2):
            client.send(GET)
            assert await client.answer() == (200, b"ok")
            assert len(wire.servers) == number


async def test_what_a_server_says_unasked_is_nobodys_answer(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.send(OK)
        await asyncio.sleep(0.05)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        assert await peer.rest() == b""
        ended.set()

    async with core_wire(tmp_path, serve) as wire:
        client = await wire.client()
        client.send(GET)
        assert await client.answer() == (200, b"ok")
        async with asyncio.timeout(TIMEOUT_S):
            await ended.wait()  # and not when the next request is sent on it
        client.send(GET)

        assert await client.answer() == (200, b"ok")
        assert len(wire.servers) == 2


def closing_on_second(times: int) -> object:
    """Answer the first request; close at the second without a word, ``times`` times."""
    closed = [0]

    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.send(OK)
        while True:
            await peer.request()
            if closed[0] < times:
                closed[0] += 1
                peer.close()
                return
            peer.send(OK)

    return serve


@pytest.mark.parametrize("request_", [GET, PUT], ids=["GET", "PUT"])
async def test_a_stale_connection_is_tried_anew_once(tmp_path: Path, request_: bytes) -> None:
    async with core_wire(tmp_path, closing_on_second(1)) as wire:  # type: ignore[arg-type]
        client = await wire.client()
        for _ in range(2):
            client.send(request_)
            assert await client.answer() == (200, b"ok")

        assert len(wire.servers) == 2
        assert wire.gate.fired.count("error") == 0


async def test_what_must_not_be_sent_twice_is_not(tmp_path: Path) -> None:
    async with core_wire(tmp_path, closing_on_second(1)) as wire:  # type: ignore[arg-type]
        client = await wire.client()
        client.send(POST)
        assert await client.answer() == (200, b"ok")
        client.send(POST)

        assert await client.answer() == (502, b"in AWS's words")
        assert len(wire.servers) == 1


async def test_a_body_that_streamed_is_not_sent_twice(tmp_path: Path) -> None:
    async with core_wire(tmp_path, closing_on_second(1)) as wire:  # type: ignore[arg-type]
        wire.gate.streams = True
        client = await wire.client()
        client.send(PUT)
        assert await client.answer() == (200, b"ok")
        client.send(PUT)

        assert await client.answer() == (502, b"in AWS's words")


async def test_a_fresh_connection_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    async with core_wire(tmp_path, serving(b"")) as wire:
        client = await wire.client()
        client.send(GET)

        assert await client.answer() == (502, b"in AWS's words")
        assert len(wire.servers) == 1


async def test_what_must_not_be_sent_twice_goes_over_no_connection_that_was_long_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "FRESH_S", 0.05)
    async with core_wire(tmp_path) as wire:
        client = await wire.client()
        for request, connections in (
            (POST, 1),
            (POST, 1),
            (None, 1),
            (GET, 1),
            (None, 1),
            (POST, 2),
        ):
            if request is None:
                await asyncio.sleep(0.1)
                continue
            client.send(request)
            assert await client.answer() == (200, b"ok")
            assert len(wire.servers) == connections


async def test_idle_connections_are_closed_after_a_while(tmp_path: Path) -> None:
    ended: list[bytes] = []

    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.send(OK)
        ended.append(await peer.rest())

    async with core_wire(tmp_path, serve) as wire:
        client = await wire.client()
        client.send(GET)
        assert await client.answer() == (200, b"ok")
        loop_now = asyncio.get_running_loop().time()
        wire.site.pool.sweep(loop_now)
        await asyncio.sleep(0.02)
        assert ended == []

        wire.site.pool.sweep(loop_now + pools.IDLE_S + 1)
        await asyncio.sleep(0.02)
        assert ended == [b""]


async def test_a_client_that_the_hooks_do_not_let_have_a_server_gets_no_idle_one(
    tmp_path: Path,
) -> None:
    async with core_wire(tmp_path) as wire:
        first, second = await wire.client(), await wire.client()
        first.send(GET)
        assert await first.answer() == (200, b"ok")
        wire.gate.wire.approve = lambda *_: None  # type: ignore[method-assign,assignment]
        second.send(GET)

        assert await second.answer() == (502, b"in AWS's words")
        assert len(wire.servers) == 1


@pytest.mark.parametrize("answer", [OK, b"HTTP/1.1 200 OK\r\n\r\nok"], ids=["whole", "to the end"])
@pytest.mark.parametrize("hold", [False, True], ids=["streamed", "held"])
async def test_an_answer_that_a_hook_spoilt_ends_the_connection(
    tmp_path: Path, hold: bool, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with core_wire(tmp_path, serving(answer)) as wire:
        stock = wire.gate.responseheaders

        def spoil(flow: http.HTTPFlow) -> None:
            stock(flow)
            assert flow.response is not None
            flow.response.headers["x-note"] = "canary\r\nSet-Cookie: x"

        wire.gate.responseheaders = spoil  # type: ignore[method-assign]
        wire.gate.holds = hold
        client = await wire.client()
        client.send(GET)

        assert await client.rest() == b"", "at once, and without a word of it"
        await asyncio.sleep(0.02)
        assert wire.gate.fired[-2:] == ["error", "client_disconnected"]
        assert "an answer failed: ValueError" in caplog.text
        assert "canary" not in caplog.text


async def test_a_connection_on_which_a_tunnel_was_refused_carries_nothing_else() -> None:
    """Its answer is whole, so the pool has it at once, before who asked hears of the refusal."""
    transport = Mock(**{"is_closing.return_value": False})
    usable: list[bool] = []
    made = Upstream(
        ("https", "jump", 443, "jump"),
        connection.Server(address=("jump", 443)),
        None,
        lambda: usable.append(made.usable),
        lambda: None,
    )
    made.connection_made(transport)
    asked = _Asked(made)
    made.take(asked, b"CONNECT")
    made.sent_all()
    made.data_received(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")

    assert usable == [True], "given back, as every connection whose answer is whole"
    assert not made.usable
    assert (await asked.answer).status == 403
