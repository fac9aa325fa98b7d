"""Refusals as AWS errors: botocore parses each of them, and repeats only what may pass."""

from __future__ import annotations

from datetime import timedelta, timezone
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws.faults import (
    PROTOCOLS,
    S3,
    _cbor_head,
    protocol_of,
    wants_query_errors,
)
from awsgate.errors import Code, Refusal
from faulting import CODES, COLUMN, NOW, REQUEST_ID, header, parsed, render


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@pytest.mark.parametrize("code", Code)
def test_botocore_reads_code_text_and_request_id(code: Code, protocol: str) -> None:
    fault = render(Refusal(code, "not so", hint="do this"), protocol)

    answer = parsed(fault, protocol)

    prefix = "" if "forwarded-host" in code else f"awsgate {code}: "
    assert answer["Error"]["Code"] == CODES[code][COLUMN[protocol]]
    assert answer["Error"]["Message"] == f"{prefix}not so (hint: do this)"
    assert answer["ResponseMetadata"]["RequestId"] == REQUEST_ID
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == fault.status == CODES[code][4]


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_headers_common_to_all(protocol: str) -> None:
    fault = render(Refusal(Code.DENIED, "no"), protocol)

    assert header(fault, "Date") == "Fri, 02 Jan 2026 03:04:05 GMT"
    assert header(fault, "Content-Length") == str(len(fault.body))
    assert header(fault, "Cache-Control") == "no-store"
    assert header(fault, "x-awsgate-code") == "denied"
    assert header(fault, "x-awsgate-request-id") == REQUEST_ID
    names = [name.lower() for name, _ in fault.headers]
    assert len(names) == len(set(names))


SHAPES = {
    S3: (
        "application/xml",
        "<Error><Code>AccessDenied</Code><Message>awsgate denied: no</Message>"
        f"<Resource>/bucket/key</Resource><RequestId>{REQUEST_ID}</RequestId>"
        "<HostId>awsgate</HostId></Error>",
    ),
    "query": (
        "text/xml",
        "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
        "<Message>awsgate denied: no</Message></Error>"
        f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>",
    ),
    "ec2": (
        "text/xml;charset=UTF-8",
        "<Response><Errors><Error><Code>UnauthorizedOperation</Code>"
        "<Message>awsgate denied: no</Message></Error></Errors>"
        f"<RequestID>{REQUEST_ID}</RequestID></Response>",
    ),
    "json": (
        "application/x-amz-json-1.0",
        '{"__type": "AccessDeniedException", "message": "awsgate denied: no"}',
    ),
    "rest-json": (
        "application/json",
        '{"__type": "AccessDeniedException", "message": "awsgate denied: no"}',
    ),
    # a2: map of 2; 66, 67: text of 6, 7; 75: text of 21; 72: text of 18.
    "cbor": (
        "application/cbor",
        "\xa2\x66__type\x75AccessDeniedException\x67message\x72awsgate denied: no",
    ),
}


@pytest.mark.parametrize("protocol", SHAPES)
def test_the_shape_is_the_documented_one(protocol: str) -> None:
    fault = render(Refusal(Code.DENIED, "no"), protocol)

    content_type, body = SHAPES[protocol]
    assert header(fault, "Content-Type") == content_type
    assert fault.body.decode("latin-1").removeprefix(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
    ) == (body)


def test_rest_xml_has_the_shape_of_query() -> None:
    refusal = Refusal(Code.GATEWAY_FAULT, "no")

    assert render(refusal, "rest-xml") == render(refusal, "query")
    assert b"<Type>Receiver</Type>" in render(refusal, "query").body


def test_s3_has_its_own_request_id_headers() -> None:
    fault = render(Refusal(Code.DENIED, "no"), S3)

    assert header(fault, "x-amz-request-id") == REQUEST_ID
    assert parsed(fault, S3)["ResponseMetadata"]["HostId"] == "awsgate"


@pytest.mark.parametrize("protocol", ["json", "rest-json"])
def test_json_has_the_code_in_a_header_too(protocol: str) -> None:
    fault = render(Refusal(Code.DENIED, "no"), protocol, version="1.1")

    assert header(fault, "x-amzn-ErrorType") == "AccessDeniedException"
    if protocol == "json":
        assert header(fault, "Content-Type") == "application/x-amz-json-1.1"


@pytest.mark.parametrize("protocol", ["json", "cbor"])
def test_query_compatible_clients_get_the_query_code(protocol: str) -> None:
    fault = render(Refusal(Code.DENIED, "no"), protocol, query_mode=True)

    assert header(fault, "x-amzn-query-error") == "AccessDenied;Sender"
    assert parsed(fault, protocol)["Error"]["Code"] == "AccessDenied"
    assert wants_query_errors({"x-amzn-query-mode": "true"})
    assert not wants_query_errors({})


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@pytest.mark.parametrize("code", Code)
def test_a_head_answer_is_the_same_without_a_body(code: Code, protocol: str) -> None:
    refusal = Refusal(code, "no")

    head, post = render(refusal, protocol, method="HEAD"), render(refusal, protocol)

    assert (head.status, head.body, header(head, "Content-Length")) == (post.status, b"", "0")
    assert [pair for pair in head.headers if pair[0] != "Content-Length"] == [
        pair for pair in post.headers if pair[0] != "Content-Length"
    ]


def test_botocore_takes_an_s3_head_answer_by_its_status() -> None:
    fault = render(Refusal(Code.SCOPE_MISMATCH, "no"), S3, method="HEAD")

    # 400 and 301 would make it look for the bucket's region with further requests.
    assert parsed(fault, S3)["Error"]["Code"] == "403"


