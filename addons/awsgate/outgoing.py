"""How a request leaves for AWS: what it keeps, what it loses, whose signature it gets.

    make_plan   headers, query and body as they will go, still unsigned
    sign        the plan with the signature of real credentials: an ``Outgoing``

A presigned request leaves signed in its header, a WebSocket upgrade in the form in
which it came, a POST form with a new policy, SigV4a as SigV4a; chunk-signed bodies
take a ``ChunkResigner`` along. Pure: the caller passes time and keys.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import unquote_to_bytes

from awsgate import wire
from awsgate.aws import postform, presign, sigv4, sigv4a, uri
from awsgate.aws.chunked import ChunkResigner, ChunkSigner
from awsgate.aws.endpoint import Endpoint
from awsgate.aws.eventframes import EventResigner, EventSigner
from awsgate.aws.partitions import BY_ID
from awsgate.aws.readable import AnswerForm
from awsgate.caller import S3_SERVICES, Claim, Form, Headers, header
from awsgate.errors import Code, Refusal
from awsgate.orders import Order
from awsgate.policy.handoff import NOTHING, Handoff
from awsgate.session import IssuedKeys
from awsgate.wire import RequestFacts

SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
SIGNED_EVENTS = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
RESIGNED_PAYLOADS = frozenset({SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, SIGNED_EVENTS})
"""Keywords whose body carries signatures of its own."""

UPGRADE_EXPIRES_S = 300
_DROPPED = sigv4.AUTH_HEADERS | {b"x-amz-region-set", b"x-amz-s3session-token"}

_PRESIGNED = frozenset({Form.QUERY, Form.QUERY_V4A, Form.QUERY_V2})

Resigner = ChunkResigner | EventResigner


@dataclass(frozen=True, slots=True)
class Hop:
    """Whose credentials of the gateway ahead sign a request that goes on there."""

    connector: str
    """That of credentials that are handed on to it (``onward.connector_of``)."""
    user: str
    """Empty: a web identity, which the gateway knows nothing of."""
    app: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that may go to AWS, as whom, and what of it goes along."""

    target_host: str
    port: int
    service: str
    region: str
    """Where STS is asked, and the scope of the signature."""
    partition: str
    role_arn: str
    """Empty: it goes unsigned."""
    external_id: str
    user: str
    form: Form | None
    """None: it goes unsigned, as it came."""
    target: bytes = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    signed_headers: tuple[str, ...]
    payload: str = field(repr=False)
    region_set: str = ""
    upgrade: bool = False
    issued: IssuedKeys | None = None
    """Real credentials that the session brought along; None: those of ``role_arn``."""
    body: bytes | None = field(default=None, repr=False)
    """A body in place of the client's; None: that one, as it came."""
    issues: bool = False
    """AWS's answer may hold credentials, and is rewritten."""
    answers: AnswerForm = "text"
    """What that answer may be; what cannot be read is withheld."""
    asked_role: str = ""
    """The role that the client wants to assume, if the request names one."""
    federated: bool = False
    """Its credentials are of an identity that is not the gateway's."""
    handoff: Handoff = NOTHING
    """What goes into AssumeRole beside the role."""
    notes: tuple[tuple[str, str], ...] = ()
    """Response headers that tell the client what was changed."""
    order: Order | None = None
    """The gateway answers itself, and nothing goes to AWS."""
    hop: Hop | None = None
    """It goes to the gateway ahead, not to AWS (``onward``)."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it goes to AWS."""

    target: bytes = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    resigner: Resigner | None = None


