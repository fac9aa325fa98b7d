"""Endpoint names with a part that the caller fills in: buckets, accounts, API ids.

Two tables over the host without its DNS suffix. ``S3_RULES`` read the region
themselves, since a bucket name may look like one; in ``NAME_RULES`` the region is
already ``*``. Order matters only within a table: the first match counts.

A name is *tenant-controlled* if a customer decides what answers there (an API, a
function, a search cluster): a signed request hands him the session token.

Source: service documentation of each; ``tests/aws/test_endpoint.py`` has a real host
for every row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

type S3Kind = Literal["", "bucket", "accesspoint", "control", "directories"]
"""What an S3 host answers for: plain buckets; access points and directory buckets, whose
ARNs are of another form; S3 Control; or all directory buckets. Empty: it is not of S3."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One form of endpoint name."""

    pattern: re.Pattern[str]
    signing_names: tuple[str, ...]
    protocol: str
    tenant_controlled: bool = False
    region: str = ""
    """The signing region where the name has none; empty: any of the partition."""
    kind: S3Kind = ""


_REGION = r"(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d+)"
# "Bucket names can consist only of lowercase letters, numbers, periods, and hyphens";
# older ones hold underscores. A bucket may be called as a part of S3's own names is, so
# what a host answers for is told by the rule that it fits, never by how it begins.
_BUCKET = r"(?P<bucket>(?:[a-z0-9_][a-z0-9_-]*\.)*)"
_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_POINT = rf"(?P<bucket>{_LABEL}\.)"
_DUAL = r"(?:\.dualstack)?"
_AZ = r"[a-z0-9]+-az\d+"


def _s3(pattern: str, service: str = "s3", region: str = "", kind: S3Kind = "bucket") -> Rule:
    protocol = "rest-xml" if kind == "control" else "rest-xml-s3"
    return Rule(re.compile(pattern), (service,), protocol, False, region, kind)


S3_RULES: tuple[Rule, ...] = (
    _s3(rf"{_BUCKET}s3(?:-fips)?{_DUAL}\.{_REGION}"),
    _s3(rf"{_BUCKET}s3"),
    _s3(rf"{_BUCKET}s3-accelerate{_DUAL}"),
    _s3(rf"{_BUCKET}s3-external-1", region="us-east-1"),
    _s3(rf"{_BUCKET}s3-(?:fips-)?{_REGION}"),
    _s3(rf"{_POINT}s3-accesspoint(?:-fips)?{_DUAL}\.{_REGION}", kind="accesspoint"),
    _s3(rf"{_POINT}?accesspoint\.s3-global", kind="accesspoint"),
    _s3(rf"(?P<bucket>{_LABEL}\.mrap\.)accesspoint\.s3-global", kind="accesspoint"),
    _s3(rf"(?:\d{{12}}\.)?s3-control(?:-fips)?{_DUAL}\.{_REGION}", kind="control"),
    _s3(
        rf"(?P<bucket>{_LABEL}\.op-[0-9a-z]+\.)?s3-outposts(?:-fips)?{_DUAL}\.{_REGION}",
        "s3-outposts",
        kind="accesspoint",
    ),
    _s3(
        rf"{_POINT}?s3-object-lambda(?:-fips)?{_DUAL}\.{_REGION}",
        "s3-object-lambda",
        kind="accesspoint",
    ),
    _s3(rf"{_BUCKET}s3express(?:-fips)?-{_AZ}{_DUAL}\.{_REGION}", "s3express", kind="accesspoint"),
    _s3(rf"s3express-control(?:-fips)?{_DUAL}\.{_REGION}", "s3express", kind="directories"),
)


def _name(pattern: str, *names: str, protocol: str, tenant: bool = False) -> Rule:
    return Rule(re.compile(pattern), names, protocol, tenant)


