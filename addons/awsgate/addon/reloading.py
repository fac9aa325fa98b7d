"""Puts a changed policy and changed locks in force, says so, and cuts who is locked.

All on the event loop: between two requests one policy is in force, then the other. A
fault changes nothing but what is said: on stderr once, in the metrics, in the audit.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterable
from contextlib import suppress

from awsgate.addon.hooks import Hooks
from awsgate.addon.record import MAX_REASON_CHARS
from awsgate.announcement import counted
from awsgate.audit import AuditRecord
from awsgate.errors import SetupError
from awsgate.grantwatch import GRANTS, GrantWatch
from awsgate.lockout import rule_of
from awsgate.locks import BY, LOCK_ADDED, LOCK_REMOVED, Found
from awsgate.policy import Lock
from awsgate.policy.grants import GrantBook
from awsgate.policy.locks import LockBook, in_force
from awsgate.policywatch import Outcome, Reading, Source, policy_source
from awsgate.requestlines import ended_line
from awsgate.session import session_name_for
from awsgate.timestamps import utc_millis
from awsgate.wiring import Gateway

POLICY_RELOAD, LOCKS_RELOAD = "policy.reload", "locks.reload"

_STAYS = {
    "policy": "the policy in force stays as it was",
    "locks": "locks that cannot be read stay as they were; the others are in force",
    GRANTS: "what was granted goes on to its end, and nothing is added",
}
_RELOADS = {"policy": POLICY_RELOAD, "locks": LOCKS_RELOAD, GRANTS: "grants.reload"}


class Reloader:
    """Takes what ``policywatch.Watch`` has read, for one gateway and its hooks.

    ``speaks``: of several processes that share policy, audit and metrics, one says,
    records and counts what all of them do.
    """

    def __init__(self, hooks: Hooks, *, speaks: bool = True) -> None:
        self.hooks, self.speaks = hooks, speaks
        self.gateway: Gateway = hooks.gateway
        self._policy_on_disk = self.gateway.policy
        self._faults: dict[str, str] = {}
        self._told = set(self.gateway.cautions())
        self._grants = GrantWatch(self.gateway.requests, closes=speaks)

    def sources(self) -> tuple[Source[object], ...]:
        """Give what is to be watched."""
        store = self.gateway.locks
        return (
            policy_source(self.gateway.settings.policy),
            Source("locks", store.folder, store.fingerprint, store.read),
            self._grants.source(),
        )

    def take(self, outcome: Outcome[object]) -> None:
        """Take what came of reading a source again. Must not raise: nobody would hear."""
        try:
            self._take(outcome)
        except Exception as exc:  # noqa: BLE001 - what is in force stays, and that is said
            fault = SetupError(f"the {outcome.source} cannot be taken: {type(exc).__name__}")
            self._refuse(outcome.source, fault, asked=True)

    def _take(self, outcome: Outcome[object]) -> None:
        if outcome.fault is not None:
            self._refuse(outcome.source, outcome.fault, asked=outcome.asked)
        elif isinstance(outcome.value, Reading):
            self._take_policy(outcome.value, asked=outcome.asked)
        elif isinstance(outcome.value, Found):
            self._take_locks(outcome.value, asked=outcome.asked)
        elif isinstance(outcome.value, GrantBook):
            self._take_grants(outcome.value)

    def _refuse(self, source: str, fault: SetupError, *, asked: bool) -> None:
        """What is in force stays."""
        text = fault.render()
        if asked or self._faults.get(source) != text:
            self._say([text, f"awsgate: {_STAYS[source]}"])
        self._faults[source] = text
        faults = max(1, len(fault.faults))
        counted = f"{faults} fault{'s' * (faults > 1)}"
        if source == "policy":
            self.gateway.faults = (fault.message, *fault.faults)
        what = f"{counted}; {self._in_force()}" if source == "policy" else counted
        self._note(_RELOADS[source], "refused", what)
        if source != GRANTS:
            self._count("failed")

    # --- the policy -------------------------------------------------------------

    def _take_policy(self, read: Reading, *, asked: bool) -> None:
        mended = self._faults.pop("policy", None) is not None
        self.gateway.faults = ()
        if read.policy == self._policy_on_disk and not asked and not mended:
            return
        waiting = self.gateway.take_policy(read)
        # First what the policy shuts out, then what is to be said of it.
        self.hooks.answers.max_header_bytes = self.gateway.policy.gateway.limits.max_header_bytes
        self._enforce(read.policy.locks.values())
        self.hooks.cut_closed_tunnels()
        self._policy_on_disk = read.policy
        holds = counted(self.gateway.policy)
        self._say([f"awsgate: policy read again: {holds}", *self._cautions(waiting)])
        self._note(POLICY_RELOAD, "allowed", f"{holds}; {self._in_force()}")
        self._count("ok")

    def _cautions(self, waiting: Iterable[str]) -> list[str]:
        """Give the warnings of which the policy before had none."""
        now = [
            *self.gateway.cautions(),
            *(f"{name} of kind: gateway needs a restart: it stays as it was" for name in waiting),
        ]
        new = [f"awsgate: warning: {text}" for text in now if text not in self._told]
        self._told = set(now)
        return new

    # --- the locks of the state folder ---------------------------------------------

    def _take_locks(self, found: Found, *, asked: bool) -> None:
        # Who is locked by a file that cannot be read any more stays locked.
        kept = [lock for lock in self.gateway.gate.locks if lock.metadata.name in found.unread]
        self._put_in_force(LockBook([*found.locks, *kept]) if kept else found.locks)
        fault = found.fault(self.gateway.locks.folder)
        if fault is not None:
            self._refuse("locks", fault, asked=asked)
        elif self._faults.pop("locks", None) is not None:
            holds = f"{len(found.locks)} in all"
            self._say([f"awsgate: locks read again: {holds}"])
            self._note(LOCKS_RELOAD, "allowed", holds)
            self._count("ok")

    def _put_in_force(self, locks: LockBook) -> None:
        before = {lock.metadata.name: lock for lock in self.gateway.gate.locks}
        after = {lock.metadata.name: lock for lock in locks}
        if before == after:
            return
        self.gateway.take_locks(locks)
        added = [lock for name, lock in after.items() if before.get(name) != lock]
        self._enforce(added)
        for lock in added:
            self._note(LOCK_ADDED, "allowed", describe(lock), rule=rule_of(lock))
        for name, lock in before.items():
            if name not in after:
                self._note(LOCK_REMOVED, "allowed", describe(lock), rule=rule_of(lock))

    def _enforce(self, locks: Iterable[Lock]) -> None:
        """Cut what is under way of whom a lock holds, and forget their credentials."""
        self.hooks.cut_locked()
        now = self.hooks.clock()
        for lock in locks:
            if in_force(lock, now):
                self._forget(lock)

    def _forget(self, lock: Lock) -> None:
        """Drop the role credentials of the locked; more than theirs costs a call to STS.

        Those of an app or of one session serve the user's others too, and stay: the gate
        hands them to nobody who is locked.
        """
        target, forget = lock.spec.target, self.gateway.credentials.forget
        if target.user is not None:
            forget(role_arn=target.aws_role_arn, session_name=session_name_for(target.user))
        elif target.aws_role_arn is not None:
            forget(role_arn=target.aws_role_arn, session_name=None)
        elif target.role is not None:
            for name, user in self.gateway.policy.users.items():
                if target.role in user.spec.roles:
                    forget(role_arn=None, session_name=session_name_for(name))

    # --- what was granted on request ------------------------------------------------

    def _take_grants(self, grants: GrantBook) -> None:
        if self._faults.pop(GRANTS, None) is not None:
            holds = f"{len(grants)} in force"
            self._say([f"awsgate: grants read again: {holds}"])
            self._note(_RELOADS[GRANTS], "allowed", holds)
        self.gateway.take_grants(grants)
        self.hooks.cut_locked()  # whoever may not stay: an upgraded connection, a tunnel
        for request in self._grants.take_ended():
            self._record(ended_line(request))
            self.gateway.metrics.access_request(request.state.value)

    # --- what is told -----------------------------------------------------------------

    def _in_force(self) -> str:
        return f"in force: sha256:{self.gateway.digest}"

    def _say(self, lines: Iterable[str]) -> None:
        if self.speaks:
            _say(lines)

    def _count(self, result: str) -> None:
        if self.speaks:
            self.gateway.metrics.policy_reload(result)

    def _note(self, event: str, decision: str, reason: str, *, rule: str = "") -> None:
        if not self.speaks:
            return
        self._record(AuditRecord(event=event, decision=decision, rule=rule, reason=reason))

    def _record(self, record: AuditRecord) -> None:
        record.time, record.id = utc_millis(self.hooks.clock()), str(uuid.uuid4())
        record.reason = record.reason[:MAX_REASON_CHARS]
        self.hooks.recorder.backlog.add(record)
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
    # A terminal that is gone must not keep a lock from being enforced.
    with suppress(OSError, ValueError):
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()
