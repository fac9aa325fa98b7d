"""What hangs elsewhere, a database or AWS, holds up what waits for it and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from awsgate.web import beside
from awsgate.web.beside import Beside
from awsgate.web.problems import Problem
from e2e.held import until
from web.believing import WRITE
from web.served import Served

MANY = 40
"""More than the threads that the event loop has for everything else."""


@contextmanager
def hanging() -> Iterator[tuple[threading.Event, list[int], Callable[..., None]]]:
    """Give what hangs until the end, and a list of all who hang there."""
    free, inside = threading.Event(), list[int]()

    def hang(*_: object) -> None:
        inside.append(1)
        free.wait(60)

    try:
        yield free, inside, hang
    finally:
        free.set()


@pytest.mark.parametrize("what", ["database", "console"])
def test_others_log_in_and_get_credentials_while_it_hangs(
    own: Served, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(beside, "MAX_OF_ONE", MANY)
    bob, alice = (own.log_in(who)["login"] for who in ("bob", "alice"))
    with hanging() as (free, inside, hang), ThreadPoolExecutor(MANY) as crowd:
        monkeypatch.setattr(own.api.asking, "all_for", hang)
        monkeypatch.setattr(own.console, "sign_in", hang)

        def ask() -> None:
            with own.client(bob) as http:
                if what == "database":
                    http.get("/v1/requests")
                else:
                    http.post("/v1/console", json={"role": WRITE})

        asked = [crowd.submit(ask) for _ in range(MANY)]
        hangs = until(lambda: len(inside) >= beside.THREADS)
        with own.client(alice) as http:
            whoami, keys = http.get("/v1/whoami"), http.post("/v1/credentials", json={})
        still = not any(one.done() for one in asked)
        free.set()

    assert (hangs, still) == (True, True)
    assert (whoami.status_code, keys.status_code) == (200, 200)


def test_one_user_takes_not_all_of_it_and_what_has_ended_makes_room() -> None:
    async def story() -> list[object]:
        some = Beside("test")
        free = threading.Event()
        held = [
            asyncio.ensure_future(some.run("eve", lambda: free.wait(60)))
            for _ in range(beside.MAX_OF_ONE)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Problem) as no:
            await some.run("eve", lambda: "too many")
        other = asyncio.ensure_future(some.run("alice", lambda: "alice's"))
        await asyncio.sleep(0)
        held.pop().cancel()  # she hangs up before it began
        await asyncio.sleep(0)
        again = asyncio.ensure_future(some.run("eve", lambda: "again"))
        await asyncio.sleep(0)
        free.set()
        await asyncio.gather(*held)
        return [no.value.status, no.value.code, await other, await again]

    assert asyncio.run(story()) == [503, "busy", "alice's", "again"]


def test_not_any_number_of_users_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "MAX_WAITING", 3)

    async def story() -> int:
        some, free = Beside("test"), threading.Event()
        held = [
            asyncio.ensure_future(some.run(f"user{number}", lambda: free.wait(60)))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        try:
            with pytest.raises(Problem) as no:
                await some.run("alice", lambda: "too many")
        finally:
            free.set()
        await asyncio.gather(*held)
        return no.value.status

    assert asyncio.run(story()) == 503
