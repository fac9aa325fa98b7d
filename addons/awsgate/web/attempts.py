"""How often one address may try to log in: a bucket each, filled again with time. Bounded.

How many refusals of those who have a login the audit takes, for each is a line of it.

And how many logins one user may have at a time: a logout is a file until its login would
have ended, which all processes look at, so there must not be any number of them.

Guessing is bounded elsewhere (what is guessed is 256 bits, or a password with a lockout of
its own). This keeps one address from taking the time of the gateway and of the providers.

Who comes through the proxy (``awsgate.internal``) is known by the address at its far end
(``tunnelclients``). This machine's own addresses are many programs, so their bucket is larger.
"""

from __future__ import annotations

import heapq
import threading
from collections import defaultdict
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address

from cachetools import LRUCache

MAX_ADDRESSES = 20_000
MAX_LOGINS = 1_000
"""Of one user of a connector, that have not ended, logged out or not. For one gateway process."""
OWN_FACTOR = 10
"""Of the bucket of this machine's own addresses, over that of another one."""
WIDE_FACTOR = 10
"""Of the bucket that networks of 64 bits share which are one of 48: one customer may have all."""
USERS_OF_ADDRESS = 10
"""Whose refusals one address may have, over those of one user: many share an address."""
_CLEAR_EVERY_S = 600


class Attempts:
    """Counts attempts by address. Any thread may ask.

    ``per_minute`` of them pass in a minute, and as many at once after a pause. ``clock``
    gives seconds that never go back.
    """

    def __init__(self, *, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(MAX_ADDRESSES)
        """Whom -> what is left, and when that was so."""
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> float:
        """Count one attempt; give 0, or how many seconds to wait for the next that passes."""
        with self._lock:
            for whom, factor in shares_of(address):
                waits = self._take(whom, factor)
                if waits:
                    return waits
        return 0.0

    def wait_of(self, whom: str) -> float:
        """As ``wait_s``, of somebody who is known by another thing than an address."""
        with self._lock:
            return self._take(whom, 1)

    def _take(self, whom: str, factor: int) -> float:
        most = self._per_minute * factor
        each_s = 60.0 / most
        now = self._clock()
        left, then = self._buckets.get(whom, (float(most), now))
        left = min(float(most), left + (now - then) / each_s)
        if left < 1.0:
            self._buckets[whom] = left, now
            return (1.0 - left) * each_s
        self._buckets[whom] = left - 1.0, now
        return 0.0


class Refusals:
    """Counts refusals of those who have a login, by user and by address. Any thread may ask."""

    def __init__(self, *, per_minute: int, clock: Callable[[], float]) -> None:
        self._of_user = Attempts(per_minute=per_minute, clock=clock)
        self._of_address = Attempts(per_minute=USERS_OF_ADDRESS * per_minute, clock=clock)

    def wait_s(self, address: str, user: str, connector: str) -> float:
        """Count one; give 0, or how many seconds to wait for the next that is recorded.

        By user and not by login: a new login is no new bucket. What their own bucket stops
        takes nothing from the others at the address.
        """
        wait = self._of_user.wait_of(f"{connector} {user}") if user else 0.0
        return wait or self._of_address.wait_s(address)


class LiveLogins:
    """Counts the logins of each user that have not ended. Any thread may ask.

    Two connectors may know different people by one name: each has their own.
    """

    def __init__(self) -> None:
        self._ends: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        """User and connector -> the ends of their logins, as a heap."""
        self._lock = threading.Lock()
        self._cleared_at = 0

    def begin(self, user: str, connector: str, *, ends_at: int, now: int) -> bool:
        """Count one more. False: there are as many as there may be."""
        with self._lock:
            self._clear(now)
            ends = self._ends[user, connector]
            while ends and ends[0] <= now:
                heapq.heappop(ends)
            if len(ends) >= MAX_LOGINS:
                return False
            heapq.heappush(ends, ends_at)
            return True

    def _clear(self, now: int) -> None:
        """Forget, once in a while, who has none any more."""
        if abs(now - self._cleared_at) >= _CLEAR_EVERY_S:
            self._cleared_at = now
            for whom in [whom for whom, ends in self._ends.items() if max(ends) <= now]:
                del self._ends[whom]


def whose(address: str) -> tuple[str, bool]:
    """Give whose an address is, and if it is this machine's own.

    Of IPv6 it is a network of 64 bits, which is one customer's at least.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return "", False
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if isinstance(found, IPv6Address) and not found.is_loopback:
        return str(IPv6Network((int(found), 64), strict=False)), False
    return ("own", True) if found.is_loopback else (str(found), False)


def shares_of(address: str) -> list[tuple[str, int]]:
    """Give as whose an address counts, and how many times the share of one that is."""
    whom, own = whose(address)
    wide = _wide(whom)
    return [(whom, OWN_FACTOR if own else 1)] + ([(wide, WIDE_FACTOR)] if wide else [])


def _wide(whom: str) -> str:
    """Give the network of 48 bits that an IPv6 network is of; empty: it is none."""
    if not whom.endswith("/64"):
        return ""
    return str(IPv6Network(whom).supernet(new_prefix=48))
