"""Refusals as AWS errors: botocore parses each of them, and repeats only what may pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from xml.etree import ElementTree as ET

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from botocore.parsers import create_parser
from botocore.retries import standard
from botocore.retryhandler import create_checker_from_retry_config
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws.faults import (
    PROTOCOLS,
    S3,
    FaultResponse,
    protocol_of,
    render_fault,
    wants_query_errors,
)
from awsgate.errors import Code, Refusal

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
REQUEST_ID = "6f1c2d1e-0000-4000-8000-000000000001"
BOTOCORE_NAME = {S3: "rest-xml", "cbor": "smithy-rpc-v2-cbor"}

# One operation for each protocol: the model it has is what botocore's retries look into.
OPERATION = {
    S3: ("s3", "GetObject"),
    "rest-xml": ("route53", "ListHostedZones"),
    "query": ("iam", "ListUsers"),
    "ec2": ("ec2", "DescribeInstances"),
    "json": ("dynamodb", "GetItem"),
    "rest-json": ("lambda", "Invoke"),
    "cbor": ("cloudwatch", "PutMetricData"),
}


def render(
    refusal: Refusal,
    protocol: str,
    *,
    method: str = "POST",
    version: str = "1.0",
    query_mode: bool = False,
    now: datetime = NOW,
    resource: str = "/bucket/key",
    request_id: str = REQUEST_ID,
) -> FaultResponse:
    return render_fault(
        refusal,
        protocol=protocol,
        json_version=version if protocol == "json" else "",
        method=method,
        request_id=request_id,
        now=now,
        resource=resource,
        query_mode=query_mode,
    )


def header(fault: FaultResponse, name: str) -> str:
    (value,) = [value for key, value in fault.headers if key.lower() == name.lower()]
    return value


@cache
def operation(protocol: str) -> OperationModel:
    service, name = OPERATION[protocol]
    return botocore.session.Session().get_service_model(service).operation_model(name)


def parsed(fault: FaultResponse, protocol: str) -> dict[str, Any]:
    """Read the answer as botocore does, which also looks up the operation's own errors."""
    response = {
        "status_code": fault.status,
        "headers": {name.lower(): value for name, value in fault.headers},
        "body": fault.body,
        "context": {},
    }
    parser = create_parser(BOTOCORE_NAME.get(protocol, protocol))
    answer: dict[str, Any] = parser.parse(response, operation(protocol).output_shape)
    return answer


# The code by which SDKs, tools and users know the error: S3, query, EC2, JSON, status.
INVALID = ("InvalidRequest", "InvalidRequest", "InvalidRequest", "InvalidRequestException", 400)
NO_ACCESS = (
    "AccessDenied",
    "AccessDenied",
    "UnauthorizedOperation",
    "AccessDeniedException",
    403,
)
CODES = {
    Code.MISSING_FORWARDED_HOST: INVALID,
    Code.BAD_FORWARDED_HOST: INVALID,
    Code.NOT_AN_AWS_ENDPOINT: INVALID,
    Code.SCOPE_MISMATCH: (
        "AuthorizationHeaderMalformed",
        "SignatureDoesNotMatch",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        403,
    ),
    Code.NOT_SIGNED: (
        "AccessDenied",
        "MissingAuthenticationToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        403,
    ),
    Code.BAD_SIGNATURE: (
        "SignatureDoesNotMatch",
        "SignatureDoesNotMatch",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        403,
    ),
    Code.CLOCK_SKEW: (
        "RequestTimeTooSkewed",
        "RequestExpired",
        "RequestExpired",
        "RequestExpired",
        403,
    ),
    Code.UNKNOWN_KEY: (
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "AuthFailure",
        "UnrecognizedClientException",
        403,
    ),
    Code.SESSION_EXPIRED: (
        "ExpiredToken",
        "ExpiredToken",
        "RequestExpired",
        "ExpiredTokenException",
        403,
    ),
    Code.LOCKED: NO_ACCESS,
    Code.DENIED: NO_ACCESS,
    Code.ROLE_UNAVAILABLE: (
        "ServiceUnavailable",
        "ServiceUnavailable",
        "Unavailable",
        "ServiceUnavailableException",
        503,
    ),
    Code.BODY_TOO_LARGE: (
        "EntityTooLarge",
        "RequestEntityTooLarge",
        "RequestEntityTooLarge",
        "RequestEntityTooLargeException",
        413,
    ),
    Code.UNSUPPORTED: (
        "NotImplemented",
        "UnsupportedOperation",
        "UnsupportedOperation",
        "UnsupportedOperationException",
        400,
    ),
    Code.UPSTREAM_FAILED: (
        "ServiceUnavailable",
        "ServiceUnavailable",
        "Unavailable",
        "ServiceUnavailableException",
        502,
    ),
    Code.GATEWAY_FAULT: (
        "InternalError",
        "InternalFailure",
        "InternalError",
        "InternalFailure",
        500,
    ),
}
COLUMN = {S3: 0, "query": 1, "rest-xml": 1, "ec2": 2, "json": 3, "rest-json": 3, "cbor": 3}


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


