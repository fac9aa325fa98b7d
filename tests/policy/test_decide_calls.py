"""The decision on the call: after all that a role alone can answer."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.aws.call import Call
from awsgate.policy import CallFacts, Decision, Policy, decide, parse_policy, standing, verdicts
from awsgate.policy.standing import Standings, standing_of

ARN = "arn:aws:iam::123456789012:role/Dev"
GET = Call("s3", "GetObject", ("s3:GetObject",), ("Read",), ("arn:aws:s3:::b/k",))
PUT = Call("s3", "PutObject", ("s3:PutObject",), ("Write",), ("arn:aws:s3:::b/k",))
UNKNOWN = Call("s3")


def role(name: str, allow: Any = None, deny: Any = None, options: Any = None) -> dict[str, Any]:
    base = {"app_labels": {"*": "*"}, "aws_role_arns": ["arn:aws:iam::*:role/D*"]}
    return {
        "kind": "role",
        "version": "v7",
        "metadata": {"name": name},
        "spec": {
            "allow": {**base, **allow} if allow is not None else {},
            "deny": deny or {},
            "options": options or {},
        },
    }


def policy_of(*roles: dict[str, Any], mode: str = "enforce") -> Policy:
    names = [r["metadata"]["name"] for r in roles]
    app = {"kind": "app", "version": "v3", "metadata": {"name": "app", "labels": {"env": "test"}}}
    return parse_policy(
        [
            ("roles", r) for r in roles
        ] + [
            ("app", {**app, "spec": {"uri": "https://console.aws.amazon.com/"}}),
            ("user", {
                "kind": "user", "version": "v2", "metadata": {"name": "alice"},
                "spec": {"roles": names},
            }),
            ("gateway", {"kind": "gateway", "spec": {"mode": mode}}),
        ]
    )  # fmt: skip


def ask(policy: Policy, call: Call, **facts: Any) -> Decision:
    """Ask anew, and of what was found before: the answers must be one."""
    known = CallFacts(call, ("eu-west-1",), "10.0.0.1", None, **facts)
    about: dict[str, Any] = {
        "user": "alice", "app": "app", "role_arn": ARN, "endpoint_service": "s3",
        "tenant_controlled": False,
    }  # fmt: skip
    found = Standings(policy)
    decide(policy, call=CallFacts(UNKNOWN), standings=found, **about)  # another call, first
    remembered = decide(policy, call=known, standings=found, **about)
    decision = decide(policy, call=known, **about)

    assert remembered == decision
    return decision


READ_ONLY = role("read-only", {"aws_access_levels": ["Read", "List"]})

# roles, call -> allowed, rule, reason
ROWS: dict[str, tuple[list[dict[str, Any]], Call, bool, str, str]] = {
    "read only reads": ([READ_ONLY], GET, True, "role/read-only", "an allow rule matches"),
    "read only does not write": (
        [READ_ONLY], PUT, False, "role/read-only",
        "no rule allows this call: aws_access_levels of role/read-only",
    ),
    "what is not known is a write": (
        [READ_ONLY], UNKNOWN, False, "role/read-only",
        "no rule allows this call: aws_access_levels of role/read-only",
    ),
    "another role of the user allows it": (
        [READ_ONLY, role("put", {"aws_actions": ["s3:Put*"]})], PUT, True, "role/put",
        "an allow rule matches",
    ),
    "two roles do not add up to one": (
        [role("a", {"aws_actions": ["s3:PutObject"], "aws_regions": ["us-*"]}),
         role("b", {"aws_actions": ["s3:GetObject"], "aws_regions": ["eu-*"]})],
        PUT, False, "role/a", "no rule allows this call: aws_regions of role/a",
    ),
    "the role that lacks the least is named": (
        [role("a", {"aws_actions": ["s3:GetObject"], "aws_regions": ["us-*"]}),
         role("b", {"aws_actions": ["s3:GetObject"], "aws_regions": ["eu-*"]}),
         role("c", {"aws_actions": ["s3:GetObject"], "aws_regions": ["us-*"]})],
        PUT, False, "role/b", "no rule allows this call: aws_actions of role/b",
    ),
    "the first of two that lack as much": (
        [role("a", {"aws_actions": ["s3:PutObject"], "aws_regions": ["us-*"]}),
         role("b", {"aws_actions": ["s3:GetObject"]})],
        PUT, False, "role/a", "no rule allows this call: aws_regions of role/a",
    ),
    "a deny of the call wins": (
        [role("all", {}), role("no-put", deny={"aws_actions": ["s3:Put*"]})], PUT, False,
        "role/no-put", "a deny rule matches this call: role/no-put",
    ),
    "a deny of another call does not": (
        [role("all", {}), role("no-put", deny={"aws_actions": ["s3:Put*"]})], GET, True,
        "role/all", "an allow rule matches",
    ),
    "a deny of a call that may be it": (
        [role("all", {}), role("no-put", deny={"aws_actions": ["iam:*"]})], UNKNOWN, False,
        "role/no-put", "a deny rule matches this call: role/no-put",
    ),
    "a deny of the call in other apps": (
        [role("all", {}), role("no", deny={"aws_actions": ["*"], "app_labels": {"env": "prod"}})],
        PUT, True, "role/all", "an allow rule matches",
    ),
    "a deny of the call in this app": (
        [role("all", {}), role("no", deny={"aws_actions": ["*"], "app_labels": {"env": "test"}})],
        PUT, False, "role/no", "a deny rule matches this call: role/no",
    ),
    "a deny of the call as this role": (
        [role("all", {}), role("no", deny={"aws_actions": ["*"], "aws_role_arns": [ARN]})],
        PUT, False, "role/no", "a deny rule matches this call: role/no",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("roles", "call", "allowed", "rule", "reason"), ROWS.values(), ids=ROWS)
def test_a_call(
    roles: list[dict[str, Any]], call: Call, allowed: bool, rule: str, reason: str
) -> None:
    decision = ask(policy_of(*roles), call)

    assert (decision.allowed, decision.rule, decision.reason) == (allowed, rule, reason)
    assert decision.reported == ""


@pytest.mark.parametrize(("roles", "call", "allowed", "rule", "reason"), ROWS.values(), ids=ROWS)
def test_report_mode_refuses_no_call_and_says_what_enforce_would_have(
    roles: list[dict[str, Any]], call: Call, allowed: bool, rule: str, reason: str
) -> None:
    decision = ask(policy_of(*roles, mode="report"), call)

    assert decision.allowed
    assert decision.reported == ("" if allowed else f"{reason} [{rule}]")


def test_report_mode_lets_nobody_be_another_role() -> None:
    policy = policy_of(role("other", {"aws_role_arns": [ARN + "X"]}), mode="report")

    assert not ask(policy, GET).allowed


def test_a_session_past_its_limits_is_refused() -> None:
    policy = policy_of(role("few", {}, options={"max_session_requests": 2}))

    assert ask(policy, GET, requests=2).allowed
    decision = ask(policy, GET, requests=3)
    assert not decision.allowed
    assert decision.unmet == ("max_session_requests",)


def test_a_pattern_of_role_arns_keeps_to_what_it_says() -> None:
    policy = policy_of(role("d", {"aws_role_arns": ["arn:aws:iam::123456789012:role/D?v"]}))

    assert ask(policy, GET).allowed
    for other in ("arn:aws:iam::123456789012:role/Devs", "arn:aws:iam::210987654321:role/Dev"):
        asked = decide(
            policy, user="alice", app="app", role_arn=other, endpoint_service="s3",
            tenant_controlled=False,
        )  # fmt: skip
        assert not asked.allowed


@pytest.mark.parametrize(("roles", "call", "allowed"), [r[:3] for r in ROWS.values()], ids=ROWS)
def test_the_verdicts_agree_with_the_decision(
    roles: list[dict[str, Any]], call: Call, allowed: bool
) -> None:
    said = verdicts(
        policy_of(*roles), user="alice", app="app", role_arn=ARN, endpoint_service="s3",
        tenant_controlled=False, call=CallFacts(call, ("eu-west-1",)),
    )  # fmt: skip

    denied = any(v.matches for v in said if v.effect == "deny")
    assert allowed == (not denied and any(v.matches for v in said if v.effect == "allow"))
    assert all(v.matches == (not v.unmet) for v in said if v.effect == "allow")


def test_each_standing_is_its_own() -> None:
    policy = policy_of(READ_ONLY, role("power", {}))
    found = Standings(policy)
    asked = [
        ("alice", "app", ARN),
        ("bob", "app", ARN),
        ("alice", "other", ARN),
        ("alice", "app", "x"),
    ]

    for about in asked * 2:
        assert found.of(*about) == standing_of(policy, *about)
    assert [bool(found.of(*about).allowing) for about in asked] == [True, False, False, False]


def test_standings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "MAX_STANDINGS", 3)
    found = Standings(policy_of(READ_ONLY))

    for number in range(10):
        found.of("alice", "app", f"{ARN}{number}")
        found.restricts_resources(f"user{number}")

    assert len(found._found) <= 3
    assert len(found._restricted) <= 3
    assert found.of("alice", "app", ARN).allowing


def test_whether_resources_must_be_known_is_asked_once_a_user() -> None:
    """A request with a body asks it, and a user may have thousands of roles."""
    reports = {"aws_resources": ["arn:aws:s3:::reports/*"]}
    by_allow, by_deny = policy_of(role("r", reports)), policy_of(READ_ONLY, role("d", deny=reports))

    for policy, expected in ((by_allow, True), (by_deny, True), (policy_of(READ_ONLY), False)):
        found = Standings(policy)
        assert [found.restricts_resources(who) for who in ("alice", "bob")] == [expected, False]
        found._policy = Policy()
        assert [found.restricts_resources(who) for who in ("alice", "bob")] == [expected, False]
