"""Orders with the keys of a role that the client assumed itself."""

from __future__ import annotations

from dataclasses import replace

from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code
from awsgate.session import (
    GatewayCredentials,
    IssuedKeys,
    Session,
    mint_surrogate,
    open_session,
)
from calls import ADMIN, KEYS, NOW_S, READER, minted
from ordering import EKS_ORDER, RDS_ORDER, REGION, S3_ORDER, order_call
from ordering_gate import OPEN, allowing, judged, policy_of, refused

MIDDLE = "arn:aws:iam::123456789012:role/Middle"


def surrogate(
    role_arn: str = ADMIN, *, user: str = "alice", came_by: str = ""
) -> GatewayCredentials:
    mine = minted()
    parent = open_session(
        KEYS, access_key_id=mine.access_key_id, session_token=mine.session_token, now=NOW_S
    ).session
    holder: Session = replace(parent, user=user, app="console" if user else "")
    issued = IssuedKeys(
        keys=SigningKeys("ASIACHAINED", "canary-chained-secret", "canary-chained-token"),
        expires_at=NOW_S + 1800,
        role_arn=role_arn,
        session_name="alice",
        express=False,
        bucket_host="",
    )
    if came_by:
        holder = replace(holder, issued=replace(issued, role_arn=came_by))
    return mint_surrogate(KEYS, holder, issued, now=NOW_S, entropy=bytes(range(40, 72)))


def test_a_chained_role_orders_with_its_own_keys_and_for_its_own_account() -> None:
    role = "arn:aws:iam::210987654321:role/Other"

    review, plan = judged(order_call(EKS_ORDER, keys=surrogate(role)))

    assert plan.issued is not None
    assert plan.issued.keys.access_key_id == "ASIACHAINED"
    assert review.call is not None
    assert review.call.resources == (f"arn:aws:eks:{REGION}:210987654321:cluster/dev",)


def test_rules_about_the_parents_calls_hold_for_a_chained_role() -> None:
    chained = order_call(S3_ORDER, keys=surrogate())

    found = refused(chained, policy_of(allowing(aws_actions=["s3:List*"])))
    denied = refused(chained, policy_of(OPEN, {"deny": {"aws_role_arns": [ADMIN]}}))

    assert (found.code, denied.code) == (Code.DENIED, Code.DENIED)
    assert denied.detail == "role/r1"


def test_rules_that_deny_a_role_on_the_way_hold_where_it_led_to() -> None:
    by_middle = order_call(S3_ORDER, keys=surrogate(came_by=MIDDLE))
    deny = {"aws_role_arns": [MIDDLE]}

    for more in ({}, {"aws_actions": ["s3:*"]}):
        policy = policy_of(OPEN, {"deny": {**deny, **more}})
        assert refused(by_middle, policy).detail == "role/r1"
        judged(order_call(S3_ORDER, keys=surrogate()), policy)
    judged(by_middle, policy_of(OPEN, {"deny": {**deny, "aws_actions": ["ec2:*"]}}))


def test_an_identity_that_is_no_user_orders_nothing() -> None:
    """Web and SAML identities: no rule about calls is theirs."""
    found = refused(order_call(S3_ORDER, keys=surrogate(READER, user="")))

    assert (found.code, found.detail) == (Code.DENIED, "gateway/artefacts")


def test_a_rule_that_denies_what_a_chained_role_does_besides_holds() -> None:
    for arn in (READER, MIDDLE, ADMIN):
        deny = {"deny": {"aws_actions": ["sts:GetCallerIdentity"], "aws_role_arns": [arn]}}

        order = order_call(EKS_ORDER, keys=surrogate(came_by=MIDDLE))
        found = refused(order, policy_of(OPEN, deny))

        assert (found.code, found.detail) == (Code.DENIED, "role/r1")


def test_its_keys_are_not_said_to_be_held_to_anything_by_aws() -> None:
    found = refused(order_call({**RDS_ORDER, "resource_id": "db-ABC"}, keys=surrogate()))

    assert found.code is Code.UNSUPPORTED
    assert "cannot be narrowed" in found.message
