"""Claims, as a provider's JSON has them -> flat texts, as rules and traits want them. Pure.

    {"groups": ["a", "b"]}                    groups = a, b
    {"realm_access": {"roles": ["a"]}}        realm_access.roles = a
    {"email_verified": true, "level": 3}      email_verified = true, level = 3

Null, and lists of anything but texts, numbers and booleans, say nothing. A claim whose own
name has the dots goes before a nested one that comes to the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from awsgate.connect.ways import LoginRefused

MAX_CLAIMS = 512
MAX_VALUES = 4096
"""Of all claims together: a person is in hundreds of groups, not in thousands."""
MAX_CHARS = 1024
"""Of a name or a value; a longer one is left out: no rule could match it."""
_MAX_DEPTH = 8
_OF_THE_PROTOCOL = frozenset(
    {"nonce", "at_hash", "c_hash", "s_hash", "_claim_names", "_claim_sources"}
)
"""About the token, not about who it speaks of; and what the provider says that others say
(aggregated and distributed claims), which nobody has proved."""


def flat(claims: Mapping[str, object]) -> Mapping[str, tuple[str, ...]]:
    """Give claim -> values. Raises ``LoginRefused`` (oversized) if there are too many.

    Not cut off instead: a rule that denies may be about the one that would be missing.
    """
    found: dict[str, tuple[str, ...]] = {}
    rest = MAX_VALUES
    known = {k: v for k, v in claims.items() if k not in _OF_THE_PROTOCOL}
    for name, value in _leaves("", known, _MAX_DEPTH):
        values = tuple(v for item in _items(value) if (v := _text(item)) is not None)
        if not values or _text(name) is None:
            continue
        rest -= len(values)
        # Leaves of the outer levels come first.
        found.setdefault(name, values)
        if rest < 0 or len(found) > MAX_CLAIMS:
            raise LoginRefused(
                "oversized",
                f"the identity has over {MAX_CLAIMS} claims or {MAX_VALUES} values of claims",
                hint="have the provider send those groups alone that the gateway is to know",
            )
    return MappingProxyType(found)


def _leaves(prefix: str, claims: Mapping[str, object], depth: int) -> Iterator[tuple[str, object]]:
    nested: list[tuple[str, Mapping[str, object]]] = []
    for name, value in claims.items():
        if isinstance(value, dict):
            nested.append((f"{prefix}{name}.", value))
        else:
            yield prefix + name, value
    if depth:
        for longer, value in nested:
            yield from _leaves(longer, value, depth - 1)


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _text(value: object) -> str | None:
    if isinstance(value, bool | int | float):
        value = json.dumps(value)
    if not isinstance(value, str) or len(value) > MAX_CHARS:
        return None
    # JSON can hold half a surrogate pair, and nothing else can.
    return value if value.isascii() or value.encode("utf-8", "replace").decode() == value else None
