"""Audit lines that could not be written yet.

While lines wait, nothing new is forwarded (``audit.on_failure: refuse``), so those of
forwarded requests are as many as were under way. Refusals go on: of them a number is
kept, and the rest is counted in one line, ``audit.dropped``. So nobody can push the line
of a forwarded request out by being refused often enough.
"""

from __future__ import annotations

from collections import deque

from awsgate.audit import AuditRecord

MAX_REFUSALS = 1_000
MAX_FORWARDED = 100_000
"""With ``on_failure: continue`` the operator has chosen to lose lines, not requests."""

DROPPED = "audit.dropped"


class Backlog:
    """Lines in the order of their requests. Bounded."""

    def __init__(self) -> None:
        self._lines: deque[AuditRecord] = deque()
        self._refusals = 0
        self._dropped = 0
        self._first_dropped = self._last_dropped = ""

    def __bool__(self) -> bool:
        return bool(self._lines) or self._dropped > 0

    def add(self, record: AuditRecord) -> None:
        """Keep a line, or count it if there are too many of its kind."""
        refused = record.decision == "refused"
        kept = len(self._lines) - self._refusals
        if self._refusals >= MAX_REFUSALS if refused else kept >= MAX_FORWARDED:
            self._dropped += 1
            self._first_dropped = self._first_dropped or record.time
            self._last_dropped = record.time
            return
        self._refusals += refused
        self._lines.append(record)

    def first(self) -> AuditRecord | None:
        """Give the line to write next; None: there is none."""
        if self._lines:
            return self._lines[0]
        if not self._dropped:
            return None
        return AuditRecord(
            time=self._last_dropped,
            event=DROPPED,
            reason=f"{self._dropped} lines from {self._first_dropped} to {self._last_dropped} "
            "were lost: the log could not be written",
        )

    def pop(self) -> None:
        """Forget the line that ``first`` gave: it is written."""
        if self._lines:
            self._refusals -= self._lines.popleft().decision == "refused"
        else:
            self._dropped = 0
            self._first_dropped = self._last_dropped = ""

    def take_over(self, other: Backlog) -> None:
        """Take the lines of a recorder that is gone."""
        self._lines.extendleft(reversed(other._lines))
        self._refusals += other._refusals
        self._dropped += other._dropped
        self._first_dropped = other._first_dropped or self._first_dropped
        self._last_dropped = self._last_dropped or other._last_dropped
