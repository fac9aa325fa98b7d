"""Lengths of time as they are written on the command line: ``30m``, ``8h``, ``1h30m``, ``2d``.

Every option that takes one is read here. A policy has its own form (``policy.fields``):
it knows no days, for no session lasts one.
"""

from __future__ import annotations

import re

from awsgate.cli.checking import bad_parameter
from awsgate.timestamps import duration_of as duration_of

_FORM = re.compile(r"(?=.)(?:([0-9]{1,4})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?")


def seconds_in(text: str) -> int | None:
    """Read a duration, which may be no time at all; None: it is none."""
    matched = _FORM.fullmatch(text)
    if matched is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in matched.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def seconds_of(text: str, *, bare: bool = False) -> int:
    """Read a duration of some time; ``bare``: a number alone is one of seconds.

    Raises ``typer.BadParameter``.
    """
    found = seconds_in(f"{text}s" if bare and re.fullmatch("[0-9]+", text) else text)
    if not found:
        number = "a number of seconds, or " if bare else ""
        raise bad_parameter(f"{text!r} is not {number}a duration like 30m, 8h or 2d")
    return found
