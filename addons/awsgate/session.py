"""Gateway credentials: minted here, opened here, worthless anywhere else.

A session is a key id, a secret and a session token, in the shape of temporary AWS
credentials, so that every SDK can hold them. Nothing is stored:

- the token is sealed (AES-256-GCM) under the gateway's session key and says who,
  which app, which role, until when; the key id is bound to it as associated data;
- the secret is derived from the session key and the key id.

So any worker and any replica with the same session key verifies any session, and
whoever lacks that key can neither mint one nor learn the secret of one.

A surrogate is a session too. Its token also holds the real AWS credentials that the
client would have been given without the gateway (``surrogate.IssuedKeys``).

Key ids start with ``GATE``: secret scanners look for AKIA and ASIA, and nobody
takes these for AWS keys.

Pure: the time and the entropy are passed in.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import lru_cache

from awsgate.errors import Code, Refusal
from awsgate.login import LOCAL, LoginFacts
from awsgate.sealing import KEY_BYTES as KEY_BYTES
from awsgate.sealing import NONCE_BYTES, packed, parse_sealed, seal
from awsgate.sealing import SessionKeys as SessionKeys
from awsgate.surrogate import IssuedKeys as IssuedKeys  # a part of Session
from awsgate.surrogate import pack, unpack

KEY_PREFIX = "GATE"
ENTROPY_BYTES = 32
MAX_TOKEN_CHARS = 8192
_SURROGATE_ROOM = 4096  # kept free by plain tokens, so that each can be a parent
# Other versions for what came later: a gateway too old for it says unknown key.
_PLAIN = 1
_SURROGATE = 2
_WITH_MORE = 2
"""Added to either: the head has one part more, the login and the bounds."""
_KEY_ID = re.compile(r"GATE[A-Z2-7]{16}")
_FAR = 15 * 60  # a token from the future is a clock that is off, not an attack


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a session was asked for, where that is less than its user may: never wider."""

    read_only: bool = False
    """No call but those of the access levels Read and List."""
    max_requests: int = 0
    """0: as many as the policy lets it."""


NO_BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Session:
    """Who calls, for what, until when. Times in epoch seconds."""

    key_id: str
    id: str
    """For the audit: the same for every request of the session, and no secret."""
    user: str
    app: str
    role_arn: str
    issued_at: int
    expires_at: int
    issued: IssuedKeys | None = None
    """A surrogate: sign with these real keys instead of assuming ``role_arn``."""
    login: LoginFacts | None = None
    """The login that it came from; None: it was minted by who holds the session key."""
    bounds: Bounds = NO_BOUNDS

    @property
    def connector(self) -> str:
        """Give who vouches for its user."""
        return self.login.connector if self.login is not None else LOCAL

    @property
    def role_arns(self) -> tuple[str, ...]:
        """Give the roles on its way, each once: ``role_arn``, and last the one it is now."""
        if self.issued is None:
            return (self.role_arn,)
        now = self.issued.role_arn or self.role_arn
        before = dict.fromkeys((self.role_arn, *self.issued.came_by))
        before.pop(now, None)
        return *before, now


@dataclass(frozen=True, slots=True)
class GatewayCredentials:
    """What the client is given."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A session that a token proved, and the secret to check its signatures with."""

    session: Session
    secret_access_key: str = field(repr=False)


def mint(
    keys: SessionKeys,
    *,
    user: str,
    app: str,
    role_arn: str,
    ttl_s: int,
    now: int,
    entropy: bytes,
    login: LoginFacts | None = None,
    bounds: Bounds = NO_BOUNDS,
) -> GatewayCredentials:
    """Make credentials for ``user`` as ``role_arn`` in ``app``, good for ``ttl_s`` seconds.

    ``entropy`` is 32 fresh random bytes: key id, session id and nonce come from it.
    The policy has been asked before; this function believes what it is told.
    """
    if ttl_s <= 0:
        raise ValueError(f"ttl is {ttl_s} seconds, expected more than 0")
    session_id = _checked(entropy)[22:].hex()
    more = _more(login, bounds)
    payload = packed((session_id, user, app, role_arn, now, now + ttl_s, *more))
    return _seal(keys, _PLAIN + _WITH_MORE * bool(more), payload, entropy, now + ttl_s)


