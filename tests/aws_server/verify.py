"""Check the signature of one request head: header or query, SigV4 or SigV4a.

Gives a ``Signed``: who signed, and what is left to check when the body has come. Bodies
are not read here; ``chunks``, ``events`` and ``forms`` check what is inside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase

from aws_server.canonical import (
    ECDSA,
    HMAC,
    Check,
    canonical_headers,
    canonical_paths,
    canonical_query,
    ecdsa_check,
    hmac_check,
    hmac_key,
    query_items,
    string_to_sign,
)
from aws_server.hosts import Endpoint
from aws_server.model import S3_FAMILY, Fault, Head, Identity

SKEW = timedelta(minutes=15)
UNSIGNED = "UNSIGNED-PAYLOAD"
HEX = re.compile(r"[0-9a-f]{64}")

_NAMES = {
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
}


@dataclass(frozen=True)
class Claim:
    """What the Authorization header, or the query, says of itself."""

    where: str
    algorithm: str
    access_key_id: str
    day: str
    region: str
    service: str
    signed: tuple[str, ...]
    signature: str = field(repr=False)
    timestamp: str
    expires: int | None = None

    @property
    def scope(self) -> str:
        parts = [self.day, self.region, self.service, "aws4_request"]
        return "/".join(part for part in parts if part)  # SigV4a has no region here


@dataclass(frozen=True)
class Signed:
    """A head that is right as far as it can be told without its body."""

    claim: Claim
    identity: Identity
    endpoint: Endpoint
    check: Check = field(repr=False)
    declared: str | None
    """What stands for the body in the canonical request; ``None``: the body's own hash."""
    finish: Callable[[str], None] = field(repr=False)
    """Give it the body's hash: raises ``Fault`` if the signature is wrong."""


def verify(
    head: Head, endpoint: Endpoint, keys: Mapping[str, Identity], now: datetime
) -> Signed | None:
    """Check a head. ``None`` if it is not signed at all; raises ``Fault``.

    A signature whose body hash is not declared is checked by ``finish`` only.
    """
    claim = claim_of(head)
    if claim is None:
        return None
    _check_time(head, claim, now)
    _check_scope(head, claim, endpoint)
    _check_names(head, claim)
    identity = _identity(head, claim, endpoint, keys, now)
    check = (
        ecdsa_check(identity.access_key_id, identity.secret)
        if claim.algorithm == ECDSA
        else hmac_check(hmac_key(identity.secret, claim.day, claim.region, claim.service))
    )
    declared = _declared(head, claim)

    def finish(payload: str) -> None:
        if not any(check(text, claim.signature) for text in _texts(head, claim, payload)):
            raise Fault("signature-wrong")

    if declared is not None:
        finish(declared)
    return Signed(claim, identity, endpoint, check, declared, finish)


def claim_of(head: Head) -> Claim | None:
    """Read what the head claims; raises ``Fault`` if it claims twice, or not clearly."""
    authorizations = head.values("authorization")
    items = query_items(head.query)
    in_query = [n for n, _ in items if n in _NAMES or n in ("Signature", "AWSAccessKeyId")]
    if len(authorizations) > 1:
        raise Fault("authorization-repeated")
    if authorizations and in_query:
        raise Fault("authorization-twice", "in the header and in the query")
    if authorizations:
        return _claim_in_header(head, authorizations[0])
    return _claim_in_query(items) if in_query else None


def _claim_in_header(head: Head, value: str) -> Claim:
    algorithm, _, rest = value.partition(" ")
    _check_algorithm(algorithm)
    pairs = [item.strip(" ").partition("=") for item in rest.split(",")]
    parts = {name: text for name, _, text in pairs}
    if sorted(name for name, _, _ in pairs) != ["Credential", "Signature", "SignedHeaders"]:
        raise Fault("authorization-malformed", "its parts")
    timestamp = _timestamp(head)
    return _claim("header", algorithm, parts["Credential"], timestamp, parts)


