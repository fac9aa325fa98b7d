"""The JSON of access requests: see ``shapes``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from awsgate.policy.accessrequest import MAX_TEXT_CHARS
from awsgate.web.shapes import Answer, Asked


class Requestable(Answer):
    """A role that the caller may ask for, and on what terms."""

    role: str
    max_duration_s: int
    reason_required: bool
    prompt: str
    reviewers: list[str]
    """Suggested; others may answer too."""


class RequestableRoles(Answer):
    """All of them."""

    roles: list[Requestable]


class AccessAsked(Asked):
    """A role for a while."""

    role: Annotated[str, Field(min_length=1, max_length=255)]
    reason: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""
    duration_s: Annotated[int, Field(ge=0, le=10**9)] = 0
    """0: an hour, or less if the terms are shorter."""


class ReviewAsked(Asked):
    """An answer to a request."""

    approve: bool
    reason: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""


class ReviewInfo(Answer):
    """What one reviewer said."""

    reviewer: str
    connector: str
    approved: bool
    reason: str
    at: int


class CallInfo(Answer):
    """A call that needs an approval."""

    role_arn: str
    actions: list[str]
    resources: list[str]
    """ARNs; none: the request does not tell them."""


class AccessInfo(Answer):
    """An access request."""

    id: str
    user: str
    connector: str
    role: str
    reason: str
    duration_s: int
    state: Literal["pending", "approved", "denied", "expired", "revoked", "ended"]
    asked_at: int
    expires_at: int
    """Until when it may be answered."""
    decided_at: int
    until: int
    """When the role ends, or ended; 0: it was not granted."""
    revoked_by: str
    reviews: list[ReviewInfo]
    suggested_reviewers: list[str]
    what: str
    """What is asked for, in words: the role, or the call. Whoever answers must see it."""
    call: CallInfo | None
    """What is asked for, if it is one call; ``role`` is then the one that marks it."""
    own: bool
    """It is the caller's."""
    may_review: bool
    """The caller may answer it now."""


class AccessRequests(Answer):
    """The caller's, those that they may answer, and for administrators all."""

    requests: list[AccessInfo]
