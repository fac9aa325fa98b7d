"""How AWS words its answers: the errors of S3, of query APIs and of JSON APIs."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from aws_server.http1 import Answer
from aws_server.model import S3_FAMILY, Fault, Head, Refused

STS_XMLNS = "https://sts.amazonaws.com/doc/2011-06-15/"
S3_XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"
REQUEST_ID = ("x-amzn-RequestId", "00000000-0000-4000-8000-000000000000")
XML = ("Content-Type", "application/xml")

# What the APIs other than S3 call it.
_ELSEWHERE = {
    "InvalidAccessKeyId": "InvalidClientTokenId",
    "InvalidToken": "InvalidClientTokenId",
    "ExpiredToken": "ExpiredTokenException",
    "AuthorizationHeaderMalformed": "SignatureDoesNotMatch",
    "RequestTimeTooSkewed": "SignatureDoesNotMatch",
    "AccessDenied": "MissingAuthenticationToken",
}


def error(head: Head, service: str, fault: Fault | Refused, *, close: bool = False) -> Answer:
    """Word a refusal as the service in question does."""
    if isinstance(fault, Fault):
        message = f"awsgate tests: {fault.name}"
        code = fault.code
        if service not in S3_FAMILY and service:
            code = _ELSEWHERE.get(code, code)
        if service == "sts" and code == "ExpiredTokenException":
            code = "ExpiredToken"
    else:
        message, code = fault.message, fault.code
    answer = _worded(head, service, code, message)
    answer.status, answer.close = fault.status, close
    return answer


def _worded(head: Head, service: str, code: str, message: str) -> Answer:
    content_type = head.get("content-type") or ""
    if service in S3_FAMILY or not service:
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
            f"<Message>{escape(message)}</Message><RequestId>R</RequestId></Error>"
        )
        return Answer(body=body.encode(), fields=[XML, REQUEST_ID])
    if content_type.startswith("application/x-www-form-urlencoded") or service == "sts":
        body = (
            f'<ErrorResponse xmlns="{STS_XMLNS}"><Error><Type>Sender</Type><Code>{code}</Code>'
            f"<Message>{escape(message)}</Message></Error><RequestId>R</RequestId></ErrorResponse>"
        )
        return Answer(body=body.encode(), fields=[("Content-Type", "text/xml"), REQUEST_ID])
    kind = content_type if "json" in content_type else "application/json"
    text = json.dumps({"__type": code, "message": message})
    return Answer(
        body=text.encode(),
        fields=[("Content-Type", kind), ("x-amzn-ErrorType", code), REQUEST_ID],
    )


def other_service(head: Head, body: bytes | None) -> Answer:
    """Word the success of an API that this server knows nothing of."""
    content_type = head.get("content-type") or ""
    if content_type.startswith("application/x-www-form-urlencoded"):
        action = (body or b"").partition(b"Action=")[2].partition(b"&")[0].decode("latin-1")
        text = (
            f"<{action}Response><{action}Result/><ResponseMetadata><RequestId>R</RequestId>"
            f"</ResponseMetadata></{action}Response>"
        )
        return Answer(body=text.encode(), fields=[("Content-Type", "text/xml"), REQUEST_ID])
    if (protocol := head.get("smithy-protocol")) == "rpc-v2-cbor":
        fields = [("Content-Type", "application/cbor"), ("smithy-protocol", protocol), REQUEST_ID]
        return Answer(body=b"\xbf\xff", fields=fields)  # an empty map
    kind = content_type if content_type.startswith("application/x-amz-json") else "application/json"
    return Answer(body=b"{}", fields=[("Content-Type", kind), REQUEST_ID])
