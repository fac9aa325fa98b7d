"""AWS Signature Version 4 in the Authorization header, both ways.

The four steps are AWS's own and keep AWS's names, so that a mismatch can be
read against their error body line by line:

    canonical_request -> string_to_sign -> signing_key -> signature

Everything is bytes as they stand on the wire: a header value or path that is
decoded and encoded again is another value, and a signature covers bytes.

Pure: no clock, no key lookup, no HTTP library. The caller passes the time, the
keys and, where the signature covers it, the hash of the body.

Source: "Create a signed AWS API request", IAM User Guide; for the path rule of
S3 also "Signature Calculations for the Authorization Header", S3 API Reference.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from urllib.parse import quote_from_bytes, unquote_to_bytes

from awsgate.aws import uri

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

AUTH_HEADERS = frozenset(
    {b"authorization", b"x-amz-content-sha256", b"x-amz-date", b"x-amz-security-token"}
)
"""What a signature brings along. Lower-case."""

Headers = Sequence[tuple[bytes, bytes]]
"""Header fields in wire order: name and value, neither decoded nor folded."""


class SignatureSyntaxError(ValueError):
    """An Authorization header that is not SigV4 as AWS defines it."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """The parts of a SigV4 Authorization header."""

    access_key_id: str
    day: str
    """``YYYYMMDD``, the first part of the credential scope."""
    region: str
    service: str
    signed_headers: tuple[str, ...]
    """Lower-case, sorted, without repetition."""
    signature: str
    """64 lower-case hex digits."""

    @property
    def scope(self) -> str:
        """The credential scope: ``day/region/service/aws4_request``."""
        return f"{self.day}/{self.region}/{self.service}/{TERMINATOR}"

    def __repr__(self) -> str:
        return f"Authorization({self.access_key_id}/{self.scope}, signature redacted)"


# Bounded on purpose: a header is at most a few KiB, and no quantifier overlaps
# its neighbour, so matching is linear.
_CREDENTIAL = re.compile(
    r"(?P<key>[A-Za-z0-9]{4,128})/(?P<day>[0-9]{8})/(?P<region>[a-z0-9-]{1,64})"
    r"/(?P<service>[a-z0-9-]{1,64})/aws4_request"
)
_TOKEN = r"[!#$%&'*+.^_`|~0-9a-z-]{1,128}"  # noqa: S105 - RFC 9110 token, not a secret
_SIGNED_HEADERS = re.compile(rf"{_TOKEN}(;{_TOKEN}){{0,127}}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_AMZ_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_AMZ_DATE_PARTS = ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15))


def parse_authorization(value: bytes) -> Authorization:
    """Parse the value of one Authorization header, as strictly as AWS does.

    Raises ``SignatureSyntaxError`` naming the part that is wrong, never its value:
    a signature must not reach a log.
    """
    if len(value) > 16384:
        raise SignatureSyntaxError("authorization header is longer than 16384 bytes")
    if not value.isascii():
        raise SignatureSyntaxError("authorization header is not ASCII")
    return _parse_authorization(value.decode())


@lru_cache(maxsize=2048)
def _split_credential(credential: str) -> tuple[str, str, str, str]:
    match = _CREDENTIAL.fullmatch(credential)
    if match is None:
        raise SignatureSyntaxError(
            "Credential is not <key id>/<YYYYMMDD>/<region>/<service>/aws4_request"
        )
    return match["key"], match["day"], match["region"], match["service"]


@lru_cache(maxsize=2048)
def _split_signed_headers(value: str) -> tuple[str, ...]:
    if _SIGNED_HEADERS.fullmatch(value) is None:
        raise SignatureSyntaxError("SignedHeaders is not a list of lower-case header names")
    names = tuple(value.split(";"))
    # Sorted and unique, as AWS asks: two spellings of one list would be two
    # signatures for one request.
    if any(a >= b for a, b in pairwise(names)):
        raise SignatureSyntaxError("SignedHeaders is not sorted, or repeats a name")
    return names


def _parse_authorization(text: str) -> Authorization:
    algorithm, _, rest = text.partition(" ")
    if algorithm != ALGORITHM:
        raise SignatureSyntaxError(f"algorithm is not {ALGORITHM}")
    parts: dict[str, str] = {}
    for item in rest.split(","):
        name, separator, value = item.strip(" ").partition("=")
        if not separator or name in parts or name not in _PARTS:
            raise SignatureSyntaxError("expected Credential, SignedHeaders and Signature once each")
        parts[name] = value
    if len(parts) != len(_PARTS):
        raise SignatureSyntaxError("expected Credential, SignedHeaders and Signature once each")
    key, day, region, service = _split_credential(parts["Credential"])
    if _SIGNATURE.fullmatch(parts["Signature"]) is None:
        raise SignatureSyntaxError("Signature is not 64 lower-case hex digits")
    return Authorization(
        access_key_id=key,
        day=day,
        region=region,
        service=service,
        signed_headers=_split_signed_headers(parts["SignedHeaders"]),
        signature=parts["Signature"],
    )


_PARTS = frozenset({"Credential", "SignedHeaders", "Signature"})


@lru_cache(maxsize=1024)  # asked twice of each request, and many are signed in one second
def parse_amz_date(value: bytes) -> datetime:
    """Parse ``20261123T101530Z``. Raises ``SignatureSyntaxError`` on any other form."""
    text = value.decode("ascii", "replace")
    if _AMZ_DATE.fullmatch(text) is None:
        raise SignatureSyntaxError("x-amz-date is not YYYYMMDDTHHMMSSZ")
    try:  # not strptime: that costs as much as the signature
        return datetime(*(int(text[a:b]) for a, b in _AMZ_DATE_PARTS), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        raise SignatureSyntaxError("x-amz-date is not a date") from None


def amz_date(when: datetime) -> str:
    """Give ``when`` (aware) as ``YYYYMMDDTHHMMSSZ``."""
    w = when.astimezone(UTC)
    return f"{w.year:04}{w.month:02}{w.day:02}T{w.hour:02}{w.minute:02}{w.second:02}Z"


# --- step 1: the canonical request -------------------------------------------


def canonical_query(query: bytes) -> bytes:
    """Give the canonical query string of a wire query (without the ``?``).

    Decoded, with ``+`` as a space, and encoded again: object_store sends ``+`` and
    signs ``%20``, OpenDAL sends a bare ``/`` and signs ``%2F``, and AWS does the same
    on its side. Sorted by name, then value, after encoding.
    """
    if not query:
        return b""
    pairs = []
    for item in query.split(b"&"):
        if item:
            name, _, value = item.partition(b"=")
            pairs.append((_encode_again(name), _encode_again(value)))
    pairs.sort()
    return b"&".join(name + b"=" + value for name, value in pairs)


def _encode_again(part: bytes) -> bytes:
    if part.isalnum():
        return part
    return quote_from_bytes(unquote_to_bytes(part.replace(b"+", b" ")), safe="~").encode()


def canonical_headers(headers: Mapping[bytes, Sequence[bytes]], signed: Iterable[str]) -> bytes:
    """Give the CanonicalHeaders block for the names in ``signed``, in their order.

    ``headers`` maps lower-case names to all values of that name in wire order. "To
    create the value, trim leading and trailing spaces and convert sequential spaces
    to a single space"; repeated headers are joined with a comma.

    Raises ``KeyError`` with the name of a signed header that is not there.
    """
    lines = []
    for name in signed:
        raw = name.encode("ascii")
        values = headers[raw]
        lines.append(raw + b":" + b",".join([b" ".join(v.split()) for v in values]) + b"\n")
    return b"".join(lines)


def canonical_request(
    method: str, path: bytes, query: bytes, headers: bytes, signed: Iterable[str], payload: str
) -> bytes:
    """Join the six parts. ``path``, ``query`` and ``headers`` are canonical already."""
    return b"\n".join(
        (method.encode(), path, query, headers, ";".join(signed).encode(), payload.encode())
    )


# --- steps 2 to 4 --------------------------------------------------------------


def string_to_sign(canonical: bytes, timestamp: str, scope: str) -> bytes:
    """Join algorithm, ``timestamp`` (``YYYYMMDDTHHMMSSZ``), scope and the request's hash."""
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}".encode()


