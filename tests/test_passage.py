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


WEB = b"Action=AssumeRoleWithWebIdentity&RoleArn=arn&RoleSessionName=x&WebIdentityToken=t"
ROLE = b"Action=AssumeRole&RoleArn=arn&RoleSessionName=x"
FOREIGN = b"&AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&SignatureVersion=2&Signature=s"
NAMES_WEB = (b"X-Amz-Target", b"a.AssumeRoleWithWebIdentity")
CBOR_PATH = b"/service/x/operation/AssumeRoleWithWebIdentity"
CBOR = (b"Smithy-Protocol", b"rpc-v2-cbor")
BEARER = (b"Authorization", b"Bearer canary")
UNSIGNED, UNCLEAR = (Code.NOT_SIGNED, "carries no AWS signature"), (Code.UNSUPPORTED, "can name")
TWO = (Code.UNSUPPORTED, "cannot be read for certain")
CARRIES = (Code.UNSUPPORTED, "fields of a signature")

# target, further headers, body; how it is refused
MISNAMED: dict[str, tuple[bytes, tuple[tuple[bytes, bytes], ...], bytes, tuple[Code, str]]] = {
    "a header that names another": (b"/", (NAMES_WEB,), ROLE, UNSIGNED),
    "a header that names another, and a foreign signature": (
        b"/", (NAMES_WEB,), ROLE + FOREIGN, UNSIGNED),
    "a header that names the same": (b"/", (NAMES_WEB,), WEB, UNCLEAR),
    "a path that names another": (CBOR_PATH, (), b"Action=GetCallerIdentity", UNSIGNED),
    "a path that names the same": (CBOR_PATH, (), WEB, UNCLEAR),
    "a path that perhaps names another": (b"/x/%73ervice/x/operation/GetFoo", (), WEB, UNCLEAR),
    "a protocol of such paths": (b"/", (CBOR,), WEB, UNCLEAR),
    "a bearer token beside a signed call": (b"/", (BEARER,), ROLE, UNSIGNED),
    "a bearer token and a header that names another": (b"/", (BEARER, NAMES_WEB), ROLE, UNSIGNED),
    "a name in the query, another in the body": (
        b"/?Action=AssumeRoleWithSAML", (), b"Action=AssumeRole", TWO),
    "a name in the query, an encoded one in the body": (
        b"/?Action=AssumeRoleWithSAML", (), b"%41ction=AssumeRole", TWO),
    "a foreign signature of version 2": (b"/", (), WEB + FOREIGN, CARRIES),
    "a key of version 2": (b"/", (), WEB + b"&AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE", CARRIES),
    "a signature of version 2, encoded": (b"/", (), WEB + b"&%53ignature=s", CARRIES),
    "a presigned call in the body": (
        b"/", (), WEB + b"&X-Amz-Credential=AKIA%2Fx&X-Amz-Signature=00", CARRIES),
    "a token in the body": (b"/", (), WEB + b"&x-amz-security-token=t", CARRIES),
    "a target in the body": (b"/", (), WEB + b"&X-Amz-Target=AssumeRole", CARRIES),
    "a target in the query": (b"/?X-Amz-Target=AssumeRole", (), WEB, CARRIES),
}  # fmt: skip


@pytest.mark.parametrize(("target", "headers", "body", "refused"), MISNAMED.values(), ids=MISNAMED)
def test_an_unsigned_call_of_sts_has_one_action_and_nothing_of_a_signature(
    target: bytes,
    headers: tuple[tuple[bytes, bytes], ...],
    body: bytes,
    refused: tuple[Code, str],
) -> None:
    """What AWS takes unsigned it would else take by what the gateway did not look at."""
    request = facts(STS, FORM, *headers, method=b"POST", target=target)

    with pytest.raises(Refusal) as caught:
        review_with(dict.fromkeys(KINDS, True), request, body)

    assert (caught.value.code, refused[1] in caught.value.message) == (refused[0], True), (
        caught.value.message
    )


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [(b"POST", b"/", WEB), (b"POST", b"/?", SAML), (b"GET", b"/?" + WEB, b""),
     (b"POST", b"/?" + SAML, b"")],
)  # fmt: skip
def test_a_federating_call_of_sts_passes_unsigned(
    method: bytes, target: bytes, body: bytes
) -> None:
    _, plan = review_with({}, facts(STS, FORM, method=method, target=target), body)

    assert (plan.form, plan.issues, plan.federated) == (None, True, True)


LEFT = 200 - SAML.count(b"&") - 1


