"""What a client may order of the gateway itself: an artefact that AWS takes, not a call.

    s3          a presigned URL for one object
    eks         a bearer token for one Kubernetes cluster
    rds         a password for one database user
    codecommit  user name and password for one git repository

Clients compute these from their keys and ask nobody, and made with gateway keys they are
worthless. So they order them: ``POST /.awsgate/v1/artefact`` on a regional STS endpoint,
signed like any request, the parameters as JSON in the signed body. AWS has no such path,
and nothing of an order is ever forwarded (``outgoing.sign`` refuses it).

    is_order, check_head   what the head can answer
    read_order             the body -> an ``Order``: what the artefact is, and the AWS call
                           that it stands for, which the policy is then asked about

The region is that of the endpoint, the partition too: a client names neither. What goes
into a host, a path or an ARN is checked character by character, since the artefact is
good for exactly what was decided. Pure. ``artefacts`` makes what was ordered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from awsgate.aws import gitsign
from awsgate.aws.call import Call, access_levels_of, call_of
from awsgate.aws.endpoint import Endpoint, normalise_host, resolve_endpoint
from awsgate.aws.partitions import BY_ID
from awsgate.caller import Claim, Form, Headers, header
from awsgate.errors import Code, Refusal
from awsgate.orderpath import CONTENT_TYPE, PREFIX, TARGET
from awsgate.policy.settings import ArtefactsSpec
from awsgate.wire import RequestFacts

MAX_ORDER_BYTES = 8192  # an S3 key of 1,024 bytes is 6 KiB at most in JSON

EKS_LIFE_S = 840  # "14 minutes": EKS takes a token for 15, and clients renew before
RDS_LIFE_S = 900  # RDS's own rule
DEFAULT_PRESIGN_S = 900
S3_METHODS = ("GET", "HEAD", "PUT", "DELETE")


class Kind(StrEnum):
    """What can be ordered."""

    S3 = "s3"
    EKS = "eks"
    RDS = "rds"
    CODECOMMIT = "codecommit"


@dataclass(frozen=True, slots=True)
class Order:
    """One artefact: what it is good for, and the call that it stands for."""

    kind: Kind
    call: Call
    """What the policy is asked about."""
    region: str
    partition: str
    host: str
    """The Host that its signature covers; with a port where it is not 443."""
    target: bytes = field(repr=False)
    """Path and query that its signature covers."""
    life_s: int
    """How long it is to be good, within the operator's limit."""
    also: Call | None = None
    """A call that AWS allows everybody, so that it needs no allow rule; a deny rule holds."""
    method: str = "GET"
    cluster: str = ""
    cut: bool = False
    """``life_s`` is the operator's limit: more was asked for."""
    narrow: tuple[str, str] = ("", "")
    """IAM action and ARN that AWS is to hold the keys to, where the signature alone does
    not: what the client says of a database or of its intent is then not just its word."""


def is_order(found: Endpoint, target: bytes) -> bool:
    """True if a request is for the gateway itself: it is never forwarded then."""
    path, prefix = target.partition(b"?")[0], PREFIX.encode()
    return found.service == "sts" and (path == prefix or path.startswith(prefix + b"/"))


def check_head(facts: RequestFacts, headers: Headers, found: Endpoint, claim: Claim | None) -> None:
    """Refuse an order that is none in its head already."""
    if claim is None or claim.form is not Form.HEADER:
        raise Refusal(
            Code.NOT_SIGNED,
            "an order for the gateway is signed in its Authorization header (SigV4)",
            hint="use awsgate presign, eks-token, rds-token or codecommit",
        )
    if facts.target != TARGET.encode() or facts.method != b"POST":
        raise _wrong("the gateway has nothing at this path")
    if not found.region or found.vpc_endpoint:
        raise _wrong("orders go to a regional STS endpoint, like sts.us-east-1.amazonaws.com")
    if header(headers, b"content-type").decode("latin-1") != CONTENT_TYPE:
        raise _wrong(f"Content-Type of an order is {CONTENT_TYPE}")
    length = header(headers, b"content-length")
    if not length.isdigit() or int(length) > MAX_ORDER_BYTES:
        raise _wrong(f"an order has a Content-Length of at most {MAX_ORDER_BYTES}")


def read_order(
    body: bytes, found: Endpoint, *, account: str, chained: bool, spec: ArtefactsSpec
) -> Order:
    """Read what is ordered. ``account`` is that of the role that it is made with.

    ``chained``: with keys that the session brought along, which cannot be narrowed. Raises
    ``Refusal``, which quotes names of parameters and no values.
    """
    said = _parameters(body)
    kind = said.take("kind", str)
    if kind not in frozenset(Kind):
        raise _wrong(f"kind is not one of {', '.join(Kind)}")
    if kind not in spec.kinds:
        raise Refusal(
            Code.DENIED,
            f"this gateway makes no artefacts of kind {kind}",
            hint="whoever runs the gateway can list it in artefacts.kinds of kind: gateway",
            detail="gateway/artefacts.kinds",
        )
    order = _READERS[Kind(kind)](said, found, account, spec)
    said.check_empty()
    if chained and order.narrow[0]:
        raise _wrong(
            "keys of a role that the client assumed itself cannot be narrowed to "
            "a resource_id or to pull_only"
        )
    return order


