"""What a surrogate stands for: real AWS credentials, packed into its sealed token.

When a client assumes a role through the gateway, AWS's answer holds real credentials.
The client is given surrogates instead (``session.mint_surrogate``), and the real ones
travel inside the sealed token, so that no gateway has to remember them.

Here is the form of the real ones, and how they become bytes and come back. The bytes
are few on purpose: a real session token is up to 2,500 characters of base64, and
base64 in base64 costs a third twice. So text that is base64 is packed as the bytes
it stands for, if it comes back exactly so.

Pure. Sealing is not done here, and what ``pack`` gives is as secret as the keys.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from awsgate.aws import sigv4

_HEAD = struct.Struct(">BQ")
_LENGTH = struct.Struct(">H")
_EXPRESS = 1
_CAME_BY = 2  # one more text follows; tokens of versions that knew no such thing have none
_TEXTS = 6
_AS_BYTES = 0x8000  # the highest bit of a length: base64 text, packed as its bytes
_FAR_S = 1 << 40


@dataclass(frozen=True, slots=True)
class IssuedKeys:
    """Real AWS credentials that a surrogate stands for."""

    keys: sigv4.SigningKeys
    expires_at: int
    """AWS's own end, epoch seconds."""
    role_arn: str
    """What was assumed (``arn:aws:iam::123456789012:role/x``); empty: the answer names none."""
    session_name: str
    express: bool = False
    """An S3 Express session: the token goes into x-amz-s3session-token."""
    bucket_host: str = ""
    """The host that an S3 Express session was made for."""
    came_by: tuple[str, ...] = ()
    """Roles that the client went on from, between the session's own and ``role_arn``."""

    def __repr__(self) -> str:
        return f"IssuedKeys({self.keys.access_key_id}, {self.role_arn}, redacted)"


def pack(issued: IssuedKeys) -> bytes:
    """Give the bytes for the sealed token. Raises ``ValueError`` if a part is too long."""
    if not 0 <= issued.expires_at < _FAR_S:
        raise ValueError(f"issued keys end at {issued.expires_at}, expected epoch seconds")
    flags = _EXPRESS * issued.express | _CAME_BY * bool(issued.came_by)
    head = _HEAD.pack(flags, issued.expires_at)
    texts = b"".join(
        _pack_text(text)
        for text in (
            issued.keys.access_key_id,
            issued.keys.secret_access_key,
            issued.keys.session_token,
            issued.role_arn,
            issued.session_name,
            issued.bucket_host,
        )
    )
    if not issued.came_by:
        return head + texts
    shortened = list(_shortened(issued.role_arn, issued.came_by))
    return head + texts + _pack_text(json.dumps(shortened, separators=(",", ":")))


def unpack(packed: bytes) -> IssuedKeys:
    """Give back what ``pack`` was given. Raises ``ValueError`` on bytes it never made."""
    try:
        flags, expires_at = _HEAD.unpack_from(packed)
        at = _HEAD.size
        texts = []
        for _ in range(_TEXTS + bool(flags & _CAME_BY)):
            (length,) = _LENGTH.unpack_from(packed, at)
            start = at + _LENGTH.size
            at = start + (length & ~_AS_BYTES)
            raw = packed[start:at]
            texts.append(_unpack_text(raw, as_bytes=bool(length & _AS_BYTES)))
    except struct.error:
        raise ValueError("packed keys are cut short") from None
    if at != len(packed):
        raise ValueError("packed keys have another length")
    key_id, secret, token, role_arn, session_name, bucket_host, *more = texts
    return IssuedKeys(
        keys=sigv4.SigningKeys(key_id, secret, token),
        expires_at=expires_at,
        role_arn=role_arn,
        session_name=session_name,
        express=bool(flags & _EXPRESS),
        bucket_host=bucket_host,
        came_by=_lengthened(role_arn, json.loads(more[0])) if more else (),
    )


def _shortened(before: str, arns: Iterable[str]) -> Iterator[str]:
    """Leave out what each has in common with the one before: partition and account, mostly."""
    for arn in arns:
        pairs = enumerate(zip(before, arn, strict=False))
        shared = next((at for at, (a, b) in pairs if a != b), min(len(before), len(arn)))
        yield f"{shared}:{arn[shared:]}"
        before = arn


def _lengthened(before: str, texts: Iterable[str]) -> tuple[str, ...]:
    arns = []
    for text in texts:
        shared, _, rest = text.partition(":")
        before = before[: int(shared)] + rest
        arns.append(before)
    return tuple(arns)


def _pack_text(text: str) -> bytes:
    raw, flag = text.encode("utf-8", "surrogatepass"), 0
    try:
        decoded = base64.b64decode(raw, validate=True)
    except ValueError:
        decoded = b""
    if decoded and base64.b64encode(decoded) == raw:
        raw, flag = decoded, _AS_BYTES
    if len(raw) >= _AS_BYTES:
        raise ValueError(f"a part of issued keys is {len(raw)} bytes, expected fewer")
    return _LENGTH.pack(len(raw) | flag) + raw


def _unpack_text(raw: bytes, *, as_bytes: bool) -> str:
    return (base64.b64encode(raw) if as_bytes else raw).decode("utf-8", "surrogatepass")
