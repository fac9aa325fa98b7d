"""What hangs elsewhere, a database or AWS, holds up what waits for it and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import pytest

from awsgate.web import beside
from awsgate.web.beside import Beside
from awsgate.web.desk import Desk
from awsgate.web.page import apps, calls, site
from awsgate.web.problems import Problem
from e2e.held import until
from web.believing import WRITE
from web.paging import signed_in
from web.served import Served

MANY = 40
"""More than the threads that the event loop has for everything else."""


@contextmanager
def hanging() -> Iterator[tuple[threading.Event, list[int], Callable[..., None]]]:
    """Give what hangs until the end, and a list of all who hang there."""
    free, inside = threading.Event(), list[int]()

    def hang(*_: object, **__: object) -> None:
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


@pytest.mark.parametrize(
    ("path", "where", "name"),
    [
        ("/", apps, "catalogue"),
        ("/", site, "page"),
        ("/requests/live", site, "page"),
        ("/calls", calls, "last"),
        ("/v1/roles", Desk, "roles"),
    ],
    ids=["what is on the page", "the page", "the requests", "the calls", "the roles"],
)
def test_what_one_user_looks_at_without_end_holds_up_nobody_else(
    own: Served, monkeypatch: pytest.MonkeyPatch, path: str, where: Any, name: str
) -> None:
    """Neither logins nor what others ask for themselves: it is one of several threads."""
    monkeypatch.setattr(beside, "MAX_OF_ONE", MANY)
    bob, alice = own.log_in("bob")["login"], own.log_in("alice")["login"]
    page, real = signed_in(own, "bob"), getattr(where, name)
    with hanging() as (free, inside, hang), ThreadPoolExecutor(MANY) as crowd:
        monkeypatch.setattr(where, name, hang)

        def ask() -> None:
            if path.startswith("/v1"):
                with own.client(bob) as http:
                    http.get(path)
            else:
                page.get(path)

        asked = [crowd.submit(ask) for _ in range(MANY)]
        hangs = until(lambda: bool(inside))
        monkeypatch.setattr(where, name, real)
        with own.client(alice) as http:
            told = [http.get("/v1/whoami"), http.post("/v1/credentials", json={})]
            told += [http.get("/v1/roles"), signed_in(own).get("/")]
        still = not any(one.done() for one in asked)
        free.set()

    assert (hangs, still) == (True, True)
    assert [one.status_code for one in told] == [200] * 4


def test_too_much_of_one_user_is_refused_in_words(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "MAX_OF_ONE", 1)
    bob, most = own.log_in("bob")["login"], 4
    with hanging() as (free, inside, hang), ThreadPoolExecutor(most) as crowd:
        monkeypatch.setattr(Desk, "issue", hang)

        def ask() -> httpx.Response:
            with own.client(bob) as http:
                return http.post("/v1/credentials", json={})

        asked = [crowd.submit(ask) for _ in range(most)]
        assert until(lambda: own.api.lists._of["bob"] == most)
        refused = ask()
        free.set()
        [one.result() for one in asked]

    assert inside
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert refused.json()["error"]["code"] == "busy"
    assert refused.json()["error"]["message"] == "too much is asked for at once"


def test_of_one_user_one_thing_is_done_at_a_time_and_others_do_not_wait_for_the_rest() -> None:
    async def story() -> list[object]:
        some = Beside("test", threads_of_one=1)
        free, begun = threading.Event(), list[int]()

        def hang(number: int) -> int:
            begun.append(number)
            free.wait(60)
            return number

        held = [asyncio.ensure_future(some.run("eve", partial(hang, n))) for n in range(6)]
        await asyncio.sleep(0)
        others = [await some.run(f"user{number}", lambda: "other") for number in range(6)]
        alone = list(begun)
        held.pop(3).cancel()  # she hangs up before it began
        held.pop(0).cancel()  # and while it is done: its thread is hers until it ends
        await asyncio.sleep(0)
        await some.run("alice", lambda: None)
        then = list(begun)
        free.set()
        return [others, alone, then, await asyncio.gather(*held), list(begun), some]

    others, alone, then, answers, begun, some = asyncio.run(story())

    assert others == ["other"] * 6
    assert alone == then == [0]
    assert answers == [1, 2, 4, 5]
    assert begun == [0, 1, 2, 4, 5]  # in the order in which they were asked
    assert isinstance(some, Beside)
    assert until(lambda: not some._lines)
    assert not some._running
    assert not some._of


def test_what_goes_wrong_beside_is_told_and_makes_room() -> None:
    async def story() -> object:
        some = Beside("test", threads_of_one=1)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await some.run("eve", lambda: 1 // 0)
        return await some.run("eve", lambda: "fine")

    assert asyncio.run(story()) == "fine"


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


def test_who_waits_no_more_is_taken_off_the_line() -> None:
    """Or calls that are given up would line up without end."""
    free = threading.Event()
    made = Beside("test", threads_of_one=1)

    async def story() -> int:
        first = asyncio.ensure_future(made.run("eve", lambda: free.wait(30)))
        for _ in range(5 * beside.MAX_OF_ONE):
            waiting = asyncio.ensure_future(made.run("eve", lambda: "never"))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        lined_up = len(made._lines["eve"])
        free.set()
        await first
        return lined_up

    assert asyncio.run(story()) == 0
