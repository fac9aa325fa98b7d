"""The AWS call that a request makes: operation, IAM actions, access level, resources.

What cannot be told for sure is left unknown, and the policy fails closed on that: no
operation, no actions, no resources rather than perhaps the wrong ones. Total and pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from awsgate.aws.endpoint import Endpoint
from awsgate.aws.further import further_actions, is_told_by_body
from awsgate.aws.operations import LEVELS, AccessLevel, level_of
from awsgate.aws.request import Asked, Headers
from awsgate.aws.resource import resources_of
from awsgate.aws.router import CLASSIC, Routed, candidates, route

_ORDER = tuple(LEVELS.values())


@dataclass(frozen=True, slots=True)
class Call:
    """What a request asks of AWS, as far as it can be told."""

    service: str
    """IAM prefix; the endpoint's service where the operation is not known."""
    operation: str = ""
    """API operation; empty: not known."""
    actions: tuple[str, ...] = ()
    """IAM actions, the main one first; empty: not known."""
    access_levels: tuple[AccessLevel, ...] = ("Write",)
    """Those of all actions, each once, the most dangerous first."""
    resources: tuple[str, ...] = ()
    """ARNs; empty: they cannot be derived."""

    @property
    def name(self) -> str:
        """Give ``service:operation``; empty if the operation is not known."""
        return f"{self.service}:{self.operation}" if self.operation else ""

    @property
    def access_level(self) -> AccessLevel:
        """Give the most dangerous of the levels."""
        return self.access_levels[0]


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
    asked = Asked(endpoint, method, target, headers, body)
    return _call(asked, route(asked, signing_name), signing_name, account)


def head_of(
    endpoint: Endpoint,
    *,
    signing_name: str,
    method: str,
    target: bytes,
    headers: Headers,
    account: str,
    resources: bool,
) -> tuple[Call, bool]:
    """Give the call as far as the head tells it, and whether the body is needed as well.

    It is if the operation stands in the body, or with ``resources`` the resource.
    """
    asked = Asked(endpoint, method, target, headers, None)
    found = route(asked, signing_name)
    needed = _needs_body(asked, found, signing_name, resources=resources)
    return _call(asked, found, signing_name, account), needed


def _call(asked: Asked, found: Routed | None, signing_name: str, account: str) -> Call:
    endpoint = asked.endpoint
    if endpoint.tenant_controlled:
        # What customers run may answer at any path that a model of AWS's has.
        return _invocation(asked) or Call(endpoint.service)
    if found is None:
        prefixes = {service.iam for service in candidates(endpoint, signing_name)}
        return Call(prefixes.pop() if len(prefixes) == 1 else endpoint.service)
    actions = found.service.actions[found.operation]
    if actions:
        actions += tuple(a for a in found.also if a not in actions)
    if actions:
        further = dict.fromkeys(further_actions(found, asked))
        actions += tuple(a for a in further if a not in actions)
    if found.service.id == "s3":
        actions += tuple(a for a in _s3_extras(found.operation, asked) if a not in actions)
        actions += _under_its_own_prefix(endpoint.service, actions)
    return Call(
        service=found.service.iam,
        operation=found.operation,
        actions=actions,
        access_levels=access_levels_of(actions),
        resources=resources_of(found, asked, account) if actions else (),
    )


def _needs_body(asked: Asked, found: Routed | None, signing_name: str, *, resources: bool) -> bool:
    if found is None:
        services = candidates(asked.endpoint, signing_name)
        return asked.method == "POST" and any(CLASSIC & each.protocols for each in services)
    if found.operation == "DeleteObjects" or is_told_by_body(found):
        return True
    wanted = found.service.resources.get(found.operation) if resources else None
    return wanted is not None and any(where == "body" for where, _ in wanted.places)


def access_levels_of(actions: Sequence[str]) -> tuple[AccessLevel, ...]:
    """Give the levels of actions, the most dangerous first; what is unknown is a Write."""
    levels: set[AccessLevel] = {level_of(action) or "Write" for action in actions}
    return tuple(sorted(levels, key=_ORDER.index)) or ("Write",)


def recorded_levels(actions: Sequence[str], highest: str) -> tuple[AccessLevel, ...]:
    """Give the levels of a call of which the audit has the actions and the highest level.

    Where that is not the actions' own, it was set for what the call stands for, or by an
    older table: then it counts alone.
    """
    levels = access_levels_of(actions)
    return levels if levels[0] == highest else _BY_NAME.get(highest, ("Write",))


