"""The two families of failure, and the stable refusal codes.

A ``Refusal`` ends one request: the caller reads it, in the protocol of the call
(``aws.faults`` gives it that shape). A ``SetupError`` ends start-up or a command:
the operator reads it on stderr, with what to do next.

Nothing here may carry a secret: both kinds are logged.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Why a request was refused. Stable: metric label, audit field, docs anchor."""

    MISSING_FORWARDED_HOST = "missing-forwarded-host"
    BAD_FORWARDED_HOST = "bad-forwarded-host"
    NOT_AN_AWS_ENDPOINT = "not-an-aws-endpoint"
    SCOPE_MISMATCH = "scope-mismatch"
    NOT_SIGNED = "not-signed"
    BAD_SIGNATURE = "bad-signature"
    CLOCK_SKEW = "clock-skew"
    UNKNOWN_KEY = "unknown-key"
    SESSION_EXPIRED = "session-expired"
    LOCKED = "locked"
    DENIED = "denied"
    PENDING_APPROVAL = "pending-approval"
    THROTTLED = "throttled"
    ROLE_UNAVAILABLE = "role-unavailable"
    BODY_TOO_LARGE = "body-too-large"
    UNSUPPORTED = "unsupported"
    UPSTREAM_FAILED = "upstream-failed"
    GATEWAY_FAULT = "gateway-fault"


class GateError(Exception):
    """Any failure that awsgate foresees."""


class Refusal(GateError):
    """A request that is not forwarded.

    ``str(self)`` goes to the caller, so it names nothing that the caller did not
    send or may not know. ``hint`` says what the caller can do. ``detail`` is for
    the audit line alone.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.status = status
        """HTTP status; None means the code's usual one (``aws.faults``)."""
        self.detail = detail

    def __repr__(self) -> str:
        return f"Refusal({self.code.value}: {self.message})"


class SetupError(GateError):
    """awsgate cannot start, or a command cannot be carried out.

    ``faults`` lists every single thing that is wrong, each with its place, so that
    the operator mends all of them at once.
    """

    def __init__(self, message: str, *, hint: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.faults = faults

    def render(self) -> str:
        """Give the text for stderr: what is wrong, each fault, what to do."""
        lines = [f"awsgate: error: {self.message}"]
        lines += [f"  {fault}" for fault in self.faults]
        if self.hint:
            lines.append(f"awsgate: hint: {self.hint}")
        return "\n".join(lines)
