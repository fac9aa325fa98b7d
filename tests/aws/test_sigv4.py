"""sigv4 piece by piece: what it refuses to read, and what it refuses to do."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta, timezone

import pytest

from awsgate.aws import sigv4
from awsgate.aws.sigv4 import SignatureSyntaxError, parse_amz_date, parse_authorization
from chunksigner import signing_key
from signers import KEYS, SESSION_KEYS, WHEN, botocore_sign, value_of

SIGNATURE = "0123456789abcdef" * 4
CREDENTIAL = "Credential=AKIDEXAMPLE/20261123/eu-central-1/s3/aws4_request"
SIGNED = "SignedHeaders=host;x-amz-date"
GOOD = f"AWS4-HMAC-SHA256 {CREDENTIAL}, {SIGNED}, Signature={SIGNATURE}"

PARSED = sigv4.Authorization(
    access_key_id="AKIDEXAMPLE",
    day="20261123",
    region="eu-central-1",
    service="s3",
    signed_headers=("host", "x-amz-date"),
    signature=SIGNATURE,
)

WELL_FORMED = {
    "as every sdk writes it": GOOD,
    "no space after the commas": GOOD.replace(", ", ","),
    "another order": f"AWS4-HMAC-SHA256 Signature={SIGNATURE}, {CREDENTIAL}, {SIGNED}",
    "more spaces between the parts": GOOD.replace(", ", "  ,   "),
}


@pytest.mark.parametrize("value", WELL_FORMED.values(), ids=WELL_FORMED)
def test_a_well_formed_header_is_read(value: str) -> None:
    assert parse_authorization(value.encode()) == PARSED
    assert PARSED.scope == "20261123/eu-central-1/s3/aws4_request"


ALGORITHM = "algorithm is not AWS4-HMAC-SHA256"
PARTS = "expected Credential, SignedHeaders and Signature once each"
SCOPE = "Credential is not <key id>/<YYYYMMDD>/<region>/<service>/aws4_request"
NAMES = "SignedHeaders is not a list of lower-case header names"
SORTED = "SignedHeaders is not sorted, or repeats a name"
HEX = "Signature is not 64 lower-case hex digits"

MALFORMED = {
    "empty": ("", ALGORITHM),
    "basic": ("Basic YTpi", ALGORITHM),
    "algorithm alone": ("AWS4-HMAC-SHA256", PARTS),
    "lower-case algorithm": (GOOD.replace("AWS4-HMAC", "aws4-hmac"), ALGORITHM),
    "sigv4a": (GOOD.replace("HMAC-SHA256", "ECDSA-P256-SHA256"), ALGORITHM),
    "leading space": (" " + GOOD, ALGORITHM),
    "tab after the algorithm": (GOOD.replace(" ", "\t", 1), ALGORITHM),
    "no credential": (GOOD.replace(CREDENTIAL + ", ", ""), PARTS),
    "no signed headers": (GOOD.replace(SIGNED + ", ", ""), PARTS),
    "no signature": (GOOD.partition(", Signature")[0], PARTS),
    "two signatures": (f"{GOOD}, Signature={SIGNATURE}", PARTS),
    "two credentials": (f"{GOOD}, {CREDENTIAL}", PARTS),
    "a part that nobody knows": (f"{GOOD}, Extra={SIGNATURE}", PARTS),
    "a name in another case": (GOOD.replace("Signature=", "signature="), PARTS),
    "a part without a value": (GOOD.replace(SIGNED, "SignedHeaders"), PARTS),
    "a comma at the end": (GOOD + ",", PARTS),
    "two headers folded into one": (f"{GOOD}, {GOOD}", PARTS),
    "credential of four parts": (GOOD.replace("/s3/", "/"), SCOPE),
    "credential of six parts": (GOOD.replace("/s3/", "/s3/s3/"), SCOPE),
    "key id with a slash": (GOOD.replace("AKID", "AK/ID"), SCOPE),
    "key id too short": (GOOD.replace("AKIDEXAMPLE", "AKI"), SCOPE),
    "key id too long": (GOOD.replace("AKIDEXAMPLE", "A" * 129), SCOPE),
    "day with hours": (GOOD.replace("20261123/", "20261123T101530Z/"), SCOPE),
    "day not a number": (GOOD.replace("20261123/", "2026112a/"), SCOPE),
    "empty region": (GOOD.replace("/eu-central-1/", "//"), SCOPE),
    "upper-case region": (GOOD.replace("eu-central-1", "EU-central-1"), SCOPE),
    "upper-case service": (GOOD.replace("/s3/", "/S3/"), SCOPE),
    "another terminator": (GOOD.replace("aws4_request", "aws5_request"), SCOPE),
    "a line break at the end of the credential": (GOOD.replace("request,", "request\n,"), SCOPE),
    "no names": (GOOD.replace(SIGNED, "SignedHeaders="), NAMES),
    "upper-case name": (GOOD.replace("=host", "=Host"), NAMES),
    "empty name": (GOOD.replace("host;", "host;;"), NAMES),
    "semicolon at the end": (GOOD.replace("x-amz-date", "x-amz-date;"), NAMES),
    "space in a name": (GOOD.replace("=host", "=ho st"), NAMES),
    "colon in a name": (GOOD.replace("=host", "=host:"), NAMES),
    "too many names": (
        GOOD.replace("=host", "=" + ";".join(f"a{i:03}" for i in range(128)) + ";host"),
        NAMES,
    ),
    "unsorted names": (GOOD.replace("host;x-amz-date", "x-amz-date;host"), SORTED),
    "a name twice": (GOOD.replace("=host", "=host;host"), SORTED),
    "signature too short": (GOOD[:-1], HEX),
    "signature too long": (GOOD + "0", HEX),
    "signature in upper case": (GOOD.replace(SIGNATURE, SIGNATURE.upper()), HEX),
    "signature not hex": (GOOD.replace("0123", "0g23", 1), HEX),
    "signature with a line break": (GOOD + "\n", HEX),
    "not ascii": (GOOD + "é", "authorization header is not ASCII"),
    "too long": (GOOD + " " * 16384, "authorization header is longer than 16384 bytes"),
}


@pytest.mark.parametrize(("value", "expected"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_header_is_refused_and_the_reason_holds_none_of_it(
    value: str, expected: str
) -> None:
    with pytest.raises(SignatureSyntaxError) as caught:
        parse_authorization(value.encode())

    assert str(caught.value) == expected
    assert SIGNATURE[:16] not in str(caught.value)
    assert caught.value.__cause__ is None


DATES = {
    "compact": (b"20261123T101530Z", datetime(2026, 11, 23, 10, 15, 30, tzinfo=UTC)),
    "leap day": (b"20240229T000000Z", datetime(2024, 2, 29, tzinfo=UTC)),
    "no leap day": (b"20230229T000000Z", None),
    "month 13": (b"20261323T101530Z", None),
    "hour 24": (b"20261123T240000Z", None),
    "second 60": (b"20261123T101560Z", None),
    "no zone": (b"20261123T101530", None),
    "lower-case zone": (b"20261123T101530z", None),
    "extended form": (b"2026-11-23T10:15:30Z", None),
    "http date": (b"Mon, 23 Nov 2026 10:15:30 GMT", None),
    "line break at the end": (b"20261123T101530Z\n", None),
    "digits of another script": ("２０261123T101530Z".encode(), None),
    "not ascii": (b"\xff0261123T101530Z", None),
    "empty": (b"", None),
}


@pytest.mark.parametrize(("value", "expected"), DATES.values(), ids=DATES)
def test_parse_amz_date(value: bytes, expected: datetime | None) -> None:
    if expected is not None:
        assert parse_amz_date(value) == expected
        return
    with pytest.raises(SignatureSyntaxError, match=r"^x-amz-date is not "):
        parse_amz_date(value)


def test_amz_date_is_in_utc_whatever_the_zone_of_the_time() -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))

    assert sigv4.amz_date(WHEN.astimezone(kathmandu)) == "20261123T101530Z"


@pytest.mark.parametrize("day", ["", "2026112", "20261123T101530Z"])
def test_a_signing_key_is_for_a_day_and_for_nothing_longer(day: str) -> None:
    with pytest.raises(ValueError, match="expected YYYYMMDD") as caught:
        sigv4.signing_key("canary-secret", day, "us-east-1", "s3")

    assert "canary" not in str(caught.value)


def sign(*headers: tuple[bytes, bytes], keys: sigv4.SigningKeys = KEYS) -> sigv4.Headers:
    return sigv4.sign(
        "GET",
        b"/",
        headers,
        signed=["host", "x-not-there"],
        keys=keys,
        region="us-east-1",
        service="s3",
        payload="UNSIGNED-PAYLOAD",
        now=WHEN,
    )


HOST = (b"Host", b"b.s3.amazonaws.com")
LEFTOVERS = {
    "authorization": (b"Authorization", b"x"),
    "authorization in another case": (b"AUTHORIZATION", b"x"),
    "an empty authorization": (b"authorization", b""),
    "date": (b"x-amz-date", b"20261123T101530Z"),
    "payload hash": (b"X-Amz-Content-SHA256", b"UNSIGNED-PAYLOAD"),
    "session token": (b"x-amz-security-token", b"x"),
}


@pytest.mark.parametrize("leftover", LEFTOVERS.values(), ids=LEFTOVERS)
def test_sign_refuses_leftovers_of_an_old_signature(leftover: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="must be removed before signing"):
        sign(HOST, leftover, keys=SESSION_KEYS)


def test_sign_refuses_a_session_token_of_the_client_also_with_long_term_keys() -> None:
    with pytest.raises(ValueError, match="must be removed before signing"):
        sign(HOST, (b"x-amz-security-token", b"x"), keys=KEYS)


def test_sign_needs_a_host() -> None:
    with pytest.raises(KeyError):
        sign((b"x-custom", b"1"))


def test_sign_adds_its_headers_at_the_end_and_leaves_the_others_alone() -> None:
    before = (HOST, (b"X-Unsigned", b" a  b "))

    after = sign(*before, keys=SESSION_KEYS)

    assert tuple(after[:2]) == before
    assert [name for name, _ in after[2:]] == [
        b"X-Amz-Date",
        b"x-amz-content-sha256",
        b"X-Amz-Security-Token",
        b"Authorization",
    ]
    assert value_of(after, b"x-amz-security-token") == SESSION_KEYS.session_token.encode()


def test_a_signed_header_that_is_not_there_is_an_error_with_its_name() -> None:
    fields = botocore_sign("GET", "h.example.com", "/", [("x-custom", "1")], service="iam")
    headers = sigv4.group_headers(fields)
    auth = parse_authorization(headers[b"authorization"][0])
    del headers[b"x-custom"]

    with pytest.raises(KeyError, match="x-custom"):
        sigv4.matches(
            sigv4.SignedRequest("GET", b"/", b"", headers),
            auth,
            secret=KEYS.secret_access_key,
            timestamp="20261123T101530Z",
            payload=sigv4.EMPTY_SHA256,
        )


def test_reprs_show_who_and_never_the_secret_parts() -> None:
    assert repr(PARSED) == (
        "Authorization(AKIDEXAMPLE/20261123/eu-central-1/s3/aws4_request, signature redacted)"
    )
    assert repr(SESSION_KEYS) == "SigningKeys(ASIDEXAMPLE, redacted)"
    assert f"{PARSED}{SESSION_KEYS}".count(SIGNATURE) == 0


def signed_by(path: bytes, as_path: bytes) -> bool:
    """True if a signature of Lambda over ``as_path`` is one of a request for ``path``."""
    stamp, scope = "20261123T101530Z", "20261123/eu-central-1/lambda/aws4_request"
    canonical = b"GET\n" + as_path + b"\n\nhost:h\n\nhost\nx"
    digest = hashlib.sha256(canonical).hexdigest()
    key = signing_key("s", "20261123", "eu-central-1", "lambda")
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    made = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    auth = ("AKIDEXAMPLE", "20261123", "eu-central-1", "lambda", ("host",))
    return sigv4.matches(
        sigv4.SignedRequest("GET", path, b"", {b"host": [b"h"]}),
        sigv4.Authorization(*auth, signature=made),
        secret="s",
        timestamp=stamp,
        payload="x",
    )


def test_a_path_is_signed_as_sent_where_it_can_be_no_other() -> None:
    """``/a%3Ab`` as it stands is the canonical form of ``/a:b``."""
    assert signed_by(b"/a:b", b"/a:b")
    assert signed_by(b"/a:b", b"/a%3Ab")
    assert signed_by(b"/a%3Ab", b"/a%253Ab")
    assert not signed_by(b"/a%3Ab", b"/a%3Ab")