@lru_cache(maxsize=4096)
def signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """Derive the 32-byte key that signs one day of one service in one region.

    ``day`` is ``YYYYMMDD`` in UTC, the same as in the credential scope. Cached: the
    key serves every request of that day, and it is as secret as ``secret``.

    Raises ``ValueError`` if ``day`` has another length: a full timestamp derives a
    key that AWS refuses with no more than SignatureDoesNotMatch.
    """
    if len(day) != 8:
        raise ValueError(f"day is {day!r}, expected YYYYMMDD")
    key = hmac.digest(b"AWS4" + secret.encode(), day.encode(), "sha256")
    for part in (region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(key: bytes, to_sign: bytes) -> str:
    """Give the signature in lower-case hex."""
    return hmac.digest(key, to_sign, "sha256").hex()


# --- both ways ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a signature covers, taken from the wire once and used for every check."""

    method: str
    path: bytes
    query: bytes
    headers: Mapping[bytes, Sequence[bytes]]
    """Lower-case name to all its values."""


def matches(
    request: SignedRequest, auth: Authorization, *, secret: str, timestamp: str, payload: str
) -> bool:
    """True if ``auth`` is the signature of ``request`` by ``secret``. In constant time.

    ``timestamp`` is the request's own (``YYYYMMDDTHHMMSSZ``), ``payload`` the hash or
    keyword that stands for the body. Non-S3 paths are tried in the forms seen in the
    field: normalised (botocore, Java, JS) and as sent (Go), which name the same resource
    at AWS; and unencoded (curl 7), where that is the canonical form of no other path.
    S3's as sent, and encoded where they are not.

    Raises ``KeyError`` with the name of a signed header that is not there.
    """
    key = signing_key(secret, auth.day, auth.region, auth.service)
    headers = canonical_headers(request.headers, auth.signed_headers)
    query = canonical_query(request.query)
    paths = uri.signed_paths(request.path, auth.service)
    if b"%" not in request.path:
        # With a byte that is to be encoded and no "%" it is canonical of nothing else. S3's
        # is there already.
        paths.add(request.path)
    found = False
    for path in paths:
        canonical = canonical_request(
            request.method, path, query, headers, auth.signed_headers, payload
        )
        expected = signature(key, string_to_sign(canonical, timestamp, auth.scope))
        found |= hmac.compare_digest(expected, auth.signature)
    return found


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The credentials to sign with. ``session_token`` is empty for long-term keys."""

    access_key_id: str
    secret_access_key: str
    session_token: str

    def __repr__(self) -> str:
        return f"SigningKeys({self.access_key_id}, redacted)"


def sign(
    method: str,
    target: bytes,
    headers: Headers,
    *,
    signed: Iterable[str],
    keys: SigningKeys,
    region: str,
    service: str,
    payload: str,
    now: datetime,
    express: bool = False,
) -> list[tuple[bytes, bytes]]:
    """Give ``headers`` with a new signature, ready for the wire.

    ``target`` is the request target as sent (path and query), ``signed`` the names
    to sign beside the ones this function adds: x-amz-date, x-amz-content-sha256 and,
    with a session, its token (``express``: that of an S3 Express session). Raises
    ``ValueError`` if any of ``AUTH_HEADERS`` is still there: a second one would be a
    second credential.

    x-amz-content-sha256 is sent for every service; AWS ignores it where it needs none.
    """
    timestamp = amz_date(now)
    added = [
        (b"X-Amz-Date", timestamp.encode()),
        (b"x-amz-content-sha256", payload.encode()),
    ]
    if keys.session_token:
        token_name = b"x-amz-s3session-token" if express else b"X-Amz-Security-Token"
        added.append((token_name, keys.session_token.encode()))
    if not AUTH_HEADERS.isdisjoint(name.lower() for name, _ in headers):
        raise ValueError("old signature headers must be removed before signing")
    out = [*headers, *added]
    by_name = group_headers(out)
    names = {name for name in signed if name.encode() in by_name}
    names.update(name.lower().decode() for name, _ in added)
    names.add("host")
    order = sorted(names)
    path, _, query = target.partition(b"?")
    canonical = canonical_request(
        method,
        uri.canonical_path(path, service),
        canonical_query(query),
        canonical_headers(by_name, order),
        order,
        payload,
    )
    scope = f"{timestamp[:8]}/{region}/{service}/{TERMINATOR}"
    key = signing_key(keys.secret_access_key, timestamp[:8], region, service)
    value = (
        f"{ALGORITHM} Credential={keys.access_key_id}/{scope}, SignedHeaders={';'.join(order)}, "
        f"Signature={signature(key, string_to_sign(canonical, timestamp, scope))}"
    )
    out.append((b"Authorization", value.encode()))
    return out


def group_headers(headers: Headers) -> dict[bytes, list[bytes]]:
    """Map each lower-case header name to its values in wire order."""
    grouped: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        grouped.setdefault(name.lower(), []).append(value)
    return grouped
