"""Audit lines about access requests. Pure."""

from __future__ import annotations

from awsgate.auditline import AuditRecord
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
    """Give an audit line about a request; when it was written is left to the writer."""
    return AuditRecord(
        event=kind,
        user=user,
        session=session,
        client=client,
        decision="allowed",
        rule=f"role/{request.role}",
        reason=f"{request.id}: {text}",
    )


def ended_line(request: AccessRequest) -> AuditRecord:
    """Give the audit line of a request that has ended by itself."""
    return line(ENDED, request, request.state.value, user=request.user)
