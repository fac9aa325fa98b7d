"""The AWS call that a request makes: operation, IAM actions, access level, resources.

What cannot be told for sure is left unknown, and the policy fails closed on that: no
operation, no actions, no resources rather than perhaps the wrong ones. Total and pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from awsgate.aws.endpoint import Endpoint
from awsgate.aws.operations import LEVELS, AccessLevel, Resource, level_of
from awsgate.aws.router import Asked, Routed, candidates, pairs_of, route

MAX_JSON_BYTES = 1024 * 1024

type Headers = Mapping[bytes, Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Call:
    """What a request asks of AWS, as far as it can be told."""

    service: str
    """IAM prefix; the endpoint's service where the operation is not known."""
    operation: str = ""
    """API operation; empty: not known."""
    actions: tuple[str, ...] = ()
    """IAM actions, the main one first; empty: not known."""
    access_level: AccessLevel = "Write"
    """The most dangerous of the actions'."""
    resources: tuple[str, ...] = ()
    """ARNs; empty: they cannot be derived."""

    @property
    def name(self) -> str:
        """Give ``service:operation``; empty if the operation is not known."""
        return f"{self.service}:{self.operation}" if self.operation else ""


def call_of(
    endpoint: Endpoint,
    *,
    signing_name: str,
    method: str,
    target: bytes,
    headers: Headers,
    body: bytes | None,
    account: str,
) -> Call:
    """Give the call of a request. Total. ``body`` None: it is not at hand."""
    special = _invocation(endpoint, method, target, account)
    if special is not None:
        return special
    asked = Asked(endpoint, method, target, headers, body)
    found = route(asked, signing_name)
    if found is None:
        prefixes = {service.iam for service in candidates(endpoint, signing_name)}
        return Call(prefixes.pop() if len(prefixes) == 1 else endpoint.service)
    actions = found.service.actions_of(found.operation)
    if found.service.id == "s3":
        actions += tuple(a for a in _s3_extras(found.operation, asked) if a not in actions)
    return Call(
        service=found.service.iam,
        operation=found.operation,
        actions=actions,
        access_level=_highest(actions),
        resources=_resources(found, asked, account) if actions else (),
    )


def needs_body(
    endpoint: Endpoint,
    *,
    signing_name: str,
    method: str,
    target: bytes,
    headers: Headers,
    resources: bool,
) -> bool:
    """True if the operation stands in the body, or with ``resources`` the resource."""
    services = candidates(endpoint, signing_name)
    if method == "POST" and any({"query", "ec2"} & s.protocols for s in services):
        return True
    if not resources:
        return False
    found = route(Asked(endpoint, method, target, headers, None), signing_name)
    wanted = found.service.resources.get(found.operation) if found is not None else None
    return wanted is not None and any(where == "body" for _, where, _ in wanted.places)


def _highest(actions: Sequence[str]) -> AccessLevel:
    order = list(LEVELS.values())
    levels = [level_of(action) or "Write" for action in actions]
    return min(levels, key=order.index, default="Write")


# --- endpoints that customers own: no models, and one action for all of a service ---


def _invocation(endpoint: Endpoint, method: str, target: bytes, account: str) -> Call | None:
    if not endpoint.tenant_controlled:
        return None
    if endpoint.service == "execute-api":
        path = target.partition(b"?")[0].decode("latin-1")
        stage, _, rest = path.lstrip("/").partition("/")
        api = endpoint.host.partition(".")[0]
        arn = (
            f"arn:{endpoint.partition}:execute-api:{endpoint.region}:{account}:"
            f"{api}/{stage}/{method}/{rest}"
        )
        known = bool(stage and account) and "%" not in path and "//" not in path
        return _single("execute-api:Invoke", (arn,) if known else ())
    if endpoint.service == "lambda":
        return _single("lambda:InvokeFunctionUrl")
    if endpoint.service == "es":
        return _single(f"es:ESHttp{method.capitalize()}")
    if endpoint.service == "aoss":
        return _single("aoss:APIAccessAll")
    if endpoint.service == "appsync":
        return _single("appsync:GraphQL")
    return None


def _single(action: str, resources: tuple[str, ...] = ()) -> Call:
    service, _, name = action.partition(":")
    return Call(service, name, (action,), level_of(action) or "Write", resources)


# --- S3: what headers and the query add to the action ---


