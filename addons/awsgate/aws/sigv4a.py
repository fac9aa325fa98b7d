"""AWS Signature Version 4A: the asymmetric form of SigV4, both ways.

What differs from SigV4, and nothing else, is here; the rest is ``sigv4``:

- The key is an ECDSA P-256 key, derived from the secret once for all days, regions
  and services. Its owner signs; who knows only the public half can verify.
- The scope has no region. The regions that a signature is good for stand in a
  header (or query parameter) of their own, X-Amz-Region-Set, that is signed too.
- The signature is random: two of one request differ. It is compared by nobody; it
  is verified. It is also malleable, as ECDSA is: of (r, s) and (r, n - s) both hold,
  and AWS's signers give either (the CRT a high s in half of the cases). So a
  signature names no request: never use one to recognise a replay.

What this does not do: look whether X-Amz-Region-Set is there and signed, whether it
allows a region (ask ``region_set_allows``), and the clock. Pure, like ``sigv4``.

Source: "Create a signed AWS API request", IAM User Guide; the key derivation is NIST
SP 800-108 in counter mode, as key_derivation.c of awslabs/aws-c-auth has it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import pairwise

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256

from awsgate.aws import sigv4, uri

ALGORITHM = "AWS4-ECDSA-P256-SHA256"

AUTH_HEADERS = sigv4.AUTH_HEADERS | {b"x-amz-region-set"}
"""What a signature brings along. Lower-case."""

ECDSA = ec.ECDSA(SHA256())

# The order of P-256: FIPS 186-4, D.1.2.3.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# As in sigv4: bounded, and no quantifier overlaps its neighbour.
_CREDENTIAL = re.compile(
    r"(?P<key>[A-Za-z0-9]{4,128})/(?P<day>[0-9]{8})/(?P<service>[a-z0-9-]{1,64})/aws4_request"
)
_TOKEN = r"[!#$%&'*+.^_`|~0-9a-z-]{1,128}"  # noqa: S105 - RFC 9110 token, not a secret
_SIGNED_HEADERS = re.compile(rf"{_TOKEN}(;{_TOKEN}){{0,127}}")
# A DER sequence of two integers of 1 to 33 bytes each.
_SIGNATURE = re.compile(r"([0-9a-f]{2}){8,72}")
_REGION = re.compile(r"[a-z0-9*-]{1,64}")
MAX_REGIONS = 32
"""In a set; as in a presigned URL (``presign``)."""
_PARTS = frozenset({"Credential", "SignedHeaders", "Signature"})


@dataclass(frozen=True, slots=True)
class Authorization4a:
    """The parts of a SigV4A Authorization header, or of a query that holds the same."""

    access_key_id: str
    day: str
    """``YYYYMMDD``, the first part of the credential scope."""
    service: str
    signed_headers: tuple[str, ...]
    """Lower-case, sorted, without repetition."""
    signature: str
    """Lower-case hex of a DER sequence (r, s)."""

    @property
    def scope(self) -> str:
        """The credential scope: ``day/service/aws4_request``. No region."""
        return _scope(self.day, self.service)

    def __repr__(self) -> str:
        return f"Authorization4a({self.access_key_id}/{self.scope}, signature redacted)"


def parse_authorization(value: bytes) -> Authorization4a:
    """Parse the value of one Authorization header, as strictly as ``sigv4`` does.

    Raises ``SignatureSyntaxError`` naming the part that is wrong, never its value:
    a signature must not reach a log.
    """
    if len(value) > 16384:
        raise sigv4.SignatureSyntaxError("authorization header is longer than 16384 bytes")
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        raise sigv4.SignatureSyntaxError("authorization header is not ASCII") from None
    algorithm, _, rest = text.partition(" ")
    if algorithm != ALGORITHM:
        raise sigv4.SignatureSyntaxError(f"algorithm is not {ALGORITHM}")
    return _authorization(_split_parts(rest))


def _split_parts(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for item in text.split(","):
        name, separator, value = item.strip(" ").partition("=")
        if not separator or name in parts or name not in _PARTS:
            break
        parts[name] = value
    else:
        if len(parts) == len(_PARTS):
            return parts
    raise sigv4.SignatureSyntaxError("expected Credential, SignedHeaders and Signature once each")


def _authorization(parts: dict[str, str]) -> Authorization4a:
    credential = _CREDENTIAL.fullmatch(parts["Credential"])
    if credential is None:
        raise sigv4.SignatureSyntaxError(
            "Credential is not <key id>/<YYYYMMDD>/<service>/aws4_request"
        )
    if _SIGNATURE.fullmatch(parts["Signature"]) is None:
        raise sigv4.SignatureSyntaxError("Signature is not 16 to 144 lower-case hex digits")
    return Authorization4a(
        access_key_id=credential["key"],
        day=credential["day"],
        service=credential["service"],
        signed_headers=_split_signed_headers(parts["SignedHeaders"]),
        signature=parts["Signature"],
    )


@lru_cache(maxsize=1024)
def _split_signed_headers(value: str) -> tuple[str, ...]:
    if _SIGNED_HEADERS.fullmatch(value) is None:
        raise sigv4.SignatureSyntaxError("SignedHeaders is not a list of lower-case header names")
    names = tuple(value.split(";"))
    if any(a >= b for a, b in pairwise(names)):
        raise sigv4.SignatureSyntaxError("SignedHeaders is not sorted, or repeats a name")
    return names


# --- the key ---------------------------------------------------------------------


@lru_cache(maxsize=1024)
def derive_key(secret: str, access_key_id: str) -> ec.EllipticCurvePrivateKey:
    """Derive the P-256 key of a secret access key.

    Cached: the key serves every request, and it is as secret as ``secret``.

    Raises ``ValueError`` if none of the 254 candidates that AWS allows is a key,
    which no secret is known to bring about: each fails one time in 2**32.
    """
    for counter in range(1, 255):
        candidate = _candidate(secret, access_key_id, counter)
        # "If candidate > n - 2, increment the counter": 1 <= d <= n - 1.
        if candidate <= _ORDER - 2:
            return ec.derive_private_key(candidate + 1, ec.SECP256R1())
    raise ValueError(f"no signing key can be derived for {access_key_id!r}, use another access key")


def _candidate(secret: str, access_key_id: str, counter: int) -> int:
    """Give the output block of the KDF: i || label || 0 || context || length in bits."""
    context = access_key_id.encode() + bytes([counter])
    block = b"\0\0\0\1" + ALGORITHM.encode() + b"\0" + context + (256).to_bytes(4)
    return int.from_bytes(hmac.digest(b"AWS4A" + secret.encode(), block, "sha256"))


# --- both ways -------------------------------------------------------------------


def string_to_sign(canonical: bytes, timestamp: str, scope: str) -> bytes:
    """Join algorithm, ``timestamp`` (``YYYYMMDDTHHMMSSZ``), scope and the request's hash."""
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}".encode()


