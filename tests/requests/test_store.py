"""Access requests kept: whole or not at all, seen by all, and never by two first reviewers."""

from __future__ import annotations

import stat
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import OperationalError

from awsgate.errors import SetupError
from awsgate.policy.accessrequest import (
    AccessRequest,
    NotNow,
    Review,
    State,
    asked,
    reviewed,
    revoked,
)
from awsgate.policy.grants import Grant
from awsgate.policy.requests import Terms
from awsgate.requestdb import MIGRATIONS, sqlite_url
from awsgate.requeststore import RequestStore

NOW = 1_800_000_000
TWO = Terms(((2, 1),), 7200, reason_required=False, reviewers=("bob",))


def one(request_id: str = "ar-1", user: str = "alice", now: int = NOW) -> AccessRequest:
    return asked(
        request_id, user, "oidc/okta", "dba", terms=TWO, reason="Störung \u2603 ' \"; --",
        duration_s=600, now=now,
    )  # fmt: skip


def yes(reviewer: str, at: int = NOW + 5) -> Review:
    return Review(reviewer, "local", True, "fine", at)


def add(store: RequestStore, request: AccessRequest) -> None:
    store.add(request, lambda _: None, lambda _: None)


def review(store: RequestStore, by: str, request_id: str = "ar-1") -> AccessRequest:
    found = store.change(request_id, lambda r: reviewed(r, yes(by)), lambda _: None)
    assert found is not None
    return found


def test_what_is_kept_comes_back(store: RequestStore, url: str) -> None:
    add(store, one())
    review(store, "bob")
    after = review(store, "carol")

    other = RequestStore(url)
    assert other.get("ar-1") == after
    assert (after.state, after.until) == (State.APPROVED, NOW + 605)
    assert [r.reviewer for r in after.reviews] == ["bob", "carol"]
    assert other.grants() == ([Grant("ar-1", "alice", "oidc/okta", "dba", NOW + 605)], NOW + 605)
    assert other.newest() == [after]
    assert other.get("ar-2") is None
    other.close()


def test_every_change_shows_and_nothing_else(store: RequestStore) -> None:
    seen = [store.version()]
    add(store, one())
    seen.append(store.version())
    review(store, "bob")
    seen.append(store.version())
    store.newest(), store.get("ar-1"), store.grants()

    assert len(set(seen)) == 3
    assert store.version() == seen[-1]


def test_what_cannot_be_noted_has_not_happened(store: RequestStore) -> None:
    class Full(Exception):
        pass

    def full(*_: object) -> None:
        raise Full

    with pytest.raises(Full):
        store.add(one(), lambda _: None, full)
    assert store.get("ar-1") is None
    add(store, one())
    with pytest.raises(Full):
        store.change("ar-1", lambda r: revoked(r, by="bob", now=NOW), full)
    assert store.get("ar-1") == one()


def test_what_keeps_a_request_out_sees_those_of_its_user_alone(store: RequestStore) -> None:
    add(store, one())
    add(store, one("ar-2", "bob"))
    found: list[AccessRequest] = []
    store.add(one("ar-3"), found.extend, lambda _: None)

    assert [r.id for r in found] == ["ar-1"]


def test_what_waits_is_what_nobody_has_decided_with_who_has_answered(store: RequestStore) -> None:
    for number, by in enumerate(([], ["bob"], ["bob", "carol"])):
        add(store, one(f"ar-{number}"))
        for reviewer in by:
            review(store, reviewer, f"ar-{number}")

    found = {each.id: [r.reviewer for r in each.reviews] for each in store.pending()}

    assert found == {"ar-0": [], "ar-1": ["bob"]}


