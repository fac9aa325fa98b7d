"""The answer no: why, what to choose from, what to do. Exit code 1."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from awsgate.cli.terminal import printable_lines


class No(Exception):
    """The policy's no, or too many answers. For the user."""

    def __init__(
        self, answer: str, lines: Sequence[str] = (), *, hints: Sequence[str] = ()
    ) -> None:
        super().__init__(answer)
        self.text = "\n".join(
            (f"awsgate: no: {answer}", *lines, *(f"awsgate: hint: {hint}" for hint in hints))
        )


@contextmanager
def saying_no() -> Iterator[None]:
    """Say a ``No`` on stderr, and end with 1."""
    try:
        yield
    except No as no:
        sys.stderr.write(printable_lines(no.text) + "\n")
        sys.exit(1)
