"""Requests without gateway credentials: each kind by its switch, and by no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from awsgate import outgoing
from awsgate.errors import Code, Refusal
from awsgate.gate import Gate, Review
from awsgate.outgoing import Plan
from awsgate.policy import UnsignedSpec
from awsgate.session import SessionOpener
from awsgate.wire import RequestFacts
from calls import KEYS, POLICY, minted
from test_surrogate import surrogate


def now() -> datetime:
    """Give the time: botocore presigns with the clock of this machine."""
    return datetime.now(UTC)


DAY_S = 86_400  # made when pytest collects, and used when its turn comes: minutes later
S3 = "b.s3.eu-central-1.amazonaws.com"
BEDROCK = "bedrock-runtime.eu-central-1.amazonaws.com"
STS = "sts.eu-central-1.amazonaws.com"
COGNITO = "cognito-idp.eu-central-1.amazonaws.com"
IOT = "abc-ats.iot.eu-central-1.amazonaws.com"
FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
SAML = b"Action=AssumeRoleWithSAML&RoleArn=arn&SAMLAssertion=x&PrincipalArn=y"
UPGRADE = (
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
)
TARGET = (b"X-Amz-Target", b"AWSCognitoIdentityProviderService.InitiateAuth")


def facts(
    host: str, *headers: tuple[bytes, bytes], method: bytes = b"GET", target: bytes = b"/k"
) -> RequestFacts:
    return RequestFacts(
        method=method,
        target=target,
        authority=b"",
        headers=((b"Host", host.encode()), *headers),
        connect_host=host,
        tls=True,
        sni=host,
        local=True,
    )


def presigned_by_somebody(key: str, token: str | None = None) -> bytes:
    request = AWSRequest("GET", f"https://{S3}/k")
    who = Credentials(key, "secret", token)
    signer = S3SigV4QueryAuth(who, "s3", "eu-central-1", expires=DAY_S)
    signer.add_auth(request)
    return request.url.partition(S3)[2].encode()


# switch -> a request that it lets pass, and the body it needs
KINDS: dict[str, tuple[RequestFacts, bytes]] = {
    "apis": (facts(COGNITO, TARGET, method=b"POST", target=b"/"), b"{}"),
    "anonymous_s3": (facts(S3), b""),
    "foreign_presigned": (facts(S3, target=presigned_by_somebody("AKIAIOSFODNN7EXAMPLE")), b""),
    "bearer_tokens": (facts(BEDROCK, (b"Authorization", b"Bearer canary"), method=b"POST"), b"{}"),
    "websockets": (facts(IOT, *UPGRADE, target=b"/mqtt"), b""),
}
ALL_OFF = dict.fromkeys(KINDS, False)


def review_with(
    switches: dict[str, bool], request: RequestFacts, body: bytes
) -> tuple[Review, Plan]:
    rules = UnsignedSpec(**switches)
    gateway = POLICY.gateway.model_copy(update={"unsigned": rules})
    gate = Gate(replace(POLICY, gateway=gateway), SessionOpener(KEYS))
    review = Review(request)
    gate.receive(review, now())
    return review, gate.authorise(review, body, now())


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_passes_by_its_own_switch(kind: str) -> None:
    request, body = KINDS[kind]

    review, plan = review_with({**ALL_OFF, kind: True}, request, body)

    sent = outgoing.sign(plan, request, None, client_secret="", keys=None, now=now())
    assert (sent.target, review.session, plan.role_arn) == (request.target, None, "")
    assert {n.lower(): v for n, v in sent.headers if n.lower() != b"connection"} == {
        n.lower(): v for n, v in request.headers if n.lower() != b"connection"
    }, "it goes as it came"
    assert review.decision is not None
    assert review.decision.rule == f"gateway/unsigned.{kind}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_does_not_pass_by_all_the_other_switches(kind: str) -> None:
    request, body = KINDS[kind]
    others = {name: name != kind for name in KINDS}

    with pytest.raises(Refusal) as caught:
        review_with(others, request, body)

    assert caught.value.code in (Code.NOT_SIGNED, Code.UNKNOWN_KEY)
    assert "canary" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [b"X-Amz-Security-Token", b"x-amz-s3session-token"])
def test_none_passes_with_a_token_of_a_gateways(kind: str, name: bytes) -> None:
    """It is of no use to AWS, and half of what a caller proves to be."""
    request, body = KINDS[kind]
    for token in (minted().session_token, surrogate().session_token):
        field = (name, token.encode())
        with pytest.raises(Refusal) as caught:
            review_with(
                {**ALL_OFF, kind: True},
                replace(request, headers=(*request.headers, field)),
                body,
            )
        # Of a URL that somebody else signed, each such header has to be signed.
        foreign = kind == "foreign_presigned"
        assert caught.value.code is (Code.BAD_SIGNATURE if foreign else Code.NOT_SIGNED)
        assert token not in f"{caught.value} {caught.value.hint} {caught.value.detail}"


def test_nor_does_a_foreign_url_with_one() -> None:
    target = presigned_by_somebody("AKIAIOSFODNN7EXAMPLE", minted().session_token)

    with pytest.raises(Refusal, match="session token of a gateway's"):
        review_with({**ALL_OFF, "foreign_presigned": True}, facts(S3, target=target), b"")


@pytest.mark.parametrize(
    "token", [b"IQoJb3JpZ2luX2VjEGMaCXVzLWVhc3QtMSJHMEUCIQD/canary+x==", b"", b"AQAB", b"\xff"]
)
def test_a_token_of_anybody_elses_goes_on_as_it_came(token: bytes) -> None:
    request, body = KINDS["apis"]
    field = (b"X-Amz-Security-Token", token)

    _, plan = review_with({}, replace(request, headers=(*request.headers, field)), body)

    assert field in plan.headers


def test_by_default_only_the_apis_that_aws_takes_unsigned_pass() -> None:
    assert UnsignedSpec().model_dump() == {**ALL_OFF, "apis": True}


def test_the_body_says_whether_an_sts_call_may_go_unsigned() -> None:
    request = facts(STS, FORM, method=b"POST", target=b"/")

    review, plan = review_with({}, request, SAML)

    assert (review.action, plan.form, plan.issues) == ("sts:AssumeRoleWithSAML", None, True)
    with pytest.raises(Refusal) as caught:
        review_with({}, request, SAML.replace(b"WithSAML", b""))
    assert caught.value.code is Code.NOT_SIGNED


def test_a_key_of_this_gateway_is_never_somebody_elses() -> None:
    target = presigned_by_somebody("GATE" + "A" * 16)

    with pytest.raises(Refusal) as caught:
        review_with(dict.fromkeys(KINDS, True), facts(S3, target=target), b"")

    assert caught.value.code is Code.UNKNOWN_KEY


def test_a_presigned_request_of_another_service_is_not_let_out() -> None:
    request, _ = KINDS["foreign_presigned"]
    moved = facts(STS, target=request.target.replace(b"%2Fs3%2F", b"%2Fsts%2F"))

    with pytest.raises(Refusal) as caught:
        review_with(dict.fromkeys(KINDS, True), moved, b"")

    assert caught.value.code is Code.UNKNOWN_KEY
