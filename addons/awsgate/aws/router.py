"""Which operation a request calls: the protocols of AWS, read as AWS reads them.

    X-Amz-Target                        JSON 1.0 and 1.1
    /service/<S>/operation/<O>          smithy RPC v2 CBOR
    Action= in the query or the body    query and EC2
    method, path, query, headers        REST-JSON and REST-XML

A service may speak several. Two of these marks in one request, or one of them twice, is
a request that AWS and this router could read differently: then no operation is known.
Total and pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_to_bytes

from awsgate.aws.endpoint import Endpoint, bucket_of
from awsgate.aws.operations import Route, Service, services_signing_as

type Headers = Mapping[bytes, Sequence[bytes]]

MAX_FORM_BYTES = 1024 * 1024
_CBOR_PATH = re.compile(rb"/service/([^/]+)/operation/([^/]+)")
_FORM = b"application/x-www-form-urlencoded"
_CLASSIC = frozenset({"query", "ec2"})
# Names in the query of S3 that choose an operation. AWS's own signing rules list most
# of them as sub-resources; one that no route of ours has makes the operation unknown.
_S3_SUBRESOURCES = frozenset(
    {
        "abac", "accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption",
        "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "list-type", "location",
        "logging", "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable",
        "metadataTable", "metrics", "notification", "object-lock", "ownershipControls",
        "partNumber", "policy", "policyStatus", "publicAccessBlock", "renameObject",
        "replication", "requestPayment", "restore", "retention", "select", "session", "tagging",
        "torrent", "uploadId", "uploads", "versioning", "versions", "website",
    }
)  # fmt: skip


# Signing names of endpoints that speak another service's API.
_MODELS = {"s3express": "s3", "s3-object-lambda": "s3"}


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of a request that name its operation."""

    endpoint: Endpoint
    method: str
    target: bytes
    headers: Headers
    body: bytes | None

    @property
    def path(self) -> bytes:
        """Give the path as it came."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        """Give the query's pairs, decoded."""
        return pairs_of(self.target.partition(b"?")[2])


@dataclass(frozen=True, slots=True)
class Routed:
    """An operation of a service, and the values in the request's path."""

    service: Service
    operation: str
    labels: Mapping[str, str]


def route(asked: Asked, signing_name: str) -> Routed | None:
    """Give the operation of a request; None: it is not known."""
    found = [
        routed
        for service in candidates(asked.endpoint, signing_name)
        if (routed := _route_in(service, asked)) is not None
    ]
    if not found:
        return None
    # Several models of one endpoint (rds, docdb, neptune) may have it: one action, no doubt.
    actions = {r.service.actions_of(r.operation) for r in found}
    return found[0] if len(actions) == 1 and len({r.operation for r in found}) == 1 else None


def candidates(endpoint: Endpoint, signing_name: str) -> tuple[Service, ...]:
    """Give the services that may answer at ``endpoint``: 38 signing names are shared."""
    names = (signing_name,) if signing_name else endpoint.signing_names
    models = dict.fromkeys(_MODELS.get(name, name.lower()) for name in names)
    found = tuple(service for name in models for service in services_signing_as(name))
    if len(found) < 2:
        return found
    if endpoint.service in ("s3", *_MODELS):
        control = ".s3-control" in f".{endpoint.host}"
        return tuple(s for s in found if (s.id == "s3control") == control)
    narrowed = tuple(s for s in found if _is_host_of(s, endpoint.host))
    return narrowed or found


def pairs_of(form: bytes) -> list[tuple[str, str]]:
    """Give the pairs of a query or form, decoded as AWS does; nothing if it is too long."""
    if len(form) > MAX_FORM_BYTES:
        return []
    try:
        return parse_qsl(form.decode("latin-1"), keep_blank_values=True, max_num_fields=10_000)
    except ValueError:
        return []


def _is_host_of(service: Service, host: str) -> bool:
    return host.startswith((f"{service.host}.", f"{service.host}-fips."))


def _route_in(service: Service, asked: Asked) -> Routed | None:
    marks = list(_marks(service, asked))
    if len(marks) > 1:
        return None
    if marks:
        name = marks[0]
        return Routed(service, name, {}) if name in service.actions else None
    if any(p.startswith("rest") for p in service.protocols):
        return _by_path(service, asked)
    return None


