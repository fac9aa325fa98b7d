"""Names in rules that AWS does not have, and what was perhaps meant. Pure.

AWS is newer than the list, so these are warnings. A mistyped action in a deny is the
worst of them: it reads like safety and denies nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache

from awsgate.aws.catalogue import (
    actions_of,
    actions_without_resource,
    iam_prefixes,
    operation_actions,
    similar,
)
from awsgate.aws.partitions import KNOWN_REGIONS
from awsgate.policy.globs import glob_matches
from awsgate.policy.resources import Role
from awsgate.policy.rules import Allow, CallConditions
from awsgate.policy.unreachable import Problem

type _Check = Callable[[str], tuple[str, str] | None]

# Resources that belong to another service than the action: its IAM prefix -> theirs.
_FOREIGN_RESOURCES = {"sts": frozenset({"iam"})}


def misnamed(role: Role) -> Iterator[Problem]:
    """Give what the rules of a role name and AWS does not have, or never together."""
    for part, rules in (("allow", role.spec.allow), ("deny", role.spec.deny)):
        path = f"spec.{part}"
        yield from _each(f"{path}.aws_actions", rules.aws_actions, action_problem)
        yield from _each(f"{path}.aws_services", rules.aws_services, _service_problem)
        yield from _each(f"{path}.aws_regions", rules.aws_regions, _region_problem)
        yield from _resources(f"{path}.aws_resources", rules)
    for index, mark in enumerate(role.spec.allow.approvals):
        yield from _each(f"spec.allow.approvals[{index}].actions", mark.actions, action_problem)
    yield from _without_resource(role.spec.allow)


@lru_cache(maxsize=4096)
def action_problem(pattern: str) -> tuple[str, str] | None:
    """Say why no action fits ``pattern``, and what was perhaps meant. None: one does."""
    if pattern == "*" or "{{" in pattern:
        return None
    service, _, name = pattern.lower().partition(":")
    prefixes = [prefix for prefix in iam_prefixes() if glob_matches(service, prefix)]
    if not prefixes:
        return f"{pattern!r}: there is no service {service!r}", _meant(service, iam_prefixes())
    if any(glob_matches(name, action.lower()) for p in prefixes for action in actions_of(p)):
        return None
    if len(prefixes) > 1:
        return f"{pattern!r}: there is no such action in any service", ""
    (prefix,) = prefixes
    operation = operation_actions(prefix, name)
    if operation is not None:
        needs = " and ".join(operation[1])
        todo = f"it needs {needs}" if needs else ""
        return f"{pattern!r} is an API operation and no action of IAM", todo
    near = similar(name.strip("*?"), actions_of(prefix))
    todo = f"did you mean '{prefix}:{near}'" if near else ""
    return f"{pattern!r}: {prefix} has no such action", todo


def _each(path: str, values: tuple[str, ...], problem: _Check) -> Iterator[Problem]:
    for index, value in enumerate(values):
        found = problem(value)
        if found is not None:
            yield f"{path}[{index}]", *found


def _service_problem(pattern: str) -> tuple[str, str] | None:
    if "{{" in pattern or any(glob_matches(pattern, prefix) for prefix in iam_prefixes()):
        return None
    return f"{pattern!r}: there is no such service", _meant(pattern, iam_prefixes())


def _region_problem(pattern: str) -> tuple[str, str] | None:
    if "{{" in pattern or any(glob_matches(pattern, region) for region in KNOWN_REGIONS):
        return None
    return f"{pattern!r}: no region of this name is known", _meant(pattern, KNOWN_REGIONS)


def _resources(path: str, rules: CallConditions) -> Iterator[Problem]:
    """Find ARNs of services that the rule's actions are not of."""
    services = _services_named(rules)
    for index, value in enumerate(rules.aws_resources):
        owner = value.split(":")[2] if value.count(":") >= 2 else "*"
        if any(char in owner for char in "*?{"):
            continue
        known = iam_prefixes() | frozenset().union(*_FOREIGN_RESOURCES.values())
        if owner not in known:
            what = f"{value!r}: there is no service {owner!r}"
            yield f"{path}[{index}]", what, _meant(owner, known)
        elif services and not any(
            glob_matches(service, owner) or owner in _FOREIGN_RESOURCES.get(service, ())
            for service in services
        ):
            shown = ", ".join(sorted(services))
            what = f"{value!r} is of {owner}, and the rule is about {shown}: it never matches"
            yield f"{path}[{index}]", what, "put it in a role of its own"


def _services_named(rules: CallConditions) -> set[str]:
    """Give the services that a rule is about, as globs; nothing: all of them."""
    if "*" in rules.aws_actions:
        return set()
    found = {action.lower().partition(":")[0] for action in rules.aws_actions}
    found = found or {service.lower() for service in rules.aws_services}
    return set() if "*" in found or any("{{" in service for service in found) else found


def _without_resource(allow: Allow) -> Iterator[Problem]:
    """Find actions that never come with a resource, in a rule that asks for one."""
    if not allow.aws_resources or "*" in allow.aws_resources:
        return
    for index, action in enumerate(allow.aws_actions):
        prefix, _, _ = action.lower().partition(":")
        if action.lower() in actions_without_resource(prefix):
            what = (
                f"{action!r}: the gateway cannot tell its resource from the request, so beside "
                "aws_resources it is never allowed"
            )
            yield f"spec.allow.aws_actions[{index}]", what, "put it in a role without aws_resources"


def _meant(word: str, known: Collection[str]) -> str:
    near = similar(word.strip("*?"), known)
    return f"did you mean {near!r}" if near else ""
