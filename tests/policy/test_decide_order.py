"""The order in which ``decide`` asks: of all that is wrong, the first in it is the reason."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.aws.call import Call
from awsgate.policy import CallFacts, decide, parse_policy

HERE, THERE = "123456789012", "210987654321"
STEPS = (
    "the user is not known",
    "the app is not known",
    "what is asked for is not the arn of an iam role",
    "the role is not in the account of the app",
    "the role is not in the partition of the app",
    "a deny rule matches",
    "no role of the user allows this role in this app",
    "no role of the user allows an endpoint that other tenants can own",
    "a deny rule matches this call: role/no-calls",
    "no rule allows this call: aws_actions of role/allow",
    "an allow rule matches",
)


@pytest.mark.parametrize("right", range(len(STEPS)), ids=STEPS)
def test_the_first_that_says_no_ends_it(right: int) -> None:
    """The first ``right`` things are in order, and all others are not."""
    ok = [number < right for number in range(len(STEPS))]
    account = HERE if ok[3] else THERE
    partition = "aws" if ok[4] else "aws-cn"
    arn = f"arn:{partition}:iam::{account}:role/Dev" if ok[2] else "Dev"
    allow: dict[str, Any] = {
        "app_labels": {"env": "test" if ok[6] else "prod"},
        "aws_role_arns": ["arn:*:iam::*:role/Dev"],
        "aws_tenant_endpoints": ["execute-api"] if ok[7] else [],
        "aws_actions": ["execute-api:*"] if ok[9] else ["s3:*"],
    }
    rules = {
        "deny": {"deny": {"app_labels": {} if ok[5] else {"env": "test"}}},
        "no-calls": {"deny": {"aws_actions": ["s3:*" if ok[8] else "execute-api:*"]}},
        "allow": {"allow": allow},
    }
    labels = {"env": "test", "aws_account_id": HERE}
    documents: list[dict[str, Any]] = [
        {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": spec}
        for name, spec in rules.items()
    ]
    documents += [
        {"kind": "app", "version": "v3", "metadata": {"name": "app", "labels": labels},
         "spec": {"uri": "https://console.aws.amazon.com/"}},
        {"kind": "user", "version": "v2", "metadata": {"name": "alice"},
         "spec": {"roles": list(rules)}},
    ]  # fmt: skip
    call = Call("execute-api", "Invoke", ("execute-api:Invoke",))

    decision = decide(
        parse_policy([(str(number), document) for number, document in enumerate(documents)]),
        user="alice" if ok[0] else "mallory",
        app="app" if ok[1] else "nowhere",
        role_arn=arn,
        endpoint_service="execute-api",
        tenant_controlled=True,
        call=CallFacts(call),
    )

    assert decision.reason == STEPS[right]
    assert decision.allowed is (right == len(STEPS) - 1)
