"""Puts a changed policy and changed locks in force, says so, and cuts who is locked.

All on the event loop: between two requests one policy is in force, then the other. A
fault changes nothing but what is said: on stderr once, in the metrics, in the audit.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterable
from datetime import datetime

from awsgate.addon.hooks import Hooks
from awsgate.audit import AuditRecord
from awsgate.errors import SetupError
from awsgate.locks import BY
from awsgate.policy import Lock, Policy
from awsgate.policy.locks import LockBook, in_force
from awsgate.policyfile import load_policy
from awsgate.policywatch import Outcome, Source, policy_source
from awsgate.session import session_name_for
from awsgate.wiring import Gateway

POLICY_RELOAD, LOCKS_RELOAD = "policy.reload", "locks.reload"
LOCK_ADDED, LOCK_REMOVED = "lock.add", "lock.remove"


class Reloader:
    """Takes what ``policywatch.Watch`` has read, for one gateway and its hooks."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self.gateway: Gateway = hooks.gateway
        self._policy_on_disk = self.gateway.policy
        self._faults: dict[str, str] = {}
        self._waiting: set[str] = set()

    def sources(self) -> tuple[Source[object], ...]:
        """Give what is to be watched."""
        path, store = self.gateway.settings.policy, self.gateway.locks
        return (
            policy_source(path, lambda: load_policy(path)),
            Source("locks", store.folder, store.fingerprint, store.read),
        )

    def take(self, outcome: Outcome[object]) -> None:
        """Take what came of reading a source again."""
        if outcome.fault is not None:
            self._refuse(outcome.source, outcome.fault, asked=outcome.asked)
        elif isinstance(outcome.value, Policy):
            self._take_policy(outcome.value, asked=outcome.asked)
        elif isinstance(outcome.value, LockBook):
            self._take_locks(outcome.value)

    def _refuse(self, source: str, fault: SetupError, *, asked: bool) -> None:
        """What is in force stays."""
        text = fault.render()
        if asked or self._faults.get(source) != text:
            _say([text, f"awsgate: the {source} in force stay as they were"])
        self._faults[source] = text
        faults = max(1, len(fault.faults))
        event = POLICY_RELOAD if source == "policy" else LOCKS_RELOAD
        self._note(event, "refused", f"{faults} fault{'s' * (faults > 1)}; {self._in_force()}")
        self.gateway.metrics.policy_reload("failed")

    def _take_policy(self, policy: Policy, *, asked: bool) -> None:
        mended = self._faults.pop("policy", None) is not None
        if policy == self._policy_on_disk and not asked and not mended:
            return
        waiting = self.gateway.take_policy(policy)
        self._policy_on_disk = policy
        self.hooks.answers.max_header_bytes = self.gateway.policy.gateway.limits.max_header_bytes
        users, roles, apps = self.gateway.counts()
        lines = [f"awsgate: policy read again: {users} users, {roles} roles, {apps} apps"]
        lines += [
            f"awsgate: warning: {name} of kind: gateway needs a restart: it stays as it was"
            for name in waiting
            if name not in self._waiting
        ]
        self._waiting = set(waiting)
        _say(lines)
        self._note(
            POLICY_RELOAD,
            "allowed",
            f"{users} users, {roles} roles, {apps} apps; {self._in_force()}",
        )
        self.gateway.metrics.policy_reload("ok")
        self._enforce(policy.locks.values())

    def _take_locks(self, locks: LockBook) -> None:
        if self._faults.pop("locks", None) is not None:
            self._note(LOCKS_RELOAD, "allowed", f"{len(locks)} locks; {self._in_force()}")
            _say([f"awsgate: locks read again: {len(locks)}"])
        before = {lock.metadata.name: lock for lock in self.gateway.gate.locks}
        after = {lock.metadata.name: lock for lock in locks}
        if before == after:
            return
        self.gateway.take_locks(locks)
        added = [lock for name, lock in after.items() if before.get(name) != lock]
        for lock in added:
            self._note(LOCK_ADDED, "allowed", describe(lock), rule=f"lock/{lock.metadata.name}")
        for name, lock in before.items():
            if name not in after:
                self._note(LOCK_REMOVED, "allowed", describe(lock), rule=f"lock/{name}")
        self._enforce(added)

    def _enforce(self, locks: Iterable[Lock]) -> None:
        """Cut what is under way of whom a lock holds, and forget their credentials."""
        self.hooks.cut_locked()
        now = self.hooks.clock()
        for lock in locks:
            if in_force(lock, now):
                self._forget(lock)

    def _forget(self, lock: Lock) -> None:
        """Drop role credentials that nobody but the locked may use."""
        target, forget = lock.spec.target, self.gateway.credentials.forget
        if target.user is not None:
            forget(role_arn=target.aws_role_arn, session_name=session_name_for(target.user))
        elif target.aws_role_arn is not None:
            forget(role_arn=target.aws_role_arn, session_name=None)
        elif target.role is not None:
            for name, user in self.gateway.policy.users.items():
                if target.role in user.spec.roles:
                    forget(role_arn=None, session_name=session_name_for(name))

    def _in_force(self) -> str:
        return f"in force: sha256:{self.gateway.digest}"

    def _note(self, event: str, decision: str, reason: str, *, rule: str = "") -> None:
        now: datetime = self.hooks.clock()
        self.hooks.recorder.backlog.add(
            AuditRecord(
                time=now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                id=str(uuid.uuid4()),
                event=event,
                decision=decision,
                rule=rule,
                reason=reason[:500],
            )
        )
        self.hooks.recorder.flush()


def describe(lock: Lock) -> str:
    """Give a lock in a line: whom, until when, by whom, and what they are told."""
    target = lock.spec.target.model_dump(exclude_none=True)
    parts = [f"{name}={value}" for name, value in target.items()]
    parts.append(f"until {lock.spec.expires.isoformat()}" if lock.spec.expires else "for good")
    by = lock.metadata.labels.get(BY)
    parts += [f"by {by}"] if by else []
    return " ".join(parts) + (f": {lock.spec.message}" if lock.spec.message else "")


def _say(lines: Iterable[str]) -> None:
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
