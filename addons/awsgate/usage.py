"""How much each session has done on this gateway: for its limits. In memory alone.

Bounded: the sessions that were quiet for longest are forgotten first. Each gateway
process counts for itself, and a restart begins anew, so a limit is a brake on a
session that runs away, no quota to account by.
"""

from __future__ import annotations

from dataclasses import dataclass

from cachetools import TTLCache

MAX_SESSIONS = 100_000
MAX_SESSION_S = 12 * 3600


@dataclass(slots=True)
class _Used:
    requests: int = 0
    bytes: int = 0


class Usage:
    """Requests and bytes by session id. For one thread: the event loop's."""

    def __init__(self) -> None:
        self._used: TTLCache[str, _Used] = TTLCache(MAX_SESSIONS, MAX_SESSION_S)

    def count(self, session: str) -> tuple[int, int]:
        """Count one more request; give the requests with it, and the bytes so far."""
        used = self._used.get(session) or _Used()
        used.requests += 1
        self._used[session] = used  # set anew, so that it is kept while it is in use
        return used.requests, used.bytes

    def moved(self, session: str, size: int) -> None:
        """Add the bytes of one request and its answer."""
        used = self._used.get(session)
        if used is not None:
            used.bytes += size
