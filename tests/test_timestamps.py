"""Moments are written in UTC, wherever they come from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from awsgate.timestamps import utc_millis, utc_seconds

NOON = datetime(2026, 11, 27, 12, 0, 1, 234_567, tzinfo=UTC)


def test_a_moment_is_written_with_a_z() -> None:
    assert utc_seconds(NOON) == "2026-11-27T12:00:01Z"
    assert utc_millis(NOON) == "2026-11-27T12:00:01.234Z"


def test_a_moment_of_another_zone_is_converted() -> None:
    """A Z behind the clock time of Tokyo would be nine hours wrong."""
    there = NOON.astimezone(timezone(timedelta(hours=9)))

    assert utc_seconds(there) == utc_seconds(NOON)
    assert utc_millis(there) == utc_millis(NOON)
