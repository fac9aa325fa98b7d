"""The sequence of one request, as pure functions: facts in, a plan or a refusal out.

    receive    wire -> target -> endpoint -> signature syntax -> clock -> session -> scope
    authorise  signature over headers and body hash -> policy
    sign       strip the client's signature, sign as the assumed role

``receive`` and ``authorise`` fill a ``Review`` as they learn, so that a refused
request is audited with all that was known of it. Between ``authorise`` and ``sign``
stands the one thing that is not pure: fetching the role's credentials.

No mitmproxy, no clock, no I/O: ``addon`` and the tests drive the same code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol

from awsgate import wire
from awsgate.aws import action, endpoint, sigv4
from awsgate.errors import Code, Refusal
from awsgate.forwarded import parse_forwarded_host
from awsgate.policy import Decision, Policy, decide
from awsgate.session import OpenedSession, Session
from awsgate.wire import RequestFacts

MAX_SKEW = timedelta(minutes=5)  # AWS's own window for most services; S3 allows 15

# Keywords that stand for the body in the signature and leave its bytes alone.
VERBATIM_PAYLOADS = frozenset({"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"})


class OpenSession(Protocol):
    """Opens gateway credentials, or refuses them. ``now`` in epoch seconds."""

    def __call__(self, *, access_key_id: str, session_token: str, now: int) -> OpenedSession:
        """See ``session.open_session``."""
        ...


@dataclass(slots=True)
class Review:
    """What is known of one request so far. Filled in order; the audit line reads it."""

    facts: RequestFacts
    host: str = ""
    endpoint: endpoint.Endpoint | None = None
    headers: Mapping[bytes, Sequence[bytes]] = field(default_factory=dict, repr=False)
    authorization: sigv4.Authorization | None = None
    timestamp: str = ""
    session: Session | None = None
    secret: str = field(default="", repr=False)
    payload: str | None = None
    """Hash or keyword for the body as the client gave it; None: hash the body."""
    action: str = ""
    decision: Decision | None = None

    @property
    def streams(self) -> bool:
        """True if the request can be decided and signed before its body is there."""
        return self.payload is not None

    def header(self, name: bytes) -> bytes:
        """Give the first value of a header, or nothing. ``name`` is lower-case."""
        values = self.headers.get(name)
        return values[0] if values else b""


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that may go to AWS, as whom, and which of its headers go along."""

    target_host: str
    service: str
    region: str
    partition: str
    role_arn: str
    external_id: str
    user: str
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    signed_headers: tuple[str, ...]
    payload: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Gate:
    """The rules in force. Immutable: a reload makes a new one."""

    policy: Policy
    open_session: OpenSession

    def receive(self, review: Review, now: datetime) -> None:
        """Check everything that the headers alone can answer. Raises ``Refusal``."""
        limits = self.policy.gateway.limits
        # The host first, even before the wire rules: it decides the protocol in
        # which a refusal is written.
        self._find_target(review)
        review.headers = wire.check_wire(review.facts, max_header_bytes=limits.max_header_bytes)
        self._check_forwarded(review)
        found = review.endpoint
        if found is None:
            raise Refusal(
                Code.NOT_AN_AWS_ENDPOINT,
                f"{review.host} is not an AWS endpoint awsgate can sign for",
                hint="add the host to 'bypass' in kind: gateway if it must be reached unsigned",
            )
        review.action = action.action_of(
            found,
            target=review.facts.target,
            amz_target=review.header(b"x-amz-target"),
            body=b"",
        )
        review.authorization = _authorization(review)
        review.timestamp = _timestamp(review, now)
        _check_signed_names(review)
        review.payload = _payload(review)
        opened = self.open_session(
            access_key_id=review.authorization.access_key_id,
            session_token=review.header(b"x-amz-security-token").decode("latin-1"),
            now=int(now.timestamp()),
        )
        review.session, review.secret = opened.session, opened.secret_access_key
        _check_scope(review.authorization, found)

    def authorise(self, review: Review, body: bytes | None) -> Plan:
        """Check the signature, then ask the policy. Raises ``Refusal``.

        ``body`` is the body if it is at hand; it must be where ``review.streams``
        is false, since the signature then covers its hash.
        """
        auth, session, found = review.authorization, review.session, review.endpoint
        if auth is None or session is None or found is None:
            raise Refusal(Code.GATEWAY_FAULT, "request was not received before it was authorised")
        payload = _check_signature(review, auth, body)
        if not review.action and body:
            review.action = action.action_of(
                found, target=review.facts.target, amz_target=b"", body=body
            )
        decision = decide(
            self.policy,
            user=session.user,
            app=session.app,
            role_arn=session.role_arn,
            endpoint_service=found.service,
            tenant_controlled=found.tenant_controlled,
        )
        review.decision = decision
        if not decision.allowed:
            raise Refusal(
                Code.DENIED,
                f"{session.user} may not do this: {decision.reason}",
                hint="awsgate env shows the roles you may ask for",
                detail=decision.rule,
            )
        if decision.role_arn.split(":")[1] != found.partition:
            raise Refusal(
                Code.SCOPE_MISMATCH,
                f"{decision.role_arn} is no role of the partition of {found.host}",
                hint="choose a role of the partition that the endpoint belongs to",
            )
        return _plan(review, auth, found, decision, payload)

    def _find_target(self, review: Review) -> None:
        facts = review.facts
        if facts.connect_host is not None:
            review.host = facts.connect_host
        else:
            values = [v for name, v in facts.headers if name.lower() == b"x-forwarded-host"]
            review.host = parse_forwarded_host(values)
        review.endpoint = endpoint.resolve_endpoint(review.host)

    def _check_forwarded(self, review: Review) -> None:
        """X-Forwarded-Host and CONNECT may not name two targets, nor may Host."""
        facts = review.facts
        values = review.headers.get(b"x-forwarded-host")
        if facts.connect_host is not None:
            if values is None:
                return
            if len(values) != 1 or wire.host_of(values[0]) != facts.connect_host:
                raise Refusal(
                    Code.BAD_FORWARDED_HOST,
                    "X-Forwarded-Host differs from the CONNECT host",
                    hint="leave the header out: the gateway sets it from CONNECT",
                )
        elif not (facts.tls or facts.local):
            raise Refusal(
                Code.UNSUPPORTED,
                "plain HTTP from another machine is not accepted",
                hint="set HTTPS_PROXY instead of an endpoint URL",
            )


