"""Who is let in, as whom, and what they may ask for then. The rules of the API; no HTTP.

    admit      Identity -> Login: is the name free, is there a role, is anybody locked?
    opened     token -> Caller: still good, and not locked by now
    issue      Caller, what is asked for -> credentials, no wider and no longer than the login
    end        a lock on the login, in the state folder: every process sees it

The policy is asked anew at each call. A login holds what its connector said at the time:
whoever got less then has less until they log in again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from awsgate.connect.ways import LoginRefused
from awsgate.errors import Code, Refusal
from awsgate.lockout import lock_among, locked
from awsgate.login import ENTROPY_BYTES as LOGIN_ENTROPY_BYTES
from awsgate.login import LOCAL, Identity, Login, make_login, mint_login, open_login
from awsgate.policy import Lock, Policy
from awsgate.policy.fields import is_name, same_name
from awsgate.policy.grants import NO_GRANTS, GrantBook
from awsgate.policy.locks import LockBook
from awsgate.policy.rolemapping import traits_named
from awsgate.policy.standing import roles_of
from awsgate.session import (
    ENTROPY_BYTES,
    GatewayCredentials,
    Session,
    SessionKeys,
    mint,
    open_session,
)
from awsgate.standing import policy_of
from awsgate.web.attempts import MAX_LOGINS, LiveLogins
from awsgate.web.choosing import Asked, Caller, choices_of, life_of, pair_meant
from awsgate.web.granted import Granted
from awsgate.web.problems import NOT_ADMIN, Problem
from awsgate.web.revoking import Revoking

CERTIFICATE = "certificate"
"""The connector of whoever proves to be somebody with a TLS client certificate."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What they got."""

    session: Session
    keys: GatewayCredentials = field(repr=False)
    proxy_password: str = field(repr=False)
    rule: str
    """``role/<name>`` that allows it."""