_S3_HEADERS = {
    b"x-amz-tagging": "s3:PutObjectTagging",
    b"x-amz-bypass-governance-retention": "s3:BypassGovernanceRetention",
    b"x-amz-object-lock-mode": "s3:PutObjectRetention",
    b"x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
}
_S3_VERSIONED = {
    "GetObject": "s3:GetObjectVersion",
    "HeadObject": "s3:GetObjectVersion",
    "GetObjectAcl": "s3:GetObjectVersionAcl",
    "GetObjectTagging": "s3:GetObjectVersionTagging",
    "GetObjectAttributes": "s3:GetObjectVersionAttributes",
    "DeleteObject": "s3:DeleteObjectVersion",
    "PutObjectAcl": "s3:PutObjectVersionAcl",
    "PutObjectTagging": "s3:PutObjectVersionTagging",
    "DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
}
_S3_WRITES_OBJECTS = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload"})


def _s3_extras(operation: str, asked: Asked) -> list[str]:
    """Give the further actions that S3 asks for ("Required permissions", S3 User Guide)."""
    found = []
    if operation in _S3_WRITES_OBJECTS | {"DeleteObject", "DeleteObjects", "PutObjectRetention"}:
        found += [action for name, action in _S3_HEADERS.items() if name in asked.headers]
    if operation in _S3_WRITES_OBJECTS and any(
        name == b"x-amz-acl" or name.startswith(b"x-amz-grant-") for name in asked.headers
    ):
        found.append("s3:PutObjectAcl")
    if operation == "CreateBucket" and any(
        name == b"x-amz-acl" or name.startswith(b"x-amz-grant-") for name in asked.headers
    ):
        found.append("s3:PutBucketAcl")
    if operation in _S3_VERSIONED and any(name == "versionId" for name, _ in asked.query):
        found.append(_S3_VERSIONED[operation])
    return found


# --- resources ---

_S3_MORE_THAN_ONE = frozenset({"CopyObject", "UploadPartCopy", "DeleteObjects", "RenameObject"})
_SEVERAL = frozenset({"BatchGetItem", "BatchWriteItem", "TransactGetItems", "TransactWriteItems"})


def _resources(found: Routed, asked: Asked, account: str) -> tuple[str, ...]:
    """Give the ARNs that the request names; nothing, unless it is surely all of them."""
    wanted = found.service.resources.get(found.operation)
    if wanted is None or found.operation in _S3_MORE_THAN_ONE | _SEVERAL:
        return ()
    members = _members(found, asked)
    values: dict[str, str] = {}
    for variable, where, name in wanted.places:
        value = _value(found, asked, members, where, name)
        if not value:
            return ()
        values[variable] = value
    arn = _arn(found.service.iam, wanted, values, asked.endpoint, account)
    return (arn,) if arn else ()


def _members(found: Routed, asked: Asked) -> Mapping[str, Any]:
    """Give the top-level members of the body; nothing if one is there twice."""
    if not asked.body or len(asked.body) > MAX_JSON_BYTES:
        return {}
    parsed: Any
    if {"query", "ec2"} & found.service.protocols and b"x-amz-target" not in asked.headers:
        parsed = [*asked.query, *pairs_of(asked.body)]
    else:
        try:
            parsed = json.loads(asked.body, object_pairs_hook=list)
        except (ValueError, RecursionError):
            return {}
    if not isinstance(parsed, list) or any(not isinstance(pair, tuple) for pair in parsed):
        return {}  # not an object
    members = dict(parsed)
    return members if len(members) == len(parsed) else {}


def _value(found: Routed, asked: Asked, members: Mapping[str, Any], where: str, name: str) -> str:
    if where == "label":
        return found.labels.get(name, "")
    if where == "body":
        value = members.get(name)
        return value if isinstance(value, str) else ""
    if where == "query":
        values = [value for key, value in asked.query if key == name]
    else:
        values = [v.decode("latin-1") for v in asked.headers.get(name.lower().encode(), ())]
    return values[0] if len(values) == 1 else ""


def _arn(
    iam: str, wanted: Resource, values: dict[str, str], endpoint: Endpoint, account: str
) -> str:
    value = next(iter(values.values()))
    if value.startswith("arn:"):
        parts = value.split(":", 5)
        return value if len(values) == 1 and len(parts) == 6 and parts[2] == iam else ""
    if iam == "sqs":  # https://sqs.<region>.amazonaws.com/<account>/<queue>
        parts = value.split("/")
        if len(parts) == 5 and parts[3].isdigit():
            account, values = parts[3], dict.fromkeys(values, parts[4])
        elif "/" in value:
            return ""
    elif iam != "s3" and (":" in value or not account or not endpoint.region):
        return ""  # a partial ARN, or a name with a qualifier that is no part of one
    if iam == "s3" and value == "?":
        return ""  # an access point
    filled = {
        "Partition": endpoint.partition, "Region": endpoint.region, "Account": account, **values,
    }  # fmt: skip
    arn = wanted.template
    for name, text in filled.items():
        if "${" in text:
            return ""
        arn = arn.replace(f"${{{name}}}", text)
    return "" if "${" in arn else arn
