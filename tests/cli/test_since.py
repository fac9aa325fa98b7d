"""Times as ``--since`` takes them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from awsgate.cli.since import since_text

SINCE = {
    "90m": "2026-11-27T08:30:00.000Z",
    "1d12h": "2026-11-25T22:00:00.000Z",
    "7d": "2026-11-20T10:00:00.000Z",
    "2026-11-20": "2026-11-20T00:00:00.000Z",
    "2026-11-20T10:00:00Z": "2026-11-20T10:00:00.000Z",
    "2026-11-20T10:00:00+02:00": "2026-11-20T08:00:00.000Z",
    "": "",
}


@pytest.mark.parametrize(("text", "expected"), SINCE.items())
def test_since(text: str, expected: str) -> None:
    assert since_text(text, datetime(2026, 11, 27, 10, tzinfo=UTC)) == expected
