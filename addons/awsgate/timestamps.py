"""Moments as AWS and the audit write them: UTC, with a Z. Pure."""

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
