"""Invitations: what lets a user of the gateway's own choose a password, once.

    gateinvite.<base64url of 32 random bytes and the user's name>

The gateway keeps the hash of the random bytes alone. Pure: they are passed in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field

from awsgate.connect.ways import LoginRefused
from awsgate.policy.fields import is_name

PREFIX = "gateinvite."
SECRET_BYTES = 32
_MAX_CHARS = 2048


@dataclass(frozen=True, slots=True)
class Invitation:
    """One invitation, as it is shown once."""

    user: str
    token: str = field(repr=False)
    expires_at: int


def token_of(secret: bytes, user: str) -> str:
    """Give the token of an invitation."""
    return PREFIX + base64.urlsafe_b64encode(secret + user.encode()).decode().rstrip("=")


def hashed(secret: bytes) -> str:
    """Give what is kept of it. No slow hash: it is of 256 random bits."""
    return hashlib.sha256(secret).hexdigest()


def parsed(token: str) -> tuple[str, str]:
    """Give whom a token is for, and the hash of its secret. It says nothing of its worth.

    Raises ``LoginRefused`` if it is none.
    """
    text = token.strip()
    body = text.removeprefix(PREFIX)
    if body == text or len(body) > _MAX_CHARS:
        raise bad_invitation()
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        user = raw[SECRET_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise bad_invitation() from None
    if not is_name(user):
        raise bad_invitation()
    return user, hashed(raw[:SECRET_BYTES])


def bad_invitation() -> LoginRefused:
    """Give the answer to one that is not good, whatever is wrong with it."""
    return LoginRefused(
        "bad-invitation",
        "the invitation is not good: it was used, or has ended, or there is a newer one",
        hint="ask whoever runs the gateway for another: awsgate users reset",
    )
