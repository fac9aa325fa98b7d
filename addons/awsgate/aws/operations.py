"""The table of AWS operations: how each looks on the wire, and its IAM actions.

Data: ``operations/<signing name>.json`` and ``operations/levels/<IAM prefix>.json``,
made by ``scripts/build_operations.py`` from botocore's models and the Service
Authorization Reference. Read when a service is first asked for, and kept: all of them
are 2 MB of text, most gateways see a dozen services.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
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

ANY_NAME = "*"
"""Among the names of a query: whatever stands there."""

_NAME = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Resource:
    """Of what kind an operation's resource is, and what in the request names it."""

    kind: str
    """As in ``resource``: IAM prefix and type."""
    places: tuple[tuple[str, str], ...]
    """Where it may stand (label, query, body), and its name there; ``!``: unreadable."""


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of a REST service."""

    operation: str
    labels: tuple[str, ...]
    weight: tuple[int, int, int]
    """Order of preference among the routes that match: the most particular last."""
    literals: tuple[tuple[str, str], ...]
    """Query parameters with their values that the template holds."""
    query: frozenset[str]
    """Names that must be in the query."""
    known: frozenset[str]
    """All names that may."""
    headers: tuple[bytes, ...]


@dataclass(slots=True)
class Node:
    """What may follow in a path."""

    fixed: dict[str, Node] = field(default_factory=dict)
    label: Node | None = None
    greedy: Node | None = None
    """After a label that takes several segments."""
    tails: set[int] = field(default_factory=set)
    """How many segments may follow that label."""
    routes: list[Route] = field(default_factory=list)


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
    actions: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Operation -> IAM actions; none: they are not known."""
    routes: Mapping[str, Node] = field(repr=False)
    """Method -> the tree of its paths."""
    resources: Mapping[str, Resource] = field(repr=False)


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


@lru_cache(maxsize=8192)
def level_of(action: str) -> AccessLevel | None:
    """Give the access level of an IAM action; None: there is no such action."""
    prefix, _, name = action.partition(":")
    letter = levels_of(prefix.lower()).get(name.lower())
    return LEVELS[letter] if letter else None


def matches(root: Node, path: Sequence[str]) -> Iterator[tuple[Route, tuple[str, ...]]]:
    """Give each route below ``root`` that has this path, with the values of its labels."""
    todo: list[tuple[Node, int, tuple[str, ...]]] = [(root, 0, ())]
    while todo:
        node, place, values = todo.pop()
        if place == len(path):
            for route in node.routes:
                yield route, values
            continue
        text = path[place]
        if text in node.fixed:
            todo.append((node.fixed[text], place + 1, values))
        if node.label is not None and text:
            todo.append((node.label, place + 1, (*values, text)))
        if node.greedy is not None:
            ends = {len(path) - tail for tail in node.tails if len(path) - tail > place}
            taken = {end: "/".join(path[place:end]) for end in ends}
            todo += [(node.greedy, end, (*values, text)) for end, text in taken.items() if text]


def _service(entry: Mapping[str, Any]) -> Service:
    roots: dict[str, Node] = {}
    for method, uri, *rest in entry["routes"]:
        _plant(roots.setdefault(method, Node()), uri, *rest)
    return Service(
        id=entry["id"],
        host=entry["host"],
        iam=entry["iam"],
        protocols=frozenset(entry["protocols"]),
        target=entry["target"],
        actions={
            name: () if named is None else tuple(named.split()) or (f"{entry['iam']}:{name}",)
            for name, named in entry["ops"].items()
        },
        routes=roots,
        resources={
            name: Resource(kind, tuple((where, member) for where, member in places))
            for name, (kind, places) in entry["resources"].items()
        },
    )


def _plant(
    root: Node,
    uri: str,
    operation: str,
    must: Sequence[str],
    may: Sequence[str],
    headers: Sequence[str],
) -> None:
    """Add a route to the tree of its method."""
    path, _, literal = uri.partition("?")
    parts = path.strip("/").split("/") if path.strip("/") else []
    labels: list[str] = []
    node, fixed = root, 0
    for index, text in enumerate(parts):
        if not (text.startswith("{") and text.endswith("}")):
            fixed += 1
            segment = unquote_to_bytes(text).decode("utf-8")
            node = node.fixed.setdefault(segment, Node())
            continue
        labels.append(text.strip("{+}"))
        if text.endswith("+}"):
            node.tails.add(len(parts) - index - 1)
            node.greedy = node = node.greedy or Node()
        else:
            node.label = node = node.label or Node()
    pairs = (pair.partition("=") for pair in literal.split("&") if pair)
    literals = tuple((name, value) for name, _, value in pairs if name != "x-id")
    weight = (fixed, -path.count("+}"), 2 * len(literals) + len(must) + len(headers))
    query = frozenset(must)
    known = query | {name for name, _ in literals} | set(may)
    required = tuple(name.encode() for name in headers)
    node.routes.append(Route(operation, tuple(labels), weight, literals, query, known, required))
