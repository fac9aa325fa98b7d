"""The strict AWS: presigned URLs, SigV4a, S3 Express and STS, with their wrong twins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from botocore.auth import S3SigV4QueryAuth, SigV4QueryAuth
from botocore.credentials import Credentials
from botocore.crt.auth import CrtS3SigV4AsymAuth, CrtS3SigV4AsymQueryAuth, CrtSigV4AsymAuth
from botocore.exceptions import ClientError

from aws_server.deliver import Call
from aws_server.model import BaseKeys
from aws_server.server import BASE_KEYS, StrictAws
from aws_server.signing import assert_refused, client, last, session, sign

S3_HOST = "bkt.s3.eu-central-1.amazonaws.com"
MRAP_HOST = "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"
EXPRESS = "bkt--euc1-az1--x-s3"
EXPRESS_HOST = f"{EXPRESS}.s3express-euc1-az1.eu-central-1.amazonaws.com"
ROLE = "arn:aws:iam::123456789012:role/reader"

Change = Callable[[Call], Call]


@pytest.fixture(scope="module")
def server() -> Iterator[StrictAws]:
    with StrictAws() as running:
        yield running


@pytest.fixture
def aws(server: StrictAws) -> StrictAws:
    server.reset()
    return server


# -- presigned ------------------------------------------------------------------------------


def presigned(keys: Credentials | BaseKeys = BASE_KEYS, expires: int = 60) -> Call:
    return sign(
        f"https://{S3_HOST}/key?versionId=v%201",
        method="GET",
        body=b"",
        signer=S3SigV4QueryAuth,
        keys=keys,
        headers=(),
        expires=expires,
    )


PRESIGNED: dict[str, tuple[Change, str]] = {
    "another method": (lambda c: Call("PUT", c.target, c.fields), "signature-wrong"),
    "another parameter": (lambda c: c.rewritten("v%201", "v%202"), "signature-wrong"),
    "a longer life": (lambda c: c.rewritten("Expires=60", "Expires=61"), "signature-wrong"),
    "no life": (lambda c: c.rewritten("Expires=60", "Expires=0"), "expires-out-of-range"),
    "a life over a week": (
        lambda c: c.rewritten("Expires=60", "Expires=604801"),
        "expires-out-of-range",
    ),
    "no date": (lambda c: c.rewritten("X-Amz-Date", "X-Amz-Fate"), "authorization-malformed"),
    "a header that is not signed": (
        lambda c: c.plus("x-amz-acl", "public-read"),
        "header-not-signed",
    ),
    "a signed header that is absent": (
        lambda c: c.rewritten("SignedHeaders=host", "SignedHeaders=host%3Bx-amz-acl"),
        "signed-header-absent",
    ),
    "a token in a header": (
        lambda c: c.plus("x-amz-security-token", "t"),
        "header-not-signed",
    ),
}


@pytest.mark.parametrize(("change", "fault"), PRESIGNED.values(), ids=PRESIGNED)
def test_a_presigned_twin_is_refused(aws: StrictAws, change: Change, fault: str) -> None:
    call = presigned()
    assert last(aws, call)[1].fault == ""

    assert_refused(aws, change(call), fault)


def test_a_presigned_url_lives_as_long_as_it_says(aws: StrictAws) -> None:
    call = presigned(session(aws), expires=3600)

    for minutes, fault in ((0, ""), (59, ""), (61, "presigned-expired"), (-16, "skew")):
        later = datetime.now(UTC) + timedelta(minutes=minutes)
        aws.clock = partial(lambda when: when, later)
        _, request = last(aws, call)
        assert (request.fault, request.auth) == (fault, "query")


def test_a_presigned_request_of_another_service_covers_its_body(aws: StrictAws) -> None:
    url = "https://sts.eu-central-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"
    call = sign(url, method="GET", body=b"", signer=SigV4QueryAuth, service="sts", headers=())

    assert last(aws, call)[1].fault == ""
    with_body = Call(call.method, call.target, (*call.fields, ("Content-Length", "1")), b"x")
    assert_refused(aws, with_body, "signature-wrong")


# -- SigV4a ---------------------------------------------------------------------------------

V4A: dict[str, tuple[Change, str]] = {
    "another method": (lambda c: Call("POST", c.target, c.fields, c.body), "signature-wrong"),
    "one region": (lambda c: c.having("x-amz-region-set", "eu-west-1"), "region-set"),
    "another region set that fits": (
        lambda c: c.having("x-amz-region-set", "*,us-east-1"),
        "signature-wrong",
    ),
    "a region set that is not signed": (
        lambda c: c.rewritten("x-amz-region-set", "x-amz-date").without("x-amz-region-set"),
        "authorization-malformed",
    ),
}


@pytest.mark.parametrize("host", [MRAP_HOST, "abcde.veo.endpoint.events.amazonaws.com"])
def test_an_asymmetric_signature_of_the_crt_is_taken(aws: StrictAws, host: str) -> None:
    s3 = "s3-global" in host
    signer = CrtS3SigV4AsymAuth if s3 else CrtSigV4AsymAuth
    call = sign(
        f"https://{host}/key",
        method="PUT" if s3 else "POST",
        signer=signer,
        keys=session(aws),
        service="s3" if s3 else "events",
        region="*",
    )

    _, request = last(aws, call)

    assert (request.fault, request.algorithm) == ("", "AWS4-ECDSA-P256-SHA256")
    assert request.stored == s3


@pytest.mark.parametrize(("change", "fault"), V4A.values(), ids=V4A)
def test_an_asymmetric_twin_is_refused(aws: StrictAws, change: Change, fault: str) -> None:
    call = sign(f"https://{MRAP_HOST}/key", signer=CrtS3SigV4AsymAuth, region="*")

    assert_refused(aws, change(call), fault)


def test_an_asymmetric_presigned_url_is_taken_for_its_region_set(aws: StrictAws) -> None:
    call = sign(
        f"https://{MRAP_HOST}/key", method="GET", body=b"", signer=CrtS3SigV4AsymQueryAuth,
        region="*", headers=(), expires=60,
    )  # fmt: skip

    assert last(aws, call)[1].fault == ""
    assert_refused(aws, call.rewritten("Region-Set=%2A", "Region-Set=eu-west-1"), "region-set")


# -- S3 Express -----------------------------------------------------------------------------


def test_boto3_makes_an_express_session_and_uses_it(aws: StrictAws) -> None:
    s3 = client(aws, "s3", session(aws))

    s3.put_object(Bucket=EXPRESS, Key="key", Body=b"hello")

    assert aws.faults() == []
    created, put = aws.requests
    assert created.target == "/?session"
    assert put.access_key_id != created.access_key_id
    assert put.get("x-amz-s3session-token") in aws.issued
    assert aws.objects[EXPRESS, "key"].size == 5


def test_express_objects_need_the_session_of_their_bucket(aws: StrictAws) -> None:
    s3 = client(aws, "s3")
    s3.put_object(Bucket=EXPRESS, Key="key", Body=b"hello")
    aws.objects.clear()
    put = aws.requests[-1]
    call = Call(put.method, put.target, put.fields, b"5\r\nhello\r\n0\r\n\r\n")
    url = f"https://{EXPRESS_HOST}/key"
    ordinary = sign(url, service="s3express")
    unsigned = call.rewritten(";x-amz-s3session-token", "")

    assert_refused(aws, ordinary, "session-missing")
    assert_refused(aws, call.having("x-amz-s3session-token", "t"), "token-wrong")
    assert_refused(aws, unsigned, "header-not-signed")
    assert_refused(aws, call.rewritten("bkt--", "other--"), "session-of-another-bucket")


# -- STS ------------------------------------------------------------------------------------


def test_sts_issues_credentials_that_work_and_remembers_them(aws: StrictAws) -> None:
    sts = client(aws, "sts")
    made = [
        sts.assume_role(RoleArn=ROLE, RoleSessionName="ann"),
        sts.assume_role(RoleArn=ROLE, RoleSessionName="ann"),
        sts.get_session_token(),
        sts.get_federation_token(Name="fed"),
        sts.assume_role_with_web_identity(
            RoleArn=ROLE, RoleSessionName="web", WebIdentityToken="jwt.jwt"
        ),
        sts.assume_role_with_saml(
            RoleArn=ROLE, PrincipalArn="arn:aws:iam::123456789012:saml-provider/p",
            SAMLAssertion="QUFB",
        ),
    ]  # fmt: skip
    names = []
    for one in made:
        issued = one["Credentials"]
        keys = Credentials(issued["AccessKeyId"], issued["SecretAccessKey"], issued["SessionToken"])
        client(aws, "sts", keys).get_caller_identity()
        names.append(aws.requests[-1].session_name)
        assert {keys.secret_key, keys.token} <= set(aws.issued)

    assert aws.faults() == []
    assert names == ["ann", "ann", "", "fed", "web", "saml-user"]
    assert len({one["Credentials"]["AccessKeyId"] for one in made}) == len(made)


def test_a_chained_role_lives_an_hour_at_most(aws: StrictAws) -> None:
    chained = client(aws, "sts", session(aws), parameter_validation=False)
    assert client(aws, "sts").assume_role(
        RoleArn=ROLE, RoleSessionName="ann", DurationSeconds=43200
    )
    assert chained.assume_role(RoleArn=ROLE, RoleSessionName="bob", DurationSeconds=3600)

    for seconds in (3601, 899):
        with pytest.raises(ClientError, match="ValidationError"):
            chained.assume_role(RoleArn=ROLE, RoleSessionName="bob", DurationSeconds=seconds)
    with pytest.raises(ClientError, match="AccessDenied"):
        chained.get_session_token()


def test_an_unsigned_assume_role_is_refused(aws: StrictAws) -> None:
    body = f"Action=AssumeRole&Version=2011-06-15&RoleArn={ROLE}&RoleSessionName=ann".encode()
    fields = (
        ("Host", "sts.eu-central-1.amazonaws.com"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    )

    assert_refused(aws, Call("POST", "/", fields, body), "authorization-missing")
