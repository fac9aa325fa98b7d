"""Asks for an approval of a call that needs one, beside the loop, and refuses the call.

The refusal names the request, new or known. Who cannot be asked for is refused as well:
the database may be down (503, which SDKs repeat), or too many requests of theirs be open.
One thread asks for all, so that no flood of such calls is one of the database; while that
fails, or has too many of somebody, it is not asked again for a moment, for those either that
wait already. Of one user so many wait at most, or theirs would keep everybody else's out.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from cachetools import TTLCache

from awsgate.addon.answers import Clock
from awsgate.addon.record import MAX_REASON_CHARS, Recorder, Trace
from awsgate.approving import Unapproved, told
from awsgate.asking import Asker, Asking, NotDone
from awsgate.audit import AuditRecord, AuditUnavailable
from awsgate.errors import Code, Refusal, SetupError
from awsgate.policy import Policy
from awsgate.policy.approvals import AskedCall
from awsgate.timestamps import utc_millis
from awsgate.usage import InFlight
from awsgate.webhook import Webhook
from awsgate.wiring import Gateway

REST_S = 2.0
MAX_WAITING = 200
"""Calls whose answer is waited for. Who hangs up leaves theirs behind until it is answered."""
USERS_WAITING = 20
"""Those of them of one user: as many as their open requests may be."""

log = logging.getLogger("awsgate")

_ANYBODY = ("", "")
"""In the place of a user: nobody can be asked for."""


class Approvals:
    """Of one gateway. Made, and asked, on the loop."""

    def __init__(self, gateway: Gateway, recorder: Recorder, clock: Clock) -> None:
        self._gateway, self._recorder, self._clock = gateway, recorder, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="awsgate-approvals")
        self._waiting, self._users = 0, InFlight()
        self._turn = asyncio.Lock()
        self._asking: Asking | None = None
        self._resting: TTLCache[tuple[str, str], Refusal] = TTLCache(1, REST_S)
        self._few: TTLCache[tuple[str, str], tuple[str, str]] = TTLCache(4096, REST_S)
        """Why nothing more is asked for somebody: message and hint."""

    def close(self) -> None:
        """Ask for nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def refuse(self, no: Unapproved, trace: Trace) -> None:
        """Ask for a call, unless that has been done, and raise ``Refusal`` in any case."""
        session = trace.review.session
        if session is None:
            raise no
        self._recorder.admit(trace)
        whose = session.user, session.connector
        self._let_rest(no, whose)
        if self._waiting >= MAX_WAITING:
            raise _unanswered(f"{MAX_WAITING} are being asked for already")
        name = "/".join(whose)
        if not self._users.enter(name, limit=USERS_WAITING):
            raise _unanswered(f"{USERS_WAITING} of {session.user} are being asked for already")
        client = trace.review.facts.client
        asker = Asker(*whose, Policy(), client=client, login=session.id)
        self._waiting += 1
        try:
            asked = await self._asked(asker, no, whose)
        finally:
            self._waiting -= 1
            self._users.leave(name)
        if asked.state == "approved":  # a moment ago: this process has not heard of it
            message = f"{asked.request} has just been approved"
            raise Refusal(no.code, message, hint=no.hint, detail=no.detail)
        raise told(session.user, asked, no.detail)

    def _let_rest(self, no: Unapproved, whose: tuple[str, str]) -> None:
        """Raise ``Refusal``, of this call, if the database is to be left alone for a moment."""
        if (few := self._few.get(whose)) is not None:
            raise _too_many(no, *few)
        if (resting := self._resting.get(_ANYBODY)) is not None:
            raise resting.with_traceback(None)  # else it keeps every call that it refused

    async def _asked(self, asker: Asker, no: Unapproved, whose: tuple[str, str]) -> AskedCall:
        """Give what the database says, in turn. Raises ``Refusal``, for a while for others too."""
        loop = asyncio.get_running_loop()
        try:
            async with self._turn:
                self._let_rest(no, whose)  # by what came of one that waited before it
                return await loop.run_in_executor(self._thread, self._ask, asker, no)
        except NotDone as few:
            self._few[whose] = few.message, few.hint
            raise _too_many(no, few.message, few.hint) from None
        except SetupError as exc:
            self._gateway.requests.forget()
            refusal = _unanswered(exc.message)
            self._resting[_ANYBODY] = refusal
            raise refusal from None

    def _ask(self, asker: Asker, no: Unapproved) -> AskedCall:
        if self._asking is None:
            self._asking = Asking(
                self._gateway.requests,
                record=self._record,
                count=self._gateway.metrics.access_request,
                tell=Webhook(self._gateway.policy.gateway.requests.webhook).tell,
                clock=lambda: self._clock().timestamp(),
            )
        return self._asking.ask_for_call(asker, no.need)

    def _record(self, record: AuditRecord) -> None:
        """Write a line now. Raises ``Refusal`` if that keeps the request from being made."""
        now: datetime = self._clock()
        record.time, record.id = utc_millis(now), str(uuid.uuid4())
        record.reason = record.reason[:MAX_REASON_CHARS]
        try:
            self._gateway.audit.write(record)
        except AuditUnavailable as exc:
            log.error("audit log: %s", exc)  # noqa: TRY400 - the cause is in the text
            if self._gateway.policy.gateway.audit.on_failure == "refuse":
                raise Refusal(
                    Code.GATEWAY_FAULT,
                    "the audit log cannot be written, so no approval is asked for",
                    hint="tell the operator of the gateway",
                    status=503,
                ) from None


def _too_many(no: Unapproved, why: str, hint: str) -> Refusal:
    return Refusal(no.code, f"{no.message}, and {why}", hint=hint, detail=no.detail)


def _unanswered(why: str) -> Refusal:
    return Refusal(
        Code.GATEWAY_FAULT,
        "this needs an approval, and none can be asked for now",
        hint="try again; if it stays so, tell the operator of the gateway",
        status=503,
        detail=why,
    )