class Desk:
    """The rules for one gateway. ``policy`` gives the one in force; ``clock`` epoch seconds."""

    def __init__(
        self,
        keys: SessionKeys,
        policy: Callable[[], Policy],
        revoking: Revoking,
        tunnel_pass: Callable[[Session], str],
        clock: Callable[[], float] = time.time,
        granted: Callable[[], GrantBook] = lambda: NO_GRANTS,
    ) -> None:
        """``granted`` gives the roles that users have for a while, beside the policy's."""
        self._granted = granted
        self._keys, self._policy, self._revoking = keys, policy, revoking
        self._tunnel_pass, self._clock = tunnel_pass, clock
        self._live = LiveLogins()
        self._known = Granted()

    @property
    def policy(self) -> Policy:
        """Give the policy in force."""
        return self._policy()

    # --- logging in -----------------------------------------------------------------

    def admit(self, identity: Identity) -> Login:
        """Make a login of whom a connector has proved. Raises ``LoginRefused``, ``SetupError``."""
        policy, now = self.policy, int(self._clock())
        _check_name(policy, identity)
        try:
            login = make_login(
                identity,
                ttl_s=_login_ttl_s(policy, identity.connector),
                now=now,
                entropy=secrets.token_bytes(LOGIN_ENTROPY_BYTES),
                traits=traits_named(policy),
            )
        except ValueError:
            raise LoginRefused(
                "expired", "the identity has ended already", hint="log in at the provider again"
            ) from None
        self.token(login)  # so that nobody is told later that it does not fit
        caller = self.caller(login)
        if not any(name in policy.roles for name in caller.roles):
            raise LoginRefused(
                "no-role",
                f"none of the roles of {login.user} is in the policy",
                hint="ask the operator of the gateway which roles there are for you",
            )
        lock = self._lock_on(caller)
        if lock is not None:
            refusal = locked(lock)
            raise LoginRefused("locked", refusal.message, hint=refusal.hint)
        end = login.expires_at
        if not self._live.begin(login.user, identity.connector, ends_at=end, now=now):
            raise LoginRefused(
                "too-many-logins",
                f"{login.user} has begun {MAX_LOGINS} logins that have not ended by themselves",
                hint="log in once for many commands; a shorter login_ttl helps too",
            )
        return login

    def token(self, login: Login) -> str:
        """Give the token of a login. Raises ``LoginRefused`` if it would be too long."""
        try:
            return mint_login(self._keys, login, entropy=secrets.token_bytes(LOGIN_ENTROPY_BYTES))
        except ValueError:
            raise LoginRefused(
                "too-large",
                "the login has too many roles, or values that roles ask for",
                hint="the operator of the gateway can match fewer claims, groups or attributes",
            ) from None

    # --- with a login -----------------------------------------------------------------

    def opened(self, token: str) -> Caller:
        """Give who calls with a token. Raises ``Refusal``, ``SetupError``.

        The token must be good, its connector still in the policy, and no lock may hold it.
        """
        login = open_login(self._keys, token, now=int(self._clock()))
        policy = self.policy
        if not _is_known(policy, login):
            raise Refusal(
                Code.UNKNOWN_KEY,
                f"the policy does not know {login.user} of {login.facts.connector} any more",
                hint="ask the operator of the gateway",
            )
        caller = self.caller(login)
        lock = self._lock_on(caller)
        if lock is not None:
            raise locked(lock)
        return caller

    def caller(self, login: Login) -> Caller:
        """Give a login with the policy in force as it is for it. Nothing is checked."""
        more = self._granted().roles(login.user, login.facts.connector, self._clock())
        return Caller(login, policy_of(self.policy, login.user, login.facts, more), self._known)

    def lasting(self, login: Login) -> Caller:
        """Give it without roles that were granted for a while: a console would outlast them."""
        return Caller(login, policy_of(self.policy, login.user, login.facts), self._known)

    def opened_ended(self, token: str) -> Login:
        """Give the login of a token that a lock may hold: whoever is shut out may log out."""
        return open_login(self._keys, token, now=int(self._clock()))

    def known(self, token: str) -> Login | None:
        """Give the login of a token, for the audit: it may have ended. None: it is none."""
        try:
            return open_login(self._keys, token, now=0)
        except Refusal:
            return None

    def roles(self, caller: Caller) -> list[dict[str, str]]:
        """Give all that the caller may have, as far as the policy lists it."""
        return choices_of(caller.policy, caller.granted.pairs())

    def issue(self, caller: Caller, asked: Asked) -> Issued:
        """Give credentials. Raises ``Problem``, ``Refusal``, ``SetupError``."""
        login = caller.login
        app, role_arn, rule = pair_meant(caller, asked)
        lock = self._lock_on(caller, app=app, role_arn=role_arn)
        if lock is not None:
            raise locked(lock)
        now = int(self._clock())
        life_s = life_of(caller, app, role_arn, asked.ttl_s, now)
        try:
            keys = mint(
                self._keys,
                user=login.user,
                app=app,
                role_arn=role_arn,
                ttl_s=life_s,
                now=now,
                entropy=secrets.token_bytes(ENTROPY_BYTES),
                login=login.facts,
                bounds=asked.bounds,
            )
            session = open_session(
                self._keys,
                access_key_id=keys.access_key_id,
                session_token=keys.session_token,
                now=now,
            ).session
            proxy_password = self._tunnel_pass(session)
        except ValueError:
            raise Problem(
                403,
                "too-large",
                "the session would have too many roles, or values that roles ask for",
                hint="the operator of the gateway can match fewer claims, groups or attributes",
            ) from None
        return Issued(session, keys, proxy_password, rule)

    def meant(self, caller: Caller, app: str, role: str) -> tuple[str, str]:
        """Give app and role ARN for a console. Raises ``Problem``, ``Refusal``, ``SetupError``.

        Nothing ends a console session afterwards, so a lock that cannot be read holds all.
        """
        name, role_arn, _ = pair_meant(caller, Asked(app, role))
        lock = self._lock_on(caller, app=name, role_arn=role_arn)
        if lock is not None:
            raise locked(lock)
        if self._revoking.unknown():
            raise Refusal(
                Code.LOCKED,
                "a lock of this gateway cannot be read, so nobody is let into the console",
                hint="tell the operator of the gateway: awsgate lock ls shows which it is",
            )
        return name, role_arn

    def end(self, login: Login) -> None:
        """End a login and all its sessions. Raises ``SetupError``."""
        self._revoking.end(login, now=datetime.fromtimestamp(self._clock(), UTC))

    def check_admin(self, caller: Caller) -> None:
        """Raise ``Problem`` unless a role of the caller has ``options.gateway_admin``."""
        if not self.is_admin(caller):
            raise Problem(
                403,
                NOT_ADMIN,
                f"{caller.login.user} may not do this",
                hint="it takes a role with options.gateway_admin",
            )

    def is_admin(self, caller: Caller) -> bool:
        """True if a role of the caller has ``options.gateway_admin``."""
        who = caller.policy.users.get(caller.login.user)
        return who is not None and any(
            role.spec.options.gateway_admin for role in roles_of(caller.policy, who)
        )

    def _lock_on(self, caller: Caller, *, app: str = "", role_arn: str = "") -> Lock | None:
        books = (self._revoking.read(), LockBook(caller.policy.locks.values()))
        return lock_among(
            books,
            caller.policy,
            user=caller.login.user,
            app=app,
            session="",
            login=caller.login.id,
            role_arn=role_arn,
            came_by=(),
            now=datetime.fromtimestamp(self._clock(), UTC),
        )


def _check_name(policy: Policy, identity: Identity) -> None:
    """Refuse a name that is none, or another's."""
    user = identity.user
    if not is_name(user):
        raise LoginRefused("bad-name", "the name that the provider gives cannot be a user's")
    if identity.connector == LOCAL:
        if user not in policy.users:
            raise LoginRefused(
                "unknown-user",
                "the policy has no such user",
                hint="the operator of the gateway adds a kind: user document",
            )
    elif same_name(user) in map(same_name, policy.users):
        raise LoginRefused(
            "taken",
            f"{user} is the name of a user of the gateway's own",
            hint="the operator of the gateway can set username_prefix for the connector",
        )


def _is_known(policy: Policy, login: Login) -> bool:
    connector = login.facts.connector
    if connector == LOCAL:
        return login.user in policy.users
    if connector == CERTIFICATE:
        return bool(policy.gateway.control.client_ca)
    return connector in policy.connectors


def _login_ttl_s(policy: Policy, connector: str) -> int:
    document = policy.connectors.get(connector)
    own = document.spec.login_ttl_s if document is not None else None
    return own if own is not None else policy.gateway.session.login_ttl_s
