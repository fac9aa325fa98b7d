"""Signature Version 4 and 4a, from AWS's description alone: strings, keys, comparisons.

Not shared with the gateway on purpose: two readings of one specification check each
other. Source: "Create a signed AWS API request" and, for 4a, "Signing and authenticating
REST requests (SigV4A)", with the key derivation of the AWS CRT (NIST SP 800-108).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from itertools import count
from urllib.parse import quote_from_bytes, unquote_to_bytes

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

HMAC = "AWS4-HMAC-SHA256"
ECDSA = "AWS4-ECDSA-P256-SHA256"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Check = Callable[[str, str], bool]
"""(string to sign, signature) -> right or wrong."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def query_items(query: str) -> list[tuple[str, str]]:
    """Give the decoded pairs of a raw query, in latin-1 (one character, one byte)."""
    pairs = [item.partition("=") for item in query.split("&") if item]
    return [(_decoded(name), _decoded(value)) for name, _, value in pairs]


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode("latin-1")


def encoded(text: str, safe: str = "~") -> str:
    return quote_from_bytes(text.encode("latin-1"), safe)


def canonical_query(items: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{n}={v}" for n, v in sorted((encoded(n), encoded(v)) for n, v in items))


def canonical_paths(path: str, *, exact: bool) -> list[str]:
    """Give the paths that AWS takes: S3's as it stands, others' normalised and encoded again.

    Clients disagree on normalising (botocore does, Go does not); AWS takes both.
    """
    if exact:
        return [path or "/"]
    return list(dict.fromkeys([encoded(_normalised(path), "/~"), encoded(path or "/", "/~")]))


def _normalised(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    joined = "/" + "/".join(kept)
    return joined + "/" if kept and path.endswith("/") else joined


def canonical_headers(signed: Iterable[str], values: Callable[[str], list[str]]) -> str:
    """``values`` gives all values of a lower-case name."""
    lines = []
    for name in signed:
        folded = [re.sub(" +", " ", value.strip(" \t")) for value in values(name)]
        lines.append(f"{name}:{','.join(folded)}\n")
    return "".join(lines)


def string_to_sign(algorithm: str, timestamp: str, scope: str, canonical: str) -> str:
    return "\n".join([algorithm, timestamp, scope, sha256(canonical.encode("latin-1"))])


def hmac_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def hmac_check(key: bytes) -> Check:
    def check(text: str, signature: str) -> bool:
        right = hmac.digest(key, text.encode("latin-1"), "sha256").hex()
        return hmac.compare_digest(right, signature)

    return check


def private_key(access_key_id: str, secret: str) -> ec.EllipticCurvePrivateKey:
    """Derive the key of SigV4a: the first candidate that is in the range of P-256."""
    for counter in count(1):
        context = access_key_id.encode() + bytes([counter])
        fixed = b"\0\0\0\1" + ECDSA.encode() + b"\0" + context + b"\0\0\1\0"
        candidate = int.from_bytes(hmac.digest(f"AWS4A{secret}".encode(), fixed, "sha256"), "big")
        if candidate <= P256_ORDER - 2:
            return ec.derive_private_key(candidate + 1, ec.SECP256R1())
    raise AssertionError("unreachable")


def ecdsa_check(access_key_id: str, secret: str) -> Check:
    public = private_key(access_key_id, secret).public_key()

    def check(text: str, signature: str) -> bool:
        try:
            raw = bytes.fromhex(signature)
            public.verify(raw, text.encode("latin-1"), ec.ECDSA(hashes.SHA256()))
        except (ValueError, InvalidSignature):
            return False
        return True

    return check
