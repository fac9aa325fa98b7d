"""Which service and region a Host stands for: the scope AWS would insist on.

A table of patterns, first match wins; the endpoint of a service that is not in it reads
``[prefix.]<service>.<region>.<suffix>``. A loopback Host (boto3's ``endpoint_url``) fits
every scope. Not complete: a Host that no row fits is a fault, so that a test which needs
it adds a row (``StrictAws(hosts=...)``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """What a Host asks of a signature. An empty ``services`` or ``region`` takes any."""

    services: frozenset[str] = frozenset()
    region: str = ""
    bucket: str = ""
    """What the Host names: a bucket, an access point."""
    asymmetric: bool = False
    """Only SigV4a is taken here."""
    express: bool = False
    """Objects are reached with a session of CreateSession alone."""


_REGION = r"(?P<region>(?:us|eu|ap|ca|sa|me|af|il|mx|cn|eusc)(?:-[a-z]+)+-\d+)"
_SUFFIX = r"(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|api\.aws|c2s\.ic\.gov|sc2s\.sgov\.gov)"
_BUCKET = r"(?:(?P<bucket>[^/]+?)\.)?"

# pattern, services, region where the Host has none ("*": any)
_ROWS: list[tuple[str, str, str]] = [
    (rf"{_BUCKET}s3express-control\.{_REGION}\.{_SUFFIX}", "s3express", ""),
    (rf"(?P<express>[^.]+--x-s3)\.s3express-[a-z0-9-]+\.{_REGION}\.{_SUFFIX}", "s3express", ""),
    (r"(?P<bucket>[^.]+)\.mrap\.accesspoint\.s3-global\.amazonaws\.com", "v4a s3", "*"),
    (r"[^.]+\.[^.]+\.endpoint\.events\.amazonaws\.com", "v4a events", "*"),
    (r"[^.]+\.cloudfront-kvs\.global\.api\.aws", "v4a cloudfront-keyvaluestore", "*"),
    (rf"{_BUCKET}s3-accelerate(?:\.dualstack)?\.amazonaws\.com", "s3", "*"),
    (
        rf"(?P<bucket>[^.]+)\.s3-accesspoint(?:-fips)?(?:\.dualstack)?\.{_REGION}\.{_SUFFIX}",
        "s3",
        "",
    ),
    (rf"(?:\d+\.)?s3-control(?:-fips)?(?:\.dualstack)?\.{_REGION}\.{_SUFFIX}", "s3", ""),
    (rf"{_BUCKET}s3-object-lambda\.{_REGION}\.{_SUFFIX}", "s3-object-lambda", ""),
    (rf"{_BUCKET}(?:op-\w+\.)?s3-outposts\.{_REGION}\.{_SUFFIX}", "s3-outposts", ""),
    (rf"{_BUCKET}s3(?:-fips)?(?:\.dualstack)?[.-]{_REGION}\.{_SUFFIX}", "s3", ""),
    (rf"{_BUCKET}s3\.amazonaws\.com", "s3", "us-east-1"),
    (rf"{_BUCKET}(?:bucket|accesspoint)\.vpce-[^.]+\.s3\.{_REGION}\.vpce\.{_SUFFIX}", "s3", ""),
    (rf"vpce-[^.]+\.(?P<service>[a-z0-9-]+)\.{_REGION}\.vpce\.{_SUFFIX}", "", ""),
    (rf"[^.]+\.{_REGION}\.(?P<service>es|aoss)\.{_SUFFIX}", "", ""),
    (rf"[^.]+\.lambda-url\.{_REGION}\.on\.aws", "lambda", ""),
    (rf"[a-z0-9]+(?:-ats)?\.iot\.{_REGION}\.{_SUFFIX}", "iotdata iotdevicegateway", ""),
    (rf"\d+\.ddb\.{_REGION}\.{_SUFFIX}", "dynamodb", ""),
    (rf"(?:\d+\.)?(?:data|control)-kinesis\.{_REGION}\.{_SUFFIX}", "kinesis", ""),
    (rf"[^.]+\.appsync(?:-api|-realtime-api)\.{_REGION}\.{_SUFFIX}", "appsync", ""),
    (rf"(?:{_REGION}\.)?queue\.amazonaws\.com", "sqs", "us-east-1"),
    (rf"(?:[^.]+\.)*?(?P<service>[a-z0-9-]+?)(?:-fips)?\.{_REGION}\.{_SUFFIX}", "", ""),
    (rf"(?:[^.]+\.)*?{_REGION}\.(?P<service>[a-z0-9-]+)\.amazonaws\.com", "", ""),
    (r"iam\.us-gov\.amazonaws\.com", "iam", "us-gov-west-1"),
    (r"globalaccelerator\.amazonaws\.com", "globalaccelerator", "us-west-2"),
    (r"(?P<service>[a-z0-9-]+?)(?:-fips)?\.amazonaws\.com", "", "us-east-1"),
]
_TABLE = [(re.compile(pattern), services, region) for pattern, services, region in _ROWS]

# Endpoint prefix -> signing name, where they differ.
_SIGNING_NAMES = {
    "agent-credential-provider": "eks-auth",
    "bedrock-agent": "bedrock",
    "bedrock-agent-runtime": "bedrock",
    "bedrock-runtime": "bedrock",
    "data-servicediscovery": "servicediscovery",
    "email": "ses",
    "pinpoint": "mobiletargeting",
    "runtime-lex": "lex",
    "runtime-v2-lex": "lex",
    "stream-logs": "logs",
    "streaming-logs": "logs",
    "sync-states": "states",
    "transcribestreaming": "transcribe",
}


def expected(host: str, more: dict[str, Endpoint] | None = None) -> Endpoint | None:
    """Give what the Host (no port, lower-case) asks for; ``None`` if it is nobody's."""
    if more and host in more:
        return more[host]
    if host in ("127.0.0.1", "localhost", "[::1]"):
        return Endpoint()
    for pattern, services, region in _TABLE:
        matched = pattern.fullmatch(host)
        if matched is None:
            continue
        found = matched.groupdict()
        names = services.split() or [_SIGNING_NAMES.get(found["service"], found["service"])]
        return Endpoint(
            services=frozenset(name for name in names if name != "v4a"),
            region=found.get("region") or ("" if region == "*" else region),
            bucket=found.get("express") or found.get("bucket") or "",
            asymmetric="v4a" in names,
            express="express" in found,
        )
    return None
