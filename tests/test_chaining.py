"""What a client may ask STS for, and what it is told: lifetimes, names, surrogates."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlencode

import pytest

from awsgate.aws.endpoint import resolve_endpoint
from awsgate.chaining import issues_credentials
from awsgate.errors import Code, Refusal
from awsgate.gate import Gate, Review
from awsgate.outgoing import Plan
from awsgate.policy import ChainedSpec
from awsgate.session import SessionOpener
from calls import KEYS, POLICY, Call, minted
from signers import WHEN

STS = "sts.eu-central-1.amazonaws.com"
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
EXPRESS = "bb--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com"
S3_CONTROL = "123456789012.s3-control.us-east-1.amazonaws.com"
ROLE = "arn:aws:iam::123456789012:role/path/next"


def plan_of(
    *, name: str = "free", left_s: int = 3600, role_session_name: str = "somebody", **fields: str
) -> Plan:
    """Give the plan of an AssumeRole by alice, whose session ends in ``left_s`` seconds."""
    form = urlencode(
        {"Action": "AssumeRole", "RoleArn": ROLE, "RoleSessionName": role_session_name, **fields}
    ).encode()
    call = Call(
        method="POST", host=STS, target="/", headers=FORM, body=form, service="sts",
        keys=minted(age_s=3600 - left_s), sign_body=True,
    )  # fmt: skip
    spec = POLICY.gateway.model_copy(update={"chained": ChainedSpec(role_session_name=name)})
    gate = Gate(replace(POLICY, gateway=spec), SessionOpener(KEYS))
    review = Review(call.facts())
    gate.receive(review, WHEN)
    return gate.authorise(review, form, WHEN)


def sent(plan: Plan) -> dict[str, str]:
    """Give the fields that AWS gets; nothing: the client's own."""
    body = plan.body or b""
    return {key: values[0] for key, values in parse_qs(body.decode()).items()}


@pytest.mark.parametrize(
    ("asked", "left_s", "expected"),
    [
        ("", 3600, None),
        ("", 3599, "3599"),
        ("900", 1000, None),
        ("3600", 1000, "1000"),
        ("43200", 3600, "3600"),
    ],
    ids=["the default fits", "the default is cut", "it fits", "cut to the session",
         "cut to the hour of chained roles"],
)  # fmt: skip
def test_a_role_is_assumed_for_no_longer_than_the_session_lasts(
    asked: str, left_s: int, expected: str | None
) -> None:
    more = {"DurationSeconds": asked} if asked else {}

    plan = plan_of(left_s=left_s, **more)

    assert sent(plan).get("DurationSeconds") == expected
    assert dict(plan.notes).get("x-awsgate-duration-seconds") == expected
    assert (plan.asked_role, plan.issues) == (ROLE, True)


def test_with_less_than_aws_gives_there_is_nothing_to_assume() -> None:
    with pytest.raises(Refusal) as caught:
        plan_of(left_s=899)

    assert caught.value.code is Code.SESSION_EXPIRED
    assert "899 seconds" in caught.value.message


def test_the_name_in_cloudtrail_is_the_users() -> None:
    forced, own = plan_of(name="force"), plan_of(name="force", role_session_name="alice")

    assert sent(forced)["RoleSessionName"] == "alice"
    assert dict(forced.notes) == {"x-awsgate-role-session-name": "alice"}
    assert (own.body, own.notes) == (None, ())


def test_another_name_is_refused_where_names_are_checked() -> None:
    assert plan_of(name="check", role_session_name="alice").body is None
    with pytest.raises(Refusal) as caught:
        plan_of(name="check")

    assert caught.value.code is Code.DENIED
    assert "alice" in caught.value.hint


def test_any_name_goes_where_names_are_free() -> None:
    assert plan_of(name="free").body is None


def test_an_edited_request_says_its_new_length_and_hash() -> None:
    plan = plan_of(name="force", left_s=1000)

    assert plan.body is not None
    assert len(plan.payload) == 64
    assert b"RoleArn=" in plan.body


@pytest.mark.parametrize(
    ("host", "target", "action", "expected"),
    [
        (STS, b"/", "", True),
        (EXPRESS, b"/?session", "", True),
        (EXPRESS, b"/?%73ession", "", True),
        (EXPRESS, b"/?a&sessio%6E=", "", True),
        (EXPRESS, b"/?x=session", "", False),
        ("bkt.s3.us-east-1.amazonaws.com", b"/?session", "", False),
        (S3_CONTROL, b"/v20180820/accessgrantsinstance/dataaccess?target=x", "", True),
        (S3_CONTROL, b"/v20180820/x/dataacces%73/", "", True),
        ("portal.sso.us-east-1.amazonaws.com", b"/federation/credentials", "", True),
        ("cognito-identity.us-east-1.amazonaws.com", b"/", "", True),
        ("gamelift.us-east-1.amazonaws.com", b"/", "", True),
        ("codepipeline.us-east-1.amazonaws.com", b"/", "", True),
        ("ssm.us-east-1.amazonaws.com", b"/", "ssm:GetAccessToken", True),
        ("ssm.us-east-1.amazonaws.com", b"/", "ssm:GetParameter", False),
        ("dynamodb.us-east-1.amazonaws.com", b"/", "dynamodb:GetItem", False),
    ],
)  # fmt: skip
def test_answers_that_may_hold_credentials_are_known_before_they_come(
    host: str, target: bytes, action: str, expected: bool
) -> None:
    found = resolve_endpoint(host)

    assert found is not None
    assert issues_credentials(found, target, action) is expected
