"""What tries to draw real credentials out of AWS past the rewriting gets none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from awsgate.aws.sigv4 import SigningKeys
from e2e.forms import Stage, everything_received, stage_in
from rawclient import Answer, ask, head
from signers import botocore_sign

EXPRESS_HOST = "bb--usw2-az1--x-s3.s3express-usw2-az1.us-west-2.amazonaws.com"
STS_HOST = "sts.us-east-1.amazonaws.com"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
IDENTITY = b"Action=GetCallerIdentity&Version=2011-06-15"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("withheld")) as made:
        yield made


def call(
    stage: Stage, method: str, host: str, target: str, service: str, *,
    body: bytes = b"", region: str = "us-east-1", payload: str = "", spelt: str = "",
    headers: tuple[tuple[str, str], ...] = (), keys: SigningKeys | None = None,
) -> Answer:  # fmt: skip
    """Send a signed request, its target ``spelt`` otherwise if that is given."""
    length = [("Content-Length", str(len(body)))] if method != "GET" else []
    length += [("X-Amz-Content-Sha256", payload)] if payload else []
    signed = botocore_sign(
        method, host, target, [*headers, *length], body, service=service, region=region,
        keys=keys or stage.keys, when=datetime.now(UTC), payload=payload,
    )  # fmt: skip
    return ask(stage.gateway, host, head(method, spelt or target, signed) + body, method=method)


def keys_in(answer: Answer) -> SigningKeys:
    text = answer.body.decode()
    found = {name: re.search(f"<{name}>([^<]+)<", text) for name in
             ("AccessKeyId", "SecretAccessKey", "SessionToken")}  # fmt: skip
    return SigningKeys(*(matched[1] if matched else "" for matched in found.values()))


@pytest.mark.parametrize("query", ["session", "%73ession", "sessio%6e=", "%73%65ssion"])
def test_an_express_session_is_a_surrogate_however_it_is_asked_for(
    stage: Stage, query: str
) -> None:
    with everything_received() as received:
        answer = call(
            stage, "GET", EXPRESS_HOST, "/?session=", "s3express",
            region="us-west-2", payload="UNSIGNED-PAYLOAD", spelt=f"/?{query}",
        )  # fmt: skip

    assert answer.status == 200, answer.body
    assert keys_in(answer).access_key_id.startswith("GATE")
    assert stage.aws.issued
    assert stage.leaks_in(received) == []


def test_a_user_cannot_take_a_web_identity_out_of_the_accounts(stage: Stage) -> None:
    body = (
        b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=bob"
        b"&WebIdentityToken=x.y.z&RoleArn=arn:aws:iam::999999999999:role/eve"
    )
    keys = keys_in(call(stage, "POST", STS_HOST, "/", "sts", body=body, headers=(FORM,)))
    assert keys.access_key_id.startswith("GATE")
    before = len(stage.seen())

    answer = call(stage, "POST", STS_HOST, "/", "sts", body=IDENTITY, headers=(FORM,), keys=keys)

    assert (answer.code, len(stage.seen())) == ("denied", before)
    assert b"no account that the policy names" in answer.body


@pytest.mark.parametrize("payload", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
def test_what_asks_sts_signs_its_body(stage: Stage, payload: str) -> None:
    before = len(stage.seen())

    answer = call(
        stage, "POST", STS_HOST, "/", "sts", body=IDENTITY, headers=(FORM,), payload=payload
    )

    assert (answer.code, len(stage.seen())) == ("bad-signature", before)
    assert b"must be signed" in answer.body


def test_sts_is_asked_in_a_form(stage: Stage) -> None:
    before = len(stage.seen())

    answer = call(
        stage, "POST", STS_HOST, "/", "sts", body=IDENTITY,
        headers=(("Content-Type", "application/json"),),
    )  # fmt: skip

    assert (answer.code, len(stage.seen())) == ("unsupported", before)


@pytest.mark.parametrize(
    "value",
    ["AWS4-HMAC-SHA256\tCredential=x", "aws4-hmac-sha256 Credential=x", "AWS4", "Basic eA=="],
)
def test_half_a_signature_is_not_no_signature(stage: Stage, value: str) -> None:
    before = len(stage.seen())

    answer = stage.fetch(
        "POST", "https://cognito-identity.us-east-1.amazonaws.com/", b"{}",
        {"Authorization": value, "X-Amz-Target": "AWSCognitoIdentityService.GetId",
         "Content-Type": "application/x-amz-json-1.1"},
    )  # fmt: skip

    assert answer.code == ("not-signed" if value.startswith("Basic") else "bad-signature")
    assert len(stage.seen()) == before


@pytest.mark.parametrize(
    "host",
    ["ap-123456789012.s3-accesspoint.us-east-1.amazonaws.com",
     "bucket.vpce-0a1b2c3d-4e5f.s3.us-east-1.vpce.amazonaws.com",
     "123456789012.s3-control.us-east-1.amazonaws.com"],
)  # fmt: skip
def test_sigv2_is_for_plain_buckets(stage: Stage, host: str) -> None:
    before = len(stage.seen())

    answer = stage.fetch(
        "GET", f"https://{host}/k?AWSAccessKeyId={stage.keys.access_key_id}"
        "&Signature=AAAA&Expires=4102444800"
    )  # fmt: skip

    assert (answer.code, len(stage.seen())) == ("unsupported", before)