# --- retries --------------------------------------------------------------------------

MAY_PASS = {Code.ROLE_UNAVAILABLE, Code.UPSTREAM_FAILED, Code.GATEWAY_FAULT}


class FakeHttpResponse(AWSResponse):
    """What the retry rules look at of a urllib3 response."""

    def __init__(self, fault: FaultResponse) -> None:
        headers = {name.lower(): value for name, value in fault.headers}
        super().__init__("https://aws.example/", fault.status, headers, None)
        self._content = fault.body


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@pytest.mark.parametrize("code", Code)
def test_the_standard_rules_repeat_only_what_may_pass(code: Code, protocol: str) -> None:
    fault = render(Refusal(code, "no"), protocol)
    context = standard.RetryContext(
        attempt_number=1,
        operation_model=operation(protocol),
        parsed_response=parsed(fault, protocol),
        http_response=FakeHttpResponse(fault),
    )

    repeated = standard.StandardRetryConditions().is_retryable(context)

    assert repeated == (code in MAY_PASS)


@cache
def s3_client() -> Any:
    return botocore.session.Session().create_client(
        "s3", region_name="us-east-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="x"
    )


def legacy_rules() -> Mapping[str, Any]:
    loader = botocore.session.Session().get_component("data_loader")
    config = loader.load_data("_retry")
    # botocore.client builds this per service; the defaults and S3's extras suffice here.
    rules: dict[str, Any] = json.loads(json.dumps(config["retry"]["__default__"]))
    rules["policies"] |= config["retry"]["s3"]["__default__"]["policies"]
    for name, policy in rules["policies"].items():
        if "$ref" in policy:
            rules["policies"][name] = config["definitions"][policy["$ref"]]
    return {"__default__": rules}


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_the_legacy_rules_repeat_only_what_may_pass(protocol: str) -> None:
    checker = create_checker_from_retry_config(legacy_rules(), operation_name="Any")
    repeated = set()
    for code in Code:
        fault = render(Refusal(code, "no"), protocol)
        answer = (FakeHttpResponse(fault), parsed(fault, protocol))
        if checker(1, answer, None, retries_context={}):
            repeated.add(code)

    assert repeated == MAY_PASS


@pytest.mark.parametrize("call", ["get_object", "head_object", "head_bucket"])
@pytest.mark.parametrize("code", sorted(set(Code) - MAY_PASS))
def test_an_s3_client_sends_one_request(code: Code, call: str) -> None:
    sent = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        sent.append(request.method)
        method = str(request.method)
        return FakeHttpResponse(render(Refusal(code, "no"), S3, method=method))

    client = s3_client()
    client.meta.events.register_first("before-send.s3", answer, unique_id="answer")
    arguments = {"Bucket": "bucket"} if call == "head_bucket" else {"Bucket": "bucket", "Key": "k"}
    try:
        with pytest.raises(ClientError) as caught:
            getattr(client, call)(**arguments)
    finally:
        client.meta.events.unregister("before-send.s3", unique_id="answer")

    # Of a 400 to HeadObject botocore sees no code and asks for the region. Once.
    bare_400 = call == "head_object" and CODES[code][4] == 400
    assert sent == (["HEAD", "HEAD"] if bare_400 else sent[:1])
    assert call != "get_object" or "no" in str(caught.value)


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