def mint_surrogate(
    keys: SessionKeys, parent: Session, issued: IssuedKeys, *, now: int, entropy: bytes
) -> GatewayCredentials:
    """Make credentials that stand for ``issued``, which AWS gave the owner of ``parent``.

    User, app, role, session id and start are the parent's, so that the audit and locks
    see one session. It ends with the parent or with AWS's own, whichever is first. A
    parent that is a surrogate itself is fine: its own keys are not taken over, but the
    roles on its way are: locks and deny rules hold for all of them.

    ``entropy`` is 32 fresh random bytes, as for ``mint``. Raises ``ValueError`` if the
    end has come already, or if the token would be too long.
    """
    expires_at = min(parent.expires_at, issued.expires_at)
    if expires_at <= now:
        raise ValueError(f"the surrogate would have ended {now - expires_at} seconds ago")
    more = _more(parent.login, parent.bounds)
    head = packed(
        (
            *(parent.id, parent.user, parent.app, parent.role_arn),
            *(parent.issued_at, expires_at),
            *more,
        )
    )
    ends = (parent.role_arn, issued.role_arn)  # they stand in the token already
    between = tuple(arn for arn in parent.role_arns if arn not in ends)
    payload = head + _END_OF_HEAD + pack(replace(issued, came_by=between))
    version = _SURROGATE + _WITH_MORE * bool(more)
    return _seal(keys, version, payload, _checked(entropy), expires_at)


# JSON escapes control characters, so no head holds this byte.
_END_OF_HEAD = b"\x00"


def _more(login: LoginFacts | None, bounds: Bounds) -> list[object]:
    """Give what stands at the end of the head, if there is anything to say."""
    if login is None and bounds == NO_BOUNDS:
        return []
    about = login.packed() if login is not None else None
    return [[about, bounds.read_only, bounds.max_requests]]


def _checked(entropy: bytes) -> bytes:
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"entropy is {len(entropy)} bytes, expected {ENTROPY_BYTES}")
    return entropy


def _bound(version: int, key_id: str) -> bytes:
    """Give what the sealing binds: the key id, and the version of all but plain tokens."""
    return key_id.encode() + (b"" if version == _PLAIN else bytes([version]))


def _seal(
    keys: SessionKeys, version: int, payload: bytes, entropy: bytes, expires_at: int
) -> GatewayCredentials:
    key_id = KEY_PREFIX + base64.b32encode(entropy[:10]).decode()
    nonce = entropy[10 : 10 + NONCE_BYTES]
    token = seal(keys, version, payload, nonce=nonce, bound=_bound(version, key_id))
    longest = MAX_TOKEN_CHARS - (0 if _is_surrogate(version) else _SURROGATE_ROOM)
    if len(token) > longest:
        raise ValueError(f"token is {len(token)} characters, expected at most {longest}")
    return GatewayCredentials(
        access_key_id=key_id,
        secret_access_key=keys.current.secret_for(key_id),
        session_token=token,
        expires_at=expires_at,
    )


def _is_surrogate(version: int) -> bool:
    return version in (_SURROGATE, _SURROGATE + _WITH_MORE)


def open_session(
    keys: SessionKeys, *, access_key_id: str, session_token: str, now: int
) -> OpenedSession:
    """Open what ``mint`` or ``mint_surrogate`` made.

    Raises ``Refusal`` with unknown-key or session-expired.

    A token that was changed, cut, extended, made by another gateway or paired with
    another key id is all one refusal: which of them it was helps only an attacker.
    """
    _check_key_id(access_key_id)
    if not session_token:
        raise Refusal(
            Code.UNKNOWN_KEY,
            "gateway credentials need their session token",
            hint="set AWS_SESSION_TOKEN together with the key (awsgate env prints all three)",
        )
    opened = _open(keys, access_key_id, session_token)
    check_time(opened.session, now)
    return opened


def _check_key_id(access_key_id: str) -> None:
    if looks_like_gateway_key(access_key_id):
        return
    if access_key_id[:4] in ("AKIA", "ASIA"):
        raise Refusal(
            Code.UNKNOWN_KEY,
            f"this is an AWS key ({access_key_id[:4]}...), not a gateway key",
            hint="use gateway credentials (awsgate env), and keep AWS keys off this machine",
        )
    raise _unknown()