def sign(
    plan: Plan, target: bytes, method: bytes, keys: sigv4.SigningKeys, now: datetime
) -> tuple[tuple[bytes, bytes], ...]:
    """Give the complete headers for AWS: the plan's, with the signature of ``keys``."""
    return tuple(
        sigv4.sign(
            method.decode("ascii"),
            target,
            plan.headers,
            signed=plan.signed_headers,
            keys=keys,
            region=plan.region,
            service=plan.service,
            payload=plan.payload,
            now=now,
        )
    )


def _authorization(review: Review) -> sigv4.Authorization:
    value = review.header(b"authorization")
    if wire.has_query_auth(review.facts.target):
        raise Refusal(
            Code.UNSUPPORTED,
            "presigned (query) signatures are not supported by this version",
            hint="send the request with a signature in the Authorization header",
        )
    scheme = value.partition(b" ")[0].upper()
    if not value:
        raise Refusal(
            Code.NOT_SIGNED,
            "the request carries no AWS signature",
            hint="configure gateway credentials (awsgate env) and sign the request",
        )
    if scheme != sigv4.ALGORITHM.encode():
        raise _unsupported_scheme(scheme)
    try:
        return sigv4.parse_authorization(value)
    except sigv4.SignatureSyntaxError as exc:
        raise Refusal(Code.BAD_SIGNATURE, f"malformed Authorization header: {exc}") from None


def _unsupported_scheme(scheme: bytes) -> Refusal:
    if scheme == b"AWS":
        return Refusal(
            Code.UNSUPPORTED,
            "Signature Version 2 is not supported",
            hint="set signature_version to s3v4 (AWS CLI: s3.signature_version = s3v4)",
        )
    if scheme == b"AWS4-ECDSA-P256-SHA256":
        return Refusal(
            Code.UNSUPPORTED,
            "SigV4a (multi-region) signatures are not supported by this version",
            hint="use a regional endpoint",
        )
    return Refusal(
        Code.NOT_SIGNED,
        "the Authorization header is not an AWS signature",
        hint="configure gateway credentials (awsgate env) and sign the request",
    )


def _timestamp(review: Review, now: datetime) -> str:
    """Give the request's own time as ``YYYYMMDDTHHMMSSZ``, within the window."""
    value = review.header(b"x-amz-date") or review.header(b"date")
    try:
        when = _parse_date(value.strip()).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter: an offset of a million hours
        raise Refusal(
            Code.BAD_SIGNATURE, "no valid X-Amz-Date or Date header (YYYYMMDDTHHMMSSZ)"
        ) from None
    timestamp = sigv4.amz_date(when)
    if abs(now - when) > MAX_SKEW:
        raise Refusal(
            Code.CLOCK_SKEW,
            f"signed at {timestamp}, received at {sigv4.amz_date(now)}: "
            f"over {MAX_SKEW.seconds // 60} minutes apart",
            hint="set the clock of the client (NTP), or retry if the request was held back",
        )
    if review.authorization is not None and review.authorization.day != timestamp[:8]:
        raise Refusal(Code.BAD_SIGNATURE, "date of the credential scope differs from the request")
    return timestamp