def make_plan(
    facts: RequestFacts,
    headers: Headers,
    claim: Claim | None,
    found: Endpoint,
    *,
    payload: str,
    role_arn: str,
    external_id: str,
    user: str,
    issued: IssuedKeys | None,
    handoff: Handoff = NOTHING,
) -> Plan:
    """Give the plan of a request that the policy allows."""
    query = facts.target.partition(b"?")[2]
    # S3 has no WebSockets; signed in the query, a redirect of its would show the URL.
    upgrade = wire.is_upgrade(headers) and found.service not in S3_SERVICES
    signed = claim.signed_headers if claim is not None else ()
    # Never two auth forms at once, so all of the client's goes.
    drop = _DROPPED if claim is not None else frozenset()
    if claim is not None and b"x-amz-date" not in headers:
        drop |= {b"date"}  # it was the signing date, and is stale under a new one
    kept = wire.forwardable(facts.headers, drop=drop, signed=signed, upgrade=upgrade)
    if wire.host_of(header(headers, b"host")) != found.host and facts.connect_host is None:
        kept = [(n, found.host.encode() if n.lower() == b"host" else v) for n, v in kept]
    names = {name.lower() for name, _ in kept}
    rest = claim.rest if claim is not None else query
    if claim is not None and claim.form in _PRESIGNED and claim.service in S3_SERVICES:
        rest, hoisted = _hoist(rest, names)
        kept += hoisted
        names |= {name for name, _ in hoisted}
    return Plan(
        target_host=found.host,
        port=facts.connect_port,
        service=claim.service if claim is not None else found.service,
        region=_region(claim, found),
        partition=found.partition,
        role_arn=role_arn,
        external_id=external_id,
        user=user,
        form=claim.form if claim is not None else None,
        target=_target(facts.target, query, rest, claim),
        headers=tuple(kept),
        signed_headers=tuple(
            name
            for name in sorted({*signed, *(n.decode("latin-1") for n in names if _ours(n))})
            if name.encode("latin-1") in names
        ),
        payload=payload,
        region_set=claim.region_set if claim is not None else "",
        upgrade=upgrade,
        issued=issued,
        handoff=handoff,
    )


def with_body(plan: Plan, target: bytes, body: bytes) -> Plan:
    """Give the plan with another target and body, for a request that had to be edited."""
    length = str(len(body)).encode()
    return replace(
        plan,
        target=target,
        body=body,
        payload=hashlib.sha256(body).hexdigest(),
        headers=_with_length(plan.headers, length),
    )


def sign(
    plan: Plan,
    facts: RequestFacts,
    claim: Claim | None,
    *,
    client_secret: str,
    keys: sigv4.SigningKeys | None,
    now: datetime,
) -> Outgoing:
    """Sign the plan with ``keys`` (None only for a plan that goes unsigned).

    ``client_secret`` verifies the signatures inside a chunk-signed body.
    """
    if plan.order is not None:
        raise ValueError("an order for the gateway is never sent to AWS")
    if plan.form is None or claim is None or keys is None:
        if plan.form is not None or keys is not None:
            raise ValueError("a request is signed with keys, or goes as it came")
        return Outgoing(plan.target, plan.headers)
    if plan.form is Form.POST_FORM:
        return _signed_form(plan, claim, keys, now)
    if plan.upgrade and plan.form is Form.QUERY:
        return _signed_upgrade(plan, facts, keys, now)
    method = facts.method.decode("ascii")
    if plan.form in (Form.HEADER_V4A, Form.QUERY_V4A):
        fields = sigv4a.sign(
            method,
            plan.target,
            plan.headers,
            signed=plan.signed_headers,
            keys=keys,
            region_set=plan.region_set,
            service=plan.service,
            payload=plan.payload,
            now=now,
        )
        return Outgoing(plan.target, tuple(fields), plan.body)
    fields = sigv4.sign(
        method,
        plan.target,
        plan.headers,
        signed=plan.signed_headers,
        keys=keys,
        region=plan.region,
        service=plan.service,
        payload=plan.payload,
        now=now,
        express=plan.issued is not None and plan.issued.express,
    )
    resigner = _resigner(plan, claim, client_secret, keys, fields, now)
    return Outgoing(plan.target, tuple(fields), plan.body, resigner)


def _signed_form(plan: Plan, claim: Claim, keys: sigv4.SigningKeys, now: datetime) -> Outgoing:
    if not isinstance(claim.proof, postform.PostForm):
        raise TypeError("a POST form has no other proof than its fields")
    body = postform.rebuild(claim.proof, keys=keys, region=plan.region, now=now)
    length = str(len(body)).encode()
    return Outgoing(plan.target, _with_length(plan.headers, length), body)


def _signed_upgrade(
    plan: Plan, facts: RequestFacts, keys: sigv4.SigningKeys, now: datetime
) -> Outgoing:
    target = presign.presign(
        facts.method.decode("ascii"),
        plan.target,
        plan.headers,
        signed=plan.signed_headers,
        keys=keys,
        region=plan.region,
        service=plan.service,
        payload=plan.payload,
        now=now,
        expires_s=UPGRADE_EXPIRES_S,
        # "add the session token to the query string after the request is signed"
        token_after=plan.service == "iotdevicegateway",
    )
    return Outgoing(target, plan.headers)


