"""Conditions on the call: an allow needs certainty, a deny only the possibility."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws.call import Call
from awsgate.policy.conditions import CallFacts, may_hold, over_limit, unmet
from awsgate.policy.rules import Allow, RoleOptions

OBJECT = "arn:aws:s3:::reports/2026/a b.csv"
GET = Call("s3", "GetObject", ("s3:GetObject",), ("Read",), (OBJECT,))
COPY = Call(
    "s3", "CopyObject", ("s3:PutObject", "s3:GetObject"), ("Write", "Read"), (OBJECT, OBJECT + "x")
)
UNKNOWN = Call("s3")
API = Call(
    "execute-api", "Invoke", ("execute-api:Invoke",), ("Write",),
    ("arn:aws:execute-api:eu-west-1:*:abc/prod/GET/x",),
)  # fmt: skip
OWN_APIS = "arn:aws:execute-api:eu-west-1:123456789012"
NOON = datetime.fromisoformat("2026-11-24T12:00:00+00:00")  # a Tuesday
FACTS = CallFacts(GET, ("eu-west-1",), "10.1.2.3", NOON)


def facts(call: Call = GET, **changed: Any) -> CallFacts:
    values = {"call": call, "regions": ("eu-west-1",), "client": "10.1.2.3", "now": NOON}
    return CallFacts(**{**values, **changed})


# conditions, facts -> does it surely hold; may it hold
ROWS: dict[str, tuple[dict[str, Any], CallFacts, bool, bool]] = {
    "none is given": ({}, facts(UNKNOWN), True, True),
    "the action": ({"aws_actions": ["s3:GetObject"]}, FACTS, True, True),
    "the action in another case": ({"aws_actions": ["S3:getobject"]}, FACTS, True, True),
    "a glob of the action": ({"aws_actions": ["s3:Get*"]}, FACTS, True, True),
    "a glob of services": ({"aws_actions": ["*:Get*"]}, FACTS, True, True),
    "another action": ({"aws_actions": ["s3:PutObject"]}, FACTS, False, False),
    "one of two actions": ({"aws_actions": ["s3:Put*"]}, facts(COPY), False, True),
    "both actions": ({"aws_actions": ["s3:Put*", "s3:Get*"]}, facts(COPY), True, True),
    "a name for an unknown action": ({"aws_actions": ["s3:Get*"]}, facts(UNKNOWN), False, True),
    "all of the service of one": ({"aws_actions": ["s3:*"]}, facts(UNKNOWN), True, True),
    "all of another service": ({"aws_actions": ["ec2:*"]}, facts(UNKNOWN), False, True),
    "all actions": ({"aws_actions": ["*"]}, facts(UNKNOWN), True, True),
    "the resource": ({"aws_resources": ["arn:aws:s3:::reports/*"]}, FACTS, True, True),
    "another resource": ({"aws_resources": ["arn:aws:s3:::logs/*"]}, FACTS, False, False),
    "one of two resources": ({"aws_resources": [OBJECT]}, facts(COPY), False, True),
    "an unknown resource": (
        {"aws_resources": ["arn:aws:s3:::reports/*"]}, facts(UNKNOWN), False, True,
    ),
    "any resource": ({"aws_resources": ["*"]}, facts(UNKNOWN), True, True),
    "a resource of the team": (
        {"aws_resources": ["arn:aws:s3:::{{internal.team}}/*"]}, FACTS, True, True,
    ),
    "a trait is no glob": (
        {"aws_resources": ["arn:aws:s3:::{{internal.star}}/*"]}, FACTS, False, False,
    ),
    "the region": ({"aws_regions": ["eu-*"]}, FACTS, True, True),
    "another region": ({"aws_regions": ["us-*"]}, FACTS, False, False),
    "one of two regions": (
        {"aws_regions": ["eu-*"]}, facts(regions=("eu-west-1", "us-east-1")), False, True,
    ),
    "all regions, asked for one": ({"aws_regions": ["eu-*"]}, facts(regions=("*",)), False, True),
    "a region of some, asked for one": (
        {"aws_regions": ["us-east-1"]}, facts(regions=("us-*",)), False, True,
    ),
    "some regions, asked for as many": (
        {"aws_regions": ["us-*"]}, facts(regions=("us-*",)), False, True,
    ),
    "some regions and another": (
        {"aws_regions": ["eu-west-1"]}, facts(regions=("eu-west-1", "us-*")), False, True,
    ),
    "a region in capitals": ({"aws_regions": ["eu-*"]}, facts(regions=("EU-X",)), False, True),
    "some regions, any will do": ({"aws_regions": ["*"]}, facts(regions=("us-*",)), True, True),
    "an unknown region": ({"aws_regions": ["eu-*"]}, facts(regions=()), False, True),
    "the service": ({"aws_services": ["s3"]}, FACTS, True, True),
    "another service": ({"aws_services": ["ec2"]}, FACTS, False, False),
    "another service, action unknown": ({"aws_services": ["ec2"]}, facts(UNKNOWN), False, True),
    "the level": ({"aws_access_levels": ["Read", "List"]}, FACTS, True, True),
    "another level": ({"aws_access_levels": ["List"]}, FACTS, False, False),
    "one of two levels": ({"aws_access_levels": ["Write"]}, facts(COPY), False, True),
    "the lesser of two levels": ({"aws_access_levels": ["Read"]}, facts(COPY), False, True),
    "both levels": ({"aws_access_levels": ["Read", "Write"]}, facts(COPY), True, True),
    "an api, whose ever": (
        {"aws_resources": ["arn:aws:execute-api:*:*:abc/*"]}, facts(API), True, True,
    ),
    "an api of one account": ({"aws_resources": [f"{OWN_APIS}:abc/*"]}, facts(API), False, True),
    "all apis of one account": ({"aws_resources": [f"{OWN_APIS}:*"]}, facts(API), False, True),
    "another api of one account": (
        {"aws_resources": [f"{OWN_APIS}:xyz/*"]}, facts(API), False, False,
    ),
    "another api": ({"aws_resources": ["arn:aws:execute-api:*:*:x/*"]}, facts(API), False, False),
    "an api of a team": (
        {"aws_resources": [f"{OWN_APIS}:{{{{internal.team}}}}/*"]}, facts(API), False, True,
    ),
    "an api elsewhere": (
        {"aws_resources": ["arn:aws:execute-api:us-east-1:123456789012:{{internal.team}}/*"]},
        facts(API), False, False,
    ),
    "an unknown call is a write": ({"aws_access_levels": ["Write"]}, facts(UNKNOWN), True, True),
    "and may be anything": ({"aws_access_levels": ["Read"]}, facts(UNKNOWN), False, True),
    "the network": ({"source_networks": ["10.0.0.0/8"]}, FACTS, True, True),
    "another network": ({"source_networks": ["192.0.2.0/24"]}, FACTS, False, False),
    "the network, mapped": (
        {"source_networks": ["10.0.0.0/8"]}, facts(client="::ffff:10.1.2.3"), True, True,
    ),
    "a network of the other kind": ({"source_networks": ["::/0"]}, FACTS, False, False),
    "an address with a zone": (
        {"source_networks": ["fe80::/10"]}, facts(client="fe80::1%eth0"), True, True,
    ),
    "an unknown address": ({"source_networks": ["10.0.0.0/8"]}, facts(client=""), False, True),
    "no address": ({"source_networks": ["10.0.0.0/8"]}, facts(client="unix"), False, False),
    "in hours": ({"hours": [{"from": "08:00", "to": "18:00"}]}, FACTS, True, True),
    "after hours": ({"hours": [{"from": "08:00", "to": "12:00"}]}, FACTS, False, False),
    "on another day": ({"hours": [{"days": ["mon"]}]}, FACTS, False, False),
    "in hours elsewhere": (
        {"hours": [{"from": "21:00", "to": "22:00", "timezone": "Asia/Tokyo"}]}, FACTS, True, True,
    ),
    "past midnight, in the evening": (
        {"hours": [{"days": ["tue"], "from": "11:00", "to": "06:00"}]}, FACTS, True, True,
    ),
    "past midnight, of the day before": (
        {"hours": [{"days": ["mon"], "from": "22:00", "to": "13:00"}]}, FACTS, True, True,
    ),
    "past midnight, of this day": (
        {"hours": [{"days": ["tue"], "from": "22:00", "to": "13:00"}]}, FACTS, False, False,
    ),
    "an unknown time": ({"hours": [{"days": ["tue"]}]}, facts(now=None), False, True),
    "two, both hold": (
        {"aws_actions": ["s3:*"], "aws_regions": ["eu-*"]}, FACTS, True, True,
    ),
    "two, one does not": (
        {"aws_actions": ["s3:*"], "aws_regions": ["us-*"]}, FACTS, False, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given_", "known", "surely", "maybe"), ROWS.values(), ids=ROWS)
def test_a_condition(given_: dict[str, Any], known: CallFacts, surely: bool, maybe: bool) -> None:
    rules, traits = Allow.model_validate(given_), {"team": ("reports",), "star": ("*",)}

    assert (unmet(rules, known, traits) == ()) is surely
    assert may_hold(rules, known, traits) is maybe
    if not surely:
        assert set(unmet(rules, known, traits)) <= set(given_)


CALLS = st.sampled_from([GET, COPY, UNKNOWN, API])
RULES = st.sampled_from([rules for rules, *_ in ROWS.values()])


@given(
    CALLS,
    RULES,
    st.sampled_from([(), ("*",), ("us-*",), ("eu-west-1",)]),
    st.sampled_from(["", "x", "::1"]),
)
def test_what_surely_holds_may_hold(
    call: Call, given_: dict[str, Any], regions: tuple[str, ...], client: str
) -> None:
    """An allow that is certain can never be out of reach of a deny with the same words."""
    rules, known = Allow.model_validate(given_), CallFacts(call, regions, client, NOON)

    if not unmet(rules, known, {}):
        assert may_hold(rules, known, {})


def test_a_session_has_its_limits() -> None:
    options = RoleOptions(max_session_requests=10, max_session_bytes=100)

    assert over_limit(options, facts(requests=10, bytes=100)) == ()
    assert over_limit(options, facts(requests=11, bytes=101)) == (
        "max_session_requests", "max_session_bytes",
    )  # fmt: skip
    assert over_limit(RoleOptions(), facts(requests=10**9, bytes=10**15)) == ()