def matches(
    request: sigv4.SignedRequest,
    auth: Authorization4a,
    *,
    secret: str,
    timestamp: str,
    payload: str,
    query: bytes | None = None,
) -> bool:
    """True if ``auth`` is a signature of ``request`` by ``secret``.

    As ``sigv4.matches``, also in that non-S3 paths are tried normalised and as sent.
    ``query`` is the canonical query where it is not simply that of ``request``: the
    query form of a signature leaves out X-Amz-Signature. X-Amz-Region-Set is a signed
    header like any other here; that it is there and signed, the caller demands.

    Raises ``SignatureSyntaxError`` if a signed header is not there.
    """
    der = _strict_der(auth.signature)
    if der is None:
        return False
    headers = _signed_headers(request, auth)
    query = sigv4.canonical_query(request.query) if query is None else query
    key = derive_key(secret, auth.access_key_id).public_key()
    for path in uri.signed_paths(request.path, auth.service):
        canonical = sigv4.canonical_request(
            request.method, path, query, headers, auth.signed_headers, payload
        )
        if _verifies(key, der, string_to_sign(canonical, timestamp, auth.scope)):
            return True
    return False


def _signed_headers(request: sigv4.SignedRequest, auth: Authorization4a) -> bytes:
    try:
        return sigv4.canonical_headers(request.headers, auth.signed_headers)
    except (KeyError, UnicodeEncodeError):
        there = {name.decode("ascii", "replace") for name in request.headers}
        absent = next(name for name in auth.signed_headers if name not in there)
        raise sigv4.SignatureSyntaxError(f"signed header {absent!r} is not there") from None


