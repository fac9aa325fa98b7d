"""Who is locked out, and what they are told: one answer for the gate and for what is under way.

``policy.locks`` says what a lock means; here stand the sessions. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from awsgate.errors import Code, Refusal
from awsgate.policy import Lock, Policy, decide
from awsgate.policy.locks import LockBook, lock_on
from awsgate.session import Session


def lock_of(
    books: Iterable[LockBook], policy: Policy, session: Session, now: datetime
) -> Lock | None:
    """Give the lock that holds a session: the first of the first book that has one."""
    user = policy.users.get(session.user)
    for book in books:
        lock = lock_on(
            book,
            user=session.user,
            roles=user.spec.roles if user is not None else (),
            app=session.app,
            session=session.id,
            # Of a session that went on to other roles, a lock on any of them holds it.
            role_arn=session.role_arns[-1],
            came_by=session.role_arns[:-1],
            now=now,
        )
        if lock is not None:
            return lock
    return None


def may_stay(policy: Policy, session: Session) -> bool:
    """True if the policy still lets the user be the session's role at all."""
    return decide(
        policy,
        user=session.user,
        app=session.app,
        role_arn=session.role_arn,
        endpoint_service="",
        tenant_controlled=False,
    ).allowed


def locked(lock: Lock) -> Refusal:
    """Give the refusal of a request that is not begun."""
    until = lock.spec.expires
    return Refusal(
        Code.LOCKED,
        _message(lock),
        hint=f"it ends at {until.isoformat()}" if until else "ask who runs the gateway",
        detail=rule_of(lock),
    )


def cut_off(lock: Lock) -> Refusal:
    """Give the refusal of a request that was under way. For the audit: nobody is answered."""
    return Refusal(Code.LOCKED, f"cut off: {_message(lock)}", detail=rule_of(lock))


def rule_of(lock: Lock) -> str:
    """Give a lock's name as a rule: ``lock/<name>``."""
    return f"lock/{lock.metadata.name}"


def _message(lock: Lock) -> str:
    return lock.spec.message or "access is locked by the operator of the gateway"
