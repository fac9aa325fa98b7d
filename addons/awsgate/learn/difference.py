"""What a user did, against what the user's roles grant now. Pure.

Both ways: calls that were made and that the rules in force would refuse (in report mode,
or before a change of the policy), and values of the rules that no call needed. Deny rules
count in the first, since the decision itself is asked; in the second only what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from awsgate.aws.call import Call, recorded_levels
from awsgate.aws.operations import levels_of
from awsgate.learn.lesson import Lesson, Seen, Use
from awsgate.policy import CallFacts, Policy, Role, User, decide
from awsgate.policy.conditions import text_matches
from awsgate.policy.globs import glob_matches
from awsgate.policy.matching import matches_both
from awsgate.policy.standing import roles_of, rule_of


@dataclass(frozen=True, slots=True)
class NotGranted:
    """A kind of call that was made, and that the policy refuses now."""

    use: Use
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class NotUsed:
    """A value of a rule that no call needed, or needed in part."""

    rule: str
    """``role/<name>``."""
    field: str
    """Empty: the whole rule."""
    value: str
    what: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Both ways."""

    not_granted: Sequence[NotGranted]
    not_used: Sequence[NotUsed]


def difference(policy: Policy, lesson: Lesson) -> Difference:
    """Compare. A user that the policy does not know is granted nothing."""
    gateway = policy.gateway.model_copy(update={"mode": "enforce"})
    enforced = replace(policy, gateway=gateway)
    refused = [
        NotGranted(use, seen.count, reason)
        for use, seen in sorted(lesson.uses.items(), key=lambda item: item[0])
        if (reason := _refusal(enforced, lesson.user, use, seen))
    ]
    user = policy.users.get(lesson.user)
    unused = [
        found
        for role in (roles_of(policy, user) if user is not None else ())
        for found in _not_used(policy, user, role, lesson.uses)
    ]
    return Difference(tuple(refused), tuple(unused))


def _refusal(policy: Policy, user: str, use: Use, seen: Seen) -> str:
    levels = recorded_levels(use.actions, seen.access_level)
    decision = decide(
        policy,
        user=user,
        app=use.app,
        role_arn=use.granted_role_arn,
        endpoint_service=use.tenant,
        tenant_controlled=bool(use.tenant),
        call=CallFacts(
            call=Call(use.service, "", use.actions, levels, use.resources),
            regions=use.regions,
            client=seen.client,
            now=_moment(seen.time),
        ),
    )
    return "" if decision.allowed else decision.reason


def _not_used(
    policy: Policy, user: User | None, role: Role, uses: Mapping[Use, Seen]
) -> Iterator[NotUsed]:
    allow, rule = role.spec.allow, rule_of(role)
    if user is None or not (allow.app_labels and allow.aws_role_arns):
        return
    mine = {
        use: seen
        for use, seen in uses.items()
        if (app := policy.apps.get(use.app)) is not None
        and all(matches_both(allow, user, app, use.granted_role_arn))
    }
    if not mine:
        yield NotUsed(rule, "", "", "never used")
        return
    traits = user.spec.traits
    for value in allow.aws_role_arns:
        if not any(text_matches([value], use.granted_role_arn, traits) for use in mine):
            yield NotUsed(rule, "aws_role_arns", value, "never used")
    actions = {action.lower() for use in mine for action in use.actions}
    yield from _actions_not_used(rule, allow.aws_actions, actions)
    needed: dict[str, set[str]] = {
        "aws_resources": {arn for use in mine for arn in use.resources},
        "aws_regions": {region for use in mine for region in use.regions},
        "aws_services": {action.partition(":")[0] for action in actions},
        "aws_access_levels": {
            level
            for use, seen in mine.items()
            for level in recorded_levels(use.actions, seen.access_level)
        },
    }
    for field, texts in needed.items():
        # What is not known needs ``*``.
        unknown = any(
            not getattr(use, field.removeprefix("aws_"))
            for use in mine
            if field in ("aws_resources", "aws_regions")
        )
        for value in getattr(allow, field):
            if (unknown and value == "*") or any(text_matches([value], t, traits) for t in texts):
                continue
            yield NotUsed(rule, field, value, "never used")


def _actions_not_used(rule: str, patterns: Sequence[str], used: set[str]) -> Iterator[NotUsed]:
    if not patterns:
        what = f"every action of every service is granted, {len(used)} used"
        yield NotUsed(rule, "aws_actions", "", what)
    for pattern in patterns:
        fitting = {action for action in used if _fits(pattern, action)}
        if not fitting:
            yield NotUsed(rule, "aws_actions", pattern, "never used")
            continue
        service, _, name = pattern.lower().partition(":")
        total = sum(glob_matches(name, each) for each in levels_of(service))
        if pattern == "*":
            yield NotUsed(rule, "aws_actions", pattern, f"every action, {len(fitting)} used")
        elif total > len(fitting):
            yield NotUsed(rule, "aws_actions", pattern, f"{len(fitting)} of {total} actions used")


def _fits(pattern: str, action: str) -> bool:
    return pattern == "*" or glob_matches(pattern.lower(), action)


def _moment(time: str) -> datetime | None:
    try:
        return datetime.fromisoformat(time)
    except ValueError:
        return None
