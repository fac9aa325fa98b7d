"""One-time codes of an authenticator app: TOTP (RFC 6238) over HOTP (RFC 4226).

As all apps have it: SHA-1, six digits, a new code every 30 seconds. SHA-1 stands here in
an HMAC, where what is known against it is no attack. Pure: the time is passed in.

Vectors: RFC 4226, appendix D; RFC 6238, appendix B.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

STEP_S = 30
DIGITS = 6
SECRET_BYTES = 20  # "We RECOMMEND a shared secret length of 160 bits." (RFC 4226, section 4)
DRIFT_STEPS = 1
"""How far a phone's clock may be off, either way."""


def hotp(
    secret: bytes,
    counter: int,
    *,
    digits: int = DIGITS,
    algorithm: Callable[..., Any] = hashlib.sha1,
) -> str:
    """Give the code of one counter, which for TOTP is the step of the time."""
    mac = hmac.new(secret, counter.to_bytes(8, "big"), algorithm).digest()
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**digits:0{digits}}"


def step_at(now: float) -> int:
    """Give the step of a moment in epoch seconds."""
    return int(now) // STEP_S


def step_of(secret: bytes, code: str, now: float) -> int | None:
    """Give the step that ``code`` is of, if it is one of now; None: it is not.

    Where a code is that of several steps, the latest: whoever remembers it lets none of
    them in again.
    """
    step = step_at(now)
    found = None
    for one in range(max(0, step - DRIFT_STEPS), step + DRIFT_STEPS + 1):
        if hmac.compare_digest(hotp(secret, one).encode(), code.encode("utf-8", "replace")):
            found = one
    return found


def secret_as_text(secret: bytes) -> str:
    """Give a secret as apps take it when it is typed in."""
    return base64.b32encode(secret).decode().rstrip("=")


def secret_of_text(text: str) -> bytes:
    """Read what ``secret_as_text`` wrote. Raises ``ValueError``."""
    return base64.b32decode(text + "=" * (-len(text) % 8))


def uri_of(secret: bytes, *, user: str, issuer: str) -> str:
    """Give the ``otpauth://`` URI that apps read, as text or from a QR code.

    The form is Google Authenticator's "Key Uri Format", which all of them follow.
    """
    label = f"{quote(issuer, safe='')}:{quote(user, safe='')}"
    query = urlencode(
        {
            "secret": secret_as_text(secret),
            "issuer": issuer,
            "algorithm": "SHA1",
            "digits": DIGITS,
            "period": STEP_S,
        },
        quote_via=quote,
    )
    return f"otpauth://totp/{label}?{query}"
