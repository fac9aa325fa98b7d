"""What the gateway seals with its session key: tokens that only it can make and read.

A sealed text is AES-256-GCM under a key derived for its purpose, so that nothing made
for one purpose opens as another. It begins with its version and the fingerprint of the
session key, so that during a rotation the right one is tried. Pure: the nonce is passed
in, and must never come twice.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
_FINGERPRINT_BYTES = 4
_HEAD_BYTES = 1 + _FINGERPRINT_BYTES + NONCE_BYTES


class SessionKeys:
    """The gateway's session key, and during a rotation the one before it.

    Each is 32 random bytes. Sealing uses ``current``; unsealing accepts both.
    """

    def __init__(self, current: bytes, previous: bytes | None = None) -> None:
        self.current = Subkeys.derive(current)
        self.all = (self.current,) if previous is None else (self.current, Subkeys.derive(previous))

    def __repr__(self) -> str:
        return f"SessionKeys({len(self.all)} keys, redacted)"


@dataclass(frozen=True, slots=True)
class Subkeys:
    """One key a purpose, so that no value made with one helps against another."""

    fingerprint: bytes
    sealing: AESGCM = field(repr=False)
    secrets: bytes = field(repr=False)
    others: bytes = field(repr=False)

    @classmethod
    def derive(cls, key: bytes) -> Subkeys:
        """Make them of a session key. Raises ``ValueError`` if it has not 32 bytes."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"session key is {len(key)} bytes, expected {KEY_BYTES}")

        # HKDF-Expand (RFC 5869) with one block; the session key is uniformly random.
        def expand(purpose: bytes) -> bytes:
            return hmac.digest(key, b"awsgate/1/" + purpose + b"\x01", "sha256")

        return cls(
            fingerprint=expand(b"fingerprint")[:_FINGERPRINT_BYTES],
            sealing=AESGCM(expand(b"seal")),
            secrets=expand(b"secret"),
            others=expand(b"others"),
        )

    def secret_for(self, key_id: str) -> str:
        """Give the secret access key that belongs to a key id."""
        return text_of(hmac.digest(self.secrets, key_id.encode(), "sha256"))

    def aead_for(self, purpose: str) -> AESGCM:
        """Give the key for what is no session: a login, the state of a login on its way."""
        return AESGCM(hmac.digest(self.others, purpose.encode() + b"\x01", "sha256"))


def packed(parts: Iterable[object]) -> bytes:
    """Give what is sealed as the shortest JSON, whatever characters a name has."""
    text = json.dumps([*parts], separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def seal(
    keys: SessionKeys,
    version: int,
    payload: bytes,
    *,
    nonce: bytes,
    bound: bytes,
    purpose: str = "",
) -> str:
    """Seal ``payload``; ``bound`` must be given again to open it. ``purpose``: no session's."""
    key = keys.current
    aead = key.aead_for(purpose) if purpose else key.sealing
    sealed = aead.encrypt(nonce, payload, bound)
    return text_of(bytes([version]) + key.fingerprint + nonce + sealed)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed text, parsed and not opened."""

    version: int
    fingerprint: bytes
    nonce: bytes
    content: bytes = field(repr=False)

    def open(self, keys: SessionKeys, *, bound: bytes, purpose: str = "") -> tuple[bytes, Subkeys]:
        """Give the payload, and the key that opened it. Raises ``ValueError``."""
        for subkeys in keys.all:
            if not hmac.compare_digest(subkeys.fingerprint, self.fingerprint):
                continue
            aead = subkeys.aead_for(purpose) if purpose else subkeys.sealing
            try:
                return aead.decrypt(self.nonce, self.content, bound), subkeys
            except InvalidTag:
                break
        raise ValueError("not sealed by this gateway, or not for this")


def open_sealed(
    keys: SessionKeys, text: str, *, version: int, bound: bytes, purpose: str, longest: int
) -> bytes:
    """Give the payload of what was sealed for a purpose. Raises ``ValueError``."""
    sealed = parse_sealed(text, longest=longest)
    if sealed.version != version:
        raise ValueError("of another version")
    return sealed.open(keys, bound=bound, purpose=purpose)[0]


def parse_sealed(text: str, *, longest: int) -> Sealed:
    """Read a sealed text. Raises ``ValueError`` if it has not the form of one."""
    raw = _bytes_of(text, longest)
    if len(raw) <= _HEAD_BYTES:
        raise ValueError("sealed text is too short")
    return Sealed(
        version=raw[0],
        fingerprint=raw[1 : 1 + _FINGERPRINT_BYTES],
        nonce=raw[1 + _FINGERPRINT_BYTES : _HEAD_BYTES],
        content=raw[_HEAD_BYTES:],
    )


def text_of(raw: bytes) -> str:
    """Give base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes_of(text: str, longest: int) -> bytes:
    if len(text) > longest:
        raise ValueError("sealed text is too long")
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    # One text per token: unused bits of the last character may not vary.
    if text_of(raw) != text:
        raise ValueError("sealed text is not in its one form")
    return raw
