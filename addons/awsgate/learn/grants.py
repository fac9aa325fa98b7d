"""From the calls that were made to as few rules as allow them.

A rule allows each of its actions on each of its resources in each of its regions. So
calls share a rule only if that allows nothing that was not done: with the same resources
and regions their actions are put together, with the same actions and resources their
regions. A call of which no resource is known has a rule of its own, on any resource: what
is known of others is not widened by it. One exception cannot be avoided: a call that names several
resources (a copy) needs them in one rule, and so all of its kind share it.

``compact`` adds one step that does widen: three or more keys in one folder of a bucket
become all keys below that folder. Never a whole bucket, and nothing but S3 keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from awsgate.learn.lesson import Lesson, Use

KEYS_OF_A_FOLDER = 3


class Arn(NamedTuple):
    """An ARN as it stands: no character in it is a wildcard."""

    text: str
    below: bool = False
    """All that begins with ``text``."""


class Scope(NamedTuple):
    """Where a rule holds."""

    app: str
    role_arn: str
    tenant: str
    service: str


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule."""

    scope: Scope
    actions: tuple[str, ...]
    resources: tuple[Arn, ...]
    """Empty: any."""
    regions: tuple[str, ...]
    """Empty: any."""


type _Resources = frozenset[Arn]
type _Regions = frozenset[str]


def gateway_grants(lesson: Lesson, *, compact: bool = False) -> list[Grant]:
    """Give the rules for awsgate: by app, and by the role that the policy gives."""
    return _grants(
        lesson.uses,
        lambda use: Scope(use.app, use.granted_role_arn, use.tenant, use.service),
        compact=compact,
    )


def aws_grants(lesson: Lesson, *, compact: bool = False) -> list[Grant]:
    """Give the rules for IAM: by the role that AWS saw."""
    return _grants(
        lesson.uses, lambda use: Scope("", use.role_arn, "", use.service), compact=compact
    )


def _grants(uses: Iterable[Use], scope: Callable[[Use], Scope], *, compact: bool) -> list[Grant]:
    merged: defaultdict[tuple[Scope, _Resources, _Regions], set[str]] = defaultdict(set)
    by_actions: defaultdict[tuple[Scope, frozenset[str]], list[Use]] = defaultdict(list)
    for use in uses:
        by_actions[scope(use), frozenset(use.actions)].append(use)
    for (where, actions), group in by_actions.items():
        for resources, regions in _by_resources(group, compact=compact):
            merged[where, resources, regions] |= actions
    found = [
        Grant(where, tuple(sorted(actions)), tuple(sorted(resources)), tuple(sorted(regions)))
        for (where, resources, regions), actions in merged.items()
    ]
    return sorted(
        found, key=lambda g: (g.scope, not g.resources, g.actions, g.resources, g.regions)
    )


def _by_resources(uses: list[Use], *, compact: bool) -> list[tuple[_Resources, _Regions]]:
    """Give the resources of calls with the same actions, each set with its regions."""
    in_regions: defaultdict[_Regions, set[Arn]] = defaultdict(set)
    anything: set[_Regions] = set()
    for use in uses:
        regions = frozenset(use.regions)
        if use.resources:
            in_regions[regions] |= {Arn(text) for text in use.resources}
        else:
            anything.add(regions)
    sets: defaultdict[_Resources, list[_Regions]] = defaultdict(list)
    for regions, arns in in_regions.items():
        known = frozenset(_folders(arns) if compact else arns)
        sets[known].append(regions)
    if anything:
        sets[frozenset()] = list(anything)
    found: list[tuple[_Resources, _Regions]] = []
    for resources, several in sets.items():
        # No region known means any: that is not to be mixed with those that are known.
        if frozenset() in several:
            found.append((resources, frozenset()))
        named = frozenset[str]().union(*several)
        if named:
            found.append((resources, named))
    return found


def _folders(arns: set[Arn]) -> set[Arn]:
    """Put keys of one folder of a bucket together."""
    folders: defaultdict[str, set[Arn]] = defaultdict(set)
    for arn in arns:
        bucket, _, key = arn.text.partition("/")
        folder = key.rpartition("/")[0]
        if folder and bucket.split(":")[2:5] == ["s3", "", ""]:
            folders[f"{bucket}/{folder}/"].add(arn)
    whole = {folder for folder, keys in folders.items() if len(keys) >= KEYS_OF_A_FOLDER}
    # A folder inside of one that is there whole adds nothing.
    outer = {f for f in whole if not any(f != other and f.startswith(other) for other in whole)}
    rest = {arn for arn in arns if not any(arn.text.startswith(folder) for folder in outer)}
    return rest | {Arn(folder, below=True) for folder in outer}
