"""What a check says. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is. Only a fault makes ``awsgate doctor`` end with 1."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong; something is good to know, or was not looked at."""
    WARNING = "warning"
    FAULT = "fault"


class Group(StrEnum):
    """Where a finding is shown."""

    GATEWAY = "gateway"
    FILES = "files"
    SHELL = "this shell"
    AWS = "AWS"
    TOOLS = "tools"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and what there is to say of it."""

    id: str
    """Stable; the page docs/doctor.md has them all."""
    group: Group
    severity: Severity
    what: str
    why: str = ""
    fix: str = ""
    """Commands or text to paste, as they are."""

    def row(self) -> dict[str, str]:
        """Give it for ``--json``."""
        return {name: str(value) for name, value in asdict(self).items()}


def ok(group: Group, id_: str, what: str) -> Finding:
    """Give a finding that all is well."""
    return Finding(id_, group, Severity.OK, what)


def note(group: Group, id_: str, what: str, why: str = "", fix: str = "") -> Finding:
    """Give a finding that is good to know."""
    return Finding(id_, group, Severity.NOTE, what, why, fix)


def warning(group: Group, id_: str, what: str, why: str, fix: str) -> Finding:
    """Give a finding that may hurt."""
    return Finding(id_, group, Severity.WARNING, what, why, fix)


def fault(group: Group, id_: str, what: str, why: str, fix: str) -> Finding:
    """Give a finding that hurts."""
    return Finding(id_, group, Severity.FAULT, what, why, fix)


def count(findings: Iterable[Finding], severity: Severity) -> int:
    """Give how many are of this severity."""
    return sum(finding.severity is severity for finding in findings)
