"""Reads a report of pip-audit, and says what it is worth.

    python scripts/audit_report.py REPORT LOCK      exit 0, 10: something is known, 3: not checked

Not 1, with which Python ends when this program itself is at fault. A package that the service did
not know is one that was not checked.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockfile import Entry, read_lock
from packaging.markers import Marker
from packaging.utils import canonicalize_name

NOTHING_KNOWN, KNOWN, NOT_CHECKED = 0, 10, 3


@dataclass(frozen=True)
class Verdict:
    """What came of it."""

    code: int
    lines: tuple[str, ...]


def verdict(report: str, lock: list[Entry]) -> Verdict:
    """Judge a report. What is known goes before what was not checked."""
    try:
        listed: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return Verdict(NOT_CHECKED, ("there is no report",))
    checked = {
        (canonicalize_name(each["name"]), each["version"]): each["vulns"]
        for each in listed
        if "vulns" in each and "version" in each
    }
    known = tuple(
        f"{name} {version}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'nothing'}"
        for (name, version), flaws in sorted(checked.items())
        for flaw in flaws
    )
    if known:
        return Verdict(KNOWN, known)
    wanted = [entry for entry in lock if not entry.marker or Marker(entry.marker).evaluate()]
    missed = [entry for entry in wanted if (entry.name, entry.version) not in checked]
    if missed or not wanted:
        return Verdict(NOT_CHECKED, (f"{len(missed)} of {len(wanted)} packages were not checked",))
    return Verdict(NOTHING_KNOWN, ())


if __name__ == "__main__":
    found = verdict(Path(sys.argv[1]).read_text("utf-8"), read_lock(Path(sys.argv[2])))
    for line in found.lines:
        print(f"awsgate: {line}", file=sys.stderr)
    sys.exit(found.code)
