"""Roles that are granted for a while: there at once, gone to the second, for one person alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from awsgate.errors import Code, Refusal
from awsgate.gate import Gate, Review
from awsgate.login import LoginFacts
from awsgate.policy import Policy, parse_policy
from awsgate.policy.grants import Grant, GrantBook, with_roles
from awsgate.policy.locks import NO_LOCKS, LockBook
from awsgate.session import SessionOpener, mint
from calls import GOOD, KEYS, NOW_S, READER, Call
from signers import WHEN

ALLOW = {"app_labels": {"*": "*"}, "aws_role_arns": [READER]}
DOCUMENTS = [
    {"kind": "role", "version": "v5", "metadata": {"name": "dba"}, "spec": {"allow": ALLOW}},
    {
        "kind": "role",
        "version": "v5",
        "metadata": {"name": "no"},
        "spec": {"deny": {"app_labels": {"*": "*"}, "aws_role_arns": [READER]}},
    },
    {"kind": "user", "version": "v2", "metadata": {"name": "alice"}, "spec": {"roles": []}},
    {
        "kind": "app",
        "version": "v3",
        "metadata": {"name": "console", "labels": {"env": "x"}},
        "spec": {"uri": "https://console.aws.amazon.com/"},
    },
    {
        "kind": "oidc",
        "version": "v3",
        "metadata": {"name": "okta"},
        "spec": {
            "issuer_url": "https://idp.example.com",
            "client_id": "awsgate",
            "claims_to_roles": [{"claim": "a", "value": "b", "roles": ["$1"]}],
        },
    },
]
POLICY = parse_policy([(f"{n}.yaml", document) for n, document in enumerate(DOCUMENTS)])
OKTA, UNTIL = "oidc/okta", NOW_S + 60
GET = replace(GOOD, method="GET", target="/key", body=b"")


def grant(user: str, connector: str, role: str = "dba", until: int = UNTIL) -> Grant:
    return Grant("r1", user, connector, role, until)


def call_of(user: str, connector: str) -> Call:
    login = None if connector == "local" else LoginFacts("ab" * 10, connector, ("none",))
    keys = mint(
        KEYS,
        user=user,
        app="console",
        role_arn=READER,
        ttl_s=3600,
        now=NOW_S,
        entropy=bytes(range(32)),
        login=login,
    )
    return replace(GET, keys=keys)


def answer(call: Call, grants: GrantBook, *, locks: LockBook = NO_LOCKS, in_s: int = 0) -> str:
    gate = Gate(POLICY, SessionOpener(KEYS), grants=grants, locks=locks)
    review, now = Review(call.facts()), WHEN + timedelta(seconds=in_s)
    try:
        gate.receive(review, now)
        gate.authorise(review, call.body, now)
    except Refusal as no:
        return no.code.value
    return "passes"


WHO = {
    "a user of the policy": ("alice", "local", "alice", "local", "passes"),
    "a user of a connector": ("carol", OKTA, "carol", OKTA, "passes"),
    "the same name of a connector has nothing of it": ("alice", OKTA, "alice", "local", "denied"),
    "nor has the policy's user of a connector's": ("alice", "local", "alice", OKTA, "denied"),
    "nor has another name": ("carol", OKTA, "carlo", OKTA, "denied"),
    "a user whom the policy does not know is nobody": (
        "carol",
        "local",
        "carol",
        "local",
        "denied",
    ),
    "a connector that is gone vouches for nobody": ("c", "saml/old", "c", "saml/old", "denied"),
}


@pytest.mark.parametrize("row", WHO.values(), ids=WHO)
def test_a_granted_role_is_for(row: tuple[str, str, str, str, str]) -> None:
    caller, by, user, connector, expected = row
    call = call_of(caller, by)

    assert answer(call, GrantBook()) == "denied"
    assert answer(call, GrantBook([grant(user, connector)])) == expected


def test_it_ends_to_the_second() -> None:
    call, grants = call_of("alice", "local"), GrantBook([grant("alice", "local")])

    assert answer(call, grants, in_s=59) == "passes"
    assert answer(call, grants, in_s=60) == "denied"


@pytest.mark.parametrize(("user", "connector"), [("alice", "local"), ("carol", OKTA)])
def test_of_one_gate_it_ends_too(user: str, connector: str) -> None:
    """Standings and views remember: not beyond the end."""
    call = call_of(user, connector)
    gate = Gate(POLICY, SessionOpener(KEYS), grants=GrantBook([grant(user, connector)]))
    for in_s, passes in ((0, True), (59, True), (60, False), (0, True)):
        review, now = Review(call.facts()), WHEN + timedelta(seconds=in_s)
        gate.receive(review, now)
        assert review.session is not None
        assert gate.may_stay(review.session, now) is passes
        if passes:
            gate.authorise(review, call.body, now)
        else:
            with pytest.raises(Refusal) as caught:
                gate.authorise(review, call.body, now)
            assert caught.value.code is Code.DENIED


def test_locks_on_a_granted_role_hold() -> None:
    lock = parse_policy(
        [
            (
                "l.yaml",
                {
                    "kind": "lock",
                    "version": "v1",
                    "metadata": {"name": "l"},
                    "spec": {"target": {"role": "dba"}},
                },
            )
        ],
        complete=False,
    ).locks.values()
    call, grants = call_of("alice", "local"), GrantBook([grant("alice", "local")])

    assert answer(call, grants, locks=LockBook(lock)) == "locked"
    assert answer(call, GrantBook(), locks=LockBook(lock)) == "denied"


def test_a_granted_role_denies_as_well() -> None:
    both = GrantBook([grant("alice", "local"), grant("alice", "local", "no")])

    assert answer(call_of("alice", "local"), both) == "denied"


def test_a_role_that_the_policy_has_not_is_worth_nothing() -> None:
    grants = GrantBook([grant("alice", "local", "gone")])

    assert answer(call_of("alice", "local"), grants) == "denied"


def test_nobody_is_added_and_nothing_else_changes() -> None:
    changed: Policy = with_roles(POLICY, "alice", ("dba", "dba2"))

    assert changed.users["alice"].spec.roles == ("dba", "dba2")
    assert POLICY.users["alice"].spec.roles == ()
    assert with_roles(POLICY, "nobody", ("dba",)) is POLICY
    assert with_roles(changed, "alice", ("dba",)) is changed


def test_a_role_that_is_granted_twice_ends_with_the_later() -> None:
    book = GrantBook([grant("alice", "local", until=10), grant("alice", "local", until=20)])

    assert [book.roles("alice", "local", now) for now in (9, 19, 20)] == [("dba",), ("dba",), ()]
    assert (len(book), len(list(book))) == (2, 2)
