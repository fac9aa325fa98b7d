"""What can be seen from here of a session and its gateway: for ``awsgate status``.

Reads the environment, and of the gateway's files what this user may read. Makes no file.
"""

from __future__ import annotations

import hmac
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from cryptography import x509

from awsgate.address import host_of, is_loopback, proxy_address, reachable, split
from awsgate.aws.sigv4 import SigningKeys
from awsgate.ca import CA_NAME, CERT_NAME
from awsgate.certmaking import is_ours
from awsgate.cli.granted import grants_here
from awsgate.cli.lockbooks import lock_books
from awsgate.cli.seenlogin import SeenLogin, look_at
from awsgate.errors import Code, Refusal, SetupError
from awsgate.gatewaycall import keys_of
from awsgate.listening import listens
from awsgate.lockout import clause_of, lock_of, may_stay, rule_of
from awsgate.loginstore import ROOT_NAME, Stored
from awsgate.paths import read_private
from awsgate.policy import Policy, decide
from awsgate.policy.locks import LockBook, in_force
from awsgate.policyfile import load_policy
from awsgate.session import OpenedSession, Session, looks_like_gateway_key, open_session
from awsgate.standing import granted, policy_of
from awsgate.state import KEY_NAME, open_state
from awsgate.timestamps import utc_seconds
from awsgate.variables import ENDPOINT, HTTPS_PROXIES, PROFILES

WAIT_S = 2.0
FULL_URI = ENDPOINT[0]
# Another program may have the port: what stands here goes to a terminal.
_BUILD = re.compile(
    r'^awsgate_build_info\{[^}]*version="([0-9A-Za-z.+-]{1,40})"', re.MULTILINE | re.ASCII
)
_MAX_METRICS_BYTES = 8 * 1024**2
_MAX_CA_BYTES = 16 * 1024  # roots of whole systems are longer, and not looked at


@dataclass(slots=True)
class SeenSession:
    """The session of the environment. Never its secret or token."""

    access_key_id: str
    id: str = ""
    user: str = ""
    app: str = ""
    role_arn: str = ""
    started: str = ""
    ends: str = ""
    ends_in_s: int | None = None


@dataclass(slots=True)
class SeenGateway:
    """The address that clients go to."""

    address: str = ""
    known_by: str = ""
    answers: bool = False
    version: str = ""


@dataclass(slots=True)
class SeenCa:
    """What clients trust, or what the gateway signs with if that can be read."""

    file: str
    not_after: str


@dataclass(slots=True)
class SeenPolicy:
    """The policy on this machine."""

    path: str
    users: int
    roles: int
    apps: int
    mode: str


@dataclass(slots=True)
class SeenLock:
    """A lock that is in force."""

    name: str
    target: dict[str, str]
    expires: str


@dataclass(slots=True)
class Seen:
    """All of it. What cannot be known here is None."""

    session: SeenSession | None = None
    gateway: SeenGateway = field(default_factory=SeenGateway)
    ca: SeenCa | None = None
    policy: SeenPolicy | None = None
    locks: list[SeenLock] | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Why the session cannot be used; nothing: it can."""
    login: SeenLogin | None = None


def look(policy_at: Path, state: Path, certs: Path, *, now: datetime, own_state: bool) -> Seen:
    """Look around. ``own_state``: the state folder was named, so it must be the gateway's."""
    seen = Seen()
    policy = _policy(seen, policy_at)
    _gateway(seen, policy)
    here = own_state or is_loopback(host_of(seen.gateway.address))
    opened = _session(seen, state, now, here=here)
    _ca(seen, certs, now)
    books = _locks(seen, state, policy, now)
    if seen.session is not None and opened is None and not seen.problems:
        seen.notes.append("whether the gateway still takes these credentials, only a call shows")
    if opened is not None and policy is not None and here:
        session = opened.session
        more = granted(grants_here(policy, state), session, now)
        standing = policy_of(policy, session.user, session.login, more)
        _still_allowed(seen, standing, session, books, now)
    return seen


