"""The table of AWS operations: how each looks on the wire, and its IAM actions.

Data: ``operations/<signing name>.json`` and ``operations/levels/<IAM prefix>.json``,
made by ``scripts/build_operations.py`` from botocore's models and the Service
Authorization Reference. Read when a service is first asked for, and kept: all of them
are 4 MB of text, most gateways see a dozen services.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

type AccessLevel = Literal["Read", "List", "Write", "Tagging", "Permissions management"]

LEVELS: Mapping[str, AccessLevel] = {
    "P": "Permissions management", "W": "Write", "T": "Tagging", "R": "Read", "L": "List",
}  # fmt: skip
"""By letter, the most dangerous first."""

_NAME = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Resource:
    """How the ARN of an operation's resource is made."""

    template: str
    places: tuple[tuple[str, str, str], ...]
    """Variable, where its value stands (label, query, header, body), and its name there."""


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of a REST service."""

    method: str
    segments: tuple[str | None, ...]
    """Decoded; None is a label."""
    labels: tuple[str, ...]
    greedy: int
    """Index of the label that takes several segments, or -1."""
    operation: str
    literals: tuple[tuple[str, str], ...]
    """Query parameters with their values that the template holds."""
    query: tuple[str, ...]
    headers: tuple[bytes, ...]

    @property
    def weight(self) -> tuple[int, int, int]:
        """Order of preference among the routes that match: the most particular last."""
        fixed = sum(segment is not None for segment in self.segments)
        return (
            fixed,
            -int(self.greedy >= 0),
            2 * len(self.literals) + len(self.query) + len(self.headers),
        )


@dataclass(frozen=True, slots=True)
class Service:
    """One service model."""

    id: str
    host: str
    """What stands before the region in its endpoint's name."""
    iam: str
    protocols: frozenset[str]
    target: str
    """Of X-Amz-Target, and of the path in CBOR."""
    actions: Mapping[str, str | None] = field(repr=False)
    """Operation -> IAM actions; empty: the one of its own name; None: not known."""
    routes: Mapping[str, tuple[Route, ...]] = field(repr=False)
    """Method -> routes, the most particular first."""
    resources: Mapping[str, Resource] = field(repr=False)

    def actions_of(self, operation: str) -> tuple[str, ...]:
        """Give the IAM actions of one of the operations; nothing: they are not known."""
        named = self.actions[operation]
        if named is None:
            return ()
        return tuple(named.split()) or (f"{self.iam}:{operation}",)


@lru_cache(maxsize=512)
def services_signing_as(name: str) -> tuple[Service, ...]:
    """Give the services whose requests are signed for ``name``. Unknown: none."""
    if not _NAME.fullmatch(name):
        return ()
    file = resources.files("awsgate.aws") / "operations" / f"{name}.json"
    if not file.is_file():
        return ()
    return tuple(_service(entry) for entry in json.loads(file.read_text("utf-8"))["services"])


@lru_cache(maxsize=512)
def levels_of(prefix: str) -> Mapping[str, str]:
    """Give the letter of the access level of each action of an IAM prefix, lower-case."""
    if not _NAME.fullmatch(prefix):
        return {}
    file = resources.files("awsgate.aws") / "operations" / "levels" / f"{prefix}.json"
    if not file.is_file():
        return {}
    return {name.lower(): letter for name, letter in json.loads(file.read_text("utf-8")).items()}


def level_of(action: str) -> AccessLevel | None:
    """Give the access level of an IAM action; None: there is no such action."""
    prefix, _, name = action.partition(":")
    letter = levels_of(prefix.lower()).get(name.lower())
    return LEVELS[letter] if letter else None


def _service(entry: Mapping[str, Any]) -> Service:
    by_method: dict[str, list[Route]] = {}
    for row in entry["routes"]:
        by_method.setdefault(row[0], []).append(_route(*row))
    return Service(
        id=entry["id"],
        host=entry["host"],
        iam=entry["iam"],
        protocols=frozenset(entry["protocols"]),
        target=entry["target"],
        actions=entry["ops"],
        routes={
            method: tuple(sorted(routes, key=lambda r: r.weight, reverse=True))
            for method, routes in by_method.items()
        },
        resources={
            name: Resource(template, tuple((p[0], p[1], p[2]) for p in places))
            for name, (template, places) in entry["resources"].items()
        },
    )


def _route(
    method: str, uri: str, operation: str, query: Sequence[str], headers: Sequence[str]
) -> Route:
    path, _, literal = uri.partition("?")
    segments: list[str | None] = []
    labels: list[str] = []
    greedy = -1
    for text in path.strip("/").split("/") if path.strip("/") else ():
        if text.startswith("{") and text.endswith("}"):
            if text.endswith("+}"):
                greedy = len(segments)
            labels.append(text.strip("{+}"))
            segments.append(None)
        else:
            segments.append(unquote_to_bytes(text).decode("utf-8"))
    pairs = (pair.partition("=") for pair in literal.split("&") if pair)
    literals = tuple((name, value) for name, _, value in pairs if name != "x-id")
    return Route(
        method, tuple(segments), tuple(labels), greedy, operation, literals,
        tuple(query), tuple(name.encode() for name in headers),
    )  # fmt: skip
