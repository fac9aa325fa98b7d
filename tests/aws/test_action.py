"""Which operation a request calls, for the audit line."""

from __future__ import annotations

import pytest

from awsgate.aws.action import MAX_FORM_BYTES, action_of
from awsgate.aws.endpoint import Endpoint, resolve_endpoint

STS = "sts.us-east-1.amazonaws.com"
EC2 = "ec2.us-east-1.amazonaws.com"
DYNAMODB = "dynamodb.us-east-1.amazonaws.com"
MONITORING = "monitoring.us-east-1.amazonaws.com"
LAMBDA = "lambda.us-east-1.amazonaws.com"
S3 = "b.s3.eu-central-1.amazonaws.com"

FORM = b"Action=GetCallerIdentity&Version=2011-06-15"
CBOR = b"/service/GraniteServiceVersion20100801/operation/GetMetricData"
MANY = b"&".join(b"Tag.%d=x" % n for n in range(3000))


def endpoint(host: str) -> Endpoint:
    found = resolve_endpoint(host)
    assert found is not None
    return found


CASES: dict[str, tuple[str, bytes, bytes, bytes, str]] = {
    "json: the part after the last dot": (
        DYNAMODB, b"/", b"DynamoDB_20120810.ListTables", b"{}", "dynamodb:ListTables",
    ),
    "json: dots in the name of the service": (
        DYNAMODB, b"/", b"com.amazonaws.x.y.ListTables", b"", "dynamodb:ListTables",
    ),
    "json: no dot at all": (DYNAMODB, b"/", b"ListTables", b"", "dynamodb:ListTables"),
    "json: nothing after the dot": (DYNAMODB, b"/", b"DynamoDB_20120810.", b"", ""),
    "json: not a name": (DYNAMODB, b"/", b"DynamoDB.List Tables", b"", ""),
    "json: a line break": (DYNAMODB, b"/", b"DynamoDB.List\nTables", b"", ""),
    "json: not ascii": (DYNAMODB, b"/", b"DynamoDB.List\xff", b"", ""),
    "json: too long": (DYNAMODB, b"/", b"D." + b"A" * 129, b"", ""),
    "json: starts with a digit": (DYNAMODB, b"/", b"D.1List", b"", ""),
    "json: no target, and a form that nobody asked for": (DYNAMODB, b"/", b"", FORM, ""),
    "target header beats the form": (STS, b"/", b"X.Other", FORM, "sts:Other"),
    "cbor: the path": (MONITORING, CBOR, b"", b"", "monitoring:GetMetricData"),
    "cbor: the path with more behind it": (MONITORING, CBOR + b"/x", b"", b"", ""),
    "cbor: the path with a query": (MONITORING, CBOR + b"?a=b", b"", b"", ""),
    "query: form body": (STS, b"/", b"", FORM, "sts:GetCallerIdentity"),
    "query: in the query string": (STS, b"/?" + FORM, b"", b"", "sts:GetCallerIdentity"),
    "query: not the first field": (
        STS, b"/", b"", b"Version=2011-06-15&Action=GetCallerIdentity", "sts:GetCallerIdentity",
    ),
    "query: the query string is read first": (
        STS, b"/?Action=AssumeRole", b"", FORM, "sts:AssumeRole",
    ),
    "query: ec2 has its own protocol of the same kind": (
        EC2, b"/", b"", b"Action=DescribeInstances", "ec2:DescribeInstances",
    ),
    "query: encoded value": (
        STS, b"/", b"", b"Action=Get%43allerIdentity", "sts:GetCallerIdentity",
    ),
    "query: twice is unclear": (STS, b"/", b"", FORM + b"&Action=AssumeRole", ""),
    "query: twice the same is unclear too": (STS, b"/", b"", FORM + b"&" + FORM, ""),
    "query: no body yet": (STS, b"/", b"", b"", ""),
    "query: another field that ends in the name": (STS, b"/", b"", b"MyAction=AssumeRole", ""),
    "query: another case": (STS, b"/", b"", b"action=AssumeRole", ""),
    "query: empty value": (STS, b"/", b"", b"Action=&Version=1", ""),
    "query: a value with a path in it": (STS, b"/", b"", b"Action=../Get", ""),
    "query: too many fields": (STS, b"/", b"", FORM + b"&" + MANY, ""),
    "query: first in a long form": (
        STS, b"/", b"", FORM + b"&Policy=" + b"x" * MAX_FORM_BYTES, "sts:GetCallerIdentity",
    ),
    "query: last in a long form": (
        STS, b"/", b"", b"Policy=" + b"x" * MAX_FORM_BYTES + b"&" + FORM, "",
    ),
    "query: cut in two by the limit": (
        STS, b"/", b"", b"P=" + b"x" * (MAX_FORM_BYTES - 16) + b"&Action=GetCallerIdentity", "",
    ),
    "rest: needs models": (LAMBDA, b"/2015-03-31/functions/", b"", b"", ""),
    "rest: a form body says nothing": (LAMBDA, b"/?Action=Invoke", b"", b"Action=Invoke", ""),
    "s3: an object may be called anything": (S3, b"/x?Action=DeleteBucket", b"", b"", ""),
}  # fmt: skip


@pytest.mark.parametrize(
    ("host", "target", "amz_target", "body", "expected"), CASES.values(), ids=CASES
)
def test_action(host: str, target: bytes, amz_target: bytes, body: bytes, expected: str) -> None:
    found = action_of(endpoint(host), target=target, amz_target=amz_target, body=body)

    assert found == expected
