"""Patterns of a value: of a claim, a certificate's subject, the name of a role. Pure and total.

    admins            this value
    team-*            any run of characters
    ^team-(.*)$       a regular expression, which must fit all of a value, in ``^a|b$`` too

Labels of apps have patterns of the same look, and another meaning: ``fields.label_pattern``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from awsgate.policy.fields import label_value
from awsgate.policy.templates import Groups


@dataclass(frozen=True, slots=True)
class Found:
    """What a pattern found in a value that fits."""

    groups: Groups
    some: bool
    """It has groups, beside the whole."""


def value_pattern(value: str) -> str:
    """Check a pattern. Raises ``ValueError`` with what is wrong."""
    label_value(value)
    try:
        fit_of(value)
    except (re.error, OverflowError, RecursionError) as exc:
        # Without its anchors it can be another one: in ^a\$ the dollar was quoted.
        raise ValueError(f"{value[:200]!r} is not a regular expression: {exc}") from None
    return value


@lru_cache(maxsize=4096)
def fit_of(pattern: str) -> Callable[[str], Found | None]:
    """Give what says whether a value fits a pattern, and what it finds there; None: no."""
    if not (pattern.startswith("^") and pattern.endswith("$")):
        return partial(_fit_glob, tuple(pattern.split("*")))
    expression = re.compile(pattern[1:-1], re.ASCII)

    def fit(value: str) -> Found | None:
        match = expression.fullmatch(value)
        return None if match is None else Found(match, bool(expression.groups))

    return fit


class _Parts(tuple[str, ...]):
    """The whole, and what each ``*`` stands for."""

    def __getitem__(self, key: Any, /) -> Any:
        """Give one. Raises ``IndexError``, for a name too: these groups have none."""
        if not isinstance(key, int):
            raise IndexError(key)
        return super().__getitem__(key)


def _fit_glob(texts: tuple[str, ...], value: str) -> Found | None:
    """Match ``texts``, with any run of characters between two of them.

    Each run is as long as it can be, the first one first, as in a regular expression. From
    the end on, so that it takes a look at each character: whoever chooses the value, and
    all the world may, must not choose how long this takes.
    """
    first, *between = texts
    if not between:
        return Found(_Parts((value,)), some=False) if value == first else None
    last = between.pop()
    start, end = len(first), len(value) - len(last)
    if start > end or not value.startswith(first) or not value.endswith(last):
        return None
    runs: list[str] = []
    for text in reversed(between):
        at = value.rfind(text, start, end)
        if at < 0:
            return None
        runs.append(value[at + len(text) : end])
        end = at
    return Found(_Parts((value, value[start:end], *reversed(runs))), some=True)
