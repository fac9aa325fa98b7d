"""What a client may ask STS for, and what it is told: lifetimes, names, surrogates."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from botocore.session import Session

from awsgate.aws.action import action_of
from awsgate.aws.call import call_of
from awsgate.aws.endpoint import resolve_endpoint
from awsgate.chaining import (
    BINARY_OPERATIONS,
    ISSUING_SERVICES,
    STREAMING_SERVICES,
    _form_of_answer,
    hold,
    hold_to_session,
    issues_credentials,
    rewrite_answer,
)
from awsgate.errors import Code, Refusal
from awsgate.gate import Gate, Review
from awsgate.outgoing import Plan
from awsgate.policy import ChainedSpec
from awsgate.session import SessionOpener
from calls import KEYS, NOW_S, POLICY, Call, minted
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


ZONE = "s3express-use1-az4.us-east-1.amazonaws.com"
VPCE = "vpce-1a-2b.s3.us-east-1.vpce.amazonaws.com"
SSM, DYNAMODB = "ssm.us-east-1.amazonaws.com", "dynamodb.us-east-1.amazonaws.com"
ACCESS = "/v20180820/accessgrantsinstance/dataaccess?target=x"


@pytest.mark.parametrize(
    ("host", "target", "action", "expected"),
    [
        (STS, "/", "", True),
        (EXPRESS, "/?session", "", True),
        (EXPRESS, "/?%73ession", "", True),
        (EXPRESS, "/?a&sessio%6E=", "", True),
        (EXPRESS, "/?se%2573sion", "", True),
        (EXPRESS, "/?list-type=2", "", True),
        (EXPRESS, "//", "", True),
        (EXPRESS, "/key?session", "", True),
        (EXPRESS, "/key?x=session", "", False),
        (EXPRESS, "/key", "", False),
        (ZONE, "/bb--use1-az4--x-s3", "", True),
        ("s3express-control.us-east-1.amazonaws.com", "/b--use1-az4--x-s3", "", True),
        ("bkt.s3.us-east-1.amazonaws.com", "/?session", "", False),
        (S3_CONTROL, ACCESS, "", True),
        (S3_CONTROL, "/v20180820/x/dataacces%73/", "", True),
        (f"control.{VPCE}", ACCESS, "", True),
        (f"123456789012.control.{VPCE}", ACCESS, "", True),
        (f"bucket.{VPCE}", "/b/k", "", False),
        (f"control.bucket.{VPCE}", "/k", "", False),
        (f"ap-1.accesspoint.{VPCE}", "/k", "", False),
        ("s3-control-evil.s3.us-east-1.amazonaws.com", "/k", "", False),
        ("s3-outposts.us-east-1.amazonaws.com", ACCESS, "", True),
        ("vpce-1a-2b.s3-outposts.us-east-1.vpce.amazonaws.com", ACCESS, "", True),
        ("ap-1.op-01.s3-outposts.us-east-1.amazonaws.com", "/k", "", False),
        ("vpce-1a-2b.sts.us-east-1.vpce.amazonaws.com", "/", "", True),
        ("portal.sso.us-east-1.amazonaws.com", "/federation/credentials", "", True),
        ("cognito-identity.us-east-1.amazonaws.com", "/", "", True),
        ("gamelift.us-east-1.amazonaws.com", "/", "", True),
        ("codepipeline.us-east-1.amazonaws.com", "/", "", True),
        (SSM, "/", "AmazonSSM.GetAccessToken", True),
        (SSM, "/", "AmazonSSM.getaccesstoken", True),
        (SSM, "/", "AmazonSSM.RequestManagedInstanceRoleToken", True),
        (SSM, "/", "AmazonSSM.GetParameter", False),
        # Of calls that no model has: all but those of services that stream.
        (DYNAMODB, "/", "DynamoDB_20120810.GetItem", False),
        (DYNAMODB, "/", "DynamoDB_20120810.NewOperation", True),
        (DYNAMODB, "/", "", True),
        ("monitoring.us-east-1.amazonaws.com", "/service/X/operation/New", "", True),
        ("ec2.us-east-1.amazonaws.com", "/?Action=NewOperation", "", True),
        ("ec2.us-east-1.amazonaws.com", "/?Action=DescribeVpcs", "", False),
        ("kinesis.us-east-1.amazonaws.com", "/", "Kinesis_20131202.NewOperation", False),
        ("transcribestreaming.us-east-1.amazonaws.com", "/", "x.StartStream", False),
        ("lambda.us-east-1.amazonaws.com", "/2099-01-01/new", "", False),
        ("abc.execute-api.us-east-1.amazonaws.com", "/x", "", False),
    ],
)  # fmt: skip
def test_answers_that_may_hold_credentials_are_known_before_they_come(
    host: str, target: str, action: str, expected: bool
) -> None:
    found = resolve_endpoint(host)
    assert found is not None
    headers = {b"x-amz-target": [action.encode()]} if action else {}
    named = action_of(found, target=target.encode(), amz_target=action.encode(), body=b"")
    asked = call_of(
        found, signing_name="", method="POST" if action else "GET", target=target.encode(),
        headers=headers, body=b"", account="",
    )  # fmt: skip

    assert issues_credentials(found, target.encode(), named, asked) is expected
    if host == DYNAMODB:
        assert not issues_credentials(found, target.encode(), named, asked, upgrade=True)


def test_services_that_stream_are_those_of_the_models() -> None:
    """Their answers to calls unknown are not held, so each needs a reason to be listed."""
    loader = Session().get_component("data_loader")
    found = {"transcribe"}  # its streams are in no model of botocore's
    for name in loader.list_available_services("service-2"):
        model = loader.load_service_model(name, "service-2")
        meta, shapes = model["metadata"], model["shapes"]
        spoken = set(meta.get("protocols") or [meta["protocol"]])
        outputs = [
            shapes[o["output"]["shape"]] for o in model["operations"].values() if "output" in o
        ]
        members = [shapes[m["shape"]] for out in outputs for m in out.get("members", {}).values()]
        if not spoken <= {"rest-json", "rest-xml"} and any(m.get("eventstream") for m in members):
            found.add(meta.get("signingName") or meta["endpointPrefix"])

    assert found == STREAMING_SERVICES


def test_answers_that_are_binary_by_right_are_those_of_the_models() -> None:
    """Of services whose answers are held; an object of S3 Express, besides."""
    loader = Session().get_component("data_loader")
    found = {"s3:GetObject"}
    for name in loader.list_available_services("service-2"):
        model = loader.load_service_model(name, "service-2")
        meta, shapes = model["metadata"], model["shapes"]
        if (meta.get("signingName") or meta["endpointPrefix"]) not in ISSUING_SERVICES:
            continue
        for operation in model["operations"].values():
            output = shapes[operation["output"]["shape"]] if "output" in operation else {}
            payload = output.get("members", {}).get(output.get("payload"), {})
            if shapes.get(payload.get("shape"), {}).get("type") == "blob":
                found.add(f"{name}:{operation['name']}")

    assert found == BINARY_OPERATIONS


@pytest.mark.parametrize(
    ("host", "target", "content_type", "form"),
    [
        (STS, "/", "", "text"),
        (STS, "/", "application/cbor", "cbor"),
        (EXPRESS, "/?session", "", "text"),
        (EXPRESS, "/key?X-Amz-S3session-Token=x", "", "any"),
        (EXPRESS, "/key?session", "", "text"),
        (S3_CONTROL, "/v20180820/accessgrantsinstance/dataaccess", "", "text"),
        ("gamelift.us-east-1.amazonaws.com", "/", "", "cbor"),
        ("lakeformation.us-east-1.amazonaws.com", "/GetWorkUnitResults", "", "any"),
        ("lakeformation.us-east-1.amazonaws.com", "/GetTemporaryGlueTableCredentials", "", "text"),
    ],
)
def test_what_a_held_answer_may_be_goes_by_the_call(
    host: str, target: str, content_type: str, form: str
) -> None:
    found = resolve_endpoint(host)
    assert found is not None
    asked = call_of(
        found, signing_name="", method="GET" if host == EXPRESS else "POST",
        target=target.encode(), headers={}, body=b"", account="",
    )  # fmt: skip
    held = hold(
        replace(plan_of(), issues=False), found, target.encode(), asked, "",
        content_type=content_type.encode(), body=b"", session=None,
        spec=ChainedSpec(), now=WHEN,
    ) if host != STS else None  # fmt: skip

    assert _form_of_answer(found, asked, content_type.encode()) == form
    assert held is None or (held.issues, held.answers) == (True, form)


ANSWER = """\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::{0}:assumed-role/{1}/alice</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
<SecretAccessKey>canary-secret</SecretAccessKey><SessionToken>canary-token</SessionToken>
<Expiration>2026-11-23T10:45:30Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