def test_of_many_at_once_each_is_counted(store: RequestStore, url: str) -> None:
    """Ten reviewers at once at three gateways: two approvals decide, the others come late."""
    add(store, one())
    stores, results = [store, RequestStore(url), RequestStore(url)], []

    def vote(number: int) -> None:
        try:
            results.append(review(stores[number % 3], f"r{number}").state)
        except NotNow:
            results.append(None)

    threads = [threading.Thread(target=vote, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in stores[1:]:
        other.close()

    assert (results.count(State.PENDING), results.count(State.APPROVED)) == (1, 1)
    assert results.count(None) == 8
    kept = store.get("ar-1")
    assert kept is not None
    assert len(kept.reviews) == 2


def test_an_end_is_given_to_one_who_asks(store: RequestStore, url: str) -> None:
    add(store, one())
    add(store, one("ar-2", "bob"))
    review(store, "x", "ar-2"), review(store, "y", "ar-2")
    other = RequestStore(url)

    assert store.close_ended(NOW + 604) == []
    (ended,) = store.close_ended(NOW + 605)
    assert (ended.id, ended.state, ended.closed_at) == ("ar-2", State.ENDED, NOW + 605)
    assert other.close_ended(NOW + 700) == []
    (expired,) = other.close_ended(NOW + 86_400)
    assert (expired.id, expired.state) == ("ar-1", State.EXPIRED)
    assert store.grants() == ([], 0)
    other.close()


def test_looking_for_ends_changes_nothing(store: RequestStore) -> None:
    add(store, one())
    before = store.version()
    store.close_ended(NOW)

    assert store.version() == before


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    store = RequestStore(sqlite_url(path))
    add(store, one())

    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    path.chmod(0o644)
    with pytest.raises(SetupError, match="0644"):
        RequestStore(sqlite_url(path))


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    RequestStore(sqlite_url(tmp_path / "elsewhere.db")).close()
    (tmp_path / "requests.db").symlink_to(tmp_path / "elsewhere.db")

    with pytest.raises(SetupError, match="cannot open"):
        RequestStore(sqlite_url(tmp_path / "requests.db"))


def test_a_file_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "requests.db"
    store = RequestStore(sqlite_url(path))
    path.unlink()

    with pytest.raises(SetupError, match="does not answer: unable to open"):
        store.version()
    assert not path.exists()


def test_a_schema_moves_on_once_and_a_newer_one_is_left_alone(url: str) -> None:
    ran: list[str] = []

    def second(connection: Connection) -> None:
        ran.append("second")
        connection.execute(text("ALTER TABLE awsgate_requests ADD COLUMN ticket TEXT"))

    first = RequestStore(url)
    add(first, one())
    steps = [*MIGRATIONS, second]
    for _ in range(2):
        moved = RequestStore(url, migrations=steps)
        assert moved.get("ar-1") == one()
        moved.close()

    assert ran == ["second"]
    with pytest.raises(
        SetupError, match=f"schema {len(steps)}, and this awsgate knows {len(MIGRATIONS)}"
    ):
        RequestStore(url)
    first.close()


def test_a_step_that_fails_leaves_all_as_it_was(url: str) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (x INTEGER)"))
        connection.execute(text("no such statement"))

    store = RequestStore(url)
    with pytest.raises(SetupError):
        RequestStore(url, migrations=[*MIGRATIONS, broken])

    RequestStore(url).close()
    with store._engine.connect() as connection, pytest.raises(Exception, match="half"):
        connection.execute(text("SELECT * FROM half"))
    store.close()


def test_several_that_start_at_once_agree(url: str) -> None:
    made: list[object] = []

    def begin() -> None:
        store = RequestStore(url)
        made.append(store.version())
        store.close()

    threads = [threading.Thread(target=begin) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 5
    assert len(set(made)) == 1


BAD_URLS = {
    "of another database": "mysql://u:canary@h/d",
    "no URL": "canary",
    "a file that depends on where one stands": "sqlite:///canary.db",
    "in memory": "sqlite://",
    "nonsense": "postgresql://u:canary@h:port/d",
}


@pytest.mark.parametrize("bad", BAD_URLS.values(), ids=BAD_URLS)
def test_a_bad_url_is_refused_and_not_repeated(bad: str) -> None:
    with pytest.raises(SetupError) as caught:
        RequestStore(bad)

    assert "canary" not in caught.value.render()


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(SetupError, match="does not answer") as caught:
        RequestStore("postgresql://awsgate:canary@127.0.0.1:1/db")

    assert "canary" not in caught.value.render()
    assert caught.value.__cause__ is None


def test_what_a_driver_says_is_told_without_the_password(
    store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise OperationalError("", {}, Exception("cannot reach u:canary@host\ncanary"))

    monkeypatch.setattr(store, "_url", make_url("postgresql://u:canary@host/name"))
    with monkeypatch.context() as within:
        within.setattr(store, "_engine", SimpleNamespace(connect=broken))
        with pytest.raises(SetupError) as caught:
            store.version()

    assert caught.value.message.endswith("does not answer: cannot reach u:***@host")
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)


def test_a_long_list_is_read_in_slices(store: RequestStore) -> None:
    for number in range(3):
        request = replace(one(f"ar-{number}", f"u{number}"), asked_at=NOW + number)
        add(store, request)

    assert [r.id for r in store.newest()] == ["ar-2", "ar-1", "ar-0"]