def test_the_status_of_the_refusal_wins() -> None:
    fault = render(Refusal(Code.UNSUPPORTED, "no", status=431), "query")

    assert fault.status == 431
    assert b"<Type>Sender</Type>" in fault.body


def test_the_detail_is_for_the_audit_alone() -> None:
    for protocol in PROTOCOLS:
        fault = render(Refusal(Code.DENIED, "no", detail="role/secret-rule"), protocol)

        assert b"secret-rule" not in fault.body
        assert "secret-rule" not in str(fault.headers)


def test_the_date_is_gmt_whatever_the_zone_of_now() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))

    fault = render(Refusal(Code.DENIED, "no"), "json", now=elsewhere)

    assert header(fault, "Date") == "Fri, 02 Jan 2026 03:04:05 GMT"
    assert parsedate_to_datetime(header(fault, "Date")) == NOW.replace(microsecond=0)


# --- hostile text ---------------------------------------------------------------------


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_markup_controls_and_accents_arrive_as_text(protocol: str) -> None:
    nasty = '<&"\x00é\x1b\ud800\ufffe]]></Message>'

    fault = render(Refusal(Code.DENIED, nasty), protocol, resource=f"/<{nasty}")

    assert parsed(fault, protocol)["Error"]["Message"] == 'awsgate denied: <&"é]]></Message>'
    assert protocol != S3 or parsed(fault, S3)["Error"]["Resource"] == '/<<&"é]]></Message>'


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@given(text=st.text(max_size=300))
def test_any_text_gives_a_body_that_parses_and_ascii_headers(protocol: str, text: str) -> None:
    fault = render(
        Refusal(Code.DENIED, text), protocol, resource=text, request_id=text, query_mode=True
    )

    assert parsed(fault, protocol)["Error"]["Message"].startswith("awsgate denied: ")
    for name, value in fault.headers:
        assert f"{name}{value}".isascii()
        assert f"{name}{value}".isprintable()
    if "xml" in protocol or protocol in ("query", "ec2"):
        ET.fromstring(fault.body)  # noqa: S314 - our own output


@pytest.mark.parametrize("length", [0, 1, 23, 24, 255, 256, 65535, 65536])
def test_cbor_lengths_at_the_edges(length: int) -> None:
    message = "x" * length

    assert (
        parsed(render(Refusal(Code.DENIED, message), "cbor"), "cbor")["Error"]["Message"]
        == f"awsgate denied: {message}"
    )


def test_a_long_path_is_cut() -> None:
    fault = render(Refusal(Code.DENIED, "no"), S3, resource="/" + "k" * 30000)

    assert len(parsed(fault, S3)["Error"]["Resource"]) == 1024


# --- which protocol ----------------------------------------------------------------------

FORM = "application/x-www-form-urlencoded; charset=utf-8"
SCOPE = "AWS4-HMAC-SHA256 Credential=AKIA/20260102/us-east-1/{}/aws4_request, SignedHeaders=host"
WHICH: dict[str, tuple[str | None, dict[str, str], tuple[str, str]]] = {
    "the model's word where the wire says nothing": ("ec2", {}, ("ec2", "")),
    "s3 stays s3 for a form upload": (S3, {"content-type": FORM}, (S3, "")),
    "ec2 stays ec2 for its forms": ("ec2", {"content-type": FORM}, ("ec2", "")),
    "rest-json stays whatever is uploaded": (
        "rest-json",
        {"content-type": "application/json"},
        ("rest-json", ""),
    ),
    "json version from the content type": (
        "json",
        {"x-amz-target": "DynamoDB_20120810.GetItem", "content-type": "application/x-amz-json-1.0"},
        ("json", "1.0"),
    ),
    "json 1.1 with parameters": (
        "json",
        {"content-type": "Application/X-Amz-Json-1.1; charset=utf-8"},
        ("json", "1.1"),
    ),
    "json without a content type": ("json", {}, ("json", "1.0")),
    "a target says json of an unknown host": (None, {"x-amz-target": "a.b"}, ("json", "1.0")),
    "an old sqs client speaks query": ("json", {"content-type": FORM}, ("query", "")),
    "an old cloudwatch client speaks query": ("cbor", {"content-type": FORM}, ("query", "")),
    "a new cloudwatch client speaks cbor": (
        "query",
        {"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor"},
        ("cbor", ""),
    ),
    "a form to an unknown host": (None, {"content-type": FORM}, ("query", "")),
    "a form to an unknown host, signed for ec2": (
        None,
        {"content-type": FORM, "authorization": SCOPE.format("ec2")},
        ("ec2", ""),
    ),
    "an unknown host, signed for s3": (None, {"authorization": SCOPE.format("s3")}, (S3, "")),
    "an unknown host and nothing else": (None, {}, ("rest-json", "")),
    "an unknown host and rubbish": (
        None,
        {"authorization": "Credential=//,", "content-type": ";"},
        ("rest-json", ""),
    ),
    "a model with several protocols": ("", {"content-type": FORM}, ("query", "")),
}


@pytest.mark.parametrize(("service", "headers", "expected"), WHICH.values(), ids=WHICH)
def test_protocol_of(
    service: str | None, headers: dict[str, str], expected: tuple[str, str]
) -> None:
    assert protocol_of(service_protocol=service, headers=headers) == expected


def test_a_text_that_no_head_of_cbor_can_hold_is_not_written() -> None:
    assert _cbor_head(3, 0xFFFFFFFF) == b"\x7a\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="too many"):
        _cbor_head(3, 1 << 32)
