"""Access requests in words, for the audit, the webhook and people. Pure."""

from __future__ import annotations

from typing import Any

from awsgate.policy.accessrequest import AccessRequest, State
from awsgate.policy.approvals import MarkedCall
from awsgate.policy.requests import Terms
from awsgate.timestamps import duration_of, utc_seconds_of
from awsgate.visible import escaped


def what(request: AccessRequest) -> str:
    """Give what is asked for, as a part of a sentence."""
    return in_words(request) if request.call is not None else f"the role {request.role}"


def in_words(request: AccessRequest) -> str:
    """Give what is asked for: a role by its name, or a call. It can be shown."""
    if request.call is None:
        return request.role
    return f"{request.call.text} as {request.call.role_arn}"


def whose(request: AccessRequest) -> str:
    """Give who asks, and who vouches for them."""
    return f"{request.user} ({request.connector})"


def how_long(request: AccessRequest) -> str:
    """Give the time it is asked for."""
    return duration_of(request.duration_s)


def became(request: AccessRequest) -> str:
    """Give what has become of it, and by whom."""
    by = ", ".join(one.reviewer for one in request.reviews)
    if request.state is State.REVOKED:
        return f"revoked by {request.revoked_by}"
    until = f" until {utc_seconds_of(request.until)}" if request.until else ""
    return f"{request.state.value} by {by}{until}"


def said(reason: str) -> str:
    """Give a reason as the end of a sentence; nothing, if there is none."""
    return f": {escaped(' '.join(reason.split()))}" if reason.strip() else ""


def slack_text(text: str) -> str:
    """Give a text in which nothing is a mention, a link or markup of Slack's."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def described_call(call: MarkedCall) -> dict[str, Any]:
    """Give a call that needs an approval, as the API and ``--json`` have it."""
    return {
        "role_arn": call.role_arn,
        "actions": list(call.actions),
        "resources": list(call.resources),
    }


def described_terms(role: str, terms: Terms) -> dict[str, Any]:
    """Give a role that may be asked for, as the API and ``--json`` have it."""
    return {
        "role": role,
        "max_duration_s": terms.max_duration_s,
        "reason_required": terms.reason_required,
        "prompt": terms.prompt,
        "reviewers": list(terms.reviewers),
    }
