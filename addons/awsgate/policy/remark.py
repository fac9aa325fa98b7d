"""What is wrong or odd in a policy: one line, which also knows its parts. Pure."""

from __future__ import annotations

import re
from typing import Self

_PATH = re.compile(r"(?:kind|version|metadata|spec)(?:[.\[][^ ]*)?")


class Remark(str):
    """The line: place, path, what, and what to do. For programs, the same as parts."""

    __slots__ = ("path", "place", "todo", "what")

    place: str
    """File and document."""
    path: str
    """In the document; empty: all of it."""
    what: str
    todo: str
    """Empty where ``what`` says it, or where only the operator can know."""

    def __new__(cls, place: str, path: str, what: str, todo: str = "") -> Self:
        """Make the line of the parts."""
        line = super().__new__(cls, ": ".join(part for part in (place, path, what, todo) if part))
        line.place, line.path, line.what, line.todo = place, path, what, todo
        return line

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, str, str]]:
        return type(self), (self.place, self.path, self.what, self.todo)

    @classmethod
    def of(cls, place: str, line: str) -> Self:
        """Give what is said of a document as ``path: what``, or without a path."""
        path, colon, what = line.partition(": ")
        if colon and _PATH.fullmatch(path):
            return cls(place, path, what)
        return cls(place, "", line)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Give a line that starts with its place, as those about whole files do."""
        if isinstance(line, cls):
            return line
        place, _, rest = line.partition(": ")
        return cls.of(place, rest) if rest else cls("", "", line)
