"""What each rule of a user says about a call. For explanations; ``decide`` decides. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from awsgate.policy.conditions import CallFacts, may_hold
from awsgate.policy.decide import denies_call, lists_endpoint, needs_approval, unmet_by
from awsgate.policy.matching import matches_both
from awsgate.policy.resources import App, Policy, Role, User
from awsgate.policy.rules import Allow, CallConditions, Deny
from awsgate.policy.standing import roles_of, rule_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says about one call."""

    rule: str
    """``role/<name>``."""
    effect: Literal["allow", "deny"]
    matches: bool
    unmet: tuple[str, ...] = ()
    """The fields that do not match, by their names."""


def verdicts(
    policy: Policy,
    *,
    user: str,
    app: str,
    role_arn: str,
    endpoint_service: str,
    tenant_controlled: bool,
    call: CallFacts | None = None,
) -> tuple[Verdict, ...]:
    """Give what each rule of the user says, in the order in which they are asked.

    Denials of apps and ARNs, then those of calls, then what allows. For explanations;
    ``decide`` decides. A role with no deny has no verdict of one.
    """
    who, what = policy.users.get(user), policy.apps.get(app)
    if who is None or what is None:
        return ()
    standing, on_call, allowing = [], [], []
    for role in roles_of(policy, who):
        deny, allow = role.spec.deny, role.spec.allow
        if deny.about_calls:
            missing = _undenied(deny, who, what, role_arn, call)
            on_call.append(Verdict(rule_of(role), "deny", not missing, missing))
        elif deny.app_labels or deny.aws_role_arns:
            matches = any(matches_both(deny, who, what, role_arn))
            missing = () if matches else _given(deny)
            standing.append(Verdict(rule_of(role), "deny", matches, missing))
        if allow.app_labels or allow.aws_role_arns:
            missing = _unallowed(role, who, what, role_arn)
            if tenant_controlled and not lists_endpoint(role, endpoint_service):
                missing += ("aws_tenant_endpoints",)
            if call is not None:
                missing += unmet_by(role, who, call)
                missing += ("approvals",) * needs_approval(role, call)
            allowing.append(Verdict(rule_of(role), "allow", not missing, missing))
    return (*standing, *on_call, *allowing)


def _given(rules: Allow | Deny) -> tuple[str, ...]:
    return tuple(name for name in ("app_labels", "aws_role_arns") if getattr(rules, name))


def _unallowed(role: Role, user: User, app: App, role_arn: str) -> tuple[str, ...]:
    labels, arn = matches_both(role.spec.allow, user, app, role_arn)
    return (*["app_labels"] * (not labels), *["aws_role_arns"] * (not arn))


def _undenied(
    deny: Deny, user: User, app: App, role_arn: str, call: CallFacts | None
) -> tuple[str, ...]:
    """Give the fields that keep a deny of calls from this one; empty: it denies it."""
    if call is None:
        return ("the call",)
    if denies_call(deny, user, app, role_arn, call):
        return ()
    scope = _given(deny)
    elsewhere = scope and not any(matches_both(deny, user, app, role_arn))
    alone = {
        name: CallConditions.model_construct(**{name: getattr(deny, name)})
        for name in CallConditions.model_fields
    }
    kept = [name for name, one in alone.items() if not may_hold(one, call, user.spec.traits)]
    return (*(scope if elsewhere else ()), *kept)
