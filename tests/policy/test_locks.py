"""Whom a lock holds, and that thousands of them cost no more than one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.policy.locks import LockBook, in_force, lock_on
from awsgate.policy.resources import Lock
from locking import lock

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
WRITER, READER = (f"arn:aws:iam::123456789012:role/{name}" for name in ("Writer", "Reader"))
ALICE: dict[str, Any] = {
    "user": "alice",
    "roles": ("dev", "ops"),
    "app": "main",
    "session": "5e5510",
    "role_arn": WRITER,
    "now": NOW,
}


def held(*locks: Lock, **changes: Any) -> str:
    """Give the name of the lock that holds alice; nothing: none does."""
    found = lock_on(LockBook(locks), **{**ALICE, **changes})
    return found.metadata.name if found is not None else ""


FITS = {
    "user": lock(user="alice"),
    "the user in other letters": lock(user="Alice"),
    "the user in another form of Unicode": lock(user="ａlice"),
    "role of the policy": lock(role="ops"),
    "app": lock(app="main"),
    "session": lock(session="5e5510"),
    "IAM role": lock(aws_role_arn=WRITER),
    "user and role": lock(user="alice", role="dev"),
    "all at once": lock(
        user="alice", role="dev", app="main", session="5e5510", aws_role_arn=WRITER
    ),
}
FITS_NOT = {
    "another user": lock(user="alicia"),
    "a role that she has not": lock(role="admin"),
    "another app": lock(app="mai"),
    "another session": lock(session="5e551"),
    "another IAM role": lock(aws_role_arn=READER),
    "a pattern is no pattern": lock(aws_role_arn=WRITER[:-1] + "*"),
    "the user, in another app": lock(user="alice", app="side"),
    "another user with the same role": lock(user="bob", role="dev"),
    "the session of another user": lock(user="bob", session="5e5510"),
    "all but the IAM role": lock(
        user="alice", role="dev", app="main", session="5e5510", aws_role_arn=READER
    ),
}


@pytest.mark.parametrize("one", FITS.values(), ids=FITS)
def test_a_lock_holds_whom_all_of_it_fits(one: Lock) -> None:
    assert held(one) == "one"


@pytest.mark.parametrize("one", FITS_NOT.values(), ids=FITS_NOT)
def test_a_lock_holds_nobody_else(one: Lock) -> None:
    assert held(one) == ""


def test_a_lock_holds_who_comes_back_in_other_letters() -> None:
    """Providers let people change the case of their name; GitHub does."""
    assert held(lock(user="mallory@example.com"), user="Mallory@Example.COM") == "one"
    assert held(lock(user="Ünal"), user="u\u0308NAL") == "one"


def test_a_lock_ends_at_its_second() -> None:
    ends = lock(user="alice", expires=NOW)

    assert held(ends, now=NOW - timedelta(microseconds=1)) == "one"
    assert held(ends, now=NOW) == ""
    assert in_force(lock(user="alice"), datetime.max.replace(tzinfo=UTC))


def test_a_lock_that_is_over_hides_no_other() -> None:
    over = lock("a", user="alice", expires=NOW)

    assert held(over, lock("b", role="dev")) == "b"


@pytest.mark.parametrize("locked", [WRITER, READER])
def test_a_session_that_went_on_to_a_role_is_held_by_a_lock_on_either(locked: str) -> None:
    one = lock(aws_role_arn=locked)

    assert held(one, role_arn=WRITER, came_by=[READER]) == "one"


def test_somebody_without_a_name_is_not_held_by_what_names_nobody() -> None:
    """Web identities have no user, app or session of ours."""
    nobody = {"user": "", "roles": (), "app": "", "session": "", "role_arn": ""}

    assert [held(one, **nobody) for one in FITS.values()] == [""] * len(FITS)


def test_the_first_by_name_counts_in_whatever_order_they_were_read() -> None:
    one, two, three = lock("1", role="dev"), lock("2", user="alice"), lock("3", app="main")

    assert held(three, two, one) == held(one, two, three) == "1"


KINDS = ("user", "role", "app", "session", "aws_role_arn")
TARGETS = st.fixed_dictionaries({}, optional=dict.fromkeys(KINDS, st.sampled_from("ab"))).filter(
    bool
)
LOCKS = st.lists(
    st.builds(
        lambda number, over, target: lock(str(number), expires=NOW if over else None, **target),
        st.integers(0, 99),
        st.booleans(),
        TARGETS,
    ),
    max_size=12,
)


@given(LOCKS, st.sampled_from("abc"), st.sets(st.sampled_from("abc")), st.sampled_from("abc"))
def test_the_index_finds_what_a_look_at_every_lock_finds(
    locks: list[Lock], user: str, roles: set[str], other: str
) -> None:
    def fits(one: Lock) -> bool:
        target = one.spec.target.model_dump(exclude_none=True)
        mine = {"user": {user}, "role": roles, "app": {other}, "session": {user}}
        mine["aws_role_arn"] = {user, other}
        return in_force(one, NOW) and all(value in mine[key] for key, value in target.items())

    slow = sorted((one for one in locks if fits(one)), key=lambda one: one.metadata.name)

    assert held(
        *locks, user=user, roles=roles, app=other, session=user, role_arn=user, came_by=[other]
    ) == (slow[0].metadata.name if slow else "")


def test_only_locks_that_may_fit_are_looked_at() -> None:
    many = [lock(f"{n:05}", user=f"user-{n}", role="dev", app="main") for n in range(10_000)]
    book = LockBook([*many, lock("mine", user="alice")])

    looked_at = list(book.about([("user", "alice"), ("role", "dev"), ("app", "main")]))

    assert [one.metadata.name for one in looked_at] == ["mine"]
    assert len(book) == 10_001
