"""Failed authentication, slowed by address: whoever guesses waits, whoever is right never does.

Nothing that could be guessed here is short enough to be found, so this is not what keeps
guesses out: it keeps one address from spending the gateway's time and the audit's room on
them. A refusal stays what it is, in its own words, since an SDK repeats what is throttled
and shows its user nothing of it; it only comes later. Whoever is refused is known by then, so
all who share an address with somebody who guesses are served as before.

One connection carries one request after the other, so a guess a second is what it can do.
A CONNECT without any password is no guess: some clients ask so first, to be challenged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from mitmproxy import http

from awsgate.errors import Code, Refusal
from awsgate.web.attempts import Attempts

SLOW_S = 1.0
FAILED = frozenset(
    {
        Code.NOT_SIGNED,
        Code.BAD_SIGNATURE,
        Code.CLOCK_SKEW,
        Code.UNKNOWN_KEY,
        Code.SESSION_EXPIRED,
    }
)
"""What is said to somebody whose signature has not been proved."""
MAX_HELD_BYTES = 64 * 1024
"""Of a body that still comes while its refusal waits: mitmproxy's layers read on."""


class Slowing:
    """Counts failures by address. ``per_minute`` gives how many are answered at once; 0: all."""

    def __init__(
        self,
        per_minute: Callable[[], int],
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._per_minute, self._clock, self._sleep = per_minute, clock, sleep
        self._counted = 0
        self._attempts: Attempts | None = None

    def hold(self, flow: http.HTTPFlow, exc: Exception) -> Awaitable[None] | None:
        """Give what to wait for before this refusal, which stands in ``flow``, is sent."""
        if not isinstance(exc, Refusal) or exc.code not in FAILED:
            return None
        attempts = self._in_force()
        if attempts is None or not attempts.wait_s(str(flow.client_conn.peername[0])):
            return None
        if _is_long(flow.request):
            # Not waited for, and no way around the wait: the next guess needs a connection.
            if flow.response is not None:
                flow.response.headers["Connection"] = "close"
            return None
        return self._sleep(SLOW_S)

    def _in_force(self) -> Attempts | None:
        wanted = self._per_minute()
        if wanted != self._counted:  # the policy was changed
            self._counted = wanted
            self._attempts = Attempts(per_minute=wanted, clock=self._clock) if wanted else None
        return self._attempts


def _is_long(request: http.Request) -> bool:
    """True if more of a body may follow than can be left where it is."""
    if request.data.content is not None:  # all of it is here
        return False
    if "transfer-encoding" in request.headers:
        return True
    length: str = request.headers.get("content-length", "0")
    return not (length.isascii() and length.isdecimal() and int(length) <= MAX_HELD_BYTES)
