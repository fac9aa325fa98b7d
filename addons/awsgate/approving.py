"""Calls that need somebody's approval: whether there is one, and what the caller is told. Pure.

The gate knows what has become of the requests that its process has heard of (``GrantBook``).
For a call that nobody has asked for yet it raises ``Unapproved``: whoever drives the gate
then asks, and tells the caller the id of the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from awsgate.errors import Code, Refusal
from awsgate.policy import Decision
from awsgate.policy.approvals import AskedCall, Need
from awsgate.policy.decide import ALLOWED
from awsgate.policy.grants import GrantBook
from awsgate.requestwords import said
from awsgate.session import Session
from awsgate.timestamps import utc_seconds_of


class Unapproved(Refusal):
    """A call that may pass once somebody has approved it, and of which nobody was told."""

    def __init__(self, user: str, need: Need, rule: str) -> None:
        super().__init__(
            Code.PENDING_APPROVAL,
            f"{user} may not do this yet: {', '.join(need.call.actions)} needs an approval",
            hint="send it again in a moment",
            detail=rule,
        )
        self.need = need


def settled(
    decision: Decision, grants: GrantBook, session: Session, now: datetime
) -> tuple[Decision, Decision | None]:
    """Give the decision on a call as it is with an approval, and what holds if there is none.

    None: there is one, or none is needed. The first is for what else may refuse the call:
    nobody is to be asked for what is refused anyway.
    """
    if not decision.needs:
        return decision, None
    issued = session.issued
    if issued is not None and issued.role_arn:  # as whom it is done, who approves it must know
        decision = replace(decision, needs=tuple(_as(issued.role_arn, decision.needs)))
    whose = session.user, session.connector
    found = [grants.asked(*whose, need.call, now.timestamp()) for need in decision.needs]
    approved = next((one for one in found if one is not None and one.state == "approved"), None)
    passes = replace(decision, allowed=True, reason=ALLOWED, needs=())
    if approved is not None:
        rule = f"role/{approved.call.role}"
        return replace(passes, rule=rule, approval=approved.request), None
    return passes, replace(decision, asked=next(filter(None, found), None))


def _as(role_arn: str, needs: Iterable[Need]) -> Iterator[Need]:
    return (replace(need, call=replace(need.call, role_arn=role_arn)) for need in needs)


def refusal(decision: Decision) -> Refusal:
    """Give the refusal of a call that has no approval."""
    if decision.asked is not None:
        return told(decision.user, decision.asked, decision.rule)
    return Unapproved(decision.user, decision.needs[0], decision.rule)


def told(user: str, asked: AskedCall, rule: str) -> Refusal:
    """Give the refusal of a call that somebody has been asked to approve."""
    actions = ", ".join(asked.call.actions)
    if asked.state == "denied":
        return Refusal(
            Code.DENIED,
            f"{user} may not do this: {asked.by} denied {asked.request} for {actions}"
            f"{said(asked.reason)}",
            hint=f"it can be asked for anew after {utc_seconds_of(asked.until)}",
            detail=rule,
        )
    return Refusal(
        Code.PENDING_APPROVAL,
        f"{user} may not do this yet: {actions} needs an approval, and {asked.request} asks for it",
        hint=f"awsgate request show {asked.request} --wait waits for the answer; "
        "then send the call again",
        detail=rule,
    )
