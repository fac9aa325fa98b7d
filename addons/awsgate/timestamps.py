"""Moments as AWS and the audit write them: UTC, with a Z; lengths of time for people. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_seconds(when: datetime) -> str:
    """Give ``2026-11-27T10:00:00Z``."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_seconds_of(epoch_s: float) -> str:
    """Give ``2026-11-27T10:00:00Z`` of epoch seconds."""
    return utc_seconds(datetime.fromtimestamp(epoch_s, UTC))


def utc_millis(when: datetime) -> str:
    """Give ``2026-11-27T10:00:00.000Z``, as the audit has it."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration_of(seconds: int) -> str:
    """Give ``1h30m``, as options of the command line are written; of no time nothing."""
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)
