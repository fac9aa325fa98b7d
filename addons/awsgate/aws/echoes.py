"""Tells whether an answer of AWS's repeats the session token that it was asked with.

A service that does not accept a signature says what it would have signed: the canonical
request, with the role's own token in it. S3 does so twice, the second time in hex.

    <CanonicalRequest>...x-amz-security-token:IQoJ...</CanonicalRequest>
    <CanonicalRequestBytes>47 45 54 0a ...</CanonicalRequestBytes>

Pure.
"""

from __future__ import annotations

import zlib

from awsgate.aws.readable import is_readable

MAX_BYTES = 64 * 1024
"""Of an answer that may be one: they are under 20 KiB, most of it the token in hex."""

STATUSES = frozenset({400, 401, 403})
_MAX_UNPACKED = 1024 * 1024


def echoes(body: bytes, encoding: str, token: str, *, cbor: bool = False) -> bool:
    """True if ``token`` is in the body, or if that cannot be told. ``token`` is not empty.

    ``cbor``: the answer says that it is such.
    """
    plain = _unpacked(body, encoding)
    if plain is None or not is_readable(plain, "cbor" if cbor else "text"):
        return True
    plain = plain.replace(b"\x00", b"")  # UTF-16 shows, too
    raw = token.encode()
    # "/" and "+" as JSON or XML might write them: their parts are long enough to be told.
    longest = max(token.replace("/", " ").replace("+", " ").replace("=", " ").split(), key=len)
    return (
        raw in plain
        or longest.encode() in plain
        or raw.hex(" ").encode() in plain.lower()
        or raw.hex().encode() in plain.lower()
    )


def _unpacked(body: bytes, encoding: str) -> bytes | None:
    if encoding.strip().lower() in ("", "identity"):
        return body
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return None
    engine = zlib.decompressobj(wbits=47)  # gzip or zlib, by its first bytes
    try:
        found = engine.decompress(body, _MAX_UNPACKED)
    except zlib.error:
        return None
    # Clients read on where one stream has ended and another begins.
    whole = engine.eof and not (engine.unconsumed_tail or engine.unused_data)
    return found if whole else None