def _marks(service: Service, asked: Asked) -> Iterator[str]:
    """Give every operation that the request names by a mark of the service's protocols."""
    targets = asked.headers.get(b"x-amz-target", ())
    rest = not service.protocols.isdisjoint({"rest-json", "rest-xml"})
    if "json" in service.protocols or (targets and not rest):
        for value in targets:
            prefix, _, name = value.decode("latin-1").rpartition(".")
            yield name if "json" in service.protocols and prefix == service.target else ""
    if "smithy-rpc-v2-cbor" in service.protocols:
        cbor = _CBOR_PATH.fullmatch(asked.path)
        if cbor is not None:
            right = cbor[1].decode("latin-1") == service.target
            yield cbor[2].decode("latin-1") if right else ""
    if _CLASSIC & service.protocols:
        yield from (value for name, value in asked.query if name == "Action")
        kind = (asked.headers.get(b"content-type") or (b"",))[0].lower()
        if asked.body and (kind.startswith(_FORM) or not targets):
            yield from (value for name, value in pairs_of(asked.body) if name == "Action")


def _by_path(service: Service, asked: Asked) -> Routed | None:
    segments = _segments(service, asked)
    if segments is None:
        return None
    query = asked.query
    names = {name for name, _ in query}
    best: tuple[Route, Mapping[str, str]] | None = None
    for candidate in service.routes.get(asked.method, ()):
        if best is not None and candidate.weight < best[0].weight:
            break
        labels = _labels(candidate, segments)
        if labels is None or not _asks(candidate, query, names, asked.headers):
            continue
        if not _is_at_home(candidate.operation, asked.endpoint.host):
            continue
        if best is None:
            best = candidate, labels
        elif not _is_same(service, best[0], candidate):
            return None  # two that are equally particular
    if best is None or not _is_whole(service, best[0], names):
        return None
    return Routed(service, best[0].operation, best[1])


def _segments(service: Service, asked: Asked) -> tuple[str, ...] | None:
    """Give the decoded parts of the path; of S3 with the bucket first, wherever it stood."""
    parts = asked.path.split(b"/")[1:]
    if service.id == "s3":
        express = asked.endpoint.host.startswith("s3express-control.")
        bucket = "" if express else bucket_of(asked.endpoint)
        if bucket != "":  # in the host; of an access point it has no name here
            parts = [(bucket or "?").encode(), *parts]
        if len(parts) == 2 and parts[1] == b"":
            parts.pop()
        if parts == [b""]:
            parts = []
    elif parts and parts[-1] == b"":
        parts.pop()
    try:
        return tuple(unquote_to_bytes(part).decode("utf-8") for part in parts)
    except UnicodeDecodeError:
        return None


def _labels(candidate: Route, segments: tuple[str, ...]) -> Mapping[str, str] | None:
    wanted, extra = candidate.segments, 0
    if candidate.greedy >= 0:
        extra = len(segments) - len(wanted)
        if extra < 0:
            return None
    elif len(wanted) != len(segments):
        return None
    values, place = [], 0
    for index, fixed in enumerate(wanted):
        width = 1 + extra * (index == candidate.greedy)
        text = "/".join(segments[place : place + width])
        place += width
        if fixed is None:
            if not text:
                return None
            values.append(text)
        elif fixed != text:
            return None
    return dict(zip(candidate.labels, values, strict=True))


def _asks(
    candidate: Route, query: Sequence[tuple[str, str]], names: set[str], headers: Headers
) -> bool:
    return (
        all(
            (name, value) in query if value else name in names for name, value in candidate.literals
        )
        and names.issuperset(candidate.query)
        and all(name in headers for name in candidate.headers if name.startswith(b"x-amz-copy"))
    )


def _is_same(service: Service, one: Route, other: Route) -> bool:
    """True for two names of one thing: S3 has its older lifecycle and notification calls."""
    return service.actions_of(one.operation) == service.actions_of(other.operation) != ()


def _is_at_home(operation: str, host: str) -> bool:
    """True unless the operation is at another host: ``GET /`` lists two kinds of buckets."""
    express = host.startswith("s3express-control")
    return operation not in ("ListBuckets", "ListDirectoryBuckets") or (
        express == (operation == "ListDirectoryBuckets")
    )


def _is_whole(service: Service, found: Route, names: set[str]) -> bool:
    """True unless the query chooses an operation that the route knows nothing of."""
    if service.id != "s3":
        return True
    known = {name for name, _ in found.literals} | set(found.query)
    if found.operation in ("GetObject", "HeadObject"):
        known |= {"partNumber"}
    return not (names & _S3_SUBRESOURCES) - known
