"""Identities that AWS knows and the policy does not: good for accounts that it names alone."""

from __future__ import annotations

import pytest

from awsgate.policy import parse_policy
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


@pytest.mark.parametrize(("user", "app"), [("nobody", "a"), ("u", "nothing"), ("u", "a")])
def test_nobody_is_denied_by_a_rule_that_is_not_theirs(user: str, app: str) -> None:
    assert denied_by(POLICY, user=user, app=app, role_arn=arn(LISTED)) == ""
