"""A login: somebody has proved to a connector who they are. Sealed, so nothing is stored.

    Identity    what a connector says: the user, the roles, the traits, and when it ends
    Login       what the gateway made of it; it is asked for credentials until it ends
    LoginFacts  the part of it that every session of it carries: the policy's user for it

A login's token is worth all that its user may ask for, and nothing at AWS. Like sessions,
any gateway with the session key opens it; a lock on its id ends it before its time.

The roles of a login are those that the connector gave at the time, by name: what a role
of that name allows, or whether there is one, the policy in force says at each request. A
login by the gateway's own password (``LOCAL``) has none of its own: there the policy's
``kind: user`` says.

Pure: the time and the entropy are passed in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from awsgate.errors import Code, Refusal
from awsgate.sealing import NONCE_BYTES, SessionKeys, open_sealed, packed, seal

LOCAL = "local"
"""The connector of the gateway's own users."""
CERTIFICATE = "certificate"
"""The connector of whoever proves to be somebody by a TLS client certificate."""
TOKEN_PREFIX = "gatelogin."  # noqa: S105 - no password
ENTROPY_BYTES = 32
MAX_TOKEN_CHARS = 4096
_VERSION = 1
_PURPOSE = "login"
_TOKEN = re.compile(re.escape(TOKEN_PREFIX) + r"[A-Za-z0-9_-]+")

type PackedTraits = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody has proved to be, by the word of a connector."""

    user: str
    connector: str
    """``oidc/okta``: kind and name of the document; or ``LOCAL``."""
    roles: tuple[str, ...] = ()
    traits: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    ends_at: int | None = None
    """When the identity itself ends, in epoch seconds; None: it does not say."""


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """What a session says of the login that it came from. Hashable."""

    id: str
    """20 hexadecimal digits, as a session's: a lock on it holds all sessions of the login."""
    connector: str
    roles: tuple[str, ...] = ()
    traits: PackedTraits = ()

    @property
    def of_policy(self) -> bool:
        """True if the policy's own document says what the user may do."""
        return self.connector == LOCAL

    def packed(self) -> list[Any]:
        """Give it as JSON has it."""
        return [self.id, self.connector, self.roles, self.traits]

    @classmethod
    def unpacked(cls, packed: list[Any]) -> LoginFacts:
        """Read what ``packed`` made, and JSON of it."""
        login_id, connector, roles, traits = packed
        values = tuple((name, tuple(values)) for name, values in traits)
        return cls(login_id, connector, tuple(roles), values)


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody who has logged in. Times in epoch seconds."""

    user: str
    facts: LoginFacts
    issued_at: int
    expires_at: int

    @property
    def id(self) -> str:
        """Give its id, for the audit and for locks; no secret."""
        return self.facts.id


def make_login(
    identity: Identity, *, ttl_s: int, now: int, entropy: bytes, traits: frozenset[str]
) -> Login:
    """Make a login of an identity. It ends with the identity, or after ``ttl_s`` seconds.

    ``traits`` are the names that the policy asks for: the others are left out, since a
    person can be in hundreds of groups, and every session carries them. Raises
    ``ValueError`` if the identity has ended already.
    """
    ends_at = now + ttl_s if identity.ends_at is None else min(now + ttl_s, identity.ends_at)
    if ends_at <= now:
        raise ValueError("the identity has ended")
    kept = sorted((k, tuple(v)) for k, v in identity.traits.items() if k in traits)
    facts = LoginFacts(entropy[22:32].hex(), identity.connector, identity.roles, tuple(kept))
    return Login(identity.user, facts, now, ends_at)


def mint_login(keys: SessionKeys, login: Login, *, entropy: bytes) -> str:
    """Give the token of a login. ``entropy`` is 32 fresh random bytes.

    Raises ``ValueError`` if it would be too long: too many roles, or traits.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"entropy is {len(entropy)} bytes, expected {ENTROPY_BYTES}")
    parts = [login.user, login.issued_at, login.expires_at, login.facts.packed()]
    token = TOKEN_PREFIX + seal(
        keys,
        _VERSION,
        packed(parts),
        nonce=entropy[:NONCE_BYTES],
        bound=b"",
        purpose=_PURPOSE,
    )
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError(f"token is {len(token)} characters, expected at most {MAX_TOKEN_CHARS}")
    return token


def open_login(keys: SessionKeys, token: str, *, now: int) -> Login:
    """Open what ``mint_login`` made. Raises ``Refusal`` with unknown-key or session-expired."""
    try:
        payload = _opened(keys, token)
    except ValueError:
        raise Refusal(
            Code.UNKNOWN_KEY,
            "the login is not one of this gateway's",
            hint="log in again: awsgate login",
        ) from None
    user, issued_at, expires_at, facts = json.loads(payload)
    login = Login(user, LoginFacts.unpacked(facts), issued_at, expires_at)
    if now >= login.expires_at:
        raise Refusal(
            Code.SESSION_EXPIRED,
            f"the login of {login.user} ended {now - login.expires_at} seconds ago",
            hint="log in again: awsgate login",
        )
    return login


def _opened(keys: SessionKeys, token: str) -> bytes:
    if not _TOKEN.fullmatch(token):
        raise ValueError("no login token")
    return open_sealed(
        keys,
        token.removeprefix(TOKEN_PREFIX),
        version=_VERSION,
        bound=b"",
        purpose=_PURPOSE,
        longest=MAX_TOKEN_CHARS,
    )
