"""Orders at the gate: the same checks and the same policy as any request, and no way out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from awsgate import outgoing
from awsgate.errors import Code, Refusal
from awsgate.gate import Gate, Review
from awsgate.policy import parse_policy
from awsgate.session import (
    GatewayCredentials,
    SessionOpener,
)
from calls import ADMIN, KEYS, READER, ROLE_KEYS, Call, at, minted, unsigned, with_value
from ordering import (
    ACCOUNT,
    ALL_ORDERS,
    EKS_ORDER,
    GIT_ORDER,
    RDS_ORDER,
    REGION,
    S3_ORDER,
    STS,
    order_call,
)
from ordering_gate import OPEN, allowing, judged, policy_of, refused
from signers import WHEN

# --- what is ordered is decided -----------------------------------------------------------


@pytest.mark.parametrize("kind", ALL_ORDERS)
def test_an_order_is_planned_and_can_never_be_sent(kind: str) -> None:
    review, plan = judged(order_call(ALL_ORDERS[kind]))

    assert review.orders
    assert not review.streams, "the signature is over the body"
    assert plan.order is not None
    assert (plan.order.kind, plan.role_arn, plan.user) == (kind, READER, "alice")
    with pytest.raises(ValueError, match="never sent"):
        outgoing.sign(
            plan, review.facts, review.claim, client_secret=review.secret, keys=ROLE_KEYS, now=WHEN
        )


DECIDED: dict[str, tuple[dict[str, Any], list[dict[str, Any]], str]] = {
    "a key that is allowed": (
        S3_ORDER, [allowing(aws_resources=["arn:aws:s3:::reports/a/*"])], "",
    ),
    "another key": (
        {**S3_ORDER, "key": "b"},
        [allowing(aws_resources=["arn:aws:s3:::reports/a/*"])],
        "no rule allows this call: aws_resources of role/r0",
    ),
    "a key that is denied": (
        {**S3_ORDER, "key": "secret/x"},
        [OPEN, {"deny": {"aws_resources": ["arn:aws:s3:::reports/secret/*"]}}],
        "a deny rule matches this call: role/r1",
    ),
    "another method": (
        {**S3_ORDER, "method": "PUT"},
        [allowing(aws_actions=["s3:GetObject"])],
        "no rule allows this call: aws_actions of role/r0",
    ),
    "reading is allowed": (S3_ORDER, [allowing(aws_access_levels=["Read", "List"])], ""),
    "a cluster is no mere reading": (
        EKS_ORDER,
        [allowing(aws_access_levels=["Read", "List"])],
        "no rule allows this call: aws_access_levels of role/r0",
    ),
    "a cluster that is allowed": (
        EKS_ORDER,
        [allowing(aws_actions=["eks:AccessKubernetesApi"],
                  aws_resources=[f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/dev"])],
        "",
    ),
    "another cluster": (
        {**EKS_ORDER, "cluster": "prod"},
        [allowing(aws_resources=["arn:aws:eks:*:*:cluster/dev"])],
        "no rule allows this call: aws_resources of role/r0",
    ),
    "a token is a call to sts as well": (
        EKS_ORDER,
        [OPEN, {"deny": {"aws_actions": ["sts:*"]}}],
        "a deny rule matches this call: role/r1 (eks:AccessKubernetesApi)",
    ),
    "unless it is denied elsewhere": (
        EKS_ORDER,
        [OPEN, {"deny": {"aws_actions": ["sts:*"], "aws_role_arns": [ADMIN]}}],
        "",
    ),
    "another region": (
        EKS_ORDER,
        [allowing(aws_regions=["us-east-1"])],
        "no rule allows this call: aws_regions of role/r0",
    ),
    "a database that is not told is none that is allowed": (
        RDS_ORDER,
        [allowing(aws_resources=["arn:aws:rds-db:*:*:dbuser:db-ABC/app"])],
        "no rule allows this call: aws_resources of role/r0",
    ),
    "and may be any that is denied": (
        RDS_ORDER,
        [OPEN, {"deny": {"aws_resources": ["arn:aws:rds-db:*:*:dbuser:db-XYZ/*"]}}],
        "a deny rule matches this call: role/r1",
    ),
    "a database that is told": (
        {**RDS_ORDER, "resource_id": "db-ABC"},
        [allowing(aws_resources=["arn:aws:rds-db:*:*:dbuser:db-ABC/app"])],
        "",
    ),
    "pull alone": (
        GIT_ORDER,
        [allowing(aws_actions=["codecommit:GitPull"])],
        "no rule allows this call: aws_actions of role/r0",
    ),
    "pull alone, and no more asked": (
        {**GIT_ORDER, "pull_only": True}, [allowing(aws_actions=["codecommit:GitPull"])], "",
    ),
    "limits": (
        S3_ORDER,
        [{**OPEN, "options": {"max_session_requests": 1}},
         {"deny": {"aws_actions": ["iam:*"]}}],
        "",
    ),
    "other networks": (
        S3_ORDER,
        [allowing(source_networks=["10.0.0.0/8"])],
        "no rule allows this call: source_networks of role/r0",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("order", "specs", "reason"), DECIDED.values(), ids=DECIDED)
def test_the_policy_judges_the_call_that_the_artefact_stands_for(
    order: dict[str, Any], specs: list[dict[str, Any]], reason: str
) -> None:
    call = order_call(order)
    policy = policy_of(*specs)

    if not reason:
        review, plan = judged(call, policy)
        assert (review.decision is not None and review.decision.allowed, plan.order is None) == (
            True,
            False,
        )
        return
    found = refused(call, policy)
    assert (found.code, reason in found.message) == (Code.DENIED, True)


def test_report_mode_reports() -> None:
    policy = policy_of(allowing(aws_actions=["s3:List*"]), mode="report")

    review, plan = judged(order_call(S3_ORDER), policy)

    assert plan.order is not None
    assert review.decision is not None
    assert "aws_actions of role/r0" in review.decision.reported


def test_aws_is_told_to_hold_the_keys_to_the_clients_word() -> None:
    _, plan = judged(order_call({**RDS_ORDER, "resource_id": "db-ABC"}))

    (statement,) = json.loads(plan.handoff.policy)["Statement"]
    assert statement["Resource"] == f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:db-ABC/app"


def test_the_operator_turns_them_off() -> None:
    found = refused(order_call(EKS_ORDER), policy_of(OPEN, artefacts={"kinds": ["s3"]}))

    assert (found.code, found.detail) == (Code.DENIED, "gateway/artefacts.kinds")


# --- what is not an order -----------------------------------------------------------------


def sent_unsigned() -> Call:
    return order_call(
        S3_ORDER, after=lambda fields: [f for f in fields if f[0].lower() != b"authorization"]
    )


LENGTH = str(len(order_call(S3_ORDER).body))
HEADERS = order_call(S3_ORDER).headers
JSON_TYPE, SIZE = HEADERS
ODD: dict[str, tuple[Call, Code]] = {
    "unsigned": (sent_unsigned(), Code.NOT_SIGNED),
    "get": (order_call(S3_ORDER, method="GET"), Code.UNSUPPORTED),
    "another path": (order_call(S3_ORDER, target="/.awsgate/v2/artefact"), Code.UNSUPPORTED),
    "the prefix": (order_call(S3_ORDER, target="/.awsgate"), Code.UNSUPPORTED),
    "up and away": (order_call(S3_ORDER, target="/.awsgate/../"), Code.UNSUPPORTED),
    "a query": (
        order_call(S3_ORDER, target="/.awsgate/v1/artefact?Action=GetCallerIdentity"),
        Code.UNSUPPORTED,
    ),
    "the global endpoint": (
        order_call(S3_ORDER, host="sts.amazonaws.com", region="us-east-1"),
        Code.UNSUPPORTED,
    ),
    "a form": (
        order_call(S3_ORDER, headers=(("Content-Type", "application/x-www-form-urlencoded"), SIZE)),
        Code.UNSUPPORTED,
    ),
    "no length": (order_call(S3_ORDER, headers=(JSON_TYPE,)), Code.UNSUPPORTED),
    "too long": (
        order_call(S3_ORDER, headers=(JSON_TYPE, ("Content-Length", "8193"))),
        Code.UNSUPPORTED,
    ),
    "chunked": (
        order_call(S3_ORDER, headers=(JSON_TYPE, ("Transfer-Encoding", "chunked"))),
        Code.UNSUPPORTED,
    ),
    "a body that is not signed": (order_call(S3_ORDER, sign_body=False), Code.BAD_SIGNATURE),
    "another secret": (order_call(S3_ORDER, secret="x" * 43), Code.BAD_SIGNATURE),
    "another region than the endpoint's": (
        order_call(S3_ORDER, region="us-east-1"),
        Code.SCOPE_MISMATCH,
    ),
    "another service": (order_call(S3_ORDER, service="s3"), Code.SCOPE_MISMATCH),
    "old": (order_call(S3_ORDER, age=timedelta(minutes=6)), Code.CLOCK_SKEW),
    "ended": (order_call(S3_ORDER, keys=minted(age_s=3601)), Code.SESSION_EXPIRED),
    "keys of nobody's": (
        order_call(S3_ORDER, keys=GatewayCredentials("ASIAX", "s" * 40, "t", 0)),
        Code.UNKNOWN_KEY,
    ),
    "the host unsigned": (
        order_call(S3_ORDER, after=with_value(b"authorization", unsigned("host"))),
        Code.BAD_SIGNATURE,
    ),
    "another host in its header": (
        order_call(S3_ORDER, after=with_value(b"host", lambda _: b"sts.us-east-1.amazonaws.com")),
        Code.UNSUPPORTED,
    ),
    "through a tunnel to elsewhere": (
        order_call(
            S3_ORDER,
            facts_too=at(
                connect_host="sts.us-east-1.amazonaws.com", sni="sts.us-east-1.amazonaws.com"
            ),
        ),
        Code.UNSUPPORTED,
    ),
    "port 8443": (order_call(S3_ORDER, facts_too=at(connect_port=8443)), Code.UNSUPPORTED),
}


@pytest.mark.parametrize(("call", "code"), ODD.values(), ids=ODD)
def test_what_is_no_proper_order_is_refused(call: Call, code: Code) -> None:
    policy = policy_of(OPEN, unsigned={"foreign_presigned": True, "bearer_tokens": True})

    assert refused(call, policy).code is code


@pytest.mark.parametrize(
    ("host", "region"),
    [("sts.amazonaws.com", "us-east-1"), (f"vpce-1-2.sts.{REGION}.vpce.amazonaws.com", REGION)],
)
def test_orders_go_to_a_regional_endpoint(host: str, region: str) -> None:
    found = refused(order_call(EKS_ORDER, host=host, region=region))

    assert "a regional STS endpoint" in found.message


def test_a_presigned_order_is_none() -> None:
    """Else anybody who sees a URL could have an artefact made."""
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAOTHER%2F20261123%2F"
        f"{REGION}%2Fsts%2Faws4_request&X-Amz-Date=20261123T101530Z&X-Amz-Expires=900"
        f"&X-Amz-SignedHeaders=host&X-Amz-Signature={'0' * 64}"
    )
    call = order_call(S3_ORDER)
    facts = replace(
        call.facts(),
        target=f"{call.target}?{query}".encode(),
        headers=((b"Host", STS.encode()), (b"Content-Length", LENGTH.encode())),
    )
    gate = Gate(policy_of(OPEN, unsigned={"foreign_presigned": True}), SessionOpener(KEYS))

    with pytest.raises(Refusal) as caught:
        gate.receive(Review(facts), WHEN)

    assert caught.value.code is Code.NOT_SIGNED


def test_a_body_that_was_changed_on_the_way_orders_nothing() -> None:
    other = json.dumps({**S3_ORDER, "key": "c/b.txt"}).encode()

    with pytest.raises(Refusal) as caught:
        judged(order_call(S3_ORDER), body=other)

    assert caught.value.code is Code.BAD_SIGNATURE


def test_parameters_are_read_once_the_signature_is_proved() -> None:
    call = order_call({"kind": "nonsense"}, secret="x" * 43)

    assert refused(call).code is Code.BAD_SIGNATURE


def test_on_another_host_the_path_is_an_object_like_any() -> None:
    call = order_call(
        S3_ORDER, host=f"reports.s3.{REGION}.amazonaws.com", service="s3", method="PUT"
    )

    review, plan = judged(call)

    assert (review.orders, plan.order) == (False, None)
    assert review.call is not None
    assert review.call.resources == ("arn:aws:s3:::reports/.awsgate/v1/artefact",)


def test_a_role_of_another_partition_is_not_used() -> None:
    host = "sts.cn-north-1.amazonaws.com.cn"

    found = refused(order_call(S3_ORDER, host=host, region="cn-north-1"))

    assert found.code is Code.SCOPE_MISMATCH


def test_a_lock_holds_orders_too() -> None:
    lock = {
        "kind": "lock",
        "version": "v1",
        "metadata": {"name": "out"},
        "spec": {"target": {"user": "alice"}},
    }
    documents: list[tuple[str, Any]] = [("l", lock)]
    policy = replace(policy_of(OPEN), locks=parse_policy(documents).locks)

    assert refused(order_call(S3_ORDER), policy).code is Code.LOCKED
