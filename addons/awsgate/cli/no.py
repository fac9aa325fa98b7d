"""The answer no: why, what to choose from, what to do. Exit code 1."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from awsgate.cli.terminal import columns, printable_lines

MAX_SHOWN = 40
"""Lines of what there is to choose from."""


class No(Exception):
    """The policy's no, or too many answers. For the user."""

    def __init__(
        self, answer: str, lines: Sequence[str] = (), *, hints: Sequence[str] = ()
    ) -> None:
        super().__init__(answer)
        self.text = "\n".join(
            (f"awsgate: no: {answer}", *lines, *(f"awsgate: hint: {hint}" for hint in hints))
        )


def to_choose_from(rows: Sequence[tuple[str, str, str]], of: int) -> list[str]:
    """Give the lines of a table of apps, accounts and roles: the first of so many."""
    lines = [f"  {line}" for line in columns([("APP", "ACCOUNT", "ROLE"), *rows])] if rows else []
    more = of - len(rows)
    return [*lines, f"  and {more} more"] if more > 0 else lines


@contextmanager
def saying_no() -> Iterator[None]:
    """Say a ``No`` on stderr, and end with 1."""
    try:
        yield
    except No as no:
        sys.stderr.write(printable_lines(no.text) + "\n")
        sys.exit(1)
