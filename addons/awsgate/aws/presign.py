"""AWS Signature Version 4 in the query: presigned URLs, both ways.

The same four steps as in ``sigv4``. What differs: the parts of the signature are
query parameters, the canonical query holds all of them but the signature itself, and
the signature says how long it is good.

AWS's own spelling of the names is the only one accepted, after one percent-decoding,
and each name once: a reader that folds case and one that does not would else take two
different signatures from one URL.

Not here: whether the signature has expired (no clock), SigV4a's check (only its
reading), Signature Version 2 (``sigv2``), forms (``postform``), and S3 Express's
X-Amz-S3session-Token, which stays in the query like any other parameter.

Source: "Authenticating Requests: Using Query Parameters", S3 API Reference; "Create a
signed AWS API request", IAM User Guide; for the token after the signature "Connecting
devices to AWS IoT", IoT Core Developer Guide.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from awsgate.aws import sigv4, uri
from awsgate.aws.sigv4 import SignatureSyntaxError

MAX_EXPIRES_S = 604800  # seven days: the signing key is not good for longer

ECDSA_ALGORITHM = "AWS4-ECDSA-P256-SHA256"

_SPELLING = {
    name.lower(): name
    for name in (
        b"X-Amz-Algorithm",
        b"X-Amz-Credential",
        b"X-Amz-Date",
        b"X-Amz-Expires",
        b"X-Amz-Region-Set",
        b"X-Amz-Security-Token",
        b"X-Amz-Signature",
        b"X-Amz-SignedHeaders",
    )
}

AUTH_PARAMETERS = frozenset(_SPELLING)
"""What a signature in the query brings along. Lower-case, decoded."""

# AWS IoT signs without the session token and wants it after the signature.
TOKEN_AFTER_SERVICE = "iotdevicegateway"  # noqa: S105 - a service, not a token

_SIGNATURE = b"x-amz-signature"
_PAYLOAD = b"x-amz-content-sha256"
_V2_KEY_ID = b"awsaccesskeyid"
_REQUIRED = (
    b"x-amz-algorithm",
    b"x-amz-credential",
    b"x-amz-date",
    b"x-amz-signedheaders",
    _SIGNATURE,
)

# Visible ASCII without the comma and the double quote: no value can end early in a
# list, and none is trimmed on the way.
_VALUE = re.compile(rb"[!#-+\--~]+")
_REGION_SET = re.compile(rb"[a-z0-9*-]{1,64}(,[a-z0-9*-]{1,64}){0,31}")
_EXPIRES = re.compile(r"[1-9][0-9]{0,5}")
_DER_HEX = re.compile(r"30([0-9a-f]{2}){7,71}")


@dataclass(frozen=True, slots=True)
class Presigned:
    """The parts of a signature in the query, and the query without them."""

    algorithm: str
    """``AWS4-HMAC-SHA256`` or ``AWS4-ECDSA-P256-SHA256``."""
    authorization: sigv4.Authorization
    """ECDSA: ``region`` is empty and ``signature`` is DER in hex."""
    region_set: str
    """X-Amz-Region-Set, ECDSA only; else empty."""
    timestamp: str
    """X-Amz-Date, ``YYYYMMDDTHHMMSSZ``; its day is that of the scope."""
    expires_s: int | None
    """1 to ``MAX_EXPIRES_S``; None: not given (IoT, and old signers)."""
    session_token: str
    payload: str
    """X-Amz-Content-Sha256 of the query, which stays in ``rest``; or empty."""
    rest: bytes
    """The query without ``AUTH_PARAMETERS``, bytes and order kept."""
    signed_query: bytes
    """The canonical query: everything but X-Amz-Signature."""
    token_signed: bool
    """False where the signature may leave the token out: iotdevicegateway with a token."""

    def __repr__(self) -> str:
        return f"Presigned({self.authorization!r}, {self.timestamp}, expires_s={self.expires_s})"


def parse(query: bytes) -> Presigned:
    """Parse a wire query (without the ``?``) that carries a SigV4 or SigV4a signature.

    Raises ``SignatureSyntaxError`` if a parameter is missing, there twice or in another
    spelling, malformed, or if Signature Version 2 is there as well. The message names
    the parameter, never its value.
    """
    found, payload, rest = _split(query)
    for name in _REQUIRED:
        if name not in found:
            raise SignatureSyntaxError(f"{_SPELLING[name].decode()} is missing")
    algorithm = found[b"x-amz-algorithm"]
    authorization = _authorization(algorithm, found)
    timestamp = found[b"x-amz-date"]
    _check_date(timestamp, authorization.day)
    token = found.get(b"x-amz-security-token", "")
    region_set = found.get(b"x-amz-region-set", "")
    if bool(region_set) != (algorithm == ECDSA_ALGORITHM):
        raise SignatureSyntaxError("X-Amz-Region-Set belongs to AWS4-ECDSA-P256-SHA256 alone")
    return Presigned(
        algorithm=algorithm,
        authorization=authorization,
        region_set=region_set,
        timestamp=timestamp,
        expires_s=_expires(found.get(b"x-amz-expires")),
        session_token=token,
        payload=payload,
        rest=rest,
        signed_query=_signed_query(found, rest),
        token_signed=not (token and authorization.service == TOKEN_AFTER_SERVICE),
    )


def _split(query: bytes) -> tuple[dict[bytes, str], str, bytes]:
    """Give the auth parameters, the payload hash, and the query without the former."""
    found: dict[bytes, str] = {}
    payload = ""
    rest = []
    for item in query.split(b"&"):
        raw, _, value = item.partition(b"=")
        name = _decode(raw)
        lower = name.lower()
        if lower in _SPELLING:
            spelling = _SPELLING[lower]
            if name != spelling:
                raise SignatureSyntaxError(f"{spelling.decode()} is written in another case")
            if lower in found:
                raise SignatureSyntaxError(f"{spelling.decode()} is there more than once")
            found[lower] = _text(spelling, value)
            continue
        if lower == _V2_KEY_ID:
            raise SignatureSyntaxError("AWSAccessKeyId is there beside a SigV4 signature")
        if lower == _PAYLOAD:
            if payload:
                raise SignatureSyntaxError("X-Amz-Content-Sha256 is there more than once")
            payload = _text(b"X-Amz-Content-Sha256", value)
        rest.append(item)
    return found, payload, b"&".join(rest)


def _signed_query(found: dict[bytes, str], rest: bytes) -> bytes:
    """Give the canonical query of both, without decoding the parameters a second time."""
    pairs = [
        (_SPELLING[name], quote(value, safe="~").encode())
        for name, value in found.items()
        if name != _SIGNATURE
    ]
    for item in sigv4.canonical_query(rest).split(b"&"):
        if item:
            name, _, value = item.partition(b"=")
            pairs.append((name, value))
    # By name, then value: as pairs, since = sorts after - in the joined items.
    pairs.sort()
    return b"&".join([name + b"=" + value for name, value in pairs])


def _decode(part: bytes) -> bytes:
    # The same reading as sigv4.canonical_query: + is a space.
    if b"%" in part or b"+" in part:
        return unquote_to_bytes(part.replace(b"+", b" "))
    return part


def _text(name: bytes, value: bytes) -> str:
    decoded = _decode(value)
    pattern = _REGION_SET if name == b"X-Amz-Region-Set" else _VALUE
    if pattern.fullmatch(decoded) is None:
        raise SignatureSyntaxError(f"{name.decode()} is empty or holds a character it may not hold")
    return decoded.decode("ascii")


def _authorization(algorithm: str, found: dict[bytes, str]) -> sigv4.Authorization:
    credential, digest = found[b"x-amz-credential"], found[_SIGNATURE]
    if algorithm == ECDSA_ALGORITHM:
        if _DER_HEX.fullmatch(digest) is None:
            raise SignatureSyntaxError("X-Amz-Signature is not a DER signature in lower-case hex")
        # SigV4a has no region in its scope; any will do to have the others read.
        key_and_day, _, tail = credential.rpartition("/" + sigv4.TERMINATOR)[0].rpartition("/")
        stand_in = f"{key_and_day}/any/{tail}/{sigv4.TERMINATOR}"
        if credential != f"{key_and_day}/{tail}/{sigv4.TERMINATOR}":
            raise SignatureSyntaxError(
                "Credential is not <key id>/<YYYYMMDD>/<service>/aws4_request"
            )
        parsed = _parsed(stand_in, found[b"x-amz-signedheaders"], "0" * 64)
        parsed = replace(parsed, region="", signature=digest)
    elif algorithm == sigv4.ALGORITHM:
        parsed = _parsed(credential, found[b"x-amz-signedheaders"], digest)
    else:
        raise SignatureSyntaxError(f"X-Amz-Algorithm is not {sigv4.ALGORITHM} or {ECDSA_ALGORITHM}")
    if "host" not in parsed.signed_headers:
        raise SignatureSyntaxError("X-Amz-SignedHeaders does not hold host")
    return parsed


def _parsed(credential: str, signed_headers: str, digest: str) -> sigv4.Authorization:
    # One grammar for both places. No value holds a comma or a space, see _VALUE.
    return sigv4.parse_authorization(
        f"{sigv4.ALGORITHM} Credential={credential},SignedHeaders={signed_headers},"
        f"Signature={digest}".encode()
    )


@lru_cache(maxsize=1024)
def _check_date(timestamp: str, day: str) -> None:
    sigv4.parse_amz_date(timestamp.encode())
    if timestamp[:8] != day:
        raise SignatureSyntaxError("date of the credential scope differs from X-Amz-Date")


def _expires(value: str | None) -> int | None:
    if value is None:
        return None
    if _EXPIRES.fullmatch(value) is None or int(value) > MAX_EXPIRES_S:
        raise SignatureSyntaxError(f"X-Amz-Expires is not a number from 1 to {MAX_EXPIRES_S}")
    return int(value)


def matches(
    request: sigv4.SignedRequest, presigned: Presigned, *, secret: str, payload: str
) -> bool:
    """True if ``presigned`` is the signature of ``request`` by ``secret``. HMAC only.

    ``payload`` is the hash or keyword that stands for the body: ``UNSIGNED-PAYLOAD``
    for S3, for others the hash of the body. ``request.query`` is not read:
    ``presigned.signed_query`` is what the signature covers. Compared in constant time.

    Paths as in ``sigv4.matches``. For iotdevicegateway also without the session token,
    which AWS IoT wants appended after signing.

    Raises ``KeyError`` with the name of a signed header that is not there, and
    ``ValueError`` for ECDSA.
    """
    if presigned.algorithm != sigv4.ALGORITHM:
        raise ValueError(f"algorithm is {presigned.algorithm!r}, expected {sigv4.ALGORITHM}")
    auth = presigned.authorization
    key = sigv4.signing_key(secret, auth.day, auth.region, auth.service)
    headers = sigv4.canonical_headers(request.headers, auth.signed_headers)
    paths = uri.signed_paths(request.path, auth.service)
    queries = [presigned.signed_query]
    if not presigned.token_signed:
        queries.append(_without_token(presigned.signed_query))
    found = False
    for path in paths:
        for query in queries:
            canonical = sigv4.canonical_request(
                request.method, path, query, headers, auth.signed_headers, payload
            )
            to_sign = sigv4.string_to_sign(canonical, presigned.timestamp, auth.scope)
            found |= hmac.compare_digest(sigv4.signature(key, to_sign), auth.signature)
    return found


def _without_token(canonical: bytes) -> bytes:
    items = canonical.split(b"&")
    return b"&".join([i for i in items if not i.startswith(b"X-Amz-Security-Token=")])


def presign(
    method: str,
    target: bytes,
    headers: sigv4.Headers,
    *,
    signed: Iterable[str],
    keys: sigv4.SigningKeys,
    region: str,
    service: str,
    payload: str,
    now: datetime,
    expires_s: int,
    token_after: bool = False,
) -> bytes:
    """Give ``target`` (path and query) with a new signature in its query.

    For requests that must stay signed in the query, such as WebSocket upgrades. What
    is in the query stays as it is and comes first. ``signed`` names the headers to
    sign, host is always among them; those that are not in ``headers`` are left out.
    ``token_after`` appends the session token after signing: iotdevicegateway.

    Raises ``ValueError`` if an old signature is still in the query or the headers, or
    if ``expires_s`` is not 1 to ``MAX_EXPIRES_S``.
    """
    if not 1 <= expires_s <= MAX_EXPIRES_S:
        raise ValueError(f"expires_s is {expires_s}, expected 1 to {MAX_EXPIRES_S}")
    path, _, query = target.partition(b"?")
    by_name = sigv4.group_headers(headers)
    _refuse_leftovers(query, by_name)
    names = sorted({"host"} | {name for name in signed if name.encode() in by_name})
    timestamp = sigv4.amz_date(now)
    scope = f"{timestamp[:8]}/{region}/{service}/{sigv4.TERMINATOR}"
    parameters = [
        ("X-Amz-Algorithm", sigv4.ALGORITHM),
        ("X-Amz-Credential", f"{keys.access_key_id}/{scope}"),
        ("X-Amz-Date", timestamp),
        ("X-Amz-Expires", str(expires_s)),
        ("X-Amz-SignedHeaders", ";".join(names)),
    ]
    token = [("X-Amz-Security-Token", keys.session_token)] if keys.session_token else []
    if not token_after:
        parameters += token
    unsigned = b"&".join([*([query] if query else []), _encoded(parameters)])
    canonical = sigv4.canonical_request(
        method,
        uri.canonical_path(path, service),
        sigv4.canonical_query(unsigned),
        sigv4.canonical_headers(by_name, names),
        names,
        payload,
    )
    key = sigv4.signing_key(keys.secret_access_key, timestamp[:8], region, service)
    digest = sigv4.signature(key, sigv4.string_to_sign(canonical, timestamp, scope))
    last = [("X-Amz-Signature", digest), *(token if token_after else [])]
    return path + b"?" + unsigned + b"&" + _encoded(last)


def _refuse_leftovers(query: bytes, by_name: dict[bytes, list[bytes]]) -> None:
    names = {_decode(item.partition(b"=")[0]).lower() for item in query.split(b"&")}
    old = sigv4.AUTH_HEADERS - {_PAYLOAD}  # a body hash is no credential
    if not names.isdisjoint(AUTH_PARAMETERS | {_V2_KEY_ID}) or not old.isdisjoint(by_name):
        raise ValueError("old signature must be removed before signing")


def _encoded(parameters: list[tuple[str, str]]) -> bytes:
    return "&".join(f"{name}={quote(value, safe='~')}" for name, value in parameters).encode()
