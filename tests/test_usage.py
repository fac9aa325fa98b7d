"""What a session has done is counted, and what a user has under way."""

from __future__ import annotations

import pytest

from awsgate.usage import MAX_SESSION_S, InFlight, Usage


def test_requests_and_bytes_are_counted_by_session() -> None:
    usage = Usage()

    assert usage.count("a") == (1, 0)
    usage.moved("a", 70)
    usage.moved("a", 30)
    assert usage.count("a") == (2, 100)
    assert usage.count("b") == (1, 0)


def test_bytes_of_a_session_that_never_asked_are_nobodys() -> None:
    usage = Usage()

    usage.moved("a", 10)

    assert usage.count("a") == (1, 0)


def test_as_many_of_a_user_are_under_way_as_may_be_and_others_are_not_held_up() -> None:
    flying = InFlight()

    assert [flying.enter("alice", limit=2) for _ in range(3)] == [True, True, False]
    assert flying.enter("bob", limit=2)
    flying.leave("alice")
    assert [flying.enter("alice", limit=2) for _ in range(2)] == [True, False]
    assert flying.total() == 3


def test_one_that_leaves_once_more_makes_no_room() -> None:
    flying = InFlight()
    flying.enter("alice", limit=1)
    flying.leave("alice")
    flying.leave("alice")

    assert [flying.enter("alice", limit=1) for _ in range(2)] == [True, False]
    flying.leave("alice")
    assert flying.total() == 0


def test_sessions_that_were_quiet_for_longest_are_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("awsgate.usage.MAX_SESSIONS", 2)
    now = 0.0
    usage = Usage(clock=lambda: now)
    usage.count("a")
    usage.count("b")
    usage.count("a")

    usage.count("c")

    assert usage.count("a") == (3, 0)
    assert usage.count("b") == (1, 0)


def test_a_session_is_forgotten_after_its_time() -> None:
    now = 0.0
    usage = Usage(clock=lambda: now)
    usage.count("a")
    now = MAX_SESSION_S + 1.0

    usage.count("b")

    assert len(usage._used) == 1
    assert usage.count("a") == (1, 0)
