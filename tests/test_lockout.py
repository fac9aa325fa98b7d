"""Sessions and locks: who is locked, and what they are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal
from awsgate.gate import Gate, Review
from awsgate.lockout import cut_off, locked, may_stay
from awsgate.login import LoginFacts
from awsgate.onward import connector_of
from awsgate.policy.locks import LockBook
from awsgate.policy.resources import Lock
from awsgate.session import (
    ENTROPY_BYTES,
    IssuedKeys,
    Session,
    SessionOpener,
    mint_surrogate,
    open_session,
)
from calls import ADMIN, GOOD, KEYS, POLICY, READER
from hopping import NEAR_POLICY
from locking import lock
from signers import WHEN

ALICE = Session("GATE", "5e5510", "alice", "console", READER, 0, 1)


def gate(*stored: Lock, policys: Lock | None = None) -> Gate:
    policy = POLICY
    if policys is not None:
        policy = replace(policy, locks={policys.metadata.name: policys})
    return Gate(policy, SessionOpener(KEYS), locks=LockBook(stored))


def refusal(of: Gate) -> Refusal | None:
    review = Review(GOOD.facts())
    of.receive(review, WHEN)
    try:
        of.authorise(review, GOOD.body, WHEN)
    except Refusal as exc:
        return exc
    return None


@pytest.mark.parametrize(
    ("with_lock", "without"),
    [
        (gate(lock(user="alice")), gate(lock(user="bob"))),
        (gate(policys=lock(role="read")), gate(policys=lock(role="write"))),
        (gate(lock(user="bob"), policys=lock(app="console")), gate(lock(user="bob"))),
    ],
    ids=["of the state folder", "of the policy", "of either"],
)
def test_the_gate_refuses_the_locked_and_nobody_else(with_lock: Gate, without: Gate) -> None:
    refused = refusal(with_lock)

    assert refused is not None
    assert refused.code is Code.LOCKED
    assert refusal(without) is None


def test_a_gate_of_another_policy_has_its_locks() -> None:
    before = gate(lock("stored", user="bob"))
    after = replace(before, policy=replace(POLICY, locks={"new": lock("new", user="alice")}))

    assert before.lock_of(ALICE, WHEN) is None
    found = after.lock_of(ALICE, WHEN)
    assert found is not None
    assert found.metadata.name == "new"
    assert replace(after, policy=POLICY).lock_of(ALICE, WHEN) is None
    assert after.lock_of(replace(ALICE, user="bob"), WHEN) is not None


def test_a_signature_is_proved_before_a_lock_is_told() -> None:
    review = Review(replace(GOOD, secret="wrong").facts())
    locks = gate(lock(user="alice"))
    locks.receive(review, WHEN)

    with pytest.raises(Refusal) as caught:
        locks.authorise(review, GOOD.body, WHEN)

    assert caught.value.code is Code.BAD_SIGNATURE


@pytest.mark.parametrize("locked_role", [READER, ADMIN], ids=["the first role", "the role now"])
def test_a_session_that_assumed_a_further_role_is_held_by_a_lock_on_either(
    locked_role: str,
) -> None:
    issued = IssuedKeys(SigningKeys("ASIA", "s", "t"), 1, ADMIN, "alice")
    chained = replace(ALICE, issued=issued)
    on_role = gate(lock(aws_role_arn=locked_role))

    assert on_role.lock_of(chained, WHEN) is not None
    assert (on_role.lock_of(ALICE, WHEN) is not None) == (locked_role == READER)


@pytest.mark.parametrize("locked_role", ["first", "second", "third", "now"])
def test_a_lock_on_any_role_of_the_way_holds_the_session(locked_role: str) -> None:
    arns = {name: f"arn:aws:iam::123456789012:role/{name}" for name in ("second", "third", "now")}
    at = replace(ALICE, expires_at=2**33)
    for step, arn in enumerate(arns.values()):
        issued = IssuedKeys(SigningKeys("ASIA", "s", "t"), 2**33, arn, "alice")
        made = mint_surrogate(KEYS, at, issued, now=9, entropy=bytes([step]) * ENTROPY_BYTES)
        at = open_session(
            KEYS, access_key_id=made.access_key_id, session_token=made.session_token, now=9
        ).session
    of_it = {"first": READER, **arns}

    assert gate(lock(aws_role_arn=of_it[locked_role])).lock_of(at, WHEN) is not None
    assert gate(lock(aws_role_arn=ADMIN)).lock_of(at, WHEN) is None


def test_what_the_locked_are_told() -> None:
    until = locked(lock(user="alice", message="talk to security", expires="2026-12-24T18:00:00Z"))
    for_good = locked(lock(user="alice"))
    by_logout = locked(lock("logout-1", session="1", expires="2026-12-24T18:00:00Z"))

    assert (until.message, until.hint) == (
        "talk to security",
        "the lock ends at 2026-12-24T18:00:00Z",
    )
    assert until.detail == "lock/one"
    assert (for_good.message, for_good.hint) == (
        "access is locked by the operator of the gateway",
        "ask who runs the gateway",
    )
    assert by_logout.hint == "log in again: awsgate login"
    assert cut_off(lock(user="alice", message="m")).message == "cut off: m"


def test_a_lock_on_a_login_holds_each_session_that_came_from_it() -> None:
    of = replace(ALICE, login=LoginFacts("ab" * 10, "oidc/okta"))
    other = replace(of, login=LoginFacts("cd" * 10, "oidc/okta"))
    locked_out = gate(lock(session="ab" * 10))

    assert locked_out.lock_of(of, WHEN) is not None
    assert locked_out.lock_of(other, WHEN) is None
    assert locked_out.lock_of(ALICE, WHEN) is None


def test_whoever_the_gateway_ahead_knows_may_stay_and_nobody_else() -> None:
    """The policy here need not know a single user."""
    policy = NEAR_POLICY
    ahead = policy.gateway.upstream_gateway
    assert ahead is not None
    theirs = replace(ALICE, login=LoginFacts("ab" * 10, connector_of(ahead)))

    assert may_stay(policy, theirs)
    assert not may_stay(replace(POLICY, gateway=policy.gateway), ALICE)
