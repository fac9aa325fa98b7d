"""Learned rules as ``kind: role`` documents of awsgate, in YAML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from awsgate.learn.grants import Grant
from awsgate.learn.lesson import Lesson
from awsgate.learn.patterns import for_awsgate, one_line, scalar
from awsgate.policy import Policy

_SPECIAL = re.compile(r"[*{}]|^\^")


def role_documents(
    lesson: Lesson, grants: Sequence[Grant], policy: Policy | None
) -> tuple[str, list[str]]:
    """Give the documents, and notes of where they allow more than was done, or less.

    ``policy`` has the labels of the apps; None: it is not at hand.
    """
    notes: list[str] = []
    sayable = [(g, patterns) for g in grants if (patterns := _resources(g, notes)) is not None]
    names = _names(lesson.user, [grant for grant, _ in sayable])
    documents = [
        _document(name, grant, patterns, _labels(grant.scope.app, policy, notes))
        for name, (grant, patterns) in zip(names, sayable, strict=True)
    ]
    listed = ", ".join(scalar(name) for name in names)
    head = [
        f"# Learned from {lesson.calls} calls of {lesson.user}, {lesson.first} to {lesson.last}.",
        f"# In the user's document: roles: [{listed}]",
    ]
    text = "\n".join([*map(one_line, head), "\n---\n".join(documents), ""])
    return text, list(dict.fromkeys(notes))


def _names(user: str, grants: Iterable[Grant]) -> list[str]:
    counts: Counter[str] = Counter()
    names = []
    for grant in grants:
        counts[grant.scope.service] += 1
        number = counts[grant.scope.service]
        names.append(f"learned-{user[:200]}-{grant.scope.service}" + f"-{number}" * (number > 1))
    return names


def _document(name: str, grant: Grant, resources: Sequence[str], labels: Mapping[str, str]) -> str:
    scope = grant.scope
    what = f"{scope.service}, as it was used"
    if not resources:
        what += "; of these calls no resource is known, so none is named"
    allow = [
        "    app_labels:",
        *(f"      {scalar(key)}: [{scalar(value)}]" for key, value in labels.items()),
        *_list("aws_role_arns", [scope.role_arn]),
        *(_list("aws_tenant_endpoints", [scope.tenant]) if scope.tenant else []),
        *_list("aws_actions", grant.actions),
        *(_list("aws_resources", resources) if resources else []),
        *(_list("aws_regions", grant.regions) if grant.regions else []),
    ]
    return "\n".join(
        [
            "kind: role",
            "version: v7",
            "metadata:",
            f"  name: {scalar(name)}",
            f"  description: {scalar(what)}",
            "spec:",
            "  allow:",
            *allow,
        ]
    )


def _list(name: str, values: Iterable[str]) -> list[str]:
    return [f"    {name}:", *(f"      - {scalar(value)}" for value in values)]


def _resources(grant: Grant, notes: list[str]) -> list[str] | None:
    """Give the patterns; none: any resource; None: not one of those known can be said."""
    found, actions = [], ", ".join(grant.actions)
    for arn in grant.resources:
        pattern, exact = for_awsgate(arn)
        if not pattern:
            notes.append(
                f"not in the policy, since no pattern can say it: {actions} on {arn.text!r}"
            )
        elif not exact:
            notes.append(f"? stands for a character that a pattern cannot quote: {pattern!r}")
        found.append(pattern)
    if not found:
        notes.append(f"on any resource, since none is known: {actions}")
    if not grant.regions:
        notes.append(f"in any region, since none is known: {actions}")
    named = [pattern for pattern in found if pattern]
    return named if named or not found else None


def _labels(app: str, policy: Policy | None, notes: list[str]) -> Mapping[str, str]:
    """Give the selector for one app: all of its labels."""
    found = policy.apps.get(app) if policy is not None else None
    if found is None or not found.labels:
        why = "has no labels" if found is not None else "is not in the policy"
        notes.append(f"in any app, since app {app!r} {why}")
        return {"*": "*"}
    return {
        key: f"^{re.escape(value)}$" if _SPECIAL.search(value) else value
        for key, value in sorted(found.labels.items())
    }
