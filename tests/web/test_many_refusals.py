"""Whoever has a login and is refused fills no audit: a user, or an address, has so many lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from awsgate.web.attempts import Refusals
from web.believing import Clock
from web.paging import Browser
from web.served import Served, Stage, served_on

PER_MINUTE = 3
MANY = 12


@pytest.fixture
def few(stage: Stage, tmp_path: Path) -> Iterator[Served]:
    """A gateway that takes few of anything."""
    with served_on(stage, tmp_path, logins_per_minute=PER_MINUTE) as made:
        yield made


type Ask = Callable[[httpx.Client], httpx.Response]

CALLS: dict[str, tuple[str, Ask]] = {
    "credentials of a role that is not theirs": (
        "credentials", lambda http: http.post("/v1/credentials", json={"role": "x"}),
    ),
    "a body that cannot be read": (
        "credentials", lambda http: http.post("/v1/credentials", content=b"no"),
    ),
    "a console that the desk refuses": (
        "console", lambda http: http.post("/v1/console", json={"region": "cn-north-1"}),
    ),
    "a console of a role that is not theirs": (
        "console", lambda http: http.post("/v1/console", json={"role": "x"}),
    ),
    "a lock": ("lock.add", lambda http: http.post("/v1/locks", json={"target": {"user": "x"}})),
    "a lock to take away": ("lock.remove", lambda http: http.delete("/v1/locks/x")),
    "a request": (
        "request.create", lambda http: http.post("/v1/requests", json={"role": "ops"}),
    ),
    "an answer": (
        "request.review",
        lambda http: http.post("/v1/requests/ar-0000000000/review", json={"approve": True}),
    ),
    "one to take back": (
        "request.revoke", lambda http: http.post("/v1/requests/ar-0000000000/revoke", json={}),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("event", "ask"), CALLS.values(), ids=CALLS)
def test_what_a_user_is_refused_is_recorded_so_often(few: Served, event: str, ask: Ask) -> None:
    with few.client(few.log_in("alice")["login"]) as http:
        answers = [ask(http) for _ in range(MANY)]

    assert 429 not in {one.status_code for one in answers[:PER_MINUTE]}
    assert {one.status_code for one in answers[PER_MINUTE:]} == {429}
    assert answers[-1].json()["error"]["code"] == "too-many-attempts"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
    assert len(few.lines(event=event, decision="refused")) == PER_MINUTE


PAGES = {
    "a launch": ("console", "/launch", {"app": "main", "role": "x"}),
    "a launch that cannot be read": ("console", "/launch", {"app": "x" * 9999}),
    "a request": ("request.create", "/requests", {"role": "ops"}),
    "an answer": ("request.review", "/requests/answer", {"verdict": "maybe"}),
    "one to take back": ("request.revoke", "/requests/revoke", {"id": "x"}),
}


@pytest.mark.parametrize(("event", "path", "fields"), PAGES.values(), ids=PAGES)
def test_so_often_on_the_page(few: Served, event: str, path: str, fields: dict[str, str]) -> None:
    browser = Browser(few).have(few.log_in("alice")["login"])
    answers = [browser.send(path, **fields) for _ in range(MANY)]

    assert 429 not in {one.status_code for one in answers[:PER_MINUTE]}
    assert {one.status_code for one in answers[PER_MINUTE:]} == {429}
    assert "retry-after" in answers[-1].headers
    assert len(few.lines(event=event, decision="refused")) == PER_MINUTE


def test_a_lock_makes_no_flood_of_lines(few: Served) -> None:
    alice = few.log_in("alice")
    few.lock("out", user="alice")
    with few.client(alice["login"]) as http:
        seen = [http.post("/v1/credentials", json={}).status_code for _ in range(MANY)]
        few.ticks.ahead_s += 60 / PER_MINUTE
        after = [http.post("/v1/credentials", json={}).status_code for _ in range(2)]

    assert Counter(seen) == {403: PER_MINUTE, 429: MANY - PER_MINUTE}
    assert after == [403, 429]
    lines = few.lines(event="credentials", decision="refused")
    assert [(line["user"], line["session"]) for line in lines] == [("alice", alice["id"])] * (
        PER_MINUTE + 1
    )


def test_a_new_login_has_no_new_bucket_and_a_namesake_has_their_own(few: Served) -> None:
    for _ in range(MANY):
        with few.client(few.log_in("alice")["login"]) as http:
            http.post("/v1/credentials", json={"role": "x"})
    assert len(few.lines(event="credentials", decision="refused")) == PER_MINUTE

    with few.client(few.log_in("alice", "github/corp")["login"]) as http:
        assert http.post("/v1/credentials", json={"role": "x"}).status_code == 403


def test_what_is_allowed_is_not_held_up_nor_is_anybody_else(few: Served) -> None:
    alice, bob = few.log_in("alice")["login"], few.log_in("bob")["login"]
    with few.client(alice) as http:
        for _ in range(MANY):
            assert http.post("/v1/credentials", json={"role": "x"}).status_code in (403, 429)
            assert http.post("/v1/credentials", json={}).status_code == 200
    with few.client(bob) as http:
        refused = http.post("/v1/credentials", json={"role": "x"})

    assert refused.json()["error"]["code"] == "denied"


def test_one_address_has_the_refusals_of_ten_users() -> None:
    refusals = Refusals(per_minute=3, clock=Clock(0.0))

    def of(address: str, user: str) -> int:
        return sum(refusals.wait_s(address, user, "oidc/okta") == 0.0 for _ in range(MANY))

    assert [of("192.0.2.1", f"user{number}") for number in range(11)] == [3] * 10 + [0]
    assert of("192.0.2.2", "user10") == 0, "their bucket is empty by now, wherever they are"
    assert of("192.0.2.2", "user11") == 3
    assert sum(refusals.wait_s("192.0.2.3", "", "") == 0.0 for _ in range(99)) == 30