def rewritten(
    *,
    account: str = "123456789012",
    role: str = "next",
    encoding: str = "",
    pack: Callable[[bytes], bytes] = bytes,
) -> bytes:
    return rewrite_answer(
        pack(ANSWER.format(account, role).encode()),
        encoding=encoding,
        plan=plan_of(),
        session=OPENED.session,
        keys=KEYS,
        now=WHEN,
        entropy=bytes(range(32)),
    )


OPENED = SessionOpener(KEYS)(
    access_key_id=minted().access_key_id, session_token=minted().session_token, now=NOW_S
)


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_an_answer_about_the_role_that_was_asked_for_is_rewritten(encoding: str) -> None:
    assert b"<AccessKeyId>GATE" in rewritten(encoding=encoding)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"role": "other"}, "about another role"),
        ({"account": "210987654321"}, "about another role"),
        ({"encoding": "gzip"}, "came encoded"),
        ({"pack": gzip.compress}, "cannot be read"),
        ({"pack": zlib.compress, "encoding": "identity"}, "cannot be read"),
        ({"pack": b"\xa1".__add__}, "cannot be read"),
    ],
)
def test_an_answer_that_cannot_be_believed_is_withheld(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        rewritten(**change)

    assert caught.value.code is Code.GATEWAY_FAULT
    assert "canary" not in f"{caught.value.message}{caught.value.hint}"


def test_keys_that_would_have_ended_already_are_not_handed_out() -> None:
    """AWS was slow, or its clock is another: the surrogate would be of no use."""
    with pytest.raises(Refusal, match="ended before AWS answered") as caught:
        rewrite_answer(
            ANSWER.format("123456789012", "next").encode(),
            encoding="",
            plan=plan_of(),
            session=replace(OPENED.session, expires_at=NOW_S),
            keys=KEYS,
            now=WHEN,
            entropy=bytes(range(32)),
        )

    assert caught.value.code is Code.SESSION_EXPIRED


def test_a_call_of_sts_that_is_no_form_is_not_sent() -> None:
    """What it asks for could not be read, and so not be held to the session."""
    call = Call(
        method="POST", host=STS, target="/?Action=AssumeRole&Version=2011-06-15",
        headers=(("Content-Type", "application/json"),), body=b"{}", service="sts",
        sign_body=True,
    )  # fmt: skip
    gate = Gate(POLICY, SessionOpener(KEYS))
    review = Review(call.facts())
    gate.receive(review, WHEN)

    with pytest.raises(Refusal, match="body of an STS request is not a form") as caught:
        gate.authorise(review, b"{}", WHEN)

    assert caught.value.code is Code.UNSUPPORTED


def test_a_call_of_sts_with_two_actions_is_not_sent() -> None:
    plan = plan_of()

    with pytest.raises(Refusal, match="cannot be read for certain") as caught:
        hold_to_session(
            plan, OPENED.session, ChainedSpec(), b"Action=AssumeRole&Action=GetSessionToken", WHEN
        )

    assert caught.value.code is Code.UNSUPPORTED
