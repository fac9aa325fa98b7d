"""What a login by OAuth is, whoever the provider: OpenID Connect and GitHub alike.

State and PKCE bind an answer to the login that began here. What a provider says of an error
is text from outside: bounded, and on one line.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

from awsgate.connect.ways import LoginRefused
from awsgate.visible import is_visible

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
USUAL_INTERVAL_S = 5  # RFC 8628, where the provider says nothing
_SLUG = re.compile(r"[a-z0-9_.-]{1,64}")


def check_state(answer: Mapping[str, str], memory: Mapping[str, str]) -> None:
    """Check that an answer is of the login in ``memory``. Raises ``LoginRefused``."""
    state = answer.get("state", "").encode("utf-8", "replace")
    if not hmac.compare_digest(state, memory["state"].encode()):
        raise LoginRefused(
            "wrong-state", "this answer is not of the login that began here", hint="log in again"
        )


def new_verifier() -> str:
    """Give a fresh verifier of PKCE (RFC 7636)."""
    return secrets.token_urlsafe(48)


def challenge_of(verifier: str) -> dict[str, str]:
    """Give the parameters by which a provider knows a verifier again."""
    hashed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    return {"code_challenge": hashed.decode().rstrip("="), "code_challenge_method": "S256"}


def error_in(said: Mapping[str, object]) -> str:
    """Give the error that a provider names."""
    error = said.get("error")
    return error if isinstance(error, str) and _SLUG.fullmatch(error) else "unknown error"


def printable(value: object) -> str:
    """Give text from outside, bounded and on one line; what is no text as nothing."""
    return "".join(c for c in value if is_visible(c))[:200] if isinstance(value, str) else ""


def text_in(said: Mapping[str, object], name: str, *, of: str, most: int) -> str:
    """Give a text without which there is no login. Raises ``LoginRefused``."""
    value = said.get(name)
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > most:
        raise LoginRefused("provider-failed", f"{of} gave no {name} that can be used")
    return value


def seconds(value: object, usual: int, *, most: int) -> int:
    """Give the seconds that a provider says, ``most`` at most; ``usual`` if it says none."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return usual
    return min(value, most)