# --- the kinds -----------------------------------------------------------------------


_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CLUSTER = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")
_DB_USER = re.compile(r"[A-Za-z0-9_.@+=,-]{1,128}")
_DB_RESOURCE = re.compile(r"(?:db|cluster|prx)-[A-Za-z0-9]{1,64}")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}(?<!\.git)")
_GIT_HOST = r"(?:vpce-[a-z0-9-]{{1,62}}\.)?git-codecommit(?:-fips)?\.{region}(?:\.vpce)?\.{suffix}"


def _s3(said: _Said, found: Endpoint, account: str, spec: ArtefactsSpec) -> Order:
    bucket, key = said.take("bucket", str), said.take("key", str)
    method = said.take("method", str, "GET")
    asked = said.take("expires_in", int, min(DEFAULT_PRESIGN_S, spec.presign_max_ttl_s))
    if _BUCKET.fullmatch(bucket) is None or ".." in bucket or bucket.endswith("--x-s3"):
        raise _wrong("bucket is not the name of a general purpose bucket")
    _check_key(key)
    if method not in S3_METHODS:
        raise _wrong(f"method is not one of {', '.join(S3_METHODS)}")
    if asked < 1:
        raise _wrong("expires_in is not a number of seconds")
    host = f"s3.{found.region}.{BY_ID[found.partition].suffix}"
    path = "/" + quote(key, safe="/~")
    # "the SSL wildcard certificate matches only buckets that do not contain dots"
    if "." in bucket:
        path = f"/{bucket}{path}"
    else:
        host = f"{bucket}.{host}"
    target = path.encode()
    return Order(
        kind=Kind.S3,
        call=_object_call(host, method, target, account, (found.partition, bucket, key)),
        region=found.region,
        partition=found.partition,
        host=host,
        target=target,
        life_s=min(asked, spec.presign_max_ttl_s),
        method=method,
        cut=asked > spec.presign_max_ttl_s,
    )


def _check_key(key: str) -> None:
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise _wrong("key is not text") from None
    if not 1 <= size <= 1024:
        raise _wrong("key is not of 1 to 1024 bytes")
    # Whoever fetches the URL may remove dot segments from it, so it would name two keys.
    if not {".", ".."}.isdisjoint(key.split("/")) or _CONTROL.search(key):
        raise _wrong("key holds a control character, or a segment of dots")


def _object_call(
    host: str, method: str, target: bytes, account: str, names: tuple[str, str, str]
) -> Call:
    """Read the URL as the gateway reads any request; it must be the object and no more."""
    found = resolve_endpoint(host)
    if found is None:
        raise _wrong("bucket or region is of no S3 endpoint")
    call = call_of(
        found,
        signing_name="s3",
        method=method,
        target=target,
        headers={b"host": [host.encode()]},
        body=b"",
        account=account,
    )
    partition, bucket, key = names
    operation = {"GET": "GetObject", "HEAD": "HeadObject"}.get(method, f"{method.title()}Object")
    if (call.operation, call.resources) != (operation, (f"arn:{partition}:s3:::{bucket}/{key}",)):
        raise _wrong("this key cannot be presigned")
    return call


def _eks(said: _Said, found: Endpoint, account: str, _spec: ArtefactsSpec) -> Order:
    cluster = said.take("cluster", str)
    if _CLUSTER.fullmatch(cluster) is None:
        raise _wrong("cluster is not the name of an EKS cluster")
    # What the token opens is the cluster's API, as whatever the cluster takes the role for:
    # no mere read. In itself it is a GetCallerIdentity, which AWS lets everybody do.
    return Order(
        kind=Kind.EKS,
        call=Call(
            "eks",
            "AccessKubernetesApi",
            ("eks:AccessKubernetesApi",),
            ("Write",),
            _arns(found, account, "eks", f"cluster/{cluster}"),
        ),
        also=Call("sts", "GetCallerIdentity", ("sts:GetCallerIdentity",), ("Read",)),
        region=found.region,
        partition=found.partition,
        host=f"sts.{found.region}.{BY_ID[found.partition].suffix}",
        target=b"/?Action=GetCallerIdentity&Version=2011-06-15",
        life_s=EKS_LIFE_S,
        cluster=cluster,
    )


