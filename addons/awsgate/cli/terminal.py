"""Colour, on a terminal alone and never alone the carrier of meaning. NO_COLOR is obeyed."""

from __future__ import annotations

import os
from enum import Enum
from typing import TextIO


class Style(Enum):
    """What a word is, by its SGR code."""

    STRONG = "1"
    WARN = "33"
    BAD = "31"
    GOOD = "32"


def painted(text: str, style: Style, stream: TextIO) -> str:
    """Give ``text`` in a colour, if ``stream`` is a terminal and the user wants colours."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if not (text and wanted and stream.isatty()):
        return text
    return f"\033[{style.value}m{text}\033[0m"
