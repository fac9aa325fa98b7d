"""S3's Signature Version 2, in the query: read and checked, never made.

boto3 presigns S3 URLs with it in us-east-1 unless told otherwise, and so does the
JavaScript SDK v2. HMAC-SHA1 over the method, Content-MD5, Content-Type, Expires, all
``x-amz-*`` and the resource.

What it does NOT cover, so that one signature fits many requests: the host (the bucket
in it is covered, endpoint and region are not), headers other than those above, the
body, and every query parameter that is not in ``SUBRESOURCES``: prefix, marker,
list-type, max-keys, delimiter, x-id. ``unsigned_parameters`` names the latter; the
caller refuses them.

Headers may stand in the query (botocore puts them there): Content-MD5, Content-Type
and ``x-amz-*``. One that is in both places must have the same value in both.

Not here: the clock, and Signature Version 2 of other services (SignatureVersion=2).

Source: "Signing and authenticating REST requests (signature version 2)", S3 User
Guide; the list of subresources is botocore's (``HmacV1Auth.QSAOfInterest``).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from awsgate.aws.sigv4 import SignatureSyntaxError

RESPONSE_OVERRIDES = frozenset(
    {
        b"response-cache-control",
        b"response-content-disposition",
        b"response-content-encoding",
        b"response-content-language",
        b"response-content-type",
        b"response-expires",
    }
)

SUBRESOURCES = RESPONSE_OVERRIDES | frozenset(
    b"accelerate acl analytics cors defaultObjectAcl delete inventory lifecycle location "
    b"logging metrics notification object-lock partNumber policy replication requestPayment "
    b"restore select select-type storageClass tagging torrent uploadId uploads versionId "
    b"versioning versions website".split()
)
"""The query parameters that the signature covers. Exactly so spelled, not encoded."""

_SPELLING = {
    b"awsaccesskeyid": b"AWSAccessKeyId",
    b"signature": b"Signature",
    b"expires": b"Expires",
    b"x-amz-security-token": b"x-amz-security-token",
}
_V4_PARAMETERS = frozenset(
    {
        b"x-amz-algorithm",
        b"x-amz-credential",
        b"x-amz-date",
        b"x-amz-expires",
        b"x-amz-signature",
        b"x-amz-signedheaders",
    }
)
_POSITIONAL = (b"content-md5", b"content-type")

_KEY_ID = re.compile(r"[A-Za-z0-9]{4,128}")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{27}=")
_EXPIRES = re.compile(r"[1-9][0-9]{0,10}")
_TOKEN = re.compile(r"[!-~]+")
# A line break would move the border between two lines of the string to sign.
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_AMZ_NAME = re.compile(rb"x-amz-[a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class SignedV2:
    """The parts of a Signature Version 2 in the query, and the query without them."""

    access_key_id: str
    signature: str
    """Base64 of 20 bytes."""
    expires: int
    """Epoch seconds."""
    session_token: str
    rest: bytes
    """The query without the parts above, bytes and order kept."""

    def __repr__(self) -> str:
        return f"SignedV2({self.access_key_id}, expires={self.expires}, redacted)"


def parse(query: bytes) -> SignedV2:
    """Parse a wire query (without the ``?``) that carries a Signature Version 2.

    Raises ``SignatureSyntaxError`` if a part is missing, there twice or in another
    spelling, malformed, or if SigV4 is there as well. The message names the part,
    never its value.
    """
    found: dict[bytes, str] = {}
    rest = []
    for item in query.split(b"&"):
        raw, _, value = item.partition(b"=")
        name = _decode(raw)
        lower = name.lower()
        if lower in _V4_PARAMETERS:
            raise SignatureSyntaxError("SigV4 parameters are there beside Signature Version 2")
        if lower not in _SPELLING:
            rest.append(item)
            continue
        spelling = _SPELLING[lower].decode()
        if name != _SPELLING[lower]:
            raise SignatureSyntaxError(f"{spelling} is written in another case")
        if lower in found:
            raise SignatureSyntaxError(f"{spelling} is there more than once")
        found[lower] = _decode(value).decode("latin-1")
    return SignedV2(
        access_key_id=_part(found, b"awsaccesskeyid", _KEY_ID),
        signature=_part(found, b"signature", _SIGNATURE),
        expires=int(_part(found, b"expires", _EXPIRES)),
        session_token=(
            _part(found, b"x-amz-security-token", _TOKEN)
            if b"x-amz-security-token" in found
            else ""
        ),
        rest=b"&".join(rest),
    )


def _part(found: Mapping[bytes, str], name: bytes, pattern: re.Pattern[str]) -> str:
    spelling = _SPELLING[name].decode()
    if name not in found:
        raise SignatureSyntaxError(f"{spelling} is missing")
    if pattern.fullmatch(found[name]) is None:
        raise SignatureSyntaxError(f"{spelling} is malformed")
    return found[name]


def _decode(part: bytes) -> bytes:
    if b"%" in part or b"+" in part:
        return unquote_to_bytes(part.replace(b"+", b" "))
    return part


def unsigned_parameters(query: bytes) -> list[str]:
    """Give the names in ``query`` that no Signature Version 2 covers, decoded, in order.

    A covered name in another spelling or percent-encoded is among them: AWS may read
    it as the covered one, and the signature does not hold it.
    """
    return [
        _decode(raw).decode("latin-1")
        for raw in (item.partition(b"=")[0] for item in query.split(b"&") if item)
        if not (raw in SUBRESOURCES or _is_auth(raw) or _header_name(raw))
    ]


def _is_auth(raw: bytes) -> bool:
    return _SPELLING.get(_decode(raw).lower()) == _decode(raw)


def _header_name(raw: bytes) -> bytes:
    """Give the lower-case name of a header that stands in the query, or nothing."""
    lower = raw.lower()
    if lower in _POSITIONAL or _AMZ_NAME.fullmatch(lower) is not None:
        return lower
    return b""


def matches(
    *,
    method: str,
    bucket: str,
    path: bytes,
    query: bytes,
    headers: Mapping[bytes, Sequence[bytes]],
    signed: SignedV2,
    secret: str,
) -> bool:
    """True if ``signed`` is the signature of the request by ``secret``.

    ``bucket`` is the one in the host, empty for path-style; ``path`` and ``query`` are
    those of the wire; ``headers`` maps lower-case names to all values. Compared in
    constant time. The values of subresources are taken decoded (botocore) and, but for
    the response overrides, as sent (JavaScript v2).

    False for a request with two readings: a covered name twice, a header that differs
    from its twin in the query, a value that looks like a further parameter once it is
    decoded, a control character.
    """
    covered = _covered_headers(query, headers)
    subresources = _subresources(query)
    if covered is None or subresources is None:
        return False
    lines = [method.encode()]
    lines += [covered.pop(name, b"") for name in _POSITIONAL]
    lines.append(b"%d" % signed.expires)
    lines += [name + b":" + covered[name] for name in sorted(covered)]
    found = False
    for resource in _resources(bucket, path or b"/"):
        for form in subresources:
            to_sign = b"\n".join([*lines, resource + form])
            digest = base64.b64encode(hmac.digest(secret.encode(), to_sign, "sha1"))
            found |= hmac.compare_digest(digest, signed.signature.encode())
    return found


def _resources(bucket: str, path: bytes) -> list[bytes]:
    if bucket:
        return [b"/" + bucket.encode() + path]
    # A bucket alone: botocore sends /bucket and signs /bucket/.
    name = path[1:].removesuffix(b"/")
    if name and b"/" not in name:
        return [b"/" + name, b"/" + name + b"/"]
    return [path]


def _covered_headers(
    query: bytes, headers: Mapping[bytes, Sequence[bytes]]
) -> dict[bytes, bytes] | None:
    """Give what the signature covers of the headers, of those in the query as well."""
    in_query: dict[bytes, bytes] = {}
    for item in query.split(b"&"):
        raw, _, value = item.partition(b"=")
        # The token's name may come percent-encoded: parse() reads it then, too.
        name = _header_name(_decode(raw) if _is_auth(raw) else raw)
        if name:
            if name in in_query:
                return None
            in_query[name] = _decode(value).strip(b" \t")
    covered = {
        name: b",".join([value.strip(b" \t") for value in values])
        for name, values in headers.items()
        if name in _POSITIONAL or name.startswith(b"x-amz-")
    }
    for name, value in in_query.items():
        if covered.setdefault(name, value) != value:
            return None
    if any(_CONTROL.search(value.replace(b"\t", b"")) for value in covered.values()):
        return None
    return covered


def _subresources(query: bytes) -> set[bytes] | None:
    """Give the end of the canonical resource, ``?`` included, in each form it may have."""
    items = [item.partition(b"=") for item in query.split(b"&")]
    covered = sorted((n, e, v) for n, e, v in items if n in SUBRESOURCES)
    if not covered:
        return {b""}
    decoded = [(name, equals, _decode(value)) for name, equals, value in covered]
    if len({name for name, _, _ in covered}) != len(covered):
        return None
    if any(_CONTROL.search(value) or _hides_another(value) for _, _, value in decoded):
        return None
    as_sent = [
        decoded[i] if covered[i][0] in RESPONSE_OVERRIDES else covered[i]
        for i in range(len(covered))
    ]
    return {b"?" + b"&".join([n + e + v for n, e, v in form]) for form in (decoded, as_sent)}


def _hides_another(value: bytes) -> bool:
    """``acl=x%26versionId%3D3`` is signed like ``acl=x&versionId=3``."""
    return any(item.partition(b"=")[0] in SUBRESOURCES for item in value.split(b"&")[1:])
