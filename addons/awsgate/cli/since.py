"""``--since``: how long ago, or since when."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_AGO = re.compile(r"(?=.)(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?")


def since_text(text: str, now: datetime) -> str:
    """Give the moment that ``text`` means, as the audit writes times. Empty: empty.

    Raises ``typer.BadParameter`` if it is neither a length of time nor a moment.
    """
    if not text:
        return ""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        days, hours, minutes, seconds = (int(part or 0) for part in ago.groups())
        moment = now - timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is neither like 90m, 12h or 7d nor a time like 2026-11-27T10:00:00Z"
            ) from None
        # The audit's times are UTC, and so are those that say nothing.
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    written = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")
