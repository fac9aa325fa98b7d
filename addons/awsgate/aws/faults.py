"""A ``Refusal`` in the error shape of the call's protocol.

Every SDK then raises its usual exception, with our text in it, and does not repeat
a call that can only be refused again:

    protocol_of    which shape the client will parse
    render_fault   status, headers and body in that shape

Pure: the caller passes the time and the request id. Nothing is logged here, and
nothing is said beyond the refusal's own words: ``Refusal.detail`` stays out.

Sources: "Error responses" of the S3, EC2 and query API references; the error
sections of the Smithy protocols awsJson1_0/1_1, restJson1, restXml, awsQuery,
ec2Query and rpcv2Cbor. Oracle: botocore's parsers and retry rules (test_faults).
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from awsgate.errors import Code, Refusal

S3 = "rest-xml-s3"
PROTOCOLS = frozenset({S3, "rest-xml", "query", "ec2", "json", "rest-json", "cbor"})

_JSON_CONTENT_TYPE = re.compile(r"application/x-amz-json-(1\.[01])(?:\s*;.*)?", re.IGNORECASE)
_FORM = "application/x-www-form-urlencoded"

# What XML 1.0 has no way to write, not even as a reference; lone surrogates among them.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

MAX_RESOURCE_CHARS = 1024  # S3 keys end there; a request line may be 32 times that


@dataclass(frozen=True, slots=True)
class FaultResponse:
    """A complete HTTP answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """ASCII names and values; Content-Length is that of ``body``."""
    body: bytes


@dataclass(frozen=True, slots=True)
class _Words:
    """How AWS says a refusal: its usual status, and its error code by protocol."""

    status: int
    s3: str
    query: str
    """Also of rest-xml."""
    ec2: str
    json: str
    """Also of rest-json and cbor."""

    def code(self, protocol: str) -> str:
        """Give the error code in one protocol."""
        if protocol == S3:
            return self.s3
        if protocol in ("query", "rest-xml"):
            return self.query
        return self.ec2 if protocol == "ec2" else self.json


# No code or status here is one that SDKs repeat, but for these, which is wanted:
#   role-unavailable, upstream-failed, gateway-fault: 5xx, and may pass
#   throttled: 503 everywhere, though AWS has 400 in some protocols: of a HEAD answer SDKs
#   see the status alone, and a 503 is repeated, with back-off, by all of them
#   clock-skew: repeated once with the clock taken from our Date header (Go, Java, JS)
# EC2 says RequestExpired of expired tokens too; a repeat there is harmless.
# 403 also where AWS has 400: of a HEAD answer SDKs see the status alone, and botocore
# takes a 400 to HeadObject for the wrong region and sends a HeadBucket after it.
_WORDS = {
    Code.MISSING_FORWARDED_HOST: _Words(
        400, "InvalidRequest", "InvalidRequest", "InvalidRequest", "InvalidRequestException"
    ),
    Code.BAD_FORWARDED_HOST: _Words(
        400, "InvalidRequest", "InvalidRequest", "InvalidRequest", "InvalidRequestException"
    ),
    # Not 421: HTTP clients may repeat that on a new connection (RFC 9110, 15.5.20).
    Code.NOT_AN_AWS_ENDPOINT: _Words(
        400, "InvalidRequest", "InvalidRequest", "InvalidRequest", "InvalidRequestException"
    ),
    # Without a <Region> element S3 clients do not go looking for the right one.
    Code.SCOPE_MISMATCH: _Words(
        403,
        "AuthorizationHeaderMalformed",
        "SignatureDoesNotMatch",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
    ),
    Code.NOT_SIGNED: _Words(
        403,
        "AccessDenied",
        "MissingAuthenticationToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
    ),
    Code.BAD_SIGNATURE: _Words(
        403,
        "SignatureDoesNotMatch",
        "SignatureDoesNotMatch",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
    ),
    Code.CLOCK_SKEW: _Words(
        403, "RequestTimeTooSkewed", "RequestExpired", "RequestExpired", "RequestExpired"
    ),
    Code.UNKNOWN_KEY: _Words(
        403,
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "AuthFailure",
        "UnrecognizedClientException",
    ),
    Code.SESSION_EXPIRED: _Words(
        403, "ExpiredToken", "ExpiredToken", "RequestExpired", "ExpiredTokenException"
    ),
    Code.LOCKED: _Words(
        403, "AccessDenied", "AccessDenied", "UnauthorizedOperation", "AccessDeniedException"
    ),
    Code.DENIED: _Words(
        403, "AccessDenied", "AccessDenied", "UnauthorizedOperation", "AccessDeniedException"
    ),
    # In the words of a denial, which no SDK repeats and none takes for done: an answer takes
    # minutes. 202 is success to an SDK; 409 is repeated by Terraform, 429 and 503 by all.
    Code.PENDING_APPROVAL: _Words(
        403, "AccessDenied", "AccessDenied", "UnauthorizedOperation", "AccessDeniedException"
    ),
    Code.THROTTLED: _Words(
        503, "SlowDown", "Throttling", "RequestLimitExceeded", "ThrottlingException"
    ),
    Code.ROLE_UNAVAILABLE: _Words(
        503,
        "ServiceUnavailable",
        "ServiceUnavailable",
        "Unavailable",
        "ServiceUnavailableException",
    ),
    Code.BODY_TOO_LARGE: _Words(
        413,
        "EntityTooLarge",
        "RequestEntityTooLarge",
        "RequestEntityTooLarge",
        "RequestEntityTooLargeException",
    ),
    Code.UNSUPPORTED: _Words(
        400,
        "NotImplemented",
        "UnsupportedOperation",
        "UnsupportedOperation",
        "UnsupportedOperationException",
    ),
    Code.UPSTREAM_FAILED: _Words(
        502,
        "ServiceUnavailable",
        "ServiceUnavailable",
        "Unavailable",
        "ServiceUnavailableException",
    ),
    Code.GATEWAY_FAULT: _Words(
        500, "InternalError", "InternalFailure", "InternalError", "InternalFailure"
    ),
}


