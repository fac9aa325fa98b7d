"""How much each session has done on this gateway, and what is under way. In memory alone.

Bounded: the sessions that were quiet for longest are forgotten first. Each gateway
process counts for itself, and a restart begins anew, so a limit is a brake on a
session that runs away, no quota to account by.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

MAX_SESSIONS = 100_000
MAX_SESSION_S = 12 * 3600


@dataclass(slots=True)
class _Used:
    requests: int = 0
    bytes: int = 0
    last: float = 0.0
    """When it was counted last."""


class Usage:
    """Requests and bytes by session id. For one thread: the event loop's."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._used: OrderedDict[str, _Used] = OrderedDict()
        """Those that were quiet for longest first."""

    def count(self, session: str) -> tuple[int, int]:
        """Count one more request; give the requests with it, and the bytes so far."""
        now = self._clock()
        used = self._used.get(session)
        if used is None:
            self._forget(now - MAX_SESSION_S)
            used = self._used[session] = _Used()
        else:
            self._used.move_to_end(session)
        used.requests += 1
        used.last = now
        return used.requests, used.bytes

    def _forget(self, ended: float) -> None:
        """Make room for one more: those that are over go, or else the quietest."""
        while self._used:
            quietest = next(iter(self._used.values()))
            if quietest.last > ended and len(self._used) < MAX_SESSIONS:
                return
            self._used.popitem(last=False)

    def moved(self, session: str, size: int) -> None:
        """Add the bytes of one request and its answer."""
        used = self._used.get(session)
        if used is not None:
            used.bytes += size


class InFlight:
    """How many requests of each user are under way. For one thread: the event loop's.

    Whoever got in must leave, once, however the request ends.
    """

    def __init__(self) -> None:
        self._by_user: dict[str, int] = {}

    def enter(self, user: str, *, limit: int) -> bool:
        """Count one more, unless there are ``limit`` already: then give False."""
        now = self._by_user.get(user, 0)
        if now >= limit:
            return False
        self._by_user[user] = now + 1
        return True

    def leave(self, user: str) -> None:
        """Count one less."""
        left = self._by_user.get(user, 0) - 1
        if left > 0:
            self._by_user[user] = left
        else:  # nothing is kept of who has nothing under way
            self._by_user.pop(user, None)

    def total(self) -> int:
        """Give how many there are of all users."""
        return sum(self._by_user.values())
