"""``--since``: how long ago, or since when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import typer

from awsgate.cli.durations import seconds_in
from awsgate.timestamps import utc_millis


def since_text(text: str, now: datetime) -> str:
    """Give the moment that ``text`` means, as the audit writes times. Empty: empty.

    Raises ``typer.BadParameter`` if it is neither a length of time nor a moment.
    """
    if not text:
        return ""
    ago_s = seconds_in(text)
    if ago_s is not None:
        moment = now - timedelta(seconds=ago_s)
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is neither like 90m, 12h or 7d nor a time like 2026-11-27T10:00:00Z"
            ) from None
        # The audit's times are UTC, and so are those that say nothing.
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return utc_millis(moment)
