"""A gate with the policy of one test, and what it says to an order."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.errors import Refusal
from awsgate.gate import Gate, Review
from awsgate.outgoing import Plan
from awsgate.policy import Policy, parse_policy
from awsgate.session import SessionOpener
from calls import KEYS, READER, Call
from signers import WHEN

OPEN = {"allow": {"app_labels": {"*": "*"}, "aws_role_arns": [READER]}}


def policy_of(*specs: dict[str, Any], **gateway: Any) -> Policy:
    roles = [
        ("r", {"kind": "role", "version": "v5", "metadata": {"name": f"r{i}"}, "spec": spec})
        for i, spec in enumerate(specs)
    ]
    return parse_policy(
        [
            *roles,
            ("u", {"kind": "user", "version": "v2", "metadata": {"name": "alice"},
                   "spec": {"roles": [f"r{i}" for i in range(len(specs))]}}),
            ("a", {"kind": "app", "version": "v3", "metadata": {"name": "console"},
                   "spec": {"uri": "https://console.aws.amazon.com/"}}),
            ("g", {"kind": "gateway", "spec": gateway}),
        ]
    )  # fmt: skip


def allowing(**conditions: Any) -> dict[str, Any]:
    return {"allow": {**OPEN["allow"], **conditions}}


def judged(
    call: Call, policy: Policy | None = None, body: bytes | None = None
) -> tuple[Review, Plan]:
    gate = Gate(policy or policy_of(OPEN), SessionOpener(KEYS))
    review = Review(call.facts())
    gate.receive(review, WHEN)
    return review, gate.authorise(review, call.body if body is None else body, WHEN)


def refused(call: Call, policy: Policy | None = None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        judged(call, policy)
    return caught.value