def look_with_login(stored: Stored, *, now: datetime) -> Seen:
    """Look around where a login at a gateway is meant: policy, locks and key are there."""
    seen = Seen()
    seen.login, problems = look_at(stored, now)
    seen.problems += problems
    _gateway(seen, None, stored.proxy)
    if any(os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", FULL_URI)):
        _session(seen, None, now, here=False)
    else:
        seen.notes.append("no gateway credentials in this environment (awsgate env, awsgate exec)")
    if seen.login.version:
        seen.gateway.version = seen.login.version
    _ca(seen, Path(stored.root_path).parent, now)
    return seen


# --- the session ---------------------------------------------------------------------


def _session(seen: Seen, state: Path | None, now: datetime, *, here: bool) -> OpenedSession | None:
    try:
        keys = keys_of(os.environ)
    except SetupError as exc:
        keys = SigningKeys(os.environ.get("AWS_ACCESS_KEY_ID", ""), "", "")
        if not keys.access_key_id and os.environ.get(FULL_URI):
            seen.problems.append(exc.message)
            return None
    key_id = keys.access_key_id
    profile = next((os.environ[name] for name in PROFILES if os.environ.get(name)), "")
    if profile and key_id:
        seen.notes.append("AWS_PROFILE is set too: some clients use that profile, not these keys")
    if not key_id:
        more = f"; what the profile {profile!r} gives is not looked at" if profile else ""
        seen.problems.append(f"no gateway credentials in this environment (awsgate env){more}")
        return None
    if not looks_like_gateway_key(key_id):
        in_variable = os.environ.get("AWS_ACCESS_KEY_ID")
        where = "AWS_ACCESS_KEY_ID" if in_variable else f"what {FULL_URI} gives"
        seen.problems.append(f"{where} is no gateway key: get credentials by awsgate env")
        return None
    seen.session = SeenSession(key_id)
    claimed = _claimed_end(seen.session, now) if os.environ.get("AWS_ACCESS_KEY_ID") else []
    return _open(seen, seen.session, keys, claimed, state, now, here=here)


def _claimed_end(session: SeenSession, now: datetime) -> list[str]:
    """Take the end that stands in the environment, for want of a better.

    Gives the problem with it, to be told only where the session is not opened: what
    stands in AWS_CREDENTIAL_EXPIRATION may be older than the keys.
    """
    text = os.environ.get("AWS_CREDENTIAL_EXPIRATION", "")
    try:
        ends = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return []
    session.ends, session.ends_in_s = utc_seconds(ends), int((ends - now).total_seconds())
    if ends > now:
        return []
    return ["the session has ended: get new credentials (awsgate env)"]


def _open(
    seen: Seen,
    session: SeenSession,
    keys: SigningKeys,
    claimed: list[str],
    state: Path | None,
    now: datetime,
    *,
    here: bool,
) -> OpenedSession | None:
    try:
        if state is None or not (state / KEY_NAME).exists():
            seen.problems += claimed
            return None
        opened = open_session(
            open_state(state).session_keys,
            access_key_id=session.access_key_id,
            session_token=keys.session_token,
            now=int(now.timestamp()),
        )
    except (OSError, SetupError):
        seen.notes.append(f"the session key in {state} cannot be read, so the session stays closed")
        seen.problems += claimed
        return None
    except Refusal as exc:
        if exc.code is Code.SESSION_EXPIRED or here:
            claimed = [f"{exc.message}: {exc.hint}" if exc.hint else exc.message]
        seen.problems += claimed
        return None
    of = opened.session
    session.id, session.user, session.app = of.id, of.user, of.app
    session.role_arn = of.role_arns[-1]
    session.started, session.ends = _epoch(of.issued_at), _epoch(of.expires_at)
    session.ends_in_s = of.expires_at - int(now.timestamp())
    secret = keys.secret_access_key.encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(secret, opened.secret_access_key.encode()):
        seen.problems.append("AWS_SECRET_ACCESS_KEY is not the secret of this key")
    return opened


def _still_allowed(
    seen: Seen, policy: Policy, session: Session, books: list[LockBook], now: datetime
) -> None:
    lock = lock_of(books, policy, session, now)
    if lock is not None:
        seen.problems.append(f"{clause_of(lock)} ({rule_of(lock)})")
    if policy.gateway.upstream_gateway is not None:
        if not may_stay(policy, session):
            seen.problems.append("the session was issued for another gateway: awsgate env")
        return
    decision = decide(
        policy,
        user=session.user,
        app=session.app,
        role_arn=session.role_arn,
        endpoint_service="",
        tenant_controlled=False,
    )
    if session.user and not decision.allowed:
        seen.problems.append(f"the policy has changed: {decision.reason}")


# --- the gateway ------------------------------------------------------------------------


def _gateway(seen: Seen, policy: Policy | None, of_login: str = "") -> None:
    named = {name: os.environ[name] for name in HTTPS_PROXIES if os.environ.get(name)}
    if len(set(named.values())) > 1:
        seen.notes.append("HTTPS_PROXY and https_proxy differ: clients read one or the other")
    if named:
        name, url = next(iter(named.items()))
        seen.gateway.address, seen.gateway.known_by = proxy_address(url), f"by {name}"
        if not seen.gateway.address:
            seen.problems.append(f"{name} is not a URL like http://127.0.0.1:8080")
            return
    elif of_login:
        seen.gateway.address, seen.gateway.known_by = proxy_address(of_login), "by the login"
    elif policy is not None:
        seen.gateway.address = reachable(policy.gateway.listen)
        seen.gateway.known_by = "by the policy"
    if not named and (os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get(FULL_URI)):
        seen.problems.append("HTTPS_PROXY is not set, so clients go past the gateway")
    if not seen.gateway.address:
        return
    local = is_loopback(host_of(seen.gateway.address))
    seen.gateway.answers = listens(seen.gateway.address, WAIT_S)
    if not seen.gateway.answers:
        seen.problems.append(f"nothing answers at {seen.gateway.address}: is the gateway running")
    elif policy is not None and policy.gateway.metrics_listen and local:
        seen.gateway.version = _version(policy.gateway.metrics_listen)


def _version(address: str) -> str:
    """Give the version of the gateway whose /metrics is here; empty: not to be had."""
    connection = HTTPConnection(*split(reachable(address)), timeout=WAIT_S)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read(_MAX_METRICS_BYTES).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return ""
    finally:
        connection.close()
    found = _BUILD.search(text)
    return found[1] if found else ""


# --- its files --------------------------------------------------------------------------


def _policy(seen: Seen, path: Path) -> Policy | None:
    try:
        policy = load_policy(path)
    except SetupError as exc:
        if exc.faults:
            seen.notes.append(f"the policy {path} has faults (awsgate check shows them)")
        return None
    counts = len(policy.users), len(policy.roles), len(policy.apps)
    seen.policy = SeenPolicy(str(path), *counts, mode=policy.gateway.mode)
    return policy


def _ca(seen: Seen, certs: Path, now: datetime) -> None:
    for file in (
        certs / CA_NAME,
        certs / CERT_NAME,
        certs / ROOT_NAME,
        os.environ.get("NODE_EXTRA_CA_CERTS", ""),
    ):
        ends = _ends(Path(file))
        if ends is None:
            continue
        shown = certs / CERT_NAME if file == certs / CA_NAME else file
        seen.ca = SeenCa(str(shown), utc_seconds(ends))
        if ends <= now:
            seen.problems.append(f"the gateway's CA ended at {utc_seconds(ends)}")
        break
    bundle = os.environ.get("AWS_CA_BUNDLE")
    if bundle and seen.session is not None and not Path(bundle).is_file():
        seen.problems.append(f"AWS_CA_BUNDLE names {bundle}, and there is no such file")


def _ends(file: Path) -> datetime | None:
    """Give when the first of the gateway's certificates in a file ends; None: it has none."""
    try:
        raw = read_private(file) if file.name == CA_NAME else file.read_bytes()
        found = x509.load_pem_x509_certificates((raw or b"")[:_MAX_CA_BYTES])
        ours = [c.not_valid_after_utc for c in found if is_ours(c)]
    except (OSError, ValueError, SetupError):
        return None
    return min(ours, default=None)


def _locks(seen: Seen, state: Path, policy: Policy | None, now: datetime) -> list[LockBook]:
    books, notes = lock_books(policy, state)
    seen.notes += notes
    if not books:
        return []
    seen.locks = [
        SeenLock(
            lock.metadata.name,
            lock.spec.target.model_dump(exclude_none=True),
            utc_seconds(lock.spec.expires) if lock.spec.expires is not None else "",
        )
        for book in books
        for lock in book
        if in_force(lock, now)
    ]
    return books


def _epoch(seconds: int) -> str:
    return utc_seconds(datetime.fromtimestamp(seconds, UTC))
