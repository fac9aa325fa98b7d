"""Keys of an S3 Express session are good for its bucket alone, in the header of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from awsgate.aws.endpoint import resolve_endpoint
from awsgate.aws.sigv4 import SigningKeys, parse_authorization
from awsgate.caller import Claim, Form
from awsgate.errors import Code, Refusal
from awsgate.proof import check_express, check_signature
from awsgate.review import Review
from awsgate.session import Session
from awsgate.surrogate import IssuedKeys
from calls import GOOD, new_gate, with_value
from signers import WHEN, Fields

BUCKET = "one--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com"
OTHER = "two--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com"
PROOF = parse_authorization(
    b"AWS4-HMAC-SHA256 Credential=GATEAAAAAAAAAAAAAAAA/20261123/us-east-1/s3express/aws4_request, "
    b"SignedHeaders=host, Signature=" + b"ab" * 32
)
CLAIM = Claim(
    form=Form.HEADER, access_key_id=PROOF.access_key_id, service="s3express", region="us-east-1",
    signed_headers=("host",), timestamp="20261123T101530Z", rest=b"", session_token="t",
    proof=PROOF, express=True,
)  # fmt: skip
PLAIN = Session("GATEAAAAAAAAAAAAAAAA", "s", "alice", "prod", "arn:aws:iam::1:role/r", 0, 3600)
EXPRESS = replace(
    PLAIN,
    issued=IssuedKeys(SigningKeys("ASIA", "s", "t"), 3600, "", "", True, BUCKET),
)

ASSUMED = replace(PLAIN, issued=IssuedKeys(SigningKeys("ASIA", "s", "t"), 3600, "", ""))


def check(claim: Claim, session: Session, host: str) -> None:
    found = resolve_endpoint(host)
    assert found is not None
    check_express(claim, session, found)


def test_they_are_good_for_their_bucket() -> None:
    check(CLAIM, EXPRESS, BUCKET)
    check(replace(CLAIM, express=False), PLAIN, BUCKET)
    check(replace(CLAIM, express=False), ASSUMED, BUCKET)


@pytest.mark.parametrize(
    ("claim", "session", "host", "words"),
    [
        (CLAIM, EXPRESS, OTHER, "of another bucket"),
        (CLAIM, PLAIN, BUCKET, "in the header of another kind"),
        (CLAIM, ASSUMED, BUCKET, "in the header of another kind"),
        (replace(CLAIM, express=False), EXPRESS, BUCKET, "in the header of another kind"),
    ],
    ids=[
        "another bucket",
        "keys of a role",
        "keys of one that was assumed",
        "the header of a role's token",
    ],
)
def test_and_for_nothing_else(claim: Claim, session: Session, host: str, words: str) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        check(claim, session, host)

    assert caught.value.code is Code.UNKNOWN_KEY


def in_the_header_of_express(fields: Fields) -> Fields:
    """Send the token of a role where that of an S3 Express session stands."""
    named = b"x-amz-s3session-token"
    fields = with_value(b"authorization", lambda v: v.replace(b"x-amz-security-token", named))(
        fields
    )
    return [(named if n.lower() == b"x-amz-security-token" else n, v) for n, v in fields]


def test_the_gate_asks_that_of_every_request() -> None:
    call = replace(
        GOOD, host=BUCKET, service="s3express", region="us-east-1", after=in_the_header_of_express
    )
    review = Review(call.facts())

    with pytest.raises(Refusal, match="in the header of another kind"):
        new_gate().receive(review, WHEN)
    assert review.session is not None, "it is a session of ours, and its keys are good elsewhere"


def test_nothing_is_proved_that_nobody_claims() -> None:
    with pytest.raises(Refusal, match="not received") as caught:
        check_signature(Review(GOOD.facts()), b"")

    assert caught.value.code is Code.GATEWAY_FAULT
