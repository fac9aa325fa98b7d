"""Identities that AWS knows and the policy does not: good for accounts that it names alone."""

from __future__ import annotations

import pytest

from awsgate.aws.call import Call
from awsgate.policy import CallFacts, parse_policy
from awsgate.policy.decide import (
    NO_TENANT_ENDPOINT,
    OTHER_IDENTITY,
    decide_federated,
    denied_by,
)

LABELLED, LISTED, GLOBBED, OTHER = "111111111111", "222222222222", "333333333333", "444444444444"


def arn(account: str, name: str = "web") -> str:
    return f"arn:aws:iam::{account}:role/{name}"


POLICY = parse_policy(
    [
        ("app", {"kind": "app", "version": "v3",
                 "metadata": {"name": "a", "labels": {"aws_account_id": LABELLED, "env": "x"}},
                 "spec": {"uri": "https://console.aws.amazon.com/"}}),
        ("role", {"kind": "role", "version": "v5", "metadata": {"name": "r"},
                  "spec": {"allow": {"app_labels": {"env": "x"},
                                     "aws_role_arns": [arn(LISTED), arn(GLOBBED, "w*"),
                                                       "arn:aws:iam::*:role/anywhere"]}}}),
        ("user", {"kind": "user", "version": "v2", "metadata": {"name": "u"},
                  "spec": {"roles": ["r"]}}),
    ]
)  # fmt: skip


@pytest.mark.parametrize("account", [LABELLED, LISTED, GLOBBED])
def test_a_role_of_an_account_that_the_policy_names_is_good(account: str) -> None:
    decision = decide_federated(POLICY, role_arn=arn(account), tenant_controlled=False)

    assert (decision.allowed, decision.account, decision.user) == (True, account, "")


@pytest.mark.parametrize("role_arn", [arn(OTHER), "", "arn:aws:iam:::role/web", "no arn"])
def test_any_other_is_not_or_data_could_be_carried_there(role_arn: str) -> None:
    decision = decide_federated(POLICY, role_arn=role_arn, tenant_controlled=False)

    assert (decision.allowed, decision.reason) == (False, OTHER_IDENTITY)


def test_an_endpoint_that_others_can_own_is_not_for_them() -> None:
    decision = decide_federated(POLICY, role_arn=arn(LISTED), tenant_controlled=True)

    assert (decision.allowed, decision.reason) == (False, NO_TENANT_ENDPOINT)


DENYING = [
    ("roles", {"kind": "role", "version": "v7", "metadata": {"name": "r"}, "spec": {
        "allow": {"app_labels": {"env": "x"}, "aws_role_arns": [arn(LISTED)]},
        "deny": {"app_labels": {"env": "x"}}}}),
    ("roles", {"kind": "role", "version": "v7", "metadata": {"name": "reads"}, "spec": {
        "allow": {"app_labels": {"env": "x"}, "aws_role_arns": [arn(LISTED)]},
        "deny": {"app_labels": {"env": "y"}, "aws_access_levels": ["Write"]}}}),
    ("apps", {"kind": "app", "version": "v3", "metadata": {"name": "a", "labels": {"env": "x"}},
              "spec": {"uri": "https://console.aws.amazon.com/"}}),
    ("apps", {"kind": "app", "version": "v3", "metadata": {"name": "b", "labels": {"env": "y"}},
              "spec": {"uri": "https://console.aws.amazon.com/"}}),
    ("users", {"kind": "user", "version": "v2", "metadata": {"name": "u"},
               "spec": {"roles": ["r", "reads"]}}),
]  # fmt: skip
PUT = CallFacts(Call("s3", "PutObject", ("s3:PutObject",), ("Write",), ()))
GET = CallFacts(Call("s3", "GetObject", ("s3:GetObject",), ("Read",), ()))
FURTHER: dict[str, tuple[str, str, str, CallFacts | None, str]] = {
    "by its app": ("u", "a", "enforce", None, "role/r"),
    "by its app, whatever is called": ("u", "a", "report", PUT, "role/r"),
    "by its call": ("u", "b", "enforce", PUT, "role/reads"),
    "not by another call": ("u", "b", "enforce", GET, ""),
    "not by a call that is not known yet": ("u", "b", "enforce", None, ""),
    "by no call, where the policy only reports": ("u", "b", "report", PUT, ""),
    "not for a user that is not known": ("nobody", "a", "enforce", PUT, ""),
    "not in an app that is not known": ("u", "nothing", "enforce", PUT, ""),
}


@pytest.mark.parametrize(("user", "app", "mode", "call", "rule"), FURTHER.values(), ids=FURTHER)
def test_a_further_role_is_denied(
    user: str, app: str, mode: str, call: CallFacts | None, rule: str
) -> None:
    policy = parse_policy([*DENYING, ("g", {"kind": "gateway", "spec": {"mode": mode}})])

    assert denied_by(policy, user=user, app=app, role_arn=arn(OTHER), call=call) == rule


@pytest.mark.parametrize(("user", "app"), [("nobody", "a"), ("u", "nothing"), ("u", "a")])
def test_nobody_is_denied_by_a_rule_that_is_not_theirs(user: str, app: str) -> None:
    assert denied_by(POLICY, user=user, app=app, role_arn=arn(LISTED)) == ""
