"""The password of a session at the proxy itself: who opens a tunnel, which nobody looks into.

A request in a tunnel of our own carries its signature; a tunnel that is only relayed (an
SSM data channel) carries nothing that the gateway reads. There the client says at CONNECT
who it is:

    Proxy-Authorization: Basic base64(<access key id>:<password>)

The password is sealed and says which session that is, so any gateway with the session key
opens it. It is bound to the key id, ends with the session, and is worth a tunnel and
nothing else: no request can be signed with it.

Pure: the time and the entropy are passed in.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass

from awsgate.errors import Code, Refusal
from awsgate.login import LoginFacts
from awsgate.sealing import NONCE_BYTES, SessionKeys, open_sealed, packed, seal
from awsgate.session import Session, looks_like_gateway_key

ENTROPY_BYTES = 32
MAX_PASSWORD_CHARS = 6144
"""A session's token is shorter; it says the same, and a surrogate's keys on top."""
_MAX_BASIC_CHARS = 2 * MAX_PASSWORD_CHARS
_VERSION = 1
_PURPOSE = "tunnel"
_BASIC = re.compile(r"[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+={0,2})")
_HINT = "get new credentials of this gateway; the proxy's user and password come with them"


@dataclass(frozen=True, slots=True)
class TunnelCaller:
    """Who opens a tunnel. Times in epoch seconds."""

    user: str
    login: str
    """The id of its login; empty: it came from none."""
    expires_at: int
    role_arns: tuple[str, ...]
    """The roles on the session's way, as ``Session.role_arns``: a lock on any holds it."""
    proved: Session
    """The session, as the policy asks for it. No keys are in it."""


def mint_tunnel_pass(keys: SessionKeys, session: Session, *, entropy: bytes) -> str:
    """Give the password of ``session`` at the proxy. ``entropy`` is 32 fresh random bytes.

    Raises ``ValueError`` if it would be too long, or if the session is nobody's.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"entropy is {len(entropy)} bytes, expected {ENTROPY_BYTES}")
    if not session.user:
        raise ValueError("the session is of no user of this gateway")
    login = session.login.packed() if session.login is not None else None
    parts = [
        *(session.id, session.user, session.app, session.role_arn),
        *(session.issued_at, session.expires_at, login, session.role_arns),
    ]
    password = seal(
        keys,
        _VERSION,
        packed(parts),
        nonce=entropy[:NONCE_BYTES],
        bound=session.key_id.encode(),
        purpose=_PURPOSE,
    )
    if len(password) > MAX_PASSWORD_CHARS:
        raise ValueError(
            f"password is {len(password)} characters, expected at most {MAX_PASSWORD_CHARS}"
        )
    return password


def open_tunnel_pass(keys: SessionKeys, key_id: str, text: str, *, now: int) -> TunnelCaller:
    """Open what ``mint_tunnel_pass`` made for ``key_id``.

    Raises ``Refusal`` with unknown-key or session-expired.
    """
    try:
        payload = _opened(keys, key_id, text)
    except ValueError:
        raise _unknown() from None
    session_id, user, app, role_arn, issued_at, expires_at, login, role_arns = json.loads(payload)
    session = Session(
        key_id=key_id,
        id=session_id,
        user=user,
        app=app,
        role_arn=role_arn,
        issued_at=issued_at,
        expires_at=expires_at,
        login=LoginFacts.unpacked(login) if login is not None else None,
    )
    if now >= expires_at:
        raise Refusal(
            Code.SESSION_EXPIRED,
            f"the gateway session of {user} ended {now - expires_at} seconds ago",
            hint=_HINT,
        )
    return TunnelCaller(
        user=user,
        login=session.login.id if session.login is not None else "",
        expires_at=expires_at,
        role_arns=tuple(role_arns),
        proved=session,
    )


def read_basic(value: str) -> tuple[str, str]:
    """Read ``Basic base64(<key id>:<password>)``, the value of Proxy-Authorization.

    Raises ``Refusal`` with not-signed if it is of another scheme, and with unknown-key if
    it has not that form. No text of it is in the error.
    """
    if value[:6].lower() != "basic ":
        raise Refusal(
            Code.NOT_SIGNED,
            "Proxy-Authorization is of a scheme that this gateway does not know",
            hint="it is Basic, with the gateway's access key id and the proxy password",
        )
    found = _BASIC.fullmatch(value) if len(value) <= _MAX_BASIC_CHARS else None
    if found is None:
        raise _unknown()
    try:
        key_id, _, password = (
            base64.b64decode(found[1], validate=True).decode("ascii").partition(":")
        )
    except (binascii.Error, UnicodeDecodeError):
        raise _unknown() from None
    return key_id, password


def _opened(keys: SessionKeys, key_id: str, text: str) -> bytes:
    if not looks_like_gateway_key(key_id):
        raise ValueError("no key id of a gateway")
    return open_sealed(
        keys,
        text,
        version=_VERSION,
        bound=key_id.encode(),
        purpose=_PURPOSE,
        longest=MAX_PASSWORD_CHARS,
    )


def _unknown() -> Refusal:
    return Refusal(
        Code.UNKNOWN_KEY,
        "the user and password of the proxy are not of this gateway",
        hint=_HINT,
    )