NAME_RULES: tuple[Rule, ...] = (
    _name(r"\d{12}\.ddb(?:-fips)?\.\*", "dynamodb", protocol="json"),
    _name(r"\d{12}\.(?:data|control)-kinesis(?:-fips)?\.\*", "kinesis", protocol="cbor"),
    _name(r"\d{12}\.cloudfront-kvs\.global", "cloudfront-keyvaluestore", protocol="rest-json"),
    _name(rf"(?:query|ingest)-{_LABEL}\.timestream\.\*", "timestream", protocol="json"),
    _name(rf"{_LABEL}(?:\.veo)?\.endpoint\.events", "events", protocol="json"),
    _name(
        rf"(?!data-ats|data)(?:{_LABEL})(?:-ats)?\.iot\.\*",
        "iotdata",
        "iotdevicegateway",
        protocol="rest-json",
    ),
    _name(r"data(?:-ats)?\.iot(?:-fips)?\.\*", "iotdata", "iotdevicegateway", protocol="rest-json"),
    _name(rf"{_LABEL}\.data\.mediastore\.\*", "mediastore", protocol="rest-json"),
    # Streams and sockets that no botocore model has.
    _name(r"transcribestreaming(?:-fips)?\.\*", "transcribe", protocol="rest-json"),
    _name(
        rf"eice-{_LABEL}\.{_LABEL}\.ec2-instance-connect-endpoint(?:-fips)?\.\*",
        "ec2-instance-connect",
        protocol="json",
    ),
    _name(r"[vmr]-[0-9a-f]{8}\.kinesisvideo\.\*", "kinesisvideo", protocol="rest-json"),
    _name(r"aps-workspaces(?:-fips)?\.\*", "aps", protocol="rest-json"),
    _name(
        rf"{_LABEL}\.execute-api(?:-fips)?\.\*", "execute-api", protocol="rest-json", tenant=True
    ),
    _name(rf"{_LABEL}\.lambda-url\.\*", "lambda", protocol="rest-json", tenant=True),
    _name(rf"(?:search|vpc)-{_LABEL}\.\*\.es", "es", protocol="rest-json", tenant=True),
    _name(rf"{_LABEL}\.\*\.aoss", "aoss", protocol="rest-json", tenant=True),
    _name(rf"{_LABEL}\.\*\.osis", "osis", protocol="rest-json", tenant=True),
    _name(
        rf"{_LABEL}\.appsync-(?:realtime-)?api\.\*", "appsync", protocol="rest-json", tenant=True
    ),
    _name(
        rf"(?:doc|search)-{_LABEL}\.\*\.cloudsearch",
        "cloudsearch",
        protocol="rest-json",
        tenant=True,
    ),
    _name(
        rf"{_LABEL}\.gateway\.bedrock-agentcore\.\*",
        "bedrock-agentcore",
        protocol="rest-json",
        tenant=True,
    ),
    _name(
        rf"(?:{_LABEL}\.)+vpc-lattice-svcs\.\*",
        "vpc-lattice-svcs",
        protocol="rest-json",
        tenant=True,
    ),
)

# vpce-1a2b3c4d-5e6f.sts.us-east-1.vpce.amazonaws.com
# Customers' own endpoint services (vpce-svc-...) are in no table and stay refused.
_VPCE = r"vpce-[0-9a-z]+-[0-9a-z-]+"
VPC_ENDPOINT = re.compile(rf"{_VPCE}\.(?P<name>[a-z0-9.-]+)\.\*\.vpce")

# "AWS PrivateLink for Amazon S3": the word before the id says what is asked, and there is
# no name without one.
S3_VPC_RULES: tuple[Rule, ...] = (
    _s3(rf"{_BUCKET}bucket\.{_VPCE}\.s3\.\*\.vpce"),
    _s3(rf"{_POINT}?accesspoint\.{_VPCE}\.s3\.\*\.vpce", kind="accesspoint"),
    _s3(rf"(?:\d{{12}}\.)?control\.{_VPCE}\.s3\.\*\.vpce", kind="control"),
)

# Labels of names that AWS gives to what its customers run. They speak PostgreSQL,
# Redis, Kubernetes, docker or plain HTTP: never intercepted.
DATA_PLANE_LABELS = frozenset(
    {
        "apprunner",
        "cache",
        "compute",
        "compute-1",
        "dax-clusters",
        "dkr",
        "docdb",
        "docdb-elastic",
        "efs",
        "eks",
        "elasticbeanstalk",
        "elb",
        "fsx",
        "git-codecommit",
        "git-codecommit-fips",
        "kafka",
        "kafka-serverless",
        "memorydb",
        "mq",
        "neptune",
        "rds",
        "redshift",
        "redshift-serverless",
        "s3-website",
        "server",
        "timestream-influxdb",
    }
)