def _claim_in_query(items: list[tuple[str, str]]) -> Claim:
    parts = dict(items)
    auth = [name for name, _ in items if name in _NAMES]
    _check_algorithm(parts.get("X-Amz-Algorithm", ""))
    if len(auth) != len(set(auth)):
        raise Fault("authorization-malformed", "a parameter is there twice")
    iot = _is_device_gateway(parts.get("X-Amz-Credential", ""))
    missing = _NAMES - set(auth) - ({"X-Amz-Expires"} if iot else set())
    if missing:
        raise Fault("authorization-malformed", f"missing: {sorted(missing)}")
    expires = parts.get("X-Amz-Expires", "86400")
    if not expires.isdigit() or not 1 <= int(expires) <= 604800:
        raise Fault("expires-out-of-range")
    named = {"SignedHeaders": parts["X-Amz-SignedHeaders"], "Signature": parts["X-Amz-Signature"]}
    return _claim(
        "query",
        parts["X-Amz-Algorithm"],
        parts["X-Amz-Credential"],
        parts["X-Amz-Date"],
        named,
        int(expires),
    )


def _claim(
    where: str,
    algorithm: str,
    credential: str,
    timestamp: str,
    parts: dict[str, str],
    expires: int | None = None,
) -> Claim:
    scope = credential.split("/")
    if algorithm == ECDSA:
        scope.insert(2, "")
    if len(scope) != 5 or scope[4] != "aws4_request" or not scope[0]:
        raise Fault("authorization-malformed", "the credential scope")
    signed = tuple(parts["SignedHeaders"].split(";"))
    if list(signed) != sorted({name.lower() for name in signed}):
        raise Fault("authorization-malformed", "SignedHeaders is not sorted and lower-case")
    if algorithm == HMAC and HEX.fullmatch(parts["Signature"]) is None:
        raise Fault("authorization-malformed", "the signature")
    if re.fullmatch(r"\d{8}T\d{6}Z", timestamp) is None:
        raise Fault("date-missing", "not YYYYMMDDTHHMMSSZ")
    key, day, region, service, _ = scope
    return Claim(
        where, algorithm, key, day, region, service, signed, parts["Signature"], timestamp, expires
    )


def _check_algorithm(algorithm: str) -> None:
    if algorithm not in (HMAC, ECDSA):
        raise Fault("algorithm-unsupported", algorithm[:32])


def _timestamp(head: Head) -> str:
    """Give the request's time as SigV4 writes it: of x-amz-date, or else of Date."""
    dated = head.values("x-amz-date") or head.values("date")
    if len(dated) != 1:
        raise Fault("date-missing", "expected one x-amz-date or date")
    if "," not in dated[0]:
        return dated[0]
    try:
        return parsedate_to_datetime(dated[0]).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except ValueError:
        raise Fault("date-missing", "the date cannot be read") from None