def _strict_der(signature: str) -> bytes | None:
    """Give the DER bytes if they are the one way to write these two integers."""
    if _SIGNATURE.fullmatch(signature) is None:
        return None
    raw = bytes.fromhex(signature)
    # The library's own parser is strict too; this does not lean on it.
    try:
        r, s = decode_dss_signature(raw)
        again = encode_dss_signature(r, s)
    except ValueError:
        return None
    return raw if again == raw else None


def _verifies(key: ec.EllipticCurvePublicKey, der: bytes, signed: bytes) -> bool:
    try:
        key.verify(der, signed, ECDSA)
    except InvalidSignature:
        return False
    return True


def sign(
    method: str,
    target: bytes,
    headers: sigv4.Headers,
    *,
    signed: Iterable[str],
    keys: sigv4.SigningKeys,
    region_set: str,
    service: str,
    payload: str,
    now: datetime,
) -> list[tuple[bytes, bytes]]:
    """Give ``headers`` with a new signature, ready for the wire.

    The contract of ``sigv4.sign``, with X-Amz-Region-Set added and signed:
    ``region_set`` is ``*`` or regions with commas between them, each may hold ``*``.

    Raises ``ValueError`` if any of ``AUTH_HEADERS`` is still there, or if
    ``region_set`` is not such a list.
    """
    if not all(map(_REGION.fullmatch, region_set.split(","))):
        raise ValueError(f"region set is {region_set!r}, expected '*' or regions with commas")
    if not AUTH_HEADERS.isdisjoint(name.lower() for name, _ in headers):
        raise ValueError("old signature headers must be removed before signing")
    timestamp = sigv4.amz_date(now)
    added = [
        (b"X-Amz-Date", timestamp.encode()),
        (b"X-Amz-Region-Set", region_set.encode()),
        (b"x-amz-content-sha256", payload.encode()),
    ]
    if keys.session_token:
        added.append((b"X-Amz-Security-Token", keys.session_token.encode()))
    out = [*headers, *added]
    by_name = sigv4.group_headers(out)
    names = {name for name in signed if name.encode() in by_name}
    names.update(name.lower().decode() for name, _ in added)
    names.add("host")
    order = sorted(names)
    path, _, query = target.partition(b"?")
    canonical = sigv4.canonical_request(
        method,
        uri.canonical_path(path, service),
        sigv4.canonical_query(query),
        sigv4.canonical_headers(by_name, order),
        order,
        payload,
    )
    scope = _scope(timestamp[:8], service)
    key = derive_key(keys.secret_access_key, keys.access_key_id)
    der = key.sign(string_to_sign(canonical, timestamp, scope), ECDSA)
    value = (
        f"{ALGORITHM} Credential={keys.access_key_id}/{scope}, "
        f"SignedHeaders={';'.join(order)}, Signature={der.hex()}"
    )
    out.append((b"Authorization", value.encode()))
    return out


def _scope(day: str, service: str) -> str:
    return f"{day}/{service}/{sigv4.TERMINATOR}"


def region_set_allows(region_set: str, region: str) -> bool:
    """True if a signature with this X-Amz-Region-Set is good for ``region``.

    ``region_set`` is ``*`` or names with commas between them; ``*`` in a name stands
    for any run of characters. A name that no region can have allows nothing, nor does a list of
    more than ``MAX_REGIONS``: each is a pattern, and the signature is not proved yet.
    """
    listed = region_set.split(",", MAX_REGIONS)
    if len(listed) > MAX_REGIONS:
        return False
    names = (name.strip(" ") for name in listed)
    # Checked first: fnmatch knows ? and [ too, AWS does not.
    return any(_REGION.fullmatch(name) and fnmatchcase(region, name) for name in names)
