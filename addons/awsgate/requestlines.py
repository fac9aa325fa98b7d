"""Audit lines about access requests. Pure."""

from __future__ import annotations

from awsgate.auditline import AuditRecord, resource_text
from awsgate.policy.accessrequest import AccessRequest

CREATE, REVIEW, GRANTED, ENDED = (
    "request.create",
    "request.review",
    "request.granted",
    "request.ended",
)


def line(
    kind: str, request: AccessRequest, text: str, *, user: str, client: str = "", session: str = ""
) -> AuditRecord:
    """Give an audit line about a request; when it was written is left to the writer.

    Of a call it has all that was asked for, where words are cut: the request itself is
    forgotten one day.
    """
    call = request.call
    return AuditRecord(
        event=kind,
        user=user,
        session=session,
        client=client,
        role_arn=call.role_arn if call is not None else "",
        action=" ".join(call.actions) if call is not None else "",
        resource=resource_text(call.resources) if call is not None else "",
        decision="allowed",
        rule=f"role/{request.role}",
        reason=f"{request.id}: {text}",
    )


def ended_line(request: AccessRequest) -> AuditRecord:
    """Give the audit line of a request that has ended by itself."""
    return line(ENDED, request, request.state.value, user=request.user)
