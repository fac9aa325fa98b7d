"""What the tests of faults share: render one, read it as botocore does, the codes of each."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

import botocore.session
from botocore.model import OperationModel
from botocore.parsers import create_parser

from awsgate.aws.faults import (
    S3,
    FaultResponse,
    render_fault,
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
    Code.PENDING_APPROVAL: NO_ACCESS,
    Code.THROTTLED: ("SlowDown", "Throttling", "RequestLimitExceeded", "ThrottlingException", 503),
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
