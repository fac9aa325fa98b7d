"""The gateway's own files: policy, CA, session key, audit. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from awsgate.doctor.finding import Finding, Group, fault, note, ok, warning

WARN_BEFORE = timedelta(days=30)
FULL_BYTES = 64 * 1024**2
SCARCE_BYTES = 1024**3
_MAX_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something cannot be used, and what mends it: a ``SetupError`` of awsgate's own."""

    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """What reading the policy gave."""

    path: str
    problem: Problem | None = None
    """It could not be read at all."""
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    counts: tuple[int, int, int] = (0, 0, 0)
    """Users, roles, apps."""


@dataclass(frozen=True, slots=True)
class CaFacts:
    """What the folder of the CA holds."""

    folder: str
    problem: Problem | None = None
    there: bool = True
    not_before: datetime | None = None
    not_after: datetime | None = None
    published: bool = True
    """The files for clients hold the current root."""


@dataclass(frozen=True, slots=True)
class StateFacts:
    """What the state folder holds."""

    folder: str
    problem: Problem | None = None
    has_key: bool = True
    audit: str = ""
    audit_writable: bool = True
    free_bytes: int | None = None
    """On the disk of the audit; None: not known."""


def check_policy(facts: PolicyFacts) -> Iterator[Finding]:
    """Give what there is to say of the policy."""
    quoted = shlex.quote(facts.path)
    if facts.problem is not None:
        yield fault(
            Group.FILES,
            "policy-missing",
            facts.problem.what,
            "the gateway does not start without a policy",
            f"awsgate init --policy {quoted}",
        )
    for line in facts.faults[:_MAX_FAULTS]:
        yield fault(
            Group.FILES,
            "policy-fault",
            line,
            "the gateway does not start with it, and a running one keeps its old policy",
            f"awsgate check {quoted}   # all faults, after each edit",
        )
    for line in facts.warnings[:_MAX_FAULTS]:
        yield warning(
            Group.FILES,
            "policy-warning",
            line,
            "it is valid and probably not meant",
            f"awsgate check {quoted}",
        )
    if facts.problem is None and not facts.faults:
        users, roles, apps = facts.counts
        what = f"policy {facts.path}: {users} users, {roles} roles, {apps} apps"
        yield ok(Group.FILES, "policy", what)


def check_ca(facts: CaFacts, now: datetime) -> Iterator[Finding]:
    """Give what there is to say of the CA."""
    folder = shlex.quote(facts.folder)
    if facts.problem is not None:
        yield _unusable("ca-unusable", facts.problem, "the gateway does not start with it")
        return
    if not facts.there:
        yield fault(
            Group.FILES,
            "ca-missing",
            f"no CA in {facts.folder}",
            "clients have nothing to trust; the gateway makes it when it first starts",
            f"awsgate ca show --certs {folder}",
        )
        return
    rotate = f"awsgate ca rotate --certs {folder}   # then restart the gateway"
    if facts.not_after is not None and now >= facts.not_after:
        yield fault(
            Group.FILES,
            "ca-expired",
            f"the CA in {facts.folder} expired on {facts.not_after:%Y-%m-%d}",
            "no client trusts the gateway any more, and it does not start",
            rotate,
        )
        return
    if facts.not_before is not None and now < facts.not_before:
        yield fault(
            Group.FILES,
            "ca-not-yet-valid",
            f"the CA is not valid before {facts.not_before:%Y-%m-%d %H:%M} UTC",
            "the clock of this machine is behind: clients refuse the certificate",
            "timedatectl set-ntp true",
        )
        return
    if facts.not_after is not None and facts.not_after - now < WARN_BEFORE:
        yield warning(
            Group.FILES,
            "ca-expiring",
            f"the CA expires on {facts.not_after:%Y-%m-%d}",
            "from then on no client trusts the gateway",
            rotate,
        )
    if not facts.published:
        yield fault(
            Group.FILES,
            "ca-unpublished",
            f"the files for clients in {facts.folder} lack the current root",
            "clients that have them do not trust the gateway after its next start",
            f"awsgate ca show --certs {folder}",
        )
    elif facts.not_after is not None:
        yield ok(Group.FILES, "ca", f"CA {facts.folder}, until {facts.not_after:%Y-%m-%d}")


def check_state(facts: StateFacts) -> Iterator[Finding]:
    """Give what there is to say of session key and audit."""
    if facts.problem is not None:
        yield _unusable(
            "state-unusable", facts.problem, "who reads the session key can be any user"
        )
        return
    if not facts.has_key:
        yield note(
            Group.FILES,
            "session-key-missing",
            f"no session key in {facts.folder} yet",
            "the gateway makes it when it first starts; so does awsgate env",
        )
    yield from _audit(facts)


def _audit(facts: StateFacts) -> Iterator[Finding]:
    if not facts.audit_writable:
        yield fault(
            Group.FILES,
            "audit-unwritable",
            f"{facts.audit} cannot be written",
            "no request goes through that cannot be recorded (audit.on_failure: refuse)",
            f"chown $(id -u) {shlex.quote(facts.audit)} && chmod 600 {shlex.quote(facts.audit)}",
        )
    elif facts.free_bytes is not None and facts.free_bytes < FULL_BYTES:
        yield fault(
            Group.FILES,
            "audit-disk-full",
            f"{facts.free_bytes // 1024**2} MiB are free where {facts.audit} is",
            "no request goes through that cannot be recorded (audit.on_failure: refuse)",
            f"df -h {shlex.quote(facts.folder)}   # make room: gzip old audit files",
        )
    elif facts.free_bytes is not None and facts.free_bytes < SCARCE_BYTES:
        yield warning(
            Group.FILES,
            "audit-disk-scarce",
            f"{facts.free_bytes // 1024**2} MiB are free where {facts.audit} is",
            "a million requests take about a gigabyte of audit",
            f"df -h {shlex.quote(facts.folder)}",
        )
    elif facts.has_key:
        yield ok(Group.FILES, "state", f"session key and audit in {facts.folder}")


def _unusable(id_: str, problem: Problem, why: str) -> Finding:
    return fault(Group.FILES, id_, problem.what, why, problem.hint)
