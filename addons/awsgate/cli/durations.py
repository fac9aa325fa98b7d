"""Lengths of time as they are written on the command line: ``30m``, ``8h``, ``1h30m``."""

from __future__ import annotations

import re

from awsgate.cli.checking import bad_parameter


def seconds_of(text: str) -> int:
    """Read a duration. Raises ``typer.BadParameter``."""
    matched = re.fullmatch(r"(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s)?", text)
    if matched is None or not text:
        raise bad_parameter(f"{text!r} is not a duration like 30m, 8h or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in matched.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total < 1:
        raise bad_parameter("a life of no time at all")
    return total


def duration_of(seconds: int) -> str:
    """Write seconds as ``seconds_of`` reads them."""
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)
