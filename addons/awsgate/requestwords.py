"""Access requests in words, for the audit, the webhook and people. Pure."""

from __future__ import annotations

from awsgate.policy.accessrequest import AccessRequest, State
from awsgate.timestamps import utc_seconds_of


def what(request: AccessRequest) -> str:
    """Give what is asked for."""
    if request.call is None:
        return f"the role {request.role}"
    text = f"{request.call.text} as {request.call.role_arn}"
    # Names of objects are the caller's own, and must not look like another line.
    return "".join(char if char.isprintable() else "?" for char in text)


def whose(request: AccessRequest) -> str:
    """Give who asks, and who vouches for them."""
    return f"{request.user} ({request.connector})"


def how_long(request: AccessRequest) -> str:
    """Give the time it is asked for."""
    minutes, seconds = divmod(request.duration_s, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def became(request: AccessRequest) -> str:
    """Give what has become of it, and by whom."""
    by = ", ".join(one.reviewer for one in request.reviews)
    if request.state is State.REVOKED:
        return f"revoked by {request.revoked_by}"
    until = f" until {utc_seconds_of(request.until)}" if request.until else ""
    return f"{request.state.value} by {by}{until}"


def said(reason: str) -> str:
    """Give a reason as the end of a sentence; nothing, if there is none."""
    return f": {' '.join(reason.split())}" if reason.strip() else ""


def slack_text(text: str) -> str:
    """Give a text in which nothing is a mention, a link or markup of Slack's."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
