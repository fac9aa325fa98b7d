"""The gate on marked calls: pending, approved, denied, and over to the second. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from awsgate.approving import Unapproved
from awsgate.errors import Code, Refusal
from awsgate.gate import Gate, Review
from awsgate.login import LoginFacts
from awsgate.outgoing import Plan
from awsgate.policy import Policy, parse_policy
from awsgate.policy.approvals import AskedCall, MarkedCall
from awsgate.policy.grants import GrantBook
from awsgate.policy.locks import NO_LOCKS, LockBook
from awsgate.policy.resources import Lock
from awsgate.session import GatewayCredentials, SessionOpener, mint
from calls import ADMIN, GOOD, KEYS, NOW_S, READER, Call
from signers import WHEN
from test_gate_artefacts_chained import surrogate

KEY = "arn:aws:s3:::b/key"
DELETE = replace(GOOD, method="DELETE", target="/key", body=b"")
MARKED = MarkedCall("dev", READER, ("s3:DeleteObject",), (KEY,))
OKTA = "oidc/okta"


def policy_of(more: dict[str, Any] | None = None, **allow: Any) -> Policy:
    documents: list[dict[str, Any]] = [
        {"kind": "role", "version": "v5", "metadata": {"name": "dev"},
         "spec": {"allow": {"app_labels": {"*": "*"}, "aws_role_arns": [READER],
                            "approvals": [{"actions": ["s3:Delete*", "s3:Put*"]}], **allow},
                  **(more or {})}},
        {"kind": "user", "version": "v2", "metadata": {"name": "alice"},
         "spec": {"roles": ["dev"]}},
        {"kind": "app", "version": "v3", "metadata": {"name": "console"},
         "spec": {"uri": "https://console.aws.amazon.com/", "aws": {"external_id": "ext-1"}}},
        {"kind": "oidc", "version": "v3", "metadata": {"name": "okta"},
         "spec": {"issuer_url": "https://idp.example.com", "client_id": "awsgate",
                  "claims_to_roles": [{"claim": "a", "value": "b", "roles": ["dev"]}]}},
    ]  # fmt: skip
    return parse_policy([(f"{n}.yaml", document) for n, document in enumerate(documents)])


def asked(state: str = "approved", until: int = NOW_S + 60, **changes: Any) -> AskedCall:
    made = AskedCall("ar-0123456789", "alice", "local", MARKED, state, until, "bob", "no, thanks")  # type: ignore[arg-type]
    return replace(made, **changes)


def keys(user: str = "alice", login: LoginFacts | None = None) -> GatewayCredentials:
    return mint(
        KEYS, user=user, app="console", role_arn=READER, ttl_s=3600, now=NOW_S,
        entropy=bytes(range(32)), login=login,
    )  # fmt: skip


def judged(
    call: Call,
    *known: AskedCall,
    policy: Policy | None = None,
    locks: LockBook = NO_LOCKS,
    in_s: int = 0,
) -> tuple[Review, Plan]:
    gate = Gate(policy or policy_of(), SessionOpener(KEYS), locks, grants=GrantBook(asked=known))
    review, now = Review(call.facts()), WHEN + timedelta(seconds=in_s)
    gate.receive(review, now)
    return review, gate.authorise(review, call.body, now)


def refused(call: Call, *known: AskedCall, **more: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        judged(call, *known, **more)
    return caught.value


def test_of_a_call_that_nobody_has_asked_for_the_gate_says_what_to_ask() -> None:
    no = refused(replace(DELETE, keys=keys()))

    assert isinstance(no, Unapproved)
    assert (no.code, no.detail) == (Code.PENDING_APPROVAL, "role/dev")
    assert no.need.call == MARKED
    assert str(no) == "alice may not do this yet: s3:DeleteObject needs an approval"


def test_a_call_that_is_asked_for_names_its_request() -> None:
    no = refused(replace(DELETE, keys=keys()), asked("pending"))

    assert (type(no), no.code) == (Refusal, Code.PENDING_APPROVAL)
    assert "ar-0123456789 asks for it" in no.message
    assert "awsgate request show ar-0123456789" in no.hint


def test_an_approved_call_goes_out_as_any_other_and_names_its_approval() -> None:
    review, plan = judged(replace(DELETE, keys=keys()), asked())

    assert review.decision is not None
    assert (review.decision.allowed, review.decision.approval) == (True, "ar-0123456789")
    assert (plan.role_arn, plan.external_id) == (READER, "ext-1")


def test_a_call_that_is_not_marked_has_no_approval() -> None:
    review, _ = judged(replace(GOOD, method="GET", target="/key", body=b"", keys=keys()), asked())

    assert review.decision is not None
    assert review.decision.approval == ""


def test_a_denied_call_is_told_by_whom_and_why() -> None:
    no = refused(replace(DELETE, keys=keys()), asked("denied"))

    assert no.code is Code.DENIED
    assert no.message.endswith("bob denied ar-0123456789 for s3:DeleteObject: no, thanks")


@pytest.mark.parametrize("state", ["approved", "pending", "denied"])
def test_it_is_over_to_the_second(state: str) -> None:
    call = replace(DELETE, keys=keys())

    if state == "approved":
        judged(call, asked(state), in_s=59)
    else:
        assert not isinstance(refused(call, asked(state), in_s=59), Unapproved)
    assert isinstance(refused(call, asked(state), in_s=60), Unapproved)


ELSEWHERE = {
    "another user's": {"user": "carol"},
    "of the same name by a connector": {"connector": OKTA},
    "of another object": {"call": replace(MARKED, resources=(f"{KEY}2",))},
    "of another action": {"call": replace(MARKED, actions=("s3:PutObject",))},
    "as another role": {"call": replace(MARKED, role_arn=ADMIN)},
    "of another role of the policy": {"call": replace(MARKED, role="ops")},
    "of what is not known": {"call": replace(MARKED, resources=())},
}


@pytest.mark.parametrize("changes", ELSEWHERE.values(), ids=ELSEWHERE)
def test_an_approval_is_for_the_very_call_of_the_very_user(changes: dict[str, Any]) -> None:
    assert isinstance(refused(replace(DELETE, keys=keys()), asked(**changes)), Unapproved)


def test_a_user_of_a_connector_has_their_own() -> None:
    call = replace(DELETE, keys=keys(login=LoginFacts("ab" * 10, OKTA, ("dev",))))

    judged(call, asked(connector=OKTA))
    assert isinstance(refused(call, asked()), Unapproved)


def test_a_lock_holds_who_has_an_approval() -> None:
    lock = Lock.model_validate(
        {"kind": "lock", "version": "v2", "metadata": {"name": "x"},
         "spec": {"target": {"user": "alice"}}}
    )  # fmt: skip

    no = refused(replace(DELETE, keys=keys()), asked(), locks=LockBook([lock]))
    assert no.code is Code.LOCKED


@pytest.mark.parametrize("known", [(), (asked(),)], ids=["asked for by nobody", "approved"])
def test_what_a_rule_denies_is_put_to_nobody_and_no_approval_opens_it(
    known: tuple[AskedCall, ...],
) -> None:
    policy = policy_of({"deny": {"aws_actions": ["s3:DeleteObject"]}})
    no = refused(replace(DELETE, keys=keys()), *known, policy=policy)

    assert (no.code, type(no)) == (Code.DENIED, Refusal)


def test_a_role_that_the_client_assumed_is_the_one_that_is_approved() -> None:
    call = replace(DELETE, keys=surrogate(ADMIN))
    no = refused(call, asked())

    assert isinstance(no, Unapproved)
    assert no.need.call == replace(MARKED, role_arn=ADMIN)
    judged(call, asked(call=no.need.call))


def test_a_role_on_the_way_that_is_denied_is_put_to_nobody() -> None:
    policy = policy_of({"deny": {"aws_role_arns": [ADMIN]}})

    no = refused(replace(DELETE, keys=surrogate(ADMIN)), policy=policy)
    assert no.code is Code.DENIED
