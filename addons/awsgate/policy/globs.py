"""``*`` and ``?`` as IAM has them: any run of characters, any one character.

Linear in the length of the text, whatever the pattern: callers choose the texts (keys
of objects, names of tables), so a pattern that backtracks would be theirs to exploit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

type Piece = str | re.Pattern[str]
type Parts = tuple[tuple[str, bool], ...]
"""Pieces of a pattern: text, and whether it is taken literally (the value of a trait)."""
_WILD = re.compile(r"[*?]")


def glob_matches(pattern: str, text: str) -> bool:
    """True if all of ``text`` matches ``pattern``."""
    return parts_match(((pattern, False),), text)


def action_fits(patterns: Iterable[str], action: str) -> bool:
    """True if an action is one of those that the patterns name, in any case."""
    folded = action.lower()  # IAM: "the prefix and the action name are case insensitive"
    return any(p == "*" or glob_matches(p.lower(), folded) for p in patterns)


def parts_match(parts: Parts, text: str) -> bool:
    """True if all of ``text`` matches the parts, one after the other."""
    pieces, widths = _compiled(parts)
    if len(pieces) == 1:
        return len(text) == widths[0] and _at(pieces[0], text, 0)
    last = len(text) - widths[-1]
    if last < widths[0] or not _at(pieces[0], text, 0) or not _at(pieces[-1], text, last):
        return False
    # The leftmost place for each piece leaves the most room for the others.
    place = widths[0]
    for piece, width in zip(pieces[1:-1], widths[1:-1], strict=True):
        place = _find(piece, text, place, last)
        if place < 0:
            return False
        place += width
    return place <= last


def plain_start(parts: Parts) -> tuple[str, bool]:
    """Give what every text that matches begins with, and whether that is all of it."""
    start = ""
    for text, literal in parts:
        wild = None if literal else _WILD.search(text)
        if wild is not None:
            return start + text[: wild.start()], False
        start += text
    return start, True


def _at(piece: Piece, text: str, place: int) -> bool:
    if isinstance(piece, str):
        return text.startswith(piece, place)
    return piece.match(text, place) is not None


def _find(piece: Piece, text: str, start: int, end: int) -> int:
    if isinstance(piece, str):
        return text.find(piece, start, end)
    found = piece.search(text, start, end)
    return found.start() if found else -1


@lru_cache(maxsize=4096)
def _compiled(parts: Parts) -> tuple[tuple[Piece, ...], tuple[int, ...]]:
    """Split at the stars: what lies between two of them, and how long it is."""
    runs: list[list[tuple[str, bool]]] = [[]]
    for text, literal in parts:
        for char in text:
            if char == "*" and not literal:
                runs.append([])
            else:
                runs[-1].append((char, char == "?" and not literal))
    return tuple(map(_piece, runs)), tuple(map(len, runs))


def _piece(run: list[tuple[str, bool]]) -> Piece:
    if not any(wild for _, wild in run):
        return "".join(char for char, _ in run)
    return re.compile("".join("." if wild else re.escape(char) for char, wild in run), re.DOTALL)
