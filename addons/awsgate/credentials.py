"""The real credentials: kept in memory, renewed before they end.

    request -> CredentialCache -> Assumer (``sts.StsAssumer``: AssumeRole with botocore)

The values that go both ways, and the cache. It belongs to one event loop and never
blocks it: the assumer is called in threads of its own. Nothing here knows AWS.

No secret leaves but in ``AwsCredentials``, whose repr does not show it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from cachetools import LRUCache

from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal
from awsgate.outgoing import Hop
from awsgate.policy.handoff import NOTHING, Handoff

EXPIRY_MARGIN_S = 30.0  # a signed request must reach AWS while its token is good
REFRESH_SHARE = 0.25  # renew in the last quarter: 15 minutes of an hour, as botocore does
JITTER_SHARE = 0.05  # so that roles assumed together are not renewed together
DENIAL_MEMORY_S = 10.0  # long enough to spare STS a retry loop, short for a human
OUTAGE_MEMORY_S = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RoleRequest:
    """Everything that changes the STS call, and so the key of the cache."""

    role_arn: str
    session_name: str
    external_id: str
    """Empty: none. Never shown to a caller."""
    region: str
    """Where STS is called (``sts_region``)."""
    partition: str
    duration_s: int
    account: str
    """Account of the role; chooses the credentials that awsgate itself uses."""
    handoff: Handoff = NOTHING
    """Session policy, tags and source identity: what AWS is to enforce or record."""
    hop: Hop | None = None
    """Credentials of the gateway ahead are wanted, not those of the role itself."""


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """Temporary credentials of an assumed role."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: float
    """Epoch seconds."""
    proxy_password: str = field(default="", repr=False)
    """Of the gateway ahead: what its proxy knows the caller of a tunnel by."""

    def signing_keys(self) -> SigningKeys:
        """Give what ``sigv4.sign`` takes."""
        return SigningKeys(self.access_key_id, self.secret_access_key, self.session_token)


class Assumer(Protocol):
    """Turns a request into credentials. Blocks; is called from several threads."""

    def assume(self, request: RoleRequest) -> AwsCredentials:
        """Give credentials, or raise ``Refusal``: status 403 if AWS said no, else 503."""
        ...


