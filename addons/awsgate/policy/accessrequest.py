"""One request, for a role or for one call: what it goes through, from asked to over. Pure.

    pending   ->  approved, denied (its reviewers' verdicts), expired (nobody answered)
    approved  ->  ended (its time is over)
    both      ->  revoked (taken back)

A request never comes back: whoever needs the role again asks again. What is kept says
which of these it reached; that its time is over, the clock says (``state_at``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from awsgate.policy.approvals import AskedCall, MarkedCall, Need
from awsgate.policy.fields import same_name
from awsgate.policy.grants import Grant
from awsgate.policy.requests import Terms, Thresholds, outcome

PENDING_S = 24 * 3600
"""How long an answer may take."""
DEFAULT_DURATION_S = 3600
"""Of a role, where it is not said; less if its terms are shorter."""
DENIED_S = 3600
"""How long a call that was denied is refused before it can be asked for anew."""
MAX_TEXT_CHARS = 512
"""Of a reason, the asker's or a reviewer's."""


class State(StrEnum):
    """How far a request has come."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    """Nobody answered in time."""
    REVOKED = "revoked"
    ENDED = "ended"
    """It was granted, and its time is over."""


LIVE = (State.PENDING, State.APPROVED)
"""In which a request waits for something: an answer, or its end."""


@dataclass(frozen=True, slots=True)
class Review:
    """What one reviewer said."""

    reviewer: str
    connector: str
    approved: bool
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A request. Times in epoch seconds; 0: not yet."""

    id: str
    user: str
    connector: str
    role: str
    """That is asked for; of a call, that which marks it."""
    reason: str
    duration_s: int
    asked_at: int
    expires_at: int
    """Until when it may be answered."""
    thresholds: Thresholds
    suggested: tuple[str, ...] = ()
    state: State = State.PENDING
    """As it is kept: see ``state_at``."""
    decided_at: int = 0
    until: int = 0
    """When the grant ends, or ended."""
    closed_at: int = 0
    """When its end was recorded."""
    revoked_by: str = ""
    reviews: tuple[Review, ...] = field(default=())
    call: MarkedCall | None = None
    """What is asked for, if it is one call and no role."""

    def state_at(self, now: float) -> State:
        """Give the state at a moment."""
        if self.state is State.PENDING and now >= self.expires_at:
            return State.EXPIRED
        if self.state is State.APPROVED and now >= self.until:
            return State.ENDED
        return self.state

    @property
    def deadline(self) -> int:
        """Give when it changes by itself; 0: never."""
        if self.closed_at:
            return 0
        return {State.PENDING: self.expires_at, State.APPROVED: self.until}.get(self.state, 0)

    def grant(self) -> Grant | None:
        """Give what it grants; None: nothing, or not any more."""
        if self.state is not State.APPROVED or self.call is not None:
            return None
        return Grant(self.id, self.user, self.connector, self.role, self.until)

    def asked_call(self) -> AskedCall | None:
        """Give what has become of a call that was asked for; None: nothing, or it is a role."""
        if self.call is None:
            return None
        whose = self.id, self.user, self.connector, self.call
        if self.state is State.APPROVED:
            return AskedCall(*whose, "approved", self.until)
        if self.state is State.PENDING:
            return AskedCall(*whose, "pending", self.expires_at)
        if self.state is not State.DENIED:
            return None
        no = next((one for one in reversed(self.reviews) if not one.approved), None)
        by, reason = (no.reviewer, no.reason) if no is not None else ("somebody", "")
        return AskedCall(*whose, "denied", self.decided_at + DENIED_S, by, reason)


class NotNow(Exception):
    """A request is not in a state, or not of a kind, in which this can be done."""


def asked(
    request_id: str,
    user: str,
    connector: str,
    role: str,
    *,
    terms: Terms,
    reason: str,
    duration_s: int,
    now: int,
) -> AccessRequest:
    """Give a new request. ``duration_s`` 0: what is usual. Raises ``NotNow`` with what is wrong."""
    most = terms.max_duration_s
    if duration_s > most:
        raise NotNow(f"{role} may be asked for {most} seconds at most")
    if terms.reason_required and not reason.strip():
        prompt = f": {terms.prompt}" if terms.prompt else ""
        raise NotNow(f"{role} needs a reason{prompt}")
    return AccessRequest(
        id=request_id,
        user=user,
        connector=connector,
        role=role,
        reason=reason.strip(),
        duration_s=duration_s or min(DEFAULT_DURATION_S, most),
        asked_at=now,
        expires_at=now + PENDING_S,
        thresholds=terms.thresholds,
        suggested=terms.reviewers,
    )


def asked_for(request_id: str, user: str, connector: str, need: Need, *, now: int) -> AccessRequest:
    """Give a new request for one call, as the call itself makes it."""
    return AccessRequest(
        id=request_id,
        user=user,
        connector=connector,
        role=need.call.role,
        reason="",
        duration_s=need.terms.max_duration_s,
        asked_at=now,
        expires_at=now + PENDING_S,
        thresholds=need.terms.thresholds,
        suggested=need.terms.reviewers,
        call=need.call,
    )


def reviewed(request: AccessRequest, review: Review) -> AccessRequest:
    """Give the request with one more verdict, and what that comes to.

    Raises ``NotNow`` if it waits for none, if it is the reviewer's own, or if they have
    given theirs. A reviewer is a name, whatever login it came by: one person with two
    logins is one reviewer, and never their own.
    """
    state = request.state_at(review.at)
    if state is not State.PENDING:
        raise NotNow(f"the request {request.id} is {state.value} already")
    if same_person(review.reviewer, request.user):
        raise NotNow("nobody reviews a request of their own")
    if any(same_person(review.reviewer, one.reviewer) for one in request.reviews):
        raise NotNow(f"{review.reviewer} has reviewed the request {request.id} already")
    reviews = (*request.reviews, review)
    found = outcome(request.thresholds, _verdicts(reviews))
    if found is None:
        return replace(request, reviews=reviews)
    if not found:
        return replace(request, reviews=reviews, state=State.DENIED, decided_at=review.at)
    until = review.at + request.duration_s
    return replace(
        request, reviews=reviews, state=State.APPROVED, decided_at=review.at, until=until
    )


def revoked(request: AccessRequest, *, by: str, now: int) -> AccessRequest:
    """Give the request, taken back. Raises ``NotNow`` if there is nothing to take back."""
    state = request.state_at(now)
    if state not in LIVE:
        raise NotNow(f"the request {request.id} is {state.value} already")
    until = min(request.until, now) if request.until else 0
    return replace(request, state=State.REVOKED, revoked_by=by, until=until, closed_at=now)


def closed(request: AccessRequest, now: int) -> AccessRequest:
    """Give the request with its end noted; the same if it has not come."""
    if not request.deadline or now < request.deadline:
        return request
    return replace(request, state=request.state_at(now), closed_at=now)


def same_person(one: str, other: str) -> bool:
    """True if two names may be one person's, as for logins: case and forms of Unicode vary."""
    return same_name(one) == same_name(other)


def _verdicts(reviews: tuple[Review, ...]) -> Mapping[str, bool]:
    return {same_name(review.reviewer): review.approved for review in reviews}