def _rds(said: _Said, found: Endpoint, account: str, _spec: ArtefactsSpec) -> Order:
    host, port, user = said.take("host", str), said.take("port", int), said.take("user", str)
    resource_id = said.take("resource_id", str, "")
    suffix = BY_ID[found.partition].suffix
    if not _is_database(host, found.region, suffix):
        raise _wrong(f"host is not the endpoint of a database in {found.region}")
    if not 1 <= port <= 65535:
        raise _wrong("port is not a port")
    if _DB_USER.fullmatch(user) is None:
        raise _wrong("user is not a database user")
    if resource_id and _DB_RESOURCE.fullmatch(resource_id) is None:
        raise _wrong("resource_id is not the resource id of a database, cluster or proxy")
    # No name of a host tells the resource id. Without it the resource is not known; with
    # it AWS holds the keys to it, so that it is of no use to name another one's.
    arns = _arns(found, account, "rds-db", f"dbuser:{resource_id}/{user}") if resource_id else ()
    return Order(
        kind=Kind.RDS,
        call=_call("rds-db", "connect", ("rds-db:connect",), arns),
        region=found.region,
        partition=found.partition,
        host=f"{host}:{port}",
        target=f"/?Action=connect&DBUser={quote(user, safe='~')}".encode(),
        life_s=RDS_LIFE_S,
        narrow=("rds-db:connect", arns[0]) if arns else ("", ""),
    )


def _is_database(host: str, region: str, suffix: str) -> bool:
    """True for ``<name>.<hash>.<region>.rds.<suffix>``; China has the region last."""
    try:
        if normalise_host(host) != host:
            return False
    except ValueError:
        return False
    labels = host.removesuffix("." + suffix).split(".")
    return host.endswith("." + suffix) and len(labels) > 2 and {"rds", region} == set(labels[-2:])


def _codecommit(said: _Said, found: Endpoint, account: str, _spec: ArtefactsSpec) -> Order:
    host, repository = said.take("host", str), said.take("repository", str)
    pull_only = said.take("pull_only", bool, False)
    suffix = re.escape(BY_ID[found.partition].suffix)
    if re.fullmatch(_GIT_HOST.format(region=re.escape(found.region), suffix=suffix), host) is None:
        raise _wrong(f"host is not the git endpoint of CodeCommit in {found.region}")
    # "/v1/repos/.." would be another path for a client that removes dot segments.
    if _REPOSITORY.fullmatch(repository) is None or not repository.strip("."):
        raise _wrong("repository is not the name of a repository")
    arns = _arns(found, account, "codecommit", repository)
    # The password does not say whether git reads or writes.
    actions = ("codecommit:GitPull",) if pull_only else ("codecommit:GitPull", "codecommit:GitPush")
    return Order(
        kind=Kind.CODECOMMIT,
        call=_call("codecommit", "GitPull" if pull_only else "GitPush", actions, arns),
        region=found.region,
        partition=found.partition,
        host=host,
        target=f"/v1/repos/{repository}".encode(),
        life_s=gitsign.LIFE_S,
        narrow=(actions[0], arns[0]) if pull_only and arns else ("", ""),
    )


_READERS: Mapping[Kind, Callable[[_Said, Endpoint, str, ArtefactsSpec], Order]] = {
    Kind.S3: _s3,
    Kind.EKS: _eks,
    Kind.RDS: _rds,
    Kind.CODECOMMIT: _codecommit,
}


def _call(service: str, operation: str, actions: tuple[str, ...], arns: tuple[str, ...]) -> Call:
    return Call(service, operation, actions, access_levels_of(actions), arns)


def _arns(found: Endpoint, account: str, service: str, rest: str) -> tuple[str, ...]:
    """Give the ARN, or nothing where no account is known."""
    return (f"arn:{found.partition}:{service}:{found.region}:{account}:{rest}",) * bool(account)


# --- the parameters ----------------------------------------------------------------


class _Said:
    """The parameters of an order, each taken once."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._left = dict(values)

    def take[T: (str, int, bool)](self, name: str, kind: type[T], default: T | None = None) -> T:
        value = self._left.pop(name, default)
        # Not isinstance: True is an int.
        if type(value) is not kind:
            raise _wrong(f"{name} is missing, or of another type")
        return value

    def check_empty(self) -> None:
        if self._left:
            raise _wrong("there is a parameter that this kind does not have")


def _parameters(body: bytes) -> _Said:
    try:
        pairs = json.loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        raise _wrong("the body is not JSON") from None
    if not isinstance(pairs, _Pairs) or len(dict(pairs)) != len(pairs):
        raise _wrong("the body is not an object with each name once")
    return _Said(dict(pairs))


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it stands: a dict would take the last of two equal names."""


def _wrong(what: str) -> Refusal:
    return Refusal(Code.UNSUPPORTED, what)
