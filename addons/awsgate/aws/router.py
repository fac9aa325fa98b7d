"""Which operation a request calls: the protocols of AWS, read as AWS reads them.

    X-Amz-Target                        JSON 1.0 and 1.1
    /service/<S>/operation/<O>          smithy RPC v2 CBOR
    Action= in the query or the body    query and EC2
    method, path, query, headers        REST-JSON and REST-XML

A service may speak several, and AWS's servers take protocols that no model names. So two
of these marks in one request, one of them twice, or one that the service does not speak
is a request that AWS and this router could read differently: then no operation is known.
The same goes for query parameters that the operation does not have, and for a browser's
upload to S3, which is what its fields say. A path that a server might read otherwise
(``%2F`` as ``/``) asks for the actions of both. Total and pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from awsgate.aws.endpoint import Endpoint
from awsgate.aws.endpoint_rules import S3Kind
from awsgate.aws.formplace import is_upload
from awsgate.aws.operations import ANY_NAME, Route, Service, matches, services_signing_as
from awsgate.aws.request import Asked

CLASSIC = frozenset({"query", "ec2"})
_REST = frozenset({"rest-json", "rest-xml"})
_JSON_TYPES = (b"application/x-amz-json-", b"application/json", b"application/x-amz-cbor-")
# What a path may hold that some servers read as its end, or as another path.
_UNCLEAR_PATH = re.compile(rb"[;\\]|%00|%3b|%5c", re.IGNORECASE)
_TWO_READINGS = re.compile(rb"//|%2f|%25", re.IGNORECASE)
DOTS = frozenset({".", ".."})
# Old buckets have capitals and underscores; none has anything else.
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
_SIGNED_QUERY = frozenset({"AWSAccessKeyId", "Signature", "Expires"})
# Signing names of endpoints that speak another service's API.
_MODELS = {"s3express": "s3", "s3-object-lambda": "s3"}
ACCESS_POINT = "?"
"""Stands for the bucket where the host is for access points, or for directory buckets."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An operation of a service, and the values in the request's path."""

    service: Service
    operation: str
    labels: Mapping[str, str]
    alone: bool = True
    """No other model of this endpoint has it."""
    also: tuple[str, ...] = ()
    """IAM actions of what the path would mean to a server that decodes it otherwise."""


def route(asked: Asked, signing_name: str) -> Routed | None:
    """Give the operation of a request; None: it is not known."""
    if asked.odd:
        return None
    services = candidates(asked.endpoint, signing_name)
    if len(services) == 1:
        return _route_in(services[0], asked)
    found = [routed for s in services if (routed := _route_in(s, asked)) is not None]
    if len(found) < 2:
        return found[0] if found else None
    # Several models of one endpoint (rds, docdb, neptune) have it: one action, no doubt.
    first = found[0]
    actions = first.service.actions[first.operation]
    for other in found[1:]:
        if other.operation != first.operation or other.service.actions[other.operation] != actions:
            return None
    also = tuple(dict.fromkeys(action for routed in found for action in routed.also))
    return Routed(first.service, first.operation, first.labels, alone=False, also=also)


def candidates(endpoint: Endpoint, signing_name: str) -> tuple[Service, ...]:
    """Give the services that may answer at ``endpoint``: 38 signing names are shared."""
    names = (signing_name,) if signing_name else endpoint.signing_names
    return _candidates(endpoint.host, endpoint.kind, names)


@lru_cache(maxsize=4096)
def _candidates(host: str, kind: S3Kind, names: tuple[str, ...]) -> tuple[Service, ...]:
    models = dict.fromkeys(_MODELS.get(name, name.lower()) for name in names)
    found = tuple(service for name in models for service in services_signing_as(name))
    if len(found) < 2:
        return found
    if kind:
        return tuple(s for s in found if (s.id == "s3control") == (kind == "control"))
    narrowed = tuple(s for s in found if host.startswith((f"{s.host}.", f"{s.host}-fips.")))
    return narrowed or found


def _route_in(service: Service, asked: Asked) -> Routed | None:
    targets = asked.headers.get(b"x-amz-target")
    if service.id == "s3":  # an object may be called anything
        if targets or is_upload(asked.method, asked.content_type):
            return None
        return _by_path(service, asked)
    if targets or asked.cbor is not None:
        name = _rpc(service, asked, targets or ())
    elif CLASSIC & service.protocols:
        actions = asked.actions
        if actions is None or len(actions) > 1:
            return None
        if not actions:
            return _by_path(service, asked) if _REST & service.protocols else None
        name = actions[0]
    elif _REST & service.protocols:
        return _by_path(service, asked)
    else:
        return None
    return Routed(service, name, {}) if name in service.actions else None


def _rpc(service: Service, asked: Asked, targets: Sequence[bytes]) -> str:
    """Give the operation that X-Amz-Target or a smithy path names; empty: it is unclear."""
    if asked.method != "POST" or asked.query_actions or asked.is_form:
        return ""
    if not targets:
        named = asked.cbor or ("", "")
        spoken = "smithy-rpc-v2-cbor" in service.protocols and named[0] == service.target
        return named[1] if spoken else ""
    if asked.cbor is not None or len(targets) > 1 or "json" not in service.protocols:
        return ""
    kind = asked.content_type
    if kind and not kind.startswith(_JSON_TYPES):
        return ""
    if not kind and CLASSIC & service.protocols and asked.actions != []:
        return ""  # without a type the body may be a form
    prefix, _, name = targets[0].decode("latin-1").rpartition(".")
    return name if prefix == service.target else ""


