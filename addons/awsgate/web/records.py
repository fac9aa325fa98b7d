"""What is kept of logins, logouts and credentials: one audit line and one count each.

The line comes first: what cannot be recorded is not given out, unless the operator wants
it otherwise (``audit.on_failure: continue``). No line holds a token, a code or a password.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from awsgate.audit import AuditLog, AuditRecord, AuditUnavailable
from awsgate.connect.ways import LoginRefused
from awsgate.login import LOCAL, Login
from awsgate.metrics import Metrics
from awsgate.policy import Policy
from awsgate.timestamps import utc_millis
from awsgate.web.desk import Issued
from awsgate.web.problems import Problem

LOGIN, LOGOUT, CREDENTIALS = "login", "logout", "credentials"
OK = "ok"
MAX_REASON_CHARS = 512

log = logging.getLogger("awsgate")


class Records:
    """Writes the audit and counts. ``clock`` gives epoch seconds."""

    def __init__(
        self,
        audit: AuditLog,
        metrics: Metrics,
        policy: Callable[[], Policy],
        clock: Callable[[], float],
    ) -> None:
        self._audit, self._metrics, self._policy, self._clock = audit, metrics, policy, clock

    async def logged_in(self, login: Login, client: str) -> None:
        """Record a login, before its token is given out."""
        facts = login.facts
        roles = ", ".join(facts.roles)
        await self._write(
            AuditRecord(
                event=LOGIN,
                user=login.user,
                session=login.id,
                client=client,
                decision="allowed",
                rule=facts.connector,
                reason=f"until {_when(login.expires_at)}" + (f"; roles: {roles}" if roles else ""),
                status=200,
            )
        )
        self._metrics.login(facts.connector, OK)

    async def refused_login(
        self, connector: str, refused: LoginRefused, client: str, *, status: int, user: str = ""
    ) -> None:
        """Record a login that was refused; ``user`` is whom the connector has proved."""
        await self._write(
            AuditRecord(
                event=LOGIN,
                user=user,
                client=client,
                decision="refused",
                rule=connector,
                code=refused.reason,
                reason=refused.message,
                status=status,
            )
        )
        self._metrics.login(connector, refused.reason)

    async def enrolled(self, user: str, client: str) -> None:
        """Record that a user of the gateway's own has taken an invitation."""
        await self._write(
            AuditRecord(
                event=LOGIN,
                user=user,
                client=client,
                decision="allowed",
                rule=LOCAL,
                reason="took the invitation: the password is set",
                status=200,
            )
        )

    async def logged_out(self, login: Login, client: str) -> None:
        """Record the end of a login that its user wanted."""
        await self._write(
            AuditRecord(
                event=LOGOUT,
                user=login.user,
                session=login.id,
                client=client,
                decision="allowed",
                rule=login.facts.connector,
                status=200,
            )
        )

    async def issued(self, login: Login, issued: Issued, client: str) -> None:
        """Record credentials, before they are given out."""
        session = issued.session
        less = [f"login {login.id}", f"until {_when(session.expires_at)}"]
        less += ["read-only"] * session.bounds.read_only
        if session.bounds.max_requests:
            less.append(f"{session.bounds.max_requests} requests")
        await self._write(
            AuditRecord(
                event=CREDENTIALS,
                user=login.user,
                session=session.id,
                client=client,
                app=session.app,
                role_arn=session.role_arn,
                granted_role_arn=session.role_arn,
                account=session.role_arn.split(":")[4],
                decision="allowed",
                rule=issued.rule,
                reason="; ".join(less),
                status=200,
            )
        )

    async def console(self, login: Login, record: AuditRecord, client: str) -> None:
        """Record a way into the console, before it is given out; or why there is none."""
        record.session, record.client = login.id, client
        await self._write(record)

    async def refused(
        self, event: str, problem: Problem, client: str, login: Login | None = None
    ) -> Problem:
        """Record that somebody did not get what they asked for with a login.

        Gives the answer: the problem, or another one if that cannot be recorded.
        """
        record = AuditRecord(
            event=event,
            user=login.user if login is not None else "",
            session=login.id if login is not None else "",
            client=client,
            decision="refused",
            rule=login.facts.connector if login is not None else "",
            code=problem.code,
            reason=problem.message,
            status=problem.status,
        )
        try:
            await self._write(record)
        except Problem as exc:
            return exc
        return problem

    async def _write(self, record: AuditRecord) -> None:
        # In a thread: another process may hold the lock of the file for a while.
        await asyncio.to_thread(self.write_now, record)

    def write_now(self, record: AuditRecord) -> None:
        """Write a line, in this thread. Raises ``Problem`` if that keeps it from being done."""
        record.time = utc_millis(datetime.fromtimestamp(self._clock(), UTC))
        record.id = str(uuid.uuid4())
        record.reason = record.reason[:MAX_REASON_CHARS]
        try:
            self._audit.write(record)
        except AuditUnavailable as exc:
            log.error("audit log: %s", exc)  # noqa: TRY400 - the cause is in the text
            if self._policy().gateway.audit.on_failure == "refuse":
                raise Problem(
                    503,
                    "gateway-fault",
                    "the audit log cannot be written, so nobody is let in",
                    hint="tell the operator of the gateway",
                ) from None


def _when(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