_BY_NAME: Mapping[str, tuple[AccessLevel, ...]] = {level: (level,) for level in _ORDER}


# --- endpoints that customers own: no models, and one action for all of a service ---


ONE_ACTION = {
    "aoss": "aoss:APIAccessAll",
    "appsync": "appsync:GraphQL",
    "lambda": "lambda:InvokeFunctionUrl",
    "vpc-lattice-svcs": "vpc-lattice-svcs:Invoke",
}
"""Service -> the one action of its endpoints; ``catalogue`` reads it the other way."""


def _invocation(asked: Asked) -> Call | None:
    """Give the call of what a customer runs; None: it is not known."""
    service = asked.endpoint.service
    if asked.overrides_method:
        return None
    if service == "execute-api":
        return _api_call(asked)
    if service == "es":
        return _single(f"es:ESHttp{asked.method.capitalize()}")
    return _single(ONE_ACTION[service]) if service in ONE_ACTION else None


def _api_call(asked: Asked) -> Call:
    """An API of API Gateway; at ``@connections``, the management of its WebSockets.

    Whose it is cannot be told, so the account in the ARN is ``*``; behind a VPC endpoint
    or private DNS, neither can which one, if a header names it.
    """
    endpoint, plain = asked.endpoint, asked.path.decode("latin-1")
    stage, _, rest = plain.lstrip("/").partition("/")
    api = endpoint.host.partition(".")[0]
    arn = (
        f"arn:{endpoint.partition}:execute-api:{endpoint.region}:*:"
        f"{api}/{stage}/{asked.method}/{rest}"
    )
    sure = stage and "%" not in plain and "//" not in plain and "/." not in plain
    sure = sure and not endpoint.vpc_endpoint and b"x-apigw-api-id" not in asked.headers
    managed = b"@connections" in unquote_to_bytes(asked.path)
    action = "execute-api:ManageConnections" if managed else "execute-api:Invoke"
    return _single(action, (arn,) if sure else ())


def _single(action: str, resources: tuple[str, ...] = ()) -> Call:
    service, _, name = action.partition(":")
    return Call(service, name, (action,), access_levels_of((action,)), resources)


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
_S3_LOCKED = _S3_WRITES_OBJECTS | {"DeleteObject", "DeleteObjects", "PutObjectRetention"}
_S3_COPIES = frozenset({"CopyObject", "UploadPartCopy"})
_S3_NEW_BUCKET = {
    b"x-amz-bucket-object-lock-enabled": (
        "s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning",
    ),
    b"x-amz-object-ownership": ("s3:PutBucketOwnershipControls",),
}  # fmt: skip


def _s3_extras(operation: str, asked: Asked) -> list[str]:
    """Give the further actions that S3 asks for ("Required permissions", S3 User Guide)."""
    found: list[str] = []
    if operation in _S3_LOCKED:
        found += [action for name, action in _S3_HEADERS.items() if asked.has(name)]
    if operation in _S3_WRITES_OBJECTS and _grants(asked):
        found.append("s3:PutObjectAcl")
    if operation == "CreateBucket":
        found += ["s3:PutBucketAcl"] if _grants(asked) else []
        for name, actions in _S3_NEW_BUCKET.items():
            found += actions if asked.has(name) else ()
    if operation in _S3_VERSIONED and "versionId" in asked.names:
        found.append(_S3_VERSIONED[operation])
    if operation in _S3_COPIES and _copies_version(asked):
        found.append("s3:GetObjectVersion")
    if operation == "DeleteObjects":
        named = asked.deletions
        if named is None or any(version for _, version in named):
            found.append("s3:DeleteObjectVersion")
    return found


def _under_its_own_prefix(service: str, actions: tuple[str, ...]) -> tuple[str, ...]:
    """Give the actions that IAM has of S3 Object Lambda and of directory buckets itself.

    AWS asks for these, and for some of ``s3:`` beside: a rule about either must hold.
    """
    if service not in ("s3-object-lambda", "s3express"):
        return ()
    named = (f"{service}:{action.partition(':')[2]}" for action in actions)
    return tuple(
        action
        for action in dict.fromkeys(named)
        if level_of(action) is not None and action not in actions
    )


def _grants(asked: Asked) -> bool:
    return any(name == "x-amz-acl" or name.startswith("x-amz-grant-") for name in asked.amz_names)


def _copies_version(asked: Asked) -> bool:
    sources = asked.headers.get(b"x-amz-copy-source")
    # In the query it is not read any further.
    return not sources or any(b"?" in source or b"%3f" in source.lower() for source in sources)