@pytest.mark.parametrize(
    "more",
    [
        b"".join(b"&x%d=" % number for number in range(LEFT)),
        b"&" * LEFT,
        b"&x=" + b"x" * (128 * 1024 - len(SAML) - 3),
    ],
    ids=["fields", "empty fields", "bytes"],
)
def test_an_unsigned_form_may_be_so_large_and_no_larger(more: bytes) -> None:
    """It is read before anybody is known, so it has to cost little."""
    request = facts(STS, FORM, method=b"POST", target=b"/")

    review, _ = review_with({}, request, SAML + more)

    assert review.passage is not None
    with pytest.raises(Refusal, match="may have 200 fields, of 131072 bytes together") as caught:
        review_with({}, request, SAML + more + b"&")
    assert caught.value.code is Code.UNSUPPORTED


@pytest.mark.parametrize("bearer", [(), ((b"Authorization", b"Bearer canary"),)])
@pytest.mark.parametrize("form", [b"a;" * 200, b"%41=%41&" * 200, b"<a/>" * 40_000])
def test_an_unsigned_form_that_is_larger_is_not_read(
    form: bytes, bearer: tuple[tuple[bytes, bytes], ...]
) -> None:
    length = (b"Content-Length", str(len(form)).encode())
    request = facts(
        STS, FORM, length, *bearer, method=b"POST", target=b"/?Action=AssumeRoleWithSAML"
    )
    gate, review = Gate(POLICY, SessionOpener(KEYS)), Review(request)
    gate.receive(review, now())

    with pytest.raises(Refusal, match="may have 200 fields"):
        gate.authorise(review, form, now())

    assert review.read is None


@pytest.mark.parametrize("separator", [b"&", b";"])
@pytest.mark.parametrize(
    "request_",
    [facts(STS, FORM, method=b"POST", target=b"/?x"), facts(S3, target=b"/k?x"),
     facts(S3, (b"Content-Type", b"multipart/form-data; boundary=b"), method=b"POST",
           target=b"/?x")],
    ids=["a call of STS", "an anonymous one", "a form"],
)  # fmt: skip
def test_a_query_of_nobodys_is_bounded_at_the_head(
    request_: RequestFacts, separator: bytes
) -> None:
    gateway = POLICY.gateway.model_copy(update={"unsigned": UnsignedSpec(anonymous_s3=True)})
    gate = Gate(replace(POLICY, gateway=gateway), SessionOpener(KEYS))
    most = replace(request_, target=request_.target + separator * 199)

    gate.receive(Review(most), now())
    with pytest.raises(Refusal, match="may have 200 fields") as caught:
        gate.receive(Review(replace(most, target=most.target + separator)), now())

    assert caught.value.code is Code.UNSUPPORTED


def test_a_form_with_a_file_may_be_larger() -> None:
    request = facts(
        S3, (b"Content-Type", b"multipart/form-data; boundary=b"), method=b"POST", target=b"/"
    )
    part = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    form = part % (b"key", b"k") + part % (b"file", b"&" * 200_000) + b"--b--\r\n"

    review, _ = review_with({"anonymous_s3": True}, request, form)

    assert review.passage == "anonymous_s3"


def test_a_key_of_this_gateway_is_never_somebody_elses() -> None:
    target = presigned_by_somebody("GATE" + "A" * 16)

    with pytest.raises(Refusal) as caught:
        review_with(dict.fromkeys(KINDS, True), facts(S3, target=target), b"")

    assert caught.value.code is Code.UNKNOWN_KEY


def test_a_call_of_sts_presigned_for_s3_is_not_let_out() -> None:
    target = presigned_by_somebody("AKIAIOSFODNN7EXAMPLE").removeprefix(b"/k?")

    for action, words in (
        (b"AssumeRole", "no AWS signature"),
        (b"AssumeRoleWithSAML", "fields of"),
    ):
        request = facts(STS, target=b"/?Action=" + action + b"&" + target)
        with pytest.raises(Refusal, match=words):
            review_with(dict.fromkeys(KINDS, True), request, b"")


def test_a_presigned_request_of_another_service_is_not_let_out() -> None:
    request, _ = KINDS["foreign_presigned"]
    moved = facts(STS, target=request.target.replace(b"%2Fs3%2F", b"%2Fsts%2F"))

    with pytest.raises(Refusal) as caught:
        review_with(dict.fromkeys(KINDS, True), moved, b"")

    assert caught.value.code is Code.UNKNOWN_KEY
