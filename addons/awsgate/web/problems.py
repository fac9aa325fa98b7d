"""What the API says where it does not do what it is asked: a stable code, why, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from awsgate.connect.ways import LoginRefused
from awsgate.errors import Code, Refusal

BAD_REQUEST = "bad-request"
NOT_FOUND = "not-found"
TOO_MANY = "too-many-attempts"
BUSY = "busy"
CONNECTOR_UNAVAILABLE = "connector-unavailable"
UNKNOWN_CONNECTOR = "unknown-connector"
NO_SUCH_WAY = "no-such-way"
WRONG_PASSWORD = "wrong-password"  # noqa: S105 - a code
UNKNOWN_LOGIN = "unknown-login"
AMBIGUOUS = "ambiguous"
NOT_ADMIN = "not-admin"
EXISTS = "exists"
PERMANENT = "permanent"

_REFUSED = 401
"""An identity that is not proved; the reasons below mean something else."""
_STATUS: Mapping[str, int] = MappingProxyType(
    {
        "no-role": 403,
        "taken": 403,
        "too-large": 403,
        "too-many-logins": 429,
        "locked": 403,
        "email-not-verified": 403,
        "bad-name": 403,
        "weak-password": 400,
        "provider-failed": 502,
        "denied": 403,
        "session-expired": 401,
        "unknown-key": 401,
        "not-signed": 401,
        "gateway-fault": 503,
        "unsupported": 400,
        "role-unavailable": 502,
        "upstream-failed": 502,
        UNKNOWN_CONNECTOR: 404,
        NO_SUCH_WAY: 400,
        UNKNOWN_LOGIN: 400,
        TOO_MANY: 429,
        BUSY: 503,
        CONNECTOR_UNAVAILABLE: 503,
    }
)


class Problem(Exception):
    """An answer that is an error. For the caller: it holds no secret."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        choices: Sequence[Mapping[str, str]] = (),
        retry_after_s: int = 0,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint
        self.choices = tuple(choices)
        """What could have been asked for: app, account, role_arn, role."""
        self.retry_after_s = retry_after_s
        self.recorded = False
        """True: the audit has it already, or is not to have it."""

    def __repr__(self) -> str:
        return f"Problem({self.status} {self.code}: {self.message})"

    def content(self) -> dict[str, Any]:
        """Give the body of the answer."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.choices:
            error["choices"] = [dict(choice) for choice in self.choices]
        return {"error": error}

    def headers(self) -> dict[str, str]:
        """Give the headers that go with it."""
        found = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else {}
        if self.status == 401:
            found["WWW-Authenticate"] = 'Bearer realm="awsgate"'  # RFC 9110, 11.6.1
        return found


def problem_of(exc: LoginRefused | Refusal, *, told: str = "") -> Problem:
    """Give the answer for a refusal; ``told`` is a code in place of its own."""
    code = told or (exc.reason if isinstance(exc, LoginRefused) else exc.code.value)
    status = _STATUS.get(code, _REFUSED)
    retry = 5 if code == BUSY else 0
    return Problem(status, code, exc.message, hint=exc.hint, retry_after_s=retry)


def broken() -> Problem:
    """Give the answer where something of the gateway's own is not in order.

    What it is, its operator is told, not the caller.
    """
    return Problem(
        503,
        Code.GATEWAY_FAULT.value,
        "the gateway cannot do this now",
        hint="tell the operator of the gateway: its log says why",
    )


def bad_request(message: str, hint: str = "") -> Problem:
    """Give the answer to what is asked wrongly."""
    return Problem(400, BAD_REQUEST, message, hint=hint)
