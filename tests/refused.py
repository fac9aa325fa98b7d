"""What every refusal must leave behind, and a call in each protocol to provoke it.

``Probe`` is made before a request and asked after it: the answer parses with
botocore as an error of that protocol, one audit line and one count say the code, and
nothing reached AWS.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

from botocore.awsrequest import HeadersDict
from botocore.parsers import create_parser

from awsgate.demo.embedded_aws import BUCKET, EmbeddedAws
from awsgate.demo.processes import GatewayProcess
from rawclient import Answer, Call, metric

FORM = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")

CALLS = {
    "s3": Call("s3", f"{BUCKET}.s3.us-east-1.amazonaws.com", "GET", "/hello.txt"),
    "query": Call(
        "sts",
        "sts.us-east-1.amazonaws.com",
        headers=(FORM,),
        body=b"Action=GetCallerIdentity&Version=2011-06-15",
    ),
    "ec2": Call(
        "ec2",
        "ec2.us-east-1.amazonaws.com",
        headers=(FORM,),
        body=b"Action=DescribeRegions&Version=2016-11-15",
    ),
    "json 1.0": Call(
        "dynamodb",
        "dynamodb.us-east-1.amazonaws.com",
        headers=(
            ("Content-Type", "application/x-amz-json-1.0"),
            ("X-Amz-Target", "DynamoDB_20120810.ListTables"),
        ),
        body=b"{}",
    ),
    "json 1.1": Call(
        "secretsmanager",
        "secretsmanager.us-east-1.amazonaws.com",
        headers=(
            ("Content-Type", "application/x-amz-json-1.1"),
            ("X-Amz-Target", "secretsmanager.ListSecrets"),
        ),
        body=b"{}",
    ),
    "rest-json": Call("lambda", "lambda.us-east-1.amazonaws.com", "GET", "/2015-03-31/functions"),
    "rest-xml": Call("route53", "route53.amazonaws.com", "GET", "/2013-04-01/hostedzone"),
    "cbor": Call(
        "monitoring",
        "monitoring.us-east-1.amazonaws.com",
        target="/service/GraniteServiceVersion20100801/operation/ListMetrics",
        headers=(("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")),
        body=b"\xa0",
    ),
}
"""One call in each protocol, as its SDKs send it."""

PARSERS = {
    "s3": "rest-xml",
    "json 1.0": "json",
    "json 1.1": "json",
    "cbor": "smithy-rpc-v2-cbor",
}


def error_of(answer: Answer, protocol: str) -> dict[str, Any]:
    """Give the error as botocore reads it."""
    response = {
        "status_code": answer.status,
        "headers": HeadersDict(answer.headers),
        "body": answer.body,
        "context": {},
    }
    parser: Any = create_parser(PARSERS.get(protocol, protocol))
    parsed: dict[str, Any] = parser.parse(response, None)
    error: dict[str, Any] = parsed["Error"]
    return error


class Probe:
    """The state before a request that is about to be refused."""

    def __init__(self, gateway: GatewayProcess, aws: EmbeddedAws | None) -> None:
        self.gateway, self.aws = gateway, aws
        self.lines = len(gateway.audit())
        self._metrics = gateway.metrics()
        self._requests = len(aws.requests()) if aws is not None else 0

    def left(self, answer: Answer, code: str, status: int) -> dict[str, Any]:
        """Check what a refusal leaves, body aside. Give its audit line."""
        assert (answer.status, answer.code) == (status, code), (answer.headers, answer.body)
        assert parsedate_to_datetime(answer.headers["date"]).tzinfo is not None
        line = self.recorded(code, status)
        assert line["id"] == answer.headers["x-awsgate-request-id"]
        return line

    def recorded(self, code: str, status: int) -> dict[str, Any]:
        """Check the audit, the metrics and AWS. Give the audit line."""
        lines = self.gateway.audit()[self.lines :]
        assert [(line["event"], line["decision"], line["code"]) for line in lines] == [
            ("request", "refused", code)
        ]
        assert lines[0]["status"] == status
        assert self.grew("awsgate_refusals_total", code=code) == 1
        assert self.grew("awsgate_refusals_total") == 1
        assert self.grew("awsgate_requests_total", code=code, decision="refused") == 1
        if self.aws is not None:
            assert len(self.aws.requests()) == self._requests
        line: dict[str, Any] = lines[0]
        return line

    def grew(self, name: str, **labels: str) -> float:
        now = self.gateway.metrics()
        return metric(now, name, **labels) - metric(self._metrics, name, **labels)