def _resigner(
    plan: Plan,
    claim: Claim,
    client_secret: str,
    keys: sigv4.SigningKeys,
    fields: list[tuple[bytes, bytes]],
    now: datetime,
) -> Resigner | None:
    if plan.payload not in RESIGNED_PAYLOADS:
        return None
    proof = claim.proof
    if not isinstance(proof, sigv4.Authorization):
        raise TypeError("signed chunks come with a signature in the header")
    timestamp = sigv4.amz_date(now)
    day = timestamp[:8]
    seed = fields[-1][1].rpartition(b"Signature=")[2].decode()
    if plan.payload == SIGNED_EVENTS:
        return EventResigner(
            EventSigner(client_secret, proof.region, proof.service, proof.signature),
            EventSigner(keys.secret_access_key, plan.region, plan.service, seed),
        )
    theirs = ChunkSigner(
        key=sigv4.signing_key(client_secret, proof.day, proof.region, proof.service),
        timestamp=claim.timestamp,
        scope=proof.scope,
        seed=proof.signature,
    )
    ours = ChunkSigner(
        key=sigv4.signing_key(keys.secret_access_key, day, plan.region, plan.service),
        timestamp=timestamp,
        scope=f"{day}/{plan.region}/{plan.service}/{sigv4.TERMINATOR}",
        seed=seed,
    )
    return ChunkResigner(
        theirs,
        ours,
        trailer=plan.payload == SIGNED_CHUNKS_TRAILER,
        decoded_length=_length(plan, b"x-amz-decoded-content-length"),
        length=_length(plan, b"content-length"),
    )


def _length(plan: Plan, name: bytes) -> int | None:
    value = next((v for n, v in plan.headers if n.lower() == name), b"")
    return int(value) if value.isdigit() else None


def _target(target: bytes, query: bytes, rest: bytes, claim: Claim | None) -> bytes:
    """Give the target to send: without a signature, and in the one spelling S3 signs."""
    path, mark, _ = target.partition(b"?")
    if claim is not None and claim.service in S3_SERVICES:
        path = uri.encoded_path(path)
    if rest == query:
        return path + mark + query
    return path + b"?" + rest if rest else path


def _hoist(rest: bytes, present: set[bytes]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Move the headers that a presigned S3 URL carries in its query back into headers.

    Signers hoist them there, and S3 reads them there only beside a signature in the
    query. Raises ``Refusal`` if one is there twice, or is no header value.
    """
    left, hoisted = [], []
    for item in rest.split(b"&"):
        raw, _, value = item.partition(b"=")
        name = unquote_to_bytes(raw).lower()
        if name == b"x-amz-content-sha256":
            continue  # it stands in a header of its own
        if name.startswith(b"x-amz-checksum-") or name == b"x-amz-sdk-checksum-algorithm":
            # The JS SDK v3 presigns the checksum of an empty body; S3 takes no notice of
            # it in a query, and would of a header.
            continue
        if not (name.startswith(b"x-amz-") or name in (b"content-type", b"content-md5")):
            left.append(item)
            continue
        decoded = unquote_to_bytes(value.replace(b"+", b" "))
        if name in wire.QUERY_AUTH:
            raise Refusal(Code.BAD_SIGNATURE, f"the URL holds {wire.shown(name)} twice")
        if name in present or not wire.is_header(name, decoded):
            raise Refusal(
                Code.BAD_SIGNATURE,
                f"{wire.shown(name)} of the presigned URL is a header too, or cannot be one",
            )
        hoisted.append((name, decoded))
        present.add(name)
    return b"&".join(left), hoisted


def _region(claim: Claim | None, found: Endpoint) -> str:
    if claim is not None and claim.region:
        return claim.region
    # SigV2 and SigV4a name none; what signs anew, and STS, need one.
    named = found.region or (found.regions[0] if found.regions else "")
    return named or BY_ID[found.partition].global_region


def _ours(name: bytes) -> bool:
    """Headers that are signed even where the client's form did not cover them."""
    return name.startswith(b"x-amz-") or name in (b"content-type", b"content-md5")


def _with_length(
    headers: tuple[tuple[bytes, bytes], ...], length: bytes
) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((n, length if n.lower() == b"content-length" else v) for n, v in headers)


def account_of(role_arn: str) -> str:
    """Give the account id in a role's ARN; empty: there is none."""
    return role_arn.split(":")[4] if role_arn else ""