def _check_time(head: Head, claim: Claim, now: datetime) -> None:
    try:
        when = datetime.strptime(claim.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Fault("date-missing", "no such time") from None
    if claim.day != claim.timestamp[:8]:
        raise Fault("scope-day")
    if claim.where == "header":
        name = "x-amz-date" if head.values("x-amz-date") else "date"
        if name not in claim.signed:
            raise Fault("date-not-signed")
        if abs(now - when) > SKEW:
            raise Fault("skew")
    elif when - now > SKEW:
        raise Fault("skew", "presigned in the future")
    elif now > when + timedelta(seconds=claim.expires or 0):
        raise Fault("presigned-expired")


def _check_scope(head: Head, claim: Claim, endpoint: Endpoint) -> None:
    if endpoint.services and claim.service not in endpoint.services:
        raise Fault("scope-service", f"{claim.service}, not {sorted(endpoint.services)}")
    if claim.algorithm == HMAC:
        if endpoint.asymmetric:
            raise Fault("algorithm-unsupported", "only SigV4a spans regions")
        if not claim.region or endpoint.region not in ("", claim.region):
            raise Fault("scope-region", f"{claim.region}, not {endpoint.region}")
        return
    if claim.where == "query":
        region_set = dict(query_items(head.query)).get("X-Amz-Region-Set", "")
    else:
        region_set = head.get("x-amz-region-set") or ""
    patterns = [pattern.strip() for pattern in region_set.split(",")]
    # Where the Host has no region, the request may be served anywhere.
    wanted = endpoint.region or ("*" if endpoint.asymmetric else "us-east-1")
    if not region_set or not any(fnmatchcase(wanted, pattern) for pattern in patterns):
        raise Fault("region-set", f"{region_set!r} does not hold {wanted}")


def _check_names(head: Head, claim: Claim) -> None:
    present = {name.lower() for name, _ in head.fields}
    if "host" not in claim.signed:
        raise Fault("host-not-signed")
    absent = [name for name in claim.signed if name not in present]
    if absent:
        raise Fault("signed-header-absent", str(absent))
    unsigned = sorted(n for n in present if n.startswith("x-amz-") and n not in claim.signed)
    if unsigned:
        raise Fault("header-not-signed", str(unsigned))


def _identity(
    head: Head, claim: Claim, endpoint: Endpoint, keys: Mapping[str, Identity], now: datetime
) -> Identity:
    identity = keys.get(claim.access_key_id)
    if identity is None:
        raise Fault("key-unknown", claim.access_key_id[:32])
    tokens = _tokens(head, claim, "x-amz-security-token")
    sessions = _tokens(head, claim, "x-amz-s3session-token")
    if identity.kind == "express":
        tokens, sessions = sessions, tokens
    if sessions:
        raise Fault("token-unexpected", "a token of another kind")
    if identity.token is None and tokens:
        raise Fault("token-unexpected", "a long-lived key has none")
    if identity.token is not None and not tokens:
        raise Fault("token-missing")
    if identity.token is not None and tokens != [identity.token]:
        raise Fault("token-wrong")
    if identity.expires is not None and now >= identity.expires:
        raise Fault("token-expired")
    if identity.bucket and endpoint.bucket not in ("", identity.bucket):
        raise Fault("session-of-another-bucket")
    is_create = head.method == "GET" and dict(query_items(head.query)).get("session") == ""
    if endpoint.express and identity.kind != "express" and not is_create:
        raise Fault("session-missing", "objects of a directory bucket need a session")
    return identity


def _tokens(head: Head, claim: Claim, name: str) -> list[str]:
    in_header = head.values(name)
    in_query = [v for n, v in query_items(head.query) if n.lower() == name]
    if claim.where == "query" and in_header:
        raise Fault("token-unexpected", "in a header of a presigned request")
    if claim.where == "header" and in_query:
        raise Fault("token-unexpected", "in the query of a request signed by header")
    return in_header or in_query


def _declared(head: Head, claim: Claim) -> str | None:
    value = head.get("x-amz-content-sha256")
    if claim.where == "query" and value is None:
        in_query = {n.lower(): v for n, v in query_items(head.query)}
        value = in_query.get("x-amz-content-sha256")
        if value is None and claim.service in S3_FAMILY:
            return UNSIGNED
    if value is None and claim.service in S3_FAMILY:
        raise Fault("content-sha256-missing")
    return value


def _texts(head: Head, claim: Claim, payload: str) -> list[str]:
    items = query_items(head.query)
    if claim.where == "query":
        items = [(n, v) for n, v in items if n != "X-Amz-Signature"]
        if claim.service == "iotdevicegateway" or (
            claim.service == "iotdata" and head.values("sec-websocket-key")
        ):
            # The one service where the token is appended after signing.
            items = [(n, v) for n, v in items if n != "X-Amz-Security-Token"]
    headers = canonical_headers(claim.signed, head.values)
    return [
        string_to_sign(
            claim.algorithm,
            claim.timestamp,
            claim.scope,
            "\n".join(
                [
                    head.method,
                    path,
                    canonical_query(items),
                    headers,
                    ";".join(claim.signed),
                    payload,
                ]
            ),
        )
        for path in canonical_paths(head.path, exact=claim.service in S3_FAMILY)
    ]


def _is_device_gateway(credential: str) -> bool:
    return credential.split("/")[3:4] in (["iotdevicegateway"], ["iotdata"])
