"""What there is in AWS to be named: IAM's services and actions, and operations.

For people: to find a typing mistake in a rule, and to say what was perhaps meant. No
request is decided by it: AWS is newer than this list from the day it is made. The data
are those of ``operations``; looking at all services takes a tenth of a second.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from awsgate.aws.call import ONE_ACTION
from awsgate.aws.operations import levels_of

_FOLDER = "operations"


@lru_cache(maxsize=1)
def iam_prefixes() -> frozenset[str]:
    """Give the IAM prefix of every service: what stands before the colon of an action."""
    levels = resources.files("awsgate.aws") / _FOLDER / "levels"
    return frozenset(
        file.name.removesuffix(".json") for file in levels.iterdir() if file.name.endswith(".json")
    )


@lru_cache(maxsize=64)
def actions_of(prefix: str) -> tuple[str, ...]:
    """Give the names of a service's actions as AWS writes them; nothing: no such service."""
    if not levels_of(prefix):
        return ()
    file = resources.files("awsgate.aws") / _FOLDER / "levels" / f"{prefix}.json"
    return tuple(json.loads(file.read_text("utf-8")))


def operation_actions(prefix: str, operation: str) -> tuple[str, tuple[str, ...]] | None:
    """Give an API operation's name as AWS writes it, and its IAM actions (none: not known).

    None: no service of this prefix has such an operation. In any case.
    """
    for service in _services(prefix):
        for name, named in service["ops"].items():
            if name.lower() == operation.lower():
                return name, _actions(prefix, name, named)
    return None


def operations_of(prefix: str) -> Iterator[str]:
    """Give the API operations of all services of an IAM prefix."""
    for service in _services(prefix):
        yield from service["ops"]


def actions_without_resource(prefix: str) -> frozenset[str]:
    """Give the actions, lower-case, of calls of which the gateway can tell no resource.

    Actions that no operation has for its own are not among them: they accompany others.
    """
    every: set[str] = set()
    told: set[str] = set()
    for service in _services(prefix):
        for operation, named in service["ops"].items():
            actions = {action.lower() for action in _actions(prefix, operation, named)}
            every |= actions
            told |= actions if operation in service["resources"] else set()
    return frozenset(every - told)


_TENANTS: Mapping[str, str] = {
    **{action.lower(): service for service, action in ONE_ACTION.items()},
    "execute-api:invoke": "execute-api",
    "execute-api:manageconnections": "execute-api",
}


def tenant_service(action: str) -> str:
    """Give the signing name of endpoints that anybody can own, if ``action`` is a call of one.

    Those that ``call`` names an action for. Empty: an API of AWS itself.
    """
    folded = action.lower()
    return "es" if folded.startswith("es:eshttp") else _TENANTS.get(folded, "")


def similar(word: str, known: Iterable[str]) -> str:
    """Give the one of ``known`` that ``word`` was perhaps meant to be, or nothing."""
    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), folded, n=1)
    return folded[near[0]] if near else ""


def _actions(prefix: str, operation: str, named: str | None) -> tuple[str, ...]:
    if named is None:
        return ()
    return tuple(named.split()) or (f"{prefix}:{operation}",)


@lru_cache(maxsize=64)
def _services(prefix: str) -> tuple[Mapping[str, Any], ...]:
    """Give the service models of an IAM prefix; most services sign by that name too."""
    return tuple(service for service in _all() if service["iam"] == prefix)


@lru_cache(maxsize=1)
def _all() -> tuple[Mapping[str, Any], ...]:
    return tuple(_read())


def _read() -> Iterator[Mapping[str, Any]]:
    for file in (resources.files("awsgate.aws") / _FOLDER).iterdir():
        if file.name.endswith(".json"):
            yield from json.loads(file.read_text("utf-8"))["services"]
