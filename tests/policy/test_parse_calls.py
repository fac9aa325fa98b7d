"""Faults of rules about calls, sessions and the gateway's own address: each is said."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.errors import SetupError
from awsgate.policy import parse_policy


def role(**spec: Any) -> dict[str, Any]:
    return {"kind": "role", "version": "v5", "metadata": {"name": "r"}, "spec": spec}


def session_policy(value: object) -> dict[str, Any]:
    return role(options={"aws_session_policy": value})


def gateway(**spec: Any) -> dict[str, Any]:
    return {"kind": "gateway", "version": "v1", "metadata": {"name": "g"}, "spec": spec}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "an action with a control character": (
        role(allow={"aws_actions": ["s3:Get\x07*"]}), "is too long or holds control characters"),
    "an action without end": (
        role(allow={"aws_actions": ["s3:" + "a" * 5000]}), "is too long or holds control"),
    "no time of day": (role(allow={"hours": [{"from": "25:00"}]}), "is not a time of day"),
    "a time in words": (role(allow={"hours": [{"to": "noon"}]}), "is not a time of day"),
    "a window of no length": (
        role(allow={"hours": [{"from": "08:00", "to": "08:00"}]}), "from and to are both"),
    "no JSON": (session_policy({"inline": "{"}), "is not JSON"),
    "no policy": (session_policy({"inline": "{}"}), "it has no Statement"),
    "what no JSON has": (
        session_policy({"inline": {"Statement": float("nan")}}), "cannot be written as JSON"),
    "no managed policy": (
        session_policy({"policy_arns": ["arn:aws:iam::1:role/x"]}),
        "is not the ARN of a managed policy"),
    "computed and given": (
        session_policy({"computed": True, "policy_arns": ["arn:aws:iam::aws:policy/ReadOnly"]}),
        "not both"),
    "a test in an ARN": (
        role(allow={"aws_role_arns": ["{{regexp.match(\"^a$\")}}"]}), "labels"),
    "roles for certificates that nobody issues": (
        gateway(control={"certificate_to_roles": [{"subject": "a", "roles": ["r"]}]}),
        "go together"),
    "certificates for nobody": (gateway(control={"client_ca": "ca.pem"}), "go together"),
}  # fmt: skip


@pytest.mark.parametrize(("document", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault(document: dict[str, Any], words: str) -> None:
    with pytest.raises(SetupError) as caught:
        parse_policy([("doc", document)])

    assert [fault for fault in caught.value.faults if words in fault]
