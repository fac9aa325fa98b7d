"""A case that fails, made as small as it goes and still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from fuzz.asks import Case, Piece

MAX_TRIES = 400


def shrunk(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Give a smaller case for which ``fails`` is true, or the case itself."""
    tries = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(case):
            tries += 1
            if tries > MAX_TRIES:
                return case
            if fails(candidate):
                case, smaller = candidate, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """Give the case with one thing less, what takes away most first."""
    for at in range(len(case.pieces)):
        if len(case.pieces) > 1:
            yield replace(case, pieces=case.pieces[:at] + case.pieces[at + 1 :])
    if case.splits:
        yield replace(case, splits=(), pause_ms=0)
        for at in range(len(case.splits)):
            yield replace(case, splits=case.splits[:at] + case.splits[at + 1 :])
    if case.pause_ms:
        yield replace(case, pause_ms=0)
    for at, piece in enumerate(case.pieces):
        for less in _smaller_pieces(piece):
            yield replace(case, pieces=(*case.pieces[:at], less, *case.pieces[at + 1 :]))


def _smaller_pieces(piece: Piece) -> Iterator[Piece]:
    for at in range(len(piece.edits)):
        yield replace(piece, edits=piece.edits[:at] + piece.edits[at + 1 :])
    ask = piece.ask
    if ask is None:
        return
    for less in (
        replace(ask, holds=None),
        replace(ask, headers=()),
        replace(ask, more=""),
        replace(ask, body="hello"),
        replace(ask, chunked=False),
        replace(ask, unsigned_body=False),
        replace(ask, aws_parts=1),
        replace(ask, aws_mode=""),
        replace(ask, close=False),
    ):
        if less != ask:
            yield replace(piece, ask=less)