def _parse_date(value: bytes) -> datetime:
    if value[-1:] == b"Z":
        return sigv4.parse_amz_date(value)
    # Only clients older than SigV4 (Perl) sign a Date header instead.
    when = parsedate_to_datetime(value.decode("ascii"))
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _check_signed_names(review: Review) -> None:
    """Host, the date and every x-amz-* header must be covered by the signature."""
    auth = review.authorization
    if auth is None:
        raise Refusal(Code.GATEWAY_FAULT, "signature was not parsed")
    signed = {name.encode() for name in auth.signed_headers}
    must = {name for name in review.headers if name.startswith(b"x-amz-")} | {b"host"}
    if b"x-amz-date" not in review.headers:
        must.add(b"date")
    # In origin form nothing but this header says where the request goes.
    if review.facts.connect_host is None:
        host = wire.host_of(review.header(b"host"))
        if host != review.host and b"x-forwarded-host" not in signed:
            raise Refusal(
                Code.BAD_FORWARDED_HOST,
                "X-Forwarded-Host differs from Host and is not signed",
                hint="set HTTPS_PROXY instead of an endpoint URL",
            )
    missing = sorted(must - signed)
    if missing:
        raise Refusal(
            Code.BAD_SIGNATURE, f"header {missing[0].decode('latin-1')} must be signed and is not"
        )
    absent = sorted(signed - set(review.headers))
    if absent:
        raise Refusal(
            Code.BAD_SIGNATURE, f"signed header {absent[0].decode('latin-1')} is not there"
        )


def _payload(review: Review) -> str | None:
    value = review.header(b"x-amz-content-sha256").strip().decode("latin-1")
    if not value:
        return None
    if value in VERBATIM_PAYLOADS or (len(value) == 64 and not value.strip("0123456789abcdef")):
        return value
    if value.startswith("STREAMING-AWS4-"):
        raise Refusal(
            Code.UNSUPPORTED,
            f"{value[:64]} (signed chunks) is not supported by this version",
            hint="send unsigned trailers or a body hash: over TLS no SDK signs chunks by default",
        )
    raise Refusal(
        Code.BAD_SIGNATURE, "x-amz-content-sha256 is neither a SHA-256 in hex nor a known keyword"
    )


def _check_scope(auth: sigv4.Authorization, found: endpoint.Endpoint) -> None:
    if endpoint.scope_fits(found, auth.service, auth.region):
        return
    raise Refusal(
        Code.SCOPE_MISMATCH,
        f"signed for {auth.service} in {auth.region}, sent to {found.host}",
        hint="the region and service of the client must be those of the endpoint",
    )


def _check_signature(review: Review, auth: sigv4.Authorization, body: bytes | None) -> str:
    payload = review.payload
    if body is not None and payload not in VERBATIM_PAYLOADS:
        actual = hashlib.sha256(body).hexdigest()
        if payload is not None and payload != actual:
            raise Refusal(Code.BAD_SIGNATURE, "x-amz-content-sha256 is not the SHA-256 of the body")
        payload = actual
    if payload is None:
        raise Refusal(Code.GATEWAY_FAULT, "the body is needed for the signature and is not there")
    path, _, query = review.facts.target.partition(b"?")
    request = sigv4.SignedRequest(
        method=review.facts.method.decode("ascii"), path=path, query=query, headers=review.headers
    )
    if not sigv4.matches(
        request, auth, secret=review.secret, timestamp=review.timestamp, payload=payload
    ):
        raise Refusal(
            Code.BAD_SIGNATURE,
            "the signature does not match the request",
            hint="check the gateway secret key, and that nothing between client and gateway "
            "changes signed headers or the path",
        )
    return payload


def _plan(
    review: Review,
    auth: sigv4.Authorization,
    found: endpoint.Endpoint,
    decision: Decision,
    payload: str,
) -> Plan:
    # Never two auth forms at once, so all of the client's goes.
    drop = sigv4.AUTH_HEADERS
    if b"x-amz-date" not in review.headers:
        drop = drop | {b"date"}  # it was the signing date, and is stale under a new one
    kept = wire.forwardable(review.facts.headers, drop=drop, signed=auth.signed_headers)
    if wire.host_of(review.header(b"host")) != found.host:
        kept = [(n, found.host.encode() if n.lower() == b"host" else v) for n, v in kept]
    names = {name.lower() for name, _ in kept}
    return Plan(
        target_host=found.host,
        service=auth.service,
        region=auth.region,
        partition=found.partition,
        role_arn=decision.role_arn,
        external_id=decision.external_id,
        user=decision.user,
        headers=tuple(kept),
        signed_headers=tuple(n for n in auth.signed_headers if n.encode() in names),
        payload=payload,
    )
