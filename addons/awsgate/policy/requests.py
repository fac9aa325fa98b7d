"""Roles that somebody may ask for: which, on what terms, and who may grant them. Pure.

The reference product's fields, under ``allow`` and ``deny`` of a role:

    request:
      roles: [dba, prod-*]              # a name, a glob, or ^a regular expression$
      thresholds: [{approve: 2, deny: 1}]
      max_duration: 4h
      reason: {mode: required, prompt: "ticket?"}
    review_requests:
      roles: [dba]

A deny of either beats an allow. Nobody reviews a request of their own. A request is granted
when one of its thresholds has its approvals, and refused when one has its denials; the
terms are those of the moment at which it was asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from awsgate.policy.fields import Name, Seconds, Text
from awsgate.policy.model import Model, PositiveInt
from awsgate.policy.valuepattern import fit_of, value_pattern

if TYPE_CHECKING:
    from awsgate.policy.rules import RoleSpec

DEFAULT_DURATION_S = 4 * 3600
MAX_DURATION_S = 14 * 24 * 3600
"""The reference's longest."""

RolePattern = Annotated[Name, AfterValidator(value_pattern)]


class Threshold(Model):
    """How many say yes, or no, until that is the answer."""

    name: Text = ""
    approve: PositiveInt = 1
    deny: PositiveInt = 1


class Reason(Model):
    """Whether one must say why."""

    mode: Literal["required", "optional"] = "optional"
    prompt: Text = ""


class Request(Model):
    """What may be asked for."""

    roles: tuple[RolePattern, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    """Empty: one approval, one denial."""
    max_duration_s: Seconds | None = Field(default=None, alias="max_duration")
    reason: Reason = Field(default_factory=Reason)
    suggested_reviewers: tuple[Name, ...] = ()


class ReviewRequests(Model):
    """Whose requests may be answered."""

    roles: tuple[RolePattern, ...] = ()


type Thresholds = tuple[tuple[int, int], ...]
"""Pairs of approvals and denials; any of them decides."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a role may be asked for."""

    thresholds: Thresholds
    max_duration_s: int
    reason_required: bool
    prompt: str = ""
    reviewers: tuple[str, ...] = ()
    """Suggested; others may answer too."""


def terms_for(rules: Iterable[RoleSpec], role: str) -> Terms | None:
    """Give the terms on which ``role`` may be asked for by who has these roles; None: not.

    Of several rules that allow it: every threshold of any counts, the shortest duration
    does, and a reason is needed if one of them wants it.
    """
    specs = list(rules)
    denied = [spec.deny.request for spec in specs if spec.deny.request is not None]
    allowed = [spec.allow.request for spec in specs if spec.allow.request is not None]
    found = [rule for rule in allowed if _fits(rule.roles, role)]
    if not found or any(_fits(rule.roles, role) for rule in denied):
        return None
    thresholds = dict.fromkeys(
        (t.approve, t.deny) for rule in found for t in rule.thresholds or (Threshold(),)
    )
    durations = [rule.max_duration_s for rule in found if rule.max_duration_s is not None]
    reasons = [rule.reason for rule in found if rule.reason.mode == "required"]
    return Terms(
        thresholds=tuple(thresholds),
        max_duration_s=min([*durations, MAX_DURATION_S]) if durations else DEFAULT_DURATION_S,
        reason_required=bool(reasons),
        prompt=next((r.prompt for r in reasons if r.prompt), ""),
        reviewers=tuple(dict.fromkeys(n for rule in found for n in rule.suggested_reviewers)),
    )


def may_review(rules: Iterable[RoleSpec], role: str) -> bool:
    """True if who has these roles may answer a request of somebody else's for ``role``."""
    specs = list(rules)
    denied = [s.deny.review_requests for s in specs if s.deny.review_requests is not None]
    allowed = [s.allow.review_requests for s in specs if s.allow.review_requests is not None]
    return any(_fits(rule.roles, role) for rule in allowed) and not any(
        _fits(rule.roles, role) for rule in denied
    )


def outcome(thresholds: Thresholds, verdicts: Mapping[str, bool]) -> bool | None:
    """Give what the reviewers' verdicts come to: True, False, or None for not yet.

    ``verdicts``: reviewer -> yes or no; each counts once. Where both would do, no wins.
    """
    yes = sum(verdicts.values())
    no = len(verdicts) - yes
    if any(no >= deny for _, deny in thresholds):
        return False
    return True if any(yes >= approve for approve, _ in thresholds) else None


def _fits(patterns: Iterable[str], role: str) -> bool:
    return any(fit_of(pattern)(role) is not None for pattern in patterns)