def protocol_of(*, service_protocol: str | None, headers: Mapping[str, str]) -> tuple[str, str]:
    """Give the protocol a refusal is written in, and the JSON version (or nothing).

    ``service_protocol`` is the endpoint model's word, None or empty if it has none;
    ``headers`` have lower-case names. The wire beats the model, since one service may
    speak several protocols (SQS: query and JSON; CloudWatch: query, JSON and CBOR).

    If nothing tells, rest-json: it has the code in a header and in the body, and the
    text under the key that all JSON parsers read; query and XML clients that fail to
    parse it still show the status.
    """
    content_type = headers.get("content-type", "")
    versioned = _JSON_CONTENT_TYPE.fullmatch(content_type.strip())
    version = versioned[1] if versioned is not None else "1.0"
    if headers.get("smithy-protocol", "").lower() == "rpc-v2-cbor":
        return "cbor", ""
    if "x-amz-target" in headers or versioned is not None:
        return "json", version
    known = service_protocol if service_protocol in PROTOCOLS else None
    form = content_type.partition(";")[0].strip().lower() == _FORM
    if form and known in (None, "json", "cbor"):
        return ("ec2" if _scope_service(headers) == "ec2" else "query"), ""
    if known is None:
        return (S3 if _scope_service(headers) == "s3" else "rest-json"), ""
    return known, version if known == "json" else ""


def wants_query_errors(headers: Mapping[str, str]) -> bool:
    """True if a JSON or CBOR client asks for the code of the former query API too."""
    return headers.get("x-amzn-query-mode", "").lower() == "true"


def render_fault(
    refusal: Refusal,
    *,
    protocol: str,
    json_version: str,
    method: str,
    request_id: str,
    now: datetime,
    resource: str,
    query_mode: bool = False,
) -> FaultResponse:
    """Give the answer to a refused request.

    ``protocol`` and ``json_version`` are from ``protocol_of``, ``query_mode`` from
    ``wants_query_errors``. ``now`` is aware: clients set their clock by it.
    ``resource`` is the path, for S3. A HEAD gets status and headers alone.
    """
    words = _words(refusal)
    status = refusal.status or words.status
    code, text = words.code(protocol), _text(refusal)
    request_id = _token(request_id)
    if protocol == S3:
        content_type, body = "application/xml", _s3_body(code, text, resource, request_id)
    elif protocol in ("query", "rest-xml"):
        content_type, body = "text/xml", _query_body(code, text, status, request_id)
    elif protocol == "ec2":
        content_type, body = "text/xml;charset=UTF-8", _ec2_body(code, text, request_id)
    elif protocol == "cbor":
        content_type, body = "application/cbor", _cbor_map({"__type": code, "message": text})
    else:
        content_type = (
            f"application/x-amz-json-{json_version or '1.0'}"
            if protocol == "json"
            else "application/json"
        )
        body = json.dumps({"__type": code, "message": text}).encode("ascii")
    if method.upper() == "HEAD":
        body = b""
    headers = [
        ("Date", format_datetime(now.astimezone(UTC), usegmt=True)),
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        *_protocol_headers(protocol, code, request_id),
        ("x-awsgate-code", refusal.code.value),
        ("x-awsgate-request-id", request_id),
    ]
    if query_mode and protocol in ("json", "cbor"):
        headers.append(("x-amzn-query-error", f"{words.query};{_blame(status)}"))
    return FaultResponse(status, tuple(headers), body)