def _open(keys: SessionKeys, access_key_id: str, session_token: str) -> OpenedSession:
    try:
        sealed = parse_sealed(session_token, longest=MAX_TOKEN_CHARS)
        payload, subkeys = sealed.open(keys, bound=_bound(sealed.version, access_key_id))
    except ValueError:
        raise _unknown() from None
    if not _PLAIN <= sealed.version <= _SURROGATE + _WITH_MORE:
        raise _unknown()
    return OpenedSession(_session(access_key_id, payload), subkeys.secret_for(access_key_id))


def _session(access_key_id: str, payload: bytes) -> Session:
    head, _, issued = payload.partition(_END_OF_HEAD)
    session_id, user, app, role_arn, issued_at, expires_at, *more = json.loads(head)
    login, read_only, max_requests = more[0] if more else (None, False, 0)
    return Session(
        key_id=access_key_id,
        id=session_id,
        user=user,
        app=app,
        role_arn=role_arn,
        issued_at=issued_at,
        expires_at=expires_at,
        issued=unpack(issued) if issued else None,
        login=LoginFacts.unpacked(login) if login is not None else None,
        bounds=Bounds(read_only, max_requests),
    )


def check_time(session: Session, now: int) -> None:
    """Raise ``Refusal`` if the session is over, or begins too far in the future."""
    if now >= session.expires_at:
        raise Refusal(
            Code.SESSION_EXPIRED,
            f"the gateway session of {session.user} ended {now - session.expires_at} seconds ago",
            hint="get new credentials (awsgate env)",
        )
    if session.issued_at > now + _FAR:
        raise _unknown()


class SessionOpener:
    """``open_session`` with a bounded memory of tokens that were already proved.

    Expiry is checked on every call; a token's content never changes, so the rest need
    not be.
    """

    def __init__(self, keys: SessionKeys, *, maxsize: int = 4096) -> None:
        self._keys = keys
        self._maxsize = maxsize
        self._opened: OrderedDict[tuple[str, str], OpenedSession] = OrderedDict()

    def __call__(self, *, access_key_id: str, session_token: str, now: int) -> OpenedSession:
        """Open a session. Raises as ``open_session`` does."""
        about = (access_key_id, session_token)
        opened = self._opened.get(about)
        if opened is None:
            opened = open_session(
                self._keys, access_key_id=access_key_id, session_token=session_token, now=now
            )
            if len(self._opened) >= self._maxsize:  # the one not asked for longest goes
                self._opened.popitem(last=False)
            self._opened[about] = opened
        else:
            check_time(opened.session, now)
            self._opened.move_to_end(about)
        return opened


def looks_like_gateway_key(access_key_id: str) -> bool:
    """True if the key id has the form of ours. It says nothing about its worth."""
    return _KEY_ID.fullmatch(access_key_id) is not None


def looks_like_gateway_token(token: str) -> bool:
    """True if a session token has the form of a gateway's, of this one or of another."""
    try:
        sealed = parse_sealed(token, longest=MAX_TOKEN_CHARS)
    except ValueError:
        return False
    return _PLAIN <= sealed.version <= _SURROGATE + _WITH_MORE


# "The regex used to validate this parameter is a string of characters consisting of
# upper- and lower-case alphanumeric characters with no spaces. You can also include
# underscores or any of the following characters: =,.@-" (and +), 2 to 64 of them.
_NAME_BAD = re.compile(r"[^A-Za-z0-9_+=,.@-]")
_NAME_CHANGED = re.compile(r".*-[0-9a-f]{12}")
_NAME_MAX = 64


@lru_cache(maxsize=4096)
def session_name_for(user: str) -> str:
    """Give the RoleSessionName of a user: the name itself wherever AWS takes it.

    A name that had to be changed or cut gets ``-`` and 12 hex digits of its SHA-256,
    so that two people never share one and the same person always has the same. A name
    that looks like such a one gets them too: it could be somebody else's.
    """
    clean = _NAME_BAD.sub("_", user)
    changed = clean != user or not 2 <= len(clean) <= _NAME_MAX
    if not changed and _NAME_CHANGED.fullmatch(clean) is None:
        return clean
    digest = hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{clean[: _NAME_MAX - 13]}-{digest}"


def _unknown() -> Refusal:
    return Refusal(
        Code.UNKNOWN_KEY,
        "the access key is not one of this gateway's",
        hint="get credentials of this gateway (awsgate env)",
    )
