"""Colour, on a terminal alone and never alone the carrier of meaning. NO_COLOR is obeyed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import Enum
from typing import TextIO

from awsgate.visible import escaped


class Style(Enum):
    """What a word is, by its SGR code."""

    STRONG = "1"
    WARN = "33"
    BAD = "31"
    GOOD = "32"


def painted(text: str, style: Style, stream: TextIO) -> str:
    """Give ``text`` in a colour, if ``stream`` is a terminal and the user wants colours."""
    return coloured(text, style) if text and wants_colour(stream) else text


def coloured(text: str, style: Style) -> str:
    """Give ``text`` in a colour."""
    return f"\033[{style.value}m{text}\033[0m"


def wants_colour(stream: TextIO) -> bool:
    """True if ``stream`` is a terminal, and nobody said no."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()


def printable(text: str) -> str:
    """Give ``text`` with escapes for what could move the cursor, or would not be seen."""
    return escaped(text)


def printable_lines(text: str) -> str:
    """Give text of several lines, each of them ``printable``."""
    return "\n".join(map(printable, text.split("\n")))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Give each row as a line, ``printable`` and with its cells below each other."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def counted(number: int, word: str) -> str:
    """Give ``1 user``, ``2 users``."""
    return f"{number} {word}{'' if number == 1 else 's'}"