def _words(refusal: Refusal) -> _Words:
    # A role that AWS does not let us have is no outage, and ServiceUnavailable with a 403
    # would say both.
    denied = refusal.code is Code.ROLE_UNAVAILABLE and refusal.status == 403
    return _WORDS[Code.DENIED if denied else refusal.code]


def answer_json(body: bytes, request_id: str) -> FaultResponse:
    """Give an answer of the gateway's own that is no fault. It may not be kept by anybody."""
    headers = (
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("x-amzn-RequestId", _token(request_id)),
        ("x-awsgate-request-id", _token(request_id)),
    )
    return FaultResponse(200, headers, body)


def _scope_service(headers: Mapping[str, str]) -> str:
    """Give the service the client signed for. Unverified: good for a shape, no more."""
    credential = headers.get("authorization", "").partition("Credential=")[2].partition(",")[0]
    parts = credential.strip().split("/")
    return parts[-2].lower() if len(parts) >= 5 else ""


def _text(refusal: Refusal) -> str:
    # The reference product's words, which its users and tools look for, come first
    # and verbatim; everything else says who refused, and why.
    if refusal.code in (Code.MISSING_FORWARDED_HOST, Code.BAD_FORWARDED_HOST):
        text = refusal.message
    else:
        text = f"awsgate {refusal.code.value}: {refusal.message}"
    return _printable(f"{text} (hint: {refusal.hint})" if refusal.hint else text)


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub("", text)


def _token(text: str) -> str:
    """Leave of ``text`` what is safe as a header value."""
    return re.sub(r"[^\x21-\x7e]", "", text)


def _protocol_headers(protocol: str, code: str, request_id: str) -> list[tuple[str, str]]:
    if protocol == S3:
        return [("x-amz-request-id", request_id), ("x-amz-id-2", "awsgate")]
    headers = [("x-amzn-RequestId", request_id)]
    if protocol in ("json", "rest-json"):
        headers.append(("x-amzn-ErrorType", code))
    elif protocol == "cbor":
        headers.append(("smithy-protocol", "rpc-v2-cbor"))
    return headers


def _blame(status: int) -> str:
    return "Sender" if status < 500 else "Receiver"


def _element(name: str, text: str) -> str:
    return f"<{name}>{html.escape(text, quote=False)}</{name}>"


def _xml(content: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{content}'.encode()


def _s3_body(code: str, text: str, resource: str, request_id: str) -> bytes:
    return _xml(
        "<Error>"
        + _element("Code", code)
        + _element("Message", text)
        + _element("Resource", _printable(resource)[:MAX_RESOURCE_CHARS])
        + _element("RequestId", request_id)
        + _element("HostId", "awsgate")
        + "</Error>"
    )


def _query_body(code: str, text: str, status: int, request_id: str) -> bytes:
    error = _element("Type", _blame(status)) + _element("Code", code) + _element("Message", text)
    return _xml(
        f"<ErrorResponse><Error>{error}</Error>{_element('RequestId', request_id)}</ErrorResponse>"
    )


def _ec2_body(code: str, text: str, request_id: str) -> bytes:
    error = _element("Code", code) + _element("Message", text)
    return _xml(
        f"<Response><Errors><Error>{error}</Error></Errors>"
        f"{_element('RequestID', request_id)}</Response>"
    )


def _cbor_map(entries: Mapping[str, str]) -> bytes:
    """Encode a map of text to text, both definite in length (RFC 8949, 3.1)."""
    encoded = b"".join(_cbor_text(key) + _cbor_text(value) for key, value in entries.items())
    return _cbor_head(5, len(entries)) + encoded


def _cbor_text(text: str) -> bytes:
    raw = text.encode()
    return _cbor_head(3, len(raw)) + raw


def _cbor_head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    for info, size in ((24, 1), (25, 2), (26, 4)):
        if value < 1 << 8 * size:
            return bytes([major << 5 | info]) + value.to_bytes(size, "big")
    raise ValueError(f"{value} bytes are too many for an error text")