# --- REST: method, path, query ---


def _by_path(service: Service, asked: Asked) -> Routed | None:
    root = service.routes.get(asked.method)
    if root is None:
        return None
    s3 = service.id == "s3"
    if not s3 and _UNCLEAR_PATH.search(asked.path):
        return None
    readings = _readings(asked, s3=s3)
    segments = next(readings)
    if segments is None or (not s3 and not DOTS.isdisjoint(segments)):
        return None
    found = _best(service, asked, segments)
    if len(found) != 1 or not _is_whole(found[0][0], asked, s3=s3):
        return None
    route, values = found[0]
    labels = dict(zip(route.labels, values, strict=True))
    if s3 and labels and not _is_bucket(labels.get("Bucket", "")):
        return None
    also = _also(service, asked, route.operation, readings)
    return None if also is None else Routed(service, route.operation, labels, also=also)


def _also(
    service: Service, asked: Asked, operation: str, readings: Iterator[tuple[str, ...] | None]
) -> tuple[str, ...] | None:
    """Give the actions of all other readings; None: they are not known."""
    also: dict[str, None] = {}
    for segments in readings:
        if segments is None or not DOTS.isdisjoint(segments):
            return None
        for route, _ in _best(service, asked, segments):
            actions = service.actions[route.operation]
            if route.operation != operation:
                if not actions:
                    return None
                also.update(dict.fromkeys(actions))
    return tuple(also)


def _best(
    service: Service, asked: Asked, segments: tuple[str, ...]
) -> list[tuple[Route, tuple[str, ...]]]:
    """Give the most particular route that fits; several, if they are alike in that."""
    best: list[tuple[Route, tuple[str, ...]]] = []
    for candidate in matches(service.routes[asked.method], segments):
        route = candidate[0]
        if not _asks(route, asked) or not _is_at_home(route.operation, asked.endpoint):
            continue
        if not best or route.weight > best[0][0].weight:
            best = [candidate]
        elif route.weight == best[0][0].weight:
            # Two names of one thing: S3 has its older lifecycle and notification calls.
            actions = service.actions[route.operation]
            if not actions or actions != service.actions[best[0][0].operation]:
                best.append(candidate)
    return best


def _readings(asked: Asked, *, s3: bool) -> Iterator[tuple[str, ...] | None]:
    """Give the decoded parts of the path, and then the other ways to read them.

    Of S3 with the bucket first, wherever it stood. Other servers may decode before they
    split, or twice, or take ``//`` as one.
    """
    parts = asked.path.split(b"/")[1:]
    if s3:
        yield _decoded(_with_bucket(parts, asked.endpoint))
        return
    if parts and parts[-1] == b"":
        parts.pop()
    yield _decoded(parts)
    if _TWO_READINGS.search(asked.path):
        path = asked.path
        for _ in range(2):
            yield _decoded([part for part in path.split(b"/") if part])
            path = unquote_to_bytes(path)
            yield _split_after_decoding(path)


def _with_bucket(parts: list[bytes], endpoint: Endpoint) -> list[bytes]:
    if endpoint.bucket:
        named = endpoint.bucket if endpoint.kind == "bucket" else ACCESS_POINT
        parts = [named.encode(), *parts]
    elif endpoint.kind == "accesspoint" and parts and parts[0]:
        parts = [ACCESS_POINT.encode(), *parts[1:]]  # named by an alias, or as if a bucket
    if len(parts) == 2 and parts[1] == b"":
        parts.pop()
    return [] if parts == [b""] else parts


def _decoded(parts: list[bytes]) -> tuple[str, ...] | None:
    try:
        return tuple(
            unquote_to_bytes(part).decode("utf-8") if b"%" in part else part.decode("utf-8")
            for part in parts
        )
    except UnicodeDecodeError:
        return None


def _split_after_decoding(path: bytes) -> tuple[str, ...] | None:
    try:
        return tuple(part for part in path.decode("utf-8").split("/") if part)
    except UnicodeDecodeError:
        return None


def _asks(route: Route, asked: Asked) -> bool:
    if route.literals:
        for name, value in route.literals:
            if ((name, value) not in asked.query) if value else name not in asked.names:
                return False
    if route.query and not route.query <= asked.names:
        return False
    return all(asked.has(name) for name in route.headers)


def _is_at_home(operation: str, endpoint: Endpoint) -> bool:
    """True unless the operation is at another host: ``GET /`` lists two kinds of buckets."""
    if operation not in ("ListBuckets", "ListDirectoryBuckets"):
        return True
    return (endpoint.kind == "directories") == (operation == "ListDirectoryBuckets")


def _is_whole(route: Route, asked: Asked, *, s3: bool) -> bool:
    """True unless the query may choose an operation that the route knows nothing of.

    Names in ``x-`` are a signature's, an SDK's note, or for S3's access log.
    """
    if not asked.query:
        return True
    if s3:
        # One that is there twice, or whose name is spelt in another way than SDKs do.
        if len(asked.names) < len(asked.query) or asked.has_encoded_names:
            return False
    elif any(sum(n == name for n, _ in asked.query) > 1 for name, _ in route.literals):
        return False
    if ANY_NAME in route.known:
        return True
    return all(
        name in route.known or name[:2] in ("x-", "X-") or (s3 and name in _SIGNED_QUERY)
        for name in asked.names
    )


def _is_bucket(name: str) -> bool:
    return name == ACCESS_POINT or (_BUCKET.fullmatch(name) is not None and name not in DOTS)
