"""Why a call is allowed or denied: each rule's verdict, and what the nearest rule lacks.

``decide`` decides; this module asks it, and looks up in words what it compared. Pure
and total.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from awsgate.policy.conditions import CallFacts
from awsgate.policy.decide import Decision, decide
from awsgate.policy.resources import App, Policy, Role
from awsgate.policy.rules import Hours
from awsgate.policy.verdicts import Verdict, verdicts

UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Missing:
    """One field of a rule that keeps a call out."""

    field: str
    has: str
    """Of the call."""
    wants: str
    """Of the rule."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The rule that allows the call, but for what is missing."""

    rule: str
    place: str
    missing: tuple[Missing, ...]
    """Nothing: it does, and a deny rule wins over it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with its reasons."""

    decision: Decision
    verdicts: tuple[Verdict, ...]
    """In the order in which the rules are asked."""
    nearest: Nearest | None
    """None: it is allowed, or no rule of the user allows anything."""


def explain(
    policy: Policy,
    *,
    user: str,
    app: str,
    role_arn: str,
    endpoint_service: str,
    tenant_controlled: bool,
    call: CallFacts | None,
) -> Explanation:
    """Explain one call, or with no ``call`` whether the user may be the role at all."""
    asked = (user, app, role_arn, endpoint_service, tenant_controlled, call)
    decision = decide(
        policy,
        user=user,
        app=app,
        role_arn=role_arn,
        endpoint_service=endpoint_service,
        tenant_controlled=tenant_controlled,
        call=call,
    )
    said = verdicts(
        policy,
        user=user,
        app=app,
        role_arn=role_arn,
        endpoint_service=endpoint_service,
        tenant_controlled=tenant_controlled,
        call=call,
    )
    refused = not decision.allowed or bool(decision.reported)
    return Explanation(decision, said, _nearest(policy, said, asked) if refused else None)


def _nearest(
    policy: Policy,
    said: Iterable[Verdict],
    asked: tuple[str, str, str, str, bool, CallFacts | None],
) -> Nearest | None:
    allowing = [verdict for verdict in said if verdict.effect == "allow"]
    if not allowing:
        return None
    best = min(allowing, key=_distance)
    role = policy.roles[best.rule.removeprefix("role/")]
    _, app, role_arn, service, _, call = asked
    return Nearest(
        best.rule,
        policy.places.get(best.rule, ""),
        tuple(
            Missing(
                name,
                _has(name, policy.apps.get(app), role_arn, service, call),
                _wants(name, role),
            )
            for name in best.unmet
        ),
    )


def _distance(verdict: Verdict) -> tuple[bool, bool, int]:
    """A rule for another role is furthest away, then one for another app, then for a call."""
    return "aws_role_arns" in verdict.unmet, "app_labels" in verdict.unmet, len(verdict.unmet)


def _has(name: str, app: App | None, role_arn: str, service: str, facts: CallFacts | None) -> str:
    if name == "app_labels":
        return _pairs(app.labels) if app is not None else UNKNOWN
    if name == "aws_role_arns":
        return role_arn
    if name == "aws_tenant_endpoints":
        return service
    if facts is None:
        return UNKNOWN
    call = facts.call
    found: Mapping[str, str] = {
        "aws_actions": ", ".join(call.actions),
        "approvals": ", ".join(call.actions),
        "aws_resources": ", ".join(call.resources),
        "aws_regions": ", ".join(facts.regions),
        "aws_services": call.service,
        "aws_access_levels": ", ".join(call.access_levels),
        "source_networks": facts.client,
        "hours": f"{facts.now:%a %H:%M %Z}".strip() if facts.now is not None else "",
        "max_session_requests": str(facts.requests),
        "max_session_bytes": str(facts.bytes),
    }
    return found.get(name, "") or UNKNOWN


def _wants(name: str, role: Role) -> str:
    """Give what the rule asks for, as it stands in the policy."""
    allow, options = role.spec.allow, role.spec.options
    if name.startswith("max_session"):
        return f"at most {getattr(options, name)}"
    value = getattr(allow, name)
    if name == "app_labels":
        return _pairs({key: " or ".join(values) for key, values in value.items()}) or "none"
    if name == "approvals":
        marked = ", ".join(action for mark in allow.approvals for action in mark.actions)
        return f"somebody's approval of {marked}"
    if name == "hours":
        return "; ".join(map(_window, value))
    return ", ".join(value) or "none"


def _window(hours: Hours) -> str:
    return f"{' '.join(hours.days)} {hours.start} to {hours.end} {hours.timezone}"


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in labels.items())
