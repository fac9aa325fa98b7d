"""Single calls that need somebody's consent, though a role allows them. Pure.

Ours, under ``allow`` of a role:

    approvals:
      - actions: ["iam:Delete*", ec2:TerminateInstances]
        duration: 30m                        # how long an approval is good for
        thresholds: [{approve: 2, deny: 1}]  # as of allow.request
        suggested_reviewers: [bob]

A mark is one more condition of its allow: a call that another role allows without one needs
no approval. What is not known about a call may be what is marked, as in a deny; and what is
not known can be put to nobody, so such a call is refused. An approval is for the very call:
these actions, on these resources, as this role, by this user.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal
from unicodedata import bidirectional

from pydantic import Field

from awsgate.aws.call import Call
from awsgate.policy.callfields import ActionPattern, some
from awsgate.policy.fields import Name, Seconds
from awsgate.policy.globs import action_fits
from awsgate.policy.model import Model
from awsgate.policy.requests import MAX_DURATION_S, Terms, Threshold
from awsgate.visible import is_visible

DEFAULT_APPROVAL_S = 3600
MAX_RESOURCES = 20
MAX_CHARS = 4096
"""Of all that a reviewer has to read: more can be put to nobody."""
_QUOTED = re.compile(r'[\s,"]')
_TURNING = frozenset({"R", "AL", "AN"})


class Mark(Model):
    """Actions that need an approval, and on what terms."""

    actions: Annotated[tuple[ActionPattern, ...], some]
    """IAM actions with globs, in any case."""
    duration_s: Seconds | None = Field(default=None, alias="duration")
    thresholds: tuple[Threshold, ...] = ()
    """Empty: one approval, one denial."""
    suggested_reviewers: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class MarkedCall:
    """What is put to the reviewers, and what they approve: this and nothing else."""

    role: str
    """Name of the role of the policy that marks it."""
    role_arn: str
    actions: tuple[str, ...]
    """Those that are marked."""
    resources: tuple[str, ...]
    """ARNs; empty: the request does not tell them."""

    @property
    def text(self) -> str:
        """Give it in words, which say nothing else: names of resources are the caller's own."""
        on = ", ".join(map(shown, self.resources)) or "resources that are not known"
        return f"{', '.join(self.actions)} on {on}"


@dataclass(frozen=True, slots=True)
class Need:
    """A call that waits for an approval, and the terms on which it may be asked for."""

    call: MarkedCall
    terms: Terms


@dataclass(frozen=True, slots=True)
class AskedCall:
    """What has become of a request for an approval, and until when that holds."""

    request: str
    """Id of the access request."""
    user: str
    connector: str
    call: MarkedCall
    state: Literal["approved", "pending", "denied"]
    until: int
    """Epoch seconds; at that second it is over."""
    by: str = ""
    """Of a denied one: who said no, and why."""
    reason: str = ""


def shown(resource: str) -> str:
    """Give a resource as it is read for one: quoted, if its name could be taken for more.

    The key of an object may hold another ARN, a role, a time. Letters that are written from
    the right would move what stands beside them: they are escaped, as is what is not seen.
    """
    turns = not _TURNING.isdisjoint(map(bidirectional, resource))
    seen = is_visible(resource)
    if seen and not turns and _QUOTED.search(resource) is None:
        return resource
    return json.dumps(resource, ensure_ascii=turns or not seen)


def is_marked(marks: Iterable[Mark], call: Call) -> bool:
    """True if a call needs an approval, or may need one: its actions are not known."""
    return not call.actions or any(_fitting(marks, action) for action in call.actions)


def need_of(marks: Sequence[Mark], call: Call, *, role: str, role_arn: str) -> Need | None:
    """Give what a call that is marked needs; None: it can be put to nobody."""
    fitting = {action: found for action in call.actions if (found := _fitting(marks, action))}
    resources = tuple(sorted(set(call.resources)))
    chars = sum(map(len, resources)) + sum(map(len, fitting))
    if not fitting or len(resources) > MAX_RESOURCES or chars > MAX_CHARS:
        return None
    asked = MarkedCall(role, role_arn, tuple(sorted(fitting)), resources)
    return Need(asked, _terms([mark for found in fitting.values() for mark in found]))


def _fitting(marks: Iterable[Mark], action: str) -> list[Mark]:
    return [mark for mark in marks if action_fits(mark.actions, action)]


def _terms(marks: Sequence[Mark]) -> Terms:
    """Give the terms of all marks that fit: the strictest thresholds, the shortest time."""
    strictest = max(marks, key=_least_approvals)
    times = [mark.duration_s or DEFAULT_APPROVAL_S for mark in marks]
    return Terms(
        thresholds=tuple(
            dict.fromkeys((t.approve, t.deny) for t in strictest.thresholds or (Threshold(),))
        ),
        max_duration_s=min(*times, MAX_DURATION_S),
        reason_required=False,
        reviewers=tuple(dict.fromkeys(n for mark in marks for n in mark.suggested_reviewers)),
    )


def _least_approvals(mark: Mark) -> int:
    return min((threshold.approve for threshold in mark.thresholds), default=1)