class BaseAssumer(Assumer, Protocol):
    """One that knows whether it has what it assumes roles with."""

    def missing(self) -> list[str]:
        """Say which of awsgate's own credentials are not there. Blocks."""
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    credentials: AwsCredentials
    refresh_at: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of one STS call. A value, so that no exception waits unread."""

    result: AwsCredentials | Refusal
    seconds: float


def _ignore(*_: object) -> None:
    pass


def _random_share() -> float:
    return secrets.randbelow(1 << 32) / (1 << 32)


PER_REQUEST = frozenset({"hit", "miss"})
"""Results that the process counts which has the request; whoever asks STS counts the rest."""


class CredentialCache:
    """Credentials by request: one STS call at a time for each, renewed ahead.

    If a renewal fails, the credentials at hand serve until they end. A refusal is
    remembered for seconds. All methods belong to the event loop's thread.

    ``on_result`` gets, per request, ``hit`` (served from memory) or ``miss`` (waited for
    STS), and per STS call ``refresh`` (renewed ahead), ``denied`` (AWS said no) or
    ``failed`` (no answer). ``on_sts`` gets the seconds of each call, ``on_expiry`` the
    role ARN and the end of new credentials. ``jitter`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        assumer: Assumer,
        *,
        clock: Callable[[], float] = time.time,
        max_size: int = 1024,
        workers: int = 8,
        on_result: Callable[[str], None] = _ignore,
        on_sts: Callable[[float], None] = _ignore,
        on_expiry: Callable[[str, float], None] = _ignore,
        jitter: Callable[[], float] = _random_share,
    ) -> None:
        self._assumer = assumer
        self._clock = clock
        self._on_result, self._on_sts, self._on_expiry = on_result, on_sts, on_expiry
        self._jitter = jitter
        self._held: LRUCache[RoleRequest, _Held] = LRUCache(max_size)
        self._refused: LRUCache[RoleRequest, tuple[float, Refusal]] = LRUCache(max_size)
        self._flights: dict[RoleRequest, asyncio.Future[_Answer]] = {}
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="awsgate-sts")
        self._closed = False

    def peek(self, request: RoleRequest) -> AwsCredentials | None:
        """Give credentials that are at hand and good, or None: ask ``get``.

        Starts a renewal in the background if they end before long.
        """
        held, now = self._held.get(request), self._clock()
        if held is None or now >= held.credentials.expires_at - EXPIRY_MARGIN_S:
            return None
        if now >= held.refresh_at and self._may_start(request):
            self._start(request, refresh=True)
        self._on_result("hit")
        return held.credentials

    async def get(self, request: RoleRequest) -> AwsCredentials:
        """Give good credentials, from STS if need be. Raises ``Refusal``.

        Callers that wait for the same credentials share one call, and it goes on if
        any of them is cancelled.
        """
        credentials = self.peek(request)
        if credentials is not None:
            return credentials
        refusal = self._refusal(request)
        if refusal is not None:
            raise _copy(refusal)
        if self._closed:
            raise _shutting_down()
        flight = self._flights.get(request) or self._start(request, refresh=False)
        self._on_result("miss")
        try:
            answer = await asyncio.shield(flight)
        except asyncio.CancelledError:
            if flight.cancelled():  # by close(), not by whoever waits here
                raise _shutting_down() from None
            raise
        if isinstance(answer.result, Refusal):
            raise _copy(answer.result)
        return answer.result

    async def later(self, request: RoleRequest, ends_s: float) -> AwsCredentials:
        """Give credentials that end after ``ends_s``; those at hand if there are none now.

        For who has those at hand already, and renews them ahead. Raises as ``get`` does.
        """
        credentials = await self.get(request)
        if credentials.expires_at > ends_s:
            return credentials
        flight = self._flights.get(request)
        if flight is None:
            if not self._may_start(request):
                return credentials
            flight = self._start(request, refresh=True)
        try:
            answer = await asyncio.shield(flight)
        except asyncio.CancelledError:
            if flight.cancelled():  # by close()
                return credentials
            raise
        return credentials if isinstance(answer.result, Refusal) else answer.result

    def forget(self, *, role_arn: str | None, session_name: str | None) -> int:
        """Drop the credentials of a role, of a session name, or of both together.

        None: any. What a call to STS that is under way brings goes to those who wait for
        it, and is not kept: whoever asks next asks STS. Gives how many were held.
        """

        def fits(request: RoleRequest) -> bool:
            role_fits = role_arn in (None, request.role_arn)
            return role_fits and session_name in (None, request.session_name)

        dropped = list(filter(fits, self._held))
        for request in dropped:
            del self._held[request]
        for request in list(filter(fits, self._flights)):
            del self._flights[request]
        return len(dropped)

    def close(self) -> None:
        """Start no more calls. Those under way end by themselves, within their timeouts."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _may_start(self, request: RoleRequest) -> bool:
        waits = request in self._flights or self._refusal(request) is not None
        return not waits and not self._closed

    def _start(self, request: RoleRequest, *, refresh: bool) -> asyncio.Future[_Answer]:
        loop = asyncio.get_running_loop()
        flight = loop.run_in_executor(self._pool, _ask, self._assumer, request, self._clock)
        self._flights[request] = flight
        # The first callback of the future: memory is right before any waiter wakes.
        flight.add_done_callback(partial(self._landed, request, refresh))
        return flight

    def _landed(self, request: RoleRequest, refresh: bool, flight: asyncio.Future[_Answer]) -> None:
        wanted = self._flights.get(request) is flight
        if wanted:
            del self._flights[request]
        if flight.cancelled():
            return
        answer = flight.result()
        self._on_sts(answer.seconds)
        if not wanted:  # see ``forget``
            return
        if isinstance(answer.result, Refusal):
            self._remember_refusal(request, answer.result, refresh=refresh)
            return
        self._remember(request, answer.result)
        if refresh:
            self._on_result("refresh")

    def _remember(self, request: RoleRequest, credentials: AwsCredentials) -> None:
        now = self._clock()
        life = max(0.0, credentials.expires_at - now)
        share = REFRESH_SHARE + JITTER_SHARE * (2 * self._jitter() - 1)
        self._held[request] = _Held(credentials, credentials.expires_at - life * share)
        self._refused.pop(request, None)
        self._on_expiry(request.role_arn, credentials.expires_at)

    def _remember_refusal(self, request: RoleRequest, refusal: Refusal, *, refresh: bool) -> None:
        denied = refusal.status == 403
        memory_s = DENIAL_MEMORY_S if denied else OUTAGE_MEMORY_S
        self._refused[request] = (self._clock() + memory_s, refusal)
        self._on_result("denied" if denied else "failed")
        if refresh:  # no request is there to tell of it
            logger.warning(
                "renewal of %s failed, the credentials at hand serve on: %s (%s)",
                request.role_arn,
                refusal.message,
                refusal.detail,
            )

    def _refusal(self, request: RoleRequest) -> Refusal | None:
        until, refusal = self._refused.get(request, (0.0, None))
        # With the second bound a clock that was set back does not make seconds hours.
        return refusal if until - DENIAL_MEMORY_S <= self._clock() < until else None


def _ask(assumer: Assumer, request: RoleRequest, clock: Callable[[], float]) -> _Answer:
    """Make one call, in a thread of the pool. Never raises: waiters must be told."""
    started = time.perf_counter()
    result: AwsCredentials | Refusal
    try:
        result = assumer.assume(request)
        if result.expires_at <= clock():
            result = _ended(request, result.expires_at - clock())
    except Refusal as refusal:
        result = refusal
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is no credentials
        result = unavailable(request, "internal fault", detail=type(exc).__name__)
    return _Answer(result, time.perf_counter() - started)


def _ended(request: RoleRequest, left_s: float) -> Refusal:
    # Signed with them, a request would come back as ExpiredToken: a client would take its
    # own session for ended. And STS would be asked anew for each.
    return unavailable(
        request,
        "those that came have ended already",
        detail=f"it ended {-left_s:.0f} seconds ago by the clock of this machine: is that right?",
    )


def _copy(refusal: Refusal) -> Refusal:
    # One exception object raised many times would collect all their tracebacks.
    return Refusal(
        refusal.code,
        refusal.message,
        hint=refusal.hint,
        status=refusal.status,
        detail=refusal.detail,
    )


def _shutting_down() -> Refusal:
    return Refusal(
        Code.ROLE_UNAVAILABLE, "the gateway is shutting down", hint="try again", status=503
    )


def unavailable(request: RoleRequest, why: str, *, detail: str) -> Refusal:
    """Give the refusal for credentials that may be had later. ``detail``: for the audit."""
    return Refusal(
        Code.ROLE_UNAVAILABLE,
        f"awsgate cannot get credentials of {request.role_arn} now: {why}",
        hint="try again; if it lasts, tell the operator of the gateway",
        status=503,
        detail=detail,
    )
