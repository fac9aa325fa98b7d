"""Who is locked out, and what they are told: one answer for the gate and for what is under way.

``policy.locks`` says what a lock means; here stand the sessions. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from awsgate import onward
from awsgate.errors import Code, Refusal
from awsgate.policy import Lock, Policy, may_be
from awsgate.policy.locks import LockBook, lock_on
from awsgate.session import Session
from awsgate.timestamps import utc_seconds
from awsgate.tunnelpass import TunnelCaller

LOGOUT_PREFIX = "logout-"
"""Names of the locks that logouts are."""

_BY_OPERATOR = "by the operator of the gateway"


def lock_of(
    books: Iterable[LockBook], policy: Policy, session: Session, now: datetime
) -> Lock | None:
    """Give the lock that holds a session: the first of the first book that has one.

    ``policy`` is the one as it is for the session (``standing``).
    """
    return _lock_on(books, policy, session, session.role_arns, now)


def lock_of_caller(
    books: Iterable[LockBook], policy: Policy, caller: TunnelCaller, now: datetime
) -> Lock | None:
    """Give the lock that holds whoever opened a tunnel; ``policy`` is that of the session."""
    return _lock_on(books, policy, caller.proved, caller.role_arns, now)


def _lock_on(
    books: Iterable[LockBook],
    policy: Policy,
    session: Session,
    role_arns: tuple[str, ...],
    now: datetime,
) -> Lock | None:
    return lock_among(
        books,
        policy,
        user=session.user,
        app=session.app,
        session=session.id,
        login=session.login.id if session.login is not None else "",
        # Of a session that went on to other roles, a lock on any of them holds it.
        role_arn=role_arns[-1],
        came_by=role_arns[:-1],
        now=now,
    )


def lock_among(
    books: Iterable[LockBook],
    policy: Policy,
    *,
    user: str,
    app: str,
    session: str,
    role_arn: str,
    came_by: Collection[str],
    now: datetime,
    login: str = "",
) -> Lock | None:
    """Give the lock that ``lock_on`` finds for one whom the policy may know."""
    who = policy.users.get(user)
    for book in books:
        lock = lock_on(
            book,
            user=user,
            roles=who.spec.roles if who is not None else (),
            app=app,
            session=session,
            login=login,
            role_arn=role_arn,
            came_by=came_by,
            now=now,
        )
        if lock is not None:
            return lock
    return None


def may_stay(policy: Policy, session: Session) -> bool:
    """True if the policy, as it is for the session, lets its user be the role at all."""
    ahead = policy.gateway.upstream_gateway
    if ahead is not None:
        return onward.is_of(ahead, session)
    return may_be(policy, session.user, session.app, session.role_arn)


def locked(lock: Lock) -> Refusal:
    """Give the refusal of a request that is not begun."""
    until = lock.spec.expires
    if lock.metadata.name.startswith(LOGOUT_PREFIX):
        hint = "log in again: awsgate login"
    elif until:
        hint = f"the lock ends at {utc_seconds(until)}"
    else:
        hint = "ask who runs the gateway"
    return Refusal(
        Code.LOCKED,
        _message(lock),
        hint=hint,
        detail=rule_of(lock),
    )


def cut_off(lock: Lock) -> Refusal:
    """Give the refusal of a request that was under way. For the audit: nobody is answered."""
    return Refusal(Code.LOCKED, f"cut off: {_message(lock)}", detail=rule_of(lock))


def rule_of(lock: Lock) -> str:
    """Give a lock's name as a rule: ``lock/<name>``."""
    return f"lock/{lock.metadata.name}"


def clause_of(lock: Lock) -> str:
    """Say that it is locked and why, for a sentence of somebody else's."""
    return f"locked: {lock.spec.message or _BY_OPERATOR}"


def _message(lock: Lock) -> str:
    return lock.spec.message or f"access is locked {_BY_OPERATOR}"
