"""Idle connections: which is given, how many are kept, and what opening one may end in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mitmproxy import connection

from awsgate.nextgateway import NextGateway
from awsgate.server.core import pool as pools
from awsgate.server.core import through
from awsgate.server.core.head import AnswerHead
from awsgate.server.core.pool import FRESH_S, IDLE_S, Asker, Pool
from awsgate.server.core.through import open_through
from awsgate.server.core.tls import Trust
from awsgate.server.core.upstream import Upstream

KEY = ("https", "sts.amazonaws.com", 443, "sts.amazonaws.com")
OTHER = ("https", "s3.amazonaws.com", 443, "s3.amazonaws.com")
CLIENT = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))


class Hooks:
    """Hooks that say nothing."""

    def of(self, _name: str) -> None:
        return None


@dataclass
class Idle:
    """A connection that carries nothing now."""

    age_s: float = 0.0
    usable: bool = True
    key: Any = KEY
    closed: bool = False
    idle_since: float = field(init=False)

    def __post_init__(self) -> None:
        self.idle_since = monotonic() - self.age_s

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    monkeypatch.setattr(pools, "call", lambda *_: None)
    return Pool(cast("Any", Hooks()), Trust(), lambda: 0.2)


def hold(pool: Pool, *idle: Idle) -> tuple[Idle, ...]:
    for one in idle:
        pool._give_back(cast("Upstream", one))
    return idle


def taken(pool: Pool, *, repeatable: bool) -> Idle | None:
    return cast("Idle | None", pool.take(KEY, repeatable=repeatable))


# --- which is given -------------------------------------------------------------------


def test_the_one_that_was_used_last_is_given(pool: Pool) -> None:
    old, new = hold(pool, Idle(1), Idle(0))

    assert [taken(pool, repeatable=False) for _ in range(3)] == [new, old, None]


def test_what_must_not_be_sent_twice_leaves_an_old_one_to_others(pool: Pool) -> None:
    (old,) = hold(pool, Idle(FRESH_S + 1))

    assert taken(pool, repeatable=False) is None
    assert not old.closed
    assert taken(pool, repeatable=True) is old


def test_one_that_was_idle_for_too_long_is_given_to_nobody(pool: Pool) -> None:
    older, old = hold(pool, Idle(IDLE_S + 2), Idle(IDLE_S + 1))

    assert taken(pool, repeatable=True) is None
    assert old.closed
    assert older.closed


def test_one_that_its_server_closed_is_given_to_nobody(pool: Pool) -> None:
    good, gone = hold(pool, Idle(1), Idle(0, usable=False))

    assert taken(pool, repeatable=False) is good
    assert gone.closed


# --- how many are kept ----------------------------------------------------------------


def test_each_server_has_a_bounded_number(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_IDLE_OF_ONE", 2)

    held = hold(pool, *(Idle() for _ in range(4)), Idle(key=OTHER))

    assert [one.closed for one in held] == [False, False, True, True, False]
    assert sum(taken(pool, repeatable=True) is not None for _ in range(4)) == 2


def test_all_servers_have_one_together(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_IDLE", 3)

    held = hold(pool, *(Idle(key=(*KEY[:3], str(number))) for number in range(5)))

    assert [one.closed for one in held] == [False, False, False, True, True]


def test_what_its_server_closed_is_forgotten_at_once(pool: Pool) -> None:
    gone, good = hold(pool, Idle(usable=False), Idle())

    pool.sweep(monotonic())

    assert (gone.closed, good.closed) == (True, False)
    assert [list(held) for held in pool._idle.values()] == [[good]]
    assert pool._count == 1


# --- what is asked of the hooks -----------------------------------------------------------


@pytest.mark.parametrize(("scheme", "name"), [("https", "h.example"), ("http", ""), ("tunnel", "")])
def test_a_name_is_proved_by_tls_alone(
    scheme: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no hook names another, it is that of the host."""
    monkeypatch.setattr(pools, "call", lambda *_: None)
    monkeypatch.setattr(pools.ctx, "options", None, raising=False)

    asked = Asker(cast("Any", Hooks()), CLIENT).ask_for(scheme, "h.example", 443)

    assert asked == (scheme, "h.example", 443, name)


# --- opening one ------------------------------------------------------------------------


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Give the port of a server that accepts, and says nothing."""

    async def accepted(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_a_handshake_that_does_not_come_ends_in_time(pool: Pool) -> None:
    async with silent_server() as port:
        with pytest.raises(OSError, match="no TLS handshake in time"):
            await pool.dial(("https", "127.0.0.1", port, "h.example"), CLIENT)


async def test_a_server_that_is_not_there_is_told_as_such(pool: Pool) -> None:
    async with silent_server() as port:
        pass

    with pytest.raises(ConnectionRefusedError):
        await pool.dial(("https", "127.0.0.1", port, "h.example"), CLIENT)


@pytest.mark.parametrize("name", ["h.example", ""])
async def test_a_connection_says_which_name_it_was_opened_for(pool: Pool, name: str) -> None:
    async with silent_server() as port:
        made = await pool.dial(("http", "127.0.0.1", port, name), CLIENT)
        made.abort()

    assert made.server.sni == (name or None)


# --- a tunnel by the gateway ahead --------------------------------------------------------

AHEAD = cast("NextGateway", SimpleNamespace(scheme="http", host="ahead.example", port=8080))


class Answering:
    """A connection to the gateway ahead, which answers with a status, or not at all."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.sent = b""
        self.aborted = False
        self.taker: Any = None

    def take(self, taker: Any, _method: bytes) -> None:
        self.taker = taker

    def send(self, data: bytes) -> None:
        self.sent += data

    def sent_all(self) -> None:
        if self.status:
            self.taker.on_answer(cast("AnswerHead", SimpleNamespace(status=self.status)))

    def pause_reading(self) -> None: ...

    def abort(self) -> None:
        self.aborted = True


async def tunnel(made: Answering) -> object:
    async def dial(*_: object) -> Answering:
        return made

    return await open_through(
        cast("Pool", SimpleNamespace(dial=dial)),
        cast("Asker", SimpleNamespace(ask_for=lambda *_: KEY)),
        CLIENT, AHEAD, ("h.example", 443), b"Basic x",
    )  # fmt: skip


async def test_a_tunnel_that_is_granted_is_one() -> None:
    made = Answering(200)

    assert await tunnel(made) is made
    assert made.sent.startswith(b"CONNECT h.example:443 HTTP/1.1\r\n")
    assert not made.aborted


@pytest.mark.parametrize("status", [101, 302, 403, 407, 503])
async def test_one_that_is_refused_is_none(status: int) -> None:
    made = Answering(status)

    with pytest.raises(OSError, match="refused the tunnel"):
        await tunnel(made)
    assert made.aborted


async def test_one_that_is_not_answered_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(through, "TIMEOUT_S", 0.02)
    made = Answering(0)

    with pytest.raises(OSError, match="no answer to CONNECT"):
        await tunnel(made)
    assert made.aborted
