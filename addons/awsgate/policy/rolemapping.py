"""What an identity provider says of somebody -> the roles of the policy. Pure and total.

A row gives its roles if the claims that it names have a value that fits. A claim with
several values fits if one of them does, each is tried, and each that fits gives the
roles. The patterns are the reference product's:

    admins            this value
    team-*            any run of characters; it is ``$1`` in the roles
    ^team-(.*)$       a regular expression; ``$1``, ``${1}``, ``${name}`` are its groups

One thing is stricter: a regular expression must fit all of a value, in ``^a|b$`` too.

A role made of a group is a name like any other: if the policy has none of that name, it
gives nothing. What a provider sends is never read as a pattern.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Protocol

from pydantic import BaseModel

from awsgate.policy.connectors import TeamToRoles
from awsgate.policy.resources import Policy
from awsgate.policy.templates import expand_references, traits_in
from awsgate.policy.valuepattern import Found, fit_of

MAX_ROLES = 64
"""Of one identity, so that a login fits in its token."""
_MAX_TRIED = 4096
_MAX_VALUE_CHARS = 1024

type Values = Mapping[str, tuple[str, ...]]


class TooMany(ValueError):
    """An identity would have more roles than can be. For people.

    None is left out instead: it may be the one that denies, and who may make groups of any
    name could push it out with others.
    """


class Row(Protocol):
    """One rule of a connector."""

    @property
    def wanted(self) -> Mapping[str, str]:
        """Give claim -> pattern; all must fit."""
        ...

    @property
    def roles(self) -> tuple[str, ...]:
        """Give the roles, ``$1`` not filled in."""
        ...


def roles_by_claims(rows: Sequence[Row], claims: Values) -> tuple[str, ...]:
    """Give the roles of whoever has these claims, each once, in the order of the rows.

    Raises ``TooMany``.
    """
    found: dict[str, None] = {}
    for row in rows:
        for role in _given(row, claims):
            found.setdefault(role)
            if len(found) > MAX_ROLES:
                raise TooMany(f"the identity gives over {MAX_ROLES} roles")
    return tuple(found)


def roles_by_teams(
    rows: Sequence[TeamToRoles], teams: Iterable[tuple[str, str]]
) -> tuple[str, ...]:
    """Give the roles of a member of these teams, pairs of organisation and slug.

    GitHub's names know no case. Raises ``TooMany``.
    """
    known = {(organization.lower(), team.lower()) for organization, team in teams}
    matched = (row for row in rows if (row.organization.lower(), row.team.lower()) in known)
    found = tuple(dict.fromkeys(role for row in matched for role in row.roles))
    if len(found) > MAX_ROLES:
        raise TooMany(f"the teams give over {MAX_ROLES} roles")
    return found


def traits_named(policy: Policy) -> frozenset[str]:
    """Give the names of all traits that a role of the policy asks for."""
    texts = (text for role in policy.roles.values() for text in _texts(role.spec))
    return frozenset(name for text in texts for name in traits_in(text))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseModel):
        yield from _texts(dict(value))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (*_texts(key), *_texts(item))
    elif isinstance(value, Iterable):
        for item in value:
            yield from _texts(item)


def _given(row: Row, claims: Values) -> Iterator[str]:
    matches: list[list[Found]] = []
    for name, pattern in row.wanted.items():
        fit = fit_of(pattern)
        values = (v for v in claims.get(name, ()) if len(v) <= _MAX_VALUE_CHARS)
        matches.append([found for v in values if (found := fit(v)) is not None])
        if not matches[-1]:
            return
    if prod(map(len, matches)) > _MAX_TRIED:
        names = ", ".join(map(repr, row.wanted))
        raise TooMany(f"the claims {names[:200]} have over {_MAX_TRIED} values together that fit")
    for combination in product(*matches):
        for role in row.roles:
            # The groups of the first claim that has any: where several are named, one is.
            with_groups = (found for found in combination if found.some)
            found = next(with_groups, combination[0])
            if made := expand_references(role, found.groups):
                yield made
