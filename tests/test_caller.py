"""Claims of a caller that are refused before a secret is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from awsgate.aws.endpoint import Endpoint, resolve_endpoint
from awsgate.aws.postform import FormError
from awsgate.caller import Claim, Form, read_claim, read_form
from awsgate.errors import Code, Refusal
from awsgate.wire import RequestFacts

NOW = datetime(2026, 11, 23, 10, 15, 30, tzinfo=UTC)
S3 = "bucket.s3.eu-central-1.amazonaws.com"
DYNAMODB = "dynamodb.eu-central-1.amazonaws.com"
ACCESS_POINT = "reports-123456789012.s3-accesspoint.eu-central-1.amazonaws.com"
BAD, NO, ENDED = Code.BAD_SIGNATURE, Code.UNSUPPORTED, Code.SESSION_EXPIRED

SIGNATURE = "ab" * 32
SIGNED = ("host", "x-amz-date", "x-amz-security-token")


def authorization(*, signed: tuple[str, ...] = SIGNED) -> bytes:
    return (
        "AWS4-HMAC-SHA256 Credential=GATEAAAAAAAAAAAAAAAA/20261123/eu-central-1/s3/aws4_request, "
        f"SignedHeaders={';'.join(signed)}, Signature={SIGNATURE}"
    ).encode()


def asked(
    method: bytes, target: str, host: str, fields: Sequence[tuple[bytes, bytes]] = ()
) -> tuple[RequestFacts, Endpoint]:
    """Give a request as it came through CONNECT, and where it goes."""
    facts = RequestFacts(
        method=method,
        target=target.encode(),
        authority=b"",
        headers=fields,
        connect_host=host,
        tls=True,
        sni=host,
        local=True,
    )
    found = resolve_endpoint(host)
    assert found is not None
    return facts, found


def read(
    target: str = "/key",
    headers: dict[str, bytes] | None = None,
    *,
    host: str = S3,
    now: datetime = NOW,
) -> Claim | None:
    grouped = {
        b"host": [host.encode()],
        **{name.encode(): [value] for name, value in (headers or {}).items()},
    }
    fields = [(name, value) for name, values in grouped.items() for value in values]
    facts, found = asked(b"GET", target, host, fields)
    return read_claim(facts, grouped, found, now)


def in_header(**more: bytes) -> dict[str, bytes]:
    return {
        "authorization": authorization(),
        "x-amz-date": b"20261123T101530Z",
        "x-amz-security-token": b"token",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def in_header_v4a(**more: bytes) -> dict[str, bytes]:
    signed = ";".join(("host", "x-amz-date", *(name.replace("_", "-") for name in more)))
    return {
        "authorization": (
            "AWS4-ECDSA-P256-SHA256 Credential=GATEAAAAAAAAAAAAAAAA/20261123/s3/aws4_request, "
            f"SignedHeaders={signed}, Signature={'30' * 70}"
        ).encode(),
        "x-amz-date": b"20261123T101530Z",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def v2(*, ends: datetime = NOW + timedelta(hours=1), more: str = "") -> str:
    expires = int(ends.timestamp())
    text = f"AWSAccessKeyId=GATEAAAAAAAAAAAAAAAA&Signature={'A' * 27}%3D&Expires={expires}"
    return f"/key?{text}{more}"


def v4(*, at: datetime = NOW, expires_s: int = 60) -> str:
    scope = quote(f"GATEAAAAAAAAAAAAAAAA/{at:%Y%m%d}/eu-central-1/s3/aws4_request", safe="")
    return (
        f"/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}"
        f"&X-Amz-Date={at:%Y%m%dT%H%M%SZ}&X-Amz-Expires={expires_s}&X-Amz-SignedHeaders=host"
        f"&X-Amz-Security-Token=token&X-Amz-Signature={SIGNATURE}"
    )


def test_what_is_refused_below_is_right_but_for_that() -> None:
    claims = [
        read(headers=in_header()),
        read(headers=in_header_v4a(x_amz_region_set=b"eu-central-1")),
        read(v4()),
        read(v2()),
    ]

    forms = [claim.form for claim in claims if claim is not None]
    assert forms == [Form.HEADER, Form.HEADER_V4A, Form.QUERY, Form.QUERY_V2]


ANOTHER = {"authorization": b"AWS4-HMAC-SHA512 Credential=x"}
WEEK = timedelta(days=7)


@pytest.mark.parametrize(
    ("target", "headers", "host", "code", "words"),
    [
        ("/", ANOTHER, S3, BAD, "malformed Authorization header"),
        ("/", in_header(x_amz_s3session_token=b"t"), S3, NO, "two session tokens"),
        ("/", in_header_v4a(), S3, BAD, "x-amz-region-set is not there"),
        (v2(), {}, DYNAMODB, NO, "not supported here"),
        (v2(), {}, ACCESS_POINT, NO, "not supported here"),
        (v2(more="&Expires=1"), {}, S3, BAD, "Expires is there more than once"),
        (v2(more="&max-keys=1"), {}, S3, NO, "does not cover the parameter"),
        (v2(ends=NOW + WEEK + timedelta(seconds=1)), {}, S3, BAD, "over 7 days away"),
        (v2(ends=NOW), {}, S3, ENDED, "ended 0 seconds ago"),
        (v4(at=NOW - timedelta(seconds=60)), {}, S3, ENDED, "ended 0 seconds ago"),
    ],
    ids=["another algorithm", "two tokens", "v4a for no region", "v2 of another service",
         "v2 at an access point", "v2 with two ends", "v2 and more than it covers",
         "v2 for over a week", "v2 at its end", "presigned at its end"],
)  # fmt: skip
def test_a_claim_that_is_refused(
    target: str, headers: dict[str, bytes], host: str, code: Code, words: str
) -> None:
    with pytest.raises(Refusal) as caught:
        read(target, headers, host=host)

    assert caught.value.code is code
    assert words in caught.value.message


@pytest.mark.parametrize(
    "target",
    [v2(ends=NOW + timedelta(seconds=1)), v2(ends=NOW + WEEK), v4(at=NOW - timedelta(seconds=59))],
    ids=["v2 to the last second", "v2 for a week", "presigned to the last second"],
)
def test_a_url_is_good_until_its_end(target: str) -> None:
    assert read(target) is not None


# --- forms -------------------------------------------------------------------------------


def claimed_by_form(target: str = "/", host: str = S3, *, now: datetime = NOW) -> Claim | None:
    facts, found = asked(b"POST", target, host)
    return read_form(facts, {}, found, b"", now)


class Stub:
    """A form whose policy ends now, or that cannot be read at all."""

    access_key_id = "GATEAAAAAAAAAAAAAAAA"
    service = region = timestamp = session_token = ""


def test_a_form_ends_with_its_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awsgate.aws.postform.parse", lambda *_: Stub())
    monkeypatch.setattr("awsgate.aws.postform.expires_at", lambda _: NOW)

    with pytest.raises(Refusal) as caught:
        claimed_by_form()
    still_good = claimed_by_form(now=NOW - timedelta(seconds=1))

    assert caught.value.code is ENDED
    assert still_good is not None


def test_a_form_that_cannot_be_read_has_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_: object) -> object:
        raise FormError("it has two policies")

    monkeypatch.setattr("awsgate.aws.postform.parse", parse)

    with pytest.raises(Refusal, match="malformed POST form: it has two policies") as caught:
        claimed_by_form()

    assert caught.value.code is BAD


IN_PATH = "s3.eu-central-1.amazonaws.com"
MULTI_REGION = "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"
CONTROL = "123456789012.s3-control.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    ("target", "host"),
    [("/", S3), ("/", ACCESS_POINT), ("/", MULTI_REGION), ("/bucket", IN_PATH),
     ("/bucket/", IN_PATH), ("/Old_Bucket.1", IN_PATH)],
)  # fmt: skip
def test_a_form_goes_to_its_bucket(target: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awsgate.aws.postform.parse", lambda *_: Stub())
    monkeypatch.setattr("awsgate.aws.postform.expires_at", lambda _: NOW + timedelta(hours=1))

    claim = claimed_by_form(target, host)

    assert claim is not None
    assert (claim.form, claim.rest) == (Form.POST_FORM, b"")


@pytest.mark.parametrize(
    ("target", "host", "words"),
    [("/?delete", S3, "a query"), ("/?x-id=PostObject", S3, "a query"),
     ("/bucket?select&select-type=2", IN_PATH, "a query"), ("/k", S3, "a path"),
     ("//", S3, "a path"), ("/k", MULTI_REGION, "a path"), ("/", IN_PATH, "a path"),
     ("/bucket/k", IN_PATH, "a path"), ("/bucket//", IN_PATH, "a path"),
     ("/bucket%2Fk", IN_PATH, "a path"), ("/..", IN_PATH, "a path"), ("/./", IN_PATH, "a path"),
     ("/bucket", CONTROL, "a host that has no buckets")],
)  # fmt: skip
def test_a_form_that_goes_elsewhere_is_refused_unread(target: str, host: str, words: str) -> None:
    with pytest.raises(Refusal, match="goes to its bucket") as caught:
        claimed_by_form(target, host)

    assert caught.value.code is NO
    assert words in caught.value.message
