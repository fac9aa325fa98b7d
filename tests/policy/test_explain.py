"""Explanations: the verdict of each rule, and what the nearest lacks, in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from awsgate.aws.call import Call
from awsgate.policy import CallFacts, Policy, Verdict, parse_policy
from awsgate.policy.explain import Explanation, Missing, Nearest, explain

ARN = "arn:aws:iam::123456789012:role/Dev"
PUT = Call("s3", "PutObject", ("s3:PutObject",), ("Write",), ("arn:aws:s3:::b/k",))
NOON = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)  # a Friday
BASE = {"app_labels": {"env": "test"}, "aws_role_arns": [ARN]}


def role(name: str, allow: Any = None, deny: Any = None, **options: Any) -> dict[str, Any]:
    spec = {"allow": allow or {}, "deny": deny or {}, "options": options}
    return {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": spec}


def policy_of(*roles: dict[str, Any], mode: str = "enforce") -> Policy:
    app = {"uri": "https://console.aws.amazon.com/"}
    return parse_policy(
        [(f"roles.yaml document {n}", r) for n, r in enumerate(roles, 1)]
        + [
            ("app", {"kind": "app", "version": "v3", "spec": app,
                     "metadata": {"name": "app", "labels": {"env": "test"}}}),
            ("user", {"kind": "user", "version": "v2", "metadata": {"name": "alice"},
                      "spec": {"roles": [r["metadata"]["name"] for r in roles]}}),
            ("gateway", {"kind": "gateway", "spec": {"mode": mode}}),
        ]
    )  # fmt: skip


def ask(policy: Policy, call: CallFacts | None, tenant: str = "") -> Explanation:
    return explain(
        policy,
        user="alice",
        app="app",
        role_arn=ARN,
        endpoint_service=tenant or "s3",
        tenant_controlled=bool(tenant),
        call=call,
    )


FACTS = CallFacts(PUT, ("eu-west-1",), "10.0.0.1", NOON, 3, 10)


def test_rules_stand_in_the_order_in_which_they_are_asked() -> None:
    policy = policy_of(
        role("a", BASE | {"aws_actions": ["s3:Get*"]}, {"aws_actions": ["s3:*"]}),
        role("b", BASE, {"app_labels": {"env": "prod"}}),
        role("c", None, {"aws_actions": ["ec2:*"], "aws_role_arns": [ARN + "X"]}),
    )

    assert ask(policy, FACTS).verdicts == (
        Verdict("role/b", "deny", False, ("app_labels",)),
        Verdict("role/a", "deny", True),
        Verdict("role/c", "deny", False, ("aws_role_arns", "aws_actions")),
        Verdict("role/a", "allow", False, ("aws_actions",)),
        Verdict("role/b", "allow", True),
    )


def test_a_call_that_is_allowed_has_no_nearest_rule() -> None:
    assert ask(policy_of(role("all", BASE)), FACTS).nearest is None


def test_a_denied_call_names_the_rule_that_would_allow_it() -> None:
    found = ask(policy_of(role("all", BASE), role("no", None, {"aws_actions": ["*"]})), FACTS)

    assert found.decision.rule == "role/no"
    assert found.nearest == Nearest("role/all", "roles.yaml document 1", ())


def test_the_nearest_lacks_least() -> None:
    found = ask(
        policy_of(
            role("far", BASE | {"aws_actions": ["s3:Get*"], "aws_regions": ["us-*"]}),
            role("elsewhere", {"app_labels": {"env": "prod"}, "aws_role_arns": [ARN]}),
            role("near", BASE | {"aws_access_levels": ["Read", "List"]}),
        ),
        FACTS,
    )

    missing = (Missing("aws_access_levels", "Write", "Read, List"),)
    assert found.nearest == Nearest("role/near", "roles.yaml document 3", missing)


def test_in_report_mode_what_enforce_would_refuse_is_explained() -> None:
    found = ask(policy_of(role("near", BASE | {"aws_regions": ["us-*"]}), mode="report"), FACTS)

    assert found.decision.allowed
    assert found.nearest is not None
    assert found.nearest.missing == (Missing("aws_regions", "eu-west-1", "us-*"),)


# field of the allow, or the option -> what is missing; with and without what is known
FIELDS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "aws_actions": ({"aws_actions": ["s3:Get*", "ec2:*"]}, "s3:PutObject", "not known",
                    "s3:Get*, ec2:*"),
    "aws_resources": ({"aws_resources": ["arn:aws:s3:::other/*"]}, "arn:aws:s3:::b/k", "not known",
                      "arn:aws:s3:::other/*"),
    "aws_regions": ({"aws_regions": ["us-*"]}, "eu-west-1", "not known", "us-*"),
    "aws_services": ({"aws_services": ["ec2"]}, "s3", "s3", "ec2"),
    "aws_access_levels": ({"aws_access_levels": ["Read"]}, "Write", "Write", "Read"),
    "source_networks": ({"source_networks": ["192.168.0.0/16"]}, "10.0.0.1", "not known",
                        "192.168.0.0/16"),
    "hours": ({"hours": [{"days": ["mon"], "from": "09:00", "to": "17:00"}]}, "Fri 12:30 UTC",
              "not known", "mon 09:00 to 17:00 UTC"),
    "app_labels": ({"app_labels": {"env": ["prod", "dev"]}}, "env: test", "env: test",
                   "env: prod or dev"),
    "aws_role_arns": ({"aws_role_arns": [ARN + "X"]}, ARN, ARN, ARN + "X"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "row"), FIELDS.items(), ids=FIELDS)
def test_what_is_missing_is_said_in_words(
    name: str, row: tuple[dict[str, Any], str, str, str]
) -> None:
    allow, known, unknown, wants = row
    policy = policy_of(role("r", BASE | allow))

    for facts, has in ((FACTS, known), (CallFacts(Call("s3")), unknown)):
        nearest = ask(policy, facts).nearest
        assert nearest is not None
        assert nearest.missing == (Missing(name, has, wants),)


def test_limits_and_endpoints_are_said_too() -> None:
    limited = ask(policy_of(role("r", BASE, max_session_requests=2)), FACTS).nearest
    owned = ask(policy_of(role("r", BASE)), FACTS, tenant="execute-api").nearest

    assert limited is not None
    assert limited.missing == (Missing("max_session_requests", "3", "at most 2"),)
    assert owned is not None
    assert owned.missing == (Missing("aws_tenant_endpoints", "execute-api", "none"),)


def test_who_is_not_known_has_no_rules() -> None:
    found = explain(
        policy_of(role("r", BASE)),
        user="bob",
        app="app",
        role_arn=ARN,
        endpoint_service="s3",
        tenant_controlled=False,
        call=FACTS,
    )

    assert (found.decision.reason, found.verdicts, found.nearest) == (
        "the user is not known",
        (),
        None,
    )
