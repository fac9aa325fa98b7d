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


@dataclass(frozen=True, slots=True)
class Rule:
    """One form of endpoint name."""

    pattern: re.Pattern[str]
    signing_names: tuple[str, ...]
    protocol: str
    tenant_controlled: bool = False
    region: str = ""
    """The signing region where the name has none; empty: any of the partition."""


_REGION = r"(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d+)"
# "Bucket names can consist only of lowercase letters, numbers, periods, and hyphens";
# older ones hold underscores.
_BUCKET = r"(?:[a-z0-9_][a-z0-9_-]*\.)*"
_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_DUAL = r"(?:\.dualstack)?"
_AZ = r"[a-z0-9]+-az\d+"


def _s3(pattern: str, service: str = "s3", region: str = "") -> Rule:
    protocol = "rest-xml" if service == "s3-control" else "rest-xml-s3"
    return Rule(re.compile(pattern), (service.replace("-control", ""),), protocol, False, region)


S3_RULES: tuple[Rule, ...] = (
    _s3(rf"{_BUCKET}s3(?:-fips)?{_DUAL}\.{_REGION}"),
    _s3(rf"{_BUCKET}s3"),
    _s3(rf"{_BUCKET}s3-accelerate{_DUAL}"),
    _s3(rf"{_BUCKET}s3-external-1", region="us-east-1"),
    _s3(rf"{_BUCKET}s3-(?:fips-)?{_REGION}"),
    _s3(rf"{_LABEL}\.s3-accesspoint(?:-fips)?{_DUAL}\.{_REGION}"),
    _s3(rf"(?:{_LABEL}\.)?accesspoint\.s3-global"),
    _s3(rf"{_LABEL}\.mrap\.accesspoint\.s3-global"),
    _s3(rf"(?:\d{{12}}\.)?s3-control(?:-fips)?{_DUAL}\.{_REGION}", "s3-control"),
    _s3(rf"(?:{_LABEL}\.op-[0-9a-z]+\.)?s3-outposts(?:-fips)?{_DUAL}\.{_REGION}", "s3-outposts"),
    _s3(rf"(?:{_LABEL}\.)?s3-object-lambda(?:-fips)?{_DUAL}\.{_REGION}", "s3-object-lambda"),
    _s3(rf"{_BUCKET}s3express(?:-fips)?-{_AZ}{_DUAL}\.{_REGION}", "s3express"),
    _s3(rf"s3express-control(?:-fips)?{_DUAL}\.{_REGION}", "s3express"),
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

# <bucket>.bucket.vpce-1a2b3c4d-5e6f-us-east-1a.s3.us-east-1.vpce.amazonaws.com
# Customers' own endpoint services (vpce-svc-...) are in no table and stay refused.
VPC_ENDPOINT = re.compile(
    rf"(?P<kind>{_BUCKET}(?:bucket|accesspoint)\.|control\.)?vpce-[0-9a-z]+-[0-9a-z-]+"
    r"\.(?P<name>[a-z0-9.-]+)\.\*\.vpce"
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
