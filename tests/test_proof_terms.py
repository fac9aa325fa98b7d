"""What is signed of a body and where to: each word of a head and of a claim counts by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from awsgate.aws import presign, sigv2, sigv4
from awsgate.aws.endpoint import Endpoint, resolve_endpoint
from awsgate.caller import UNSIGNED_PAYLOAD, Claim, Form
from awsgate.errors import Code, Refusal
from awsgate.passage import is_foreign
from awsgate.proof import announces_body, check_scope, check_signature, payload_of
from awsgate.review import Review
from awsgate.wire import RequestFacts
from calls import GOOD, S3, new_gate
from signers import WHEN

HASH = sigv4.EMPTY_SHA256
CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
AUTHORIZATION = sigv4.Authorization(
    "GATEAAAAAAAAAAAAAAAA", "20261123", "eu-central-1", "s3", ("host",), "ab" * 32
)
CLAIM = Claim(
    form=Form.HEADER, access_key_id=AUTHORIZATION.access_key_id, service="s3",
    region="eu-central-1", signed_headers=("host",), timestamp="20261123T101530Z", rest=b"",
    session_token="t", proof=AUTHORIZATION,
)  # fmt: skip


def review(*, needs_body: bool = False, **headers: str) -> Review:
    facts = RequestFacts(b"PUT", b"/k", b"", (), S3, tls=True, sni=S3, local=True)
    given = {name.replace("_", "-").encode(): [text.encode()] for name, text in headers.items()}
    return Review(facts, headers=given, needs_body=needs_body)


def presigned(payload: str = "") -> Claim:
    proof = presign.Presigned(
        "AWS4-HMAC-SHA256", AUTHORIZATION, "", CLAIM.timestamp, 600, "t", payload, b"", b"",
        token_signed=True,
    )  # fmt: skip
    return replace(CLAIM, form=Form.QUERY, proof=proof)


# --- the body -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "announced"),
    [
        ({}, False),
        ({"content_length": "0"}, False),
        ({"content_length": " 000 "}, False),
        ({"content_length": "10"}, True),
        ({"transfer_encoding": "chunked"}, True),
    ],
    ids=["nothing", "none", "none, in full", "a length", "chunks"],
)
def test_a_head_says_whether_a_body_follows(headers: dict[str, str], announced: bool) -> None:
    assert announces_body(review(**headers)) is announced


PAYLOADS: dict[str, tuple[Review, Claim, str | None]] = {
    "not said: it is hashed": (review(), CLAIM, None),
    "not said, of another service": (review(), replace(CLAIM, service="lambda"), None),
    "its hash": (review(x_amz_content_sha256=HASH), CLAIM, HASH),
    "its hash, of what must be read": (
        review(x_amz_content_sha256=HASH, needs_body=True), CLAIM, HASH,
    ),
    "unsigned": (review(x_amz_content_sha256=UNSIGNED_PAYLOAD), CLAIM, UNSIGNED_PAYLOAD),
    "signed in chunks": (review(x_amz_content_sha256=CHUNKS), CLAIM, CHUNKS),
    "of a URL of S3": (review(), presigned(), UNSIGNED_PAYLOAD),
    "of a URL of another service": (review(), replace(presigned(), service="lambda"), None),
    "of a URL that says it": (review(), presigned(HASH), HASH),
    "of a URL and a header: the header": (
        review(x_amz_content_sha256=HASH), presigned(UNSIGNED_PAYLOAD), HASH,
    ),
    "of a form": (review(), replace(CLAIM, form=Form.POST_FORM), UNSIGNED_PAYLOAD),
    "of a form, for another service": (
        review(), replace(CLAIM, form=Form.POST_FORM, service="x"), UNSIGNED_PAYLOAD,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("of", "claim", "expected"), PAYLOADS.values(), ids=PAYLOADS)
def test_what_stands_for_the_body(of: Review, claim: Claim, expected: str | None) -> None:
    assert payload_of(of, claim) == expected


REFUSED: dict[str, tuple[Review, Claim, Code, str]] = {
    "unsigned, and it must be read": (
        review(x_amz_content_sha256=UNSIGNED_PAYLOAD, needs_body=True), CLAIM,
        Code.BAD_SIGNATURE, "must be signed",
    ),
    "chunks by a URL": (
        review(x_amz_content_sha256=CHUNKS), presigned(), Code.UNSUPPORTED, "not supported",
    ),
    "chunks by an elliptic curve": (
        review(x_amz_content_sha256=CHUNKS), replace(CLAIM, form=Form.HEADER_V4A),
        Code.UNSUPPORTED, "not supported",
    ),
    **{
        name: (review(x_amz_content_sha256=text), CLAIM, Code.BAD_SIGNATURE, "neither a SHA-256")
        for name, text in {
            "hex, too short": HASH[:62], "hex, too long": HASH + "ab", "capitals": HASH.upper(),
            "no hex": "z" * 64, "a word of nobody's": "UNSIGNED",
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize(("of", "claim", "code", "words"), REFUSED.values(), ids=REFUSED)
def test_what_does_not(of: Review, claim: Claim, code: Code, words: str) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        payload_of(of, claim)

    assert caught.value.code is code


def test_a_body_that_was_not_signed_is_whatever_it_is() -> None:
    """It may be at hand all the same, since the call is read from it."""
    call = replace(GOOD, sign_body=False)
    found, gate = Review(call.facts()), new_gate()
    gate.receive(found, WHEN)

    assert found.payload == UNSIGNED_PAYLOAD
    assert check_signature(found, b"another body") == UNSIGNED_PAYLOAD


# --- where to -------------------------------------------------------------------------


def endpoint(host: str) -> Endpoint:
    found = resolve_endpoint(host)
    assert found is not None
    return found


EVERYWHERE = replace(CLAIM, form=Form.HEADER_V4A, region="", region_set="*")
ONE_PLACE = endpoint(S3)
GLOBAL = replace(ONE_PLACE, region="", regions=("us-east-1", "us-west-2"))
SCOPES: dict[str, tuple[Claim, Endpoint, bool]] = {
    "of this region": (CLAIM, ONE_PLACE, True),
    "of another": (replace(CLAIM, region="us-east-1"), ONE_PLACE, False),
    "of another service": (replace(CLAIM, service="lambda"), ONE_PLACE, False),
    "of SigV2, which has none": (
        replace(CLAIM, form=Form.QUERY_V2, region="", service="lambda"), ONE_PLACE, True,
    ),
    "of all regions": (EVERYWHERE, ONE_PLACE, True),
    "of all regions, for another service": (
        replace(EVERYWHERE, service="lambda"), ONE_PLACE, False,
    ),
    "of a set with this region": (
        replace(EVERYWHERE, region_set="us-east-1,eu-central-1"), ONE_PLACE, True,
    ),
    "of a set without it": (replace(EVERYWHERE, region_set="us-east-1"), ONE_PLACE, False),
    "of all that the endpoint may be": (
        replace(EVERYWHERE, region_set="us-east-1,us-west-2"), GLOBAL, True,
    ),
    "of one that it may be": (replace(EVERYWHERE, region_set="us-east-1"), GLOBAL, False),
    "of none that it may be": (replace(EVERYWHERE, region_set="eu-west-1"), GLOBAL, False),
}  # fmt: skip


@pytest.mark.parametrize(("claim", "found", "fits"), SCOPES.values(), ids=SCOPES)
def test_the_scope_is_that_of_the_endpoint(claim: Claim, found: Endpoint, fits: bool) -> None:
    if fits:
        check_scope(claim, found)
        return
    with pytest.raises(Refusal, match="signed for") as caught:
        check_scope(claim, found)
    assert caught.value.code is Code.SCOPE_MISMATCH


@pytest.mark.parametrize(
    ("host", "bucket"),
    [(S3, "b"), ("s3.eu-central-1.amazonaws.com", ""), ("b.s3-accelerate.amazonaws.com", "b")],
)
def test_the_bucket_of_the_host_is_in_the_old_signature(
    host: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def matches(*, bucket: str, **_: object) -> bool:
        asked.append(bucket)
        return True

    monkeypatch.setattr(sigv2, "matches", matches)
    old = sigv2.SignedV2(CLAIM.access_key_id, "x" * 27 + "=", 1, "t", b"")
    found = replace(review(), endpoint=endpoint(host), payload=UNSIGNED_PAYLOAD)
    found.claim = replace(CLAIM, form=Form.QUERY_V2, region="", proof=old)
    check_signature(found, None)

    assert asked == [bucket]


# --- who ------------------------------------------------------------------------------

THEIRS = replace(CLAIM, access_key_id="AKIAEXAMPLE")
FOREIGN = {
    "a URL of somebody else's": (replace(THEIRS, form=Form.QUERY), True),
    "an old one": (replace(THEIRS, form=Form.QUERY_V2), True),
    "a form": (replace(THEIRS, form=Form.POST_FORM), True),
    "a header": (THEIRS, False),
    "a header by an elliptic curve": (replace(THEIRS, form=Form.HEADER_V4A), False),
    "a URL of another service": (replace(THEIRS, form=Form.QUERY, service="lambda"), False),
    "one of our own": (replace(CLAIM, form=Form.QUERY), False),
}


@pytest.mark.parametrize(("claim", "foreign"), FOREIGN.values(), ids=FOREIGN)
def test_what_somebody_else_signed(claim: Claim, foreign: bool) -> None:
    assert is_foreign(claim) is foreign
