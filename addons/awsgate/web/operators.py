"""For roles with options.gateway_admin: the locks, and how the gateway is."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from awsgate.errors import SetupError
from awsgate.lockout import LOGOUT_PREFIX
from awsgate.locks import BY, CREATED
from awsgate.policy import Lock
from awsgate.policy.locks import in_force
from awsgate.timestamps import utc_seconds
from awsgate.version import __version__
from awsgate.web.calls import Call
from awsgate.web.problems import BAD_REQUEST, EXISTS, NOT_FOUND, PERMANENT, Problem
from awsgate.web.shapes import Answer, LockInfo, Locks, Removed, Status

STATE, POLICY = "state", "policy"


async def locks(call: Call) -> Locks:
    """List the locks of the state folder and of the policy."""
    now = _now(call)
    of_state = await asyncio.to_thread(call.api.revoking.read)
    rows = [
        *_rows(of_state, STATE, now),
        *_rows(call.api.policy.locks.values(), POLICY, now),
    ]
    return Locks(locks=rows)


async def add_lock(call: Call) -> Answer:
    """Add a lock to the state folder: it holds at once."""
    asked, now = call.asked, _now(call)
    target = asked.target.model_dump(exclude_none=True)
    name = asked.name or f"lock-{secrets.token_hex(4)}"
    if name.startswith(LOGOUT_PREFIX):
        raise Problem(400, BAD_REQUEST, f"names that begin with {LOGOUT_PREFIX} are of logouts")
    expires = utc_seconds(now + timedelta(seconds=asked.ttl_s)) if asked.ttl_s else None

    def add() -> Lock:
        return call.api.revoking.add(
            name,
            target,
            message=asked.message,
            expires=expires,
            by=call.who.login.user,
            now=now,
        )

    try:
        lock = await asyncio.to_thread(add)
    except SetupError as exc:
        there = any(
            one.metadata.name == name for one in await asyncio.to_thread(call.api.revoking.read)
        )
        status, code = (409, EXISTS) if there else (400, BAD_REQUEST)
        why = "; ".join(exc.faults) or exc.message
        raise Problem(status, code, why) from exc
    return _row(lock, STATE, now)


async def remove_lock(call: Call) -> Answer:
    """Take a lock of the state folder away."""
    name = call.path["name"]
    if name.startswith(LOGOUT_PREFIX):
        raise Problem(
            409, PERMANENT, "a logout cannot be taken back", hint="its user logs in again"
        )
    try:
        gone = await asyncio.to_thread(call.api.revoking.remove, name)
    except SetupError as exc:
        raise Problem(400, BAD_REQUEST, exc.message, hint=exc.hint) from exc
    if not gone and name in call.api.policy.locks:
        raise Problem(
            409,
            PERMANENT,
            f"the lock {name} stands in the policy",
            hint="take its document out of the policy's files",
        )
    if not gone:
        raise Problem(404, NOT_FOUND, f"there is no lock {name!r}")
    return Removed(name=name)


async def status(call: Call) -> Status:
    """Say how the gateway is."""
    api, policy, now = call.api, call.api.policy, _now(call)
    of_state = await asyncio.to_thread(api.revoking.read)
    held = [lock for lock in (*of_state, *policy.locks.values()) if in_force(lock, now)]
    return Status(
        version=__version__,
        name=name_of(call),
        mode=policy.gateway.mode,
        started_at=api.info.started_at,
        users=len(policy.users),
        roles=len(policy.roles),
        apps=len(policy.apps),
        connectors=len(policy.connectors),
        locks=len(held),
        waiting_logins=len(api.browsing) + len(api.devices),
    )


def name_of(call: Call) -> str:
    """Give what clients call the gateway; empty: nothing special."""
    return next(iter(call.api.policy.gateway.names), "")


def _now(call: Call) -> datetime:
    return datetime.fromtimestamp(call.api.clock(), UTC)


def _rows(found: Iterable[Lock], source: str, now: datetime) -> list[LockInfo]:
    return [_row(lock, source, now) for lock in found]


def _row(lock: Lock, source: str, now: datetime) -> LockInfo:
    expires, labels = lock.spec.expires, lock.metadata.labels
    return LockInfo(
        name=lock.metadata.name,
        target=lock.spec.target.model_dump(exclude_none=True),
        message=lock.spec.message,
        expires=utc_seconds(expires) if expires is not None else None,
        in_force=in_force(lock, now),
        created=labels.get(CREATED, ""),
        by=labels.get(BY, ""),
        source=source,
    )
