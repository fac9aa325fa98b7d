"""How often one address may try to log in: a bucket each, filled again with time. Bounded.

Guessing is bounded elsewhere (what is guessed is 256 bits, or a password with a lockout of
its own). This keeps one address from taking the time of the gateway and of the providers.

All who come through the proxy (``awsgate.internal``) come from the gateway's own address,
and share one bucket, so it is a larger one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address

from cachetools import LRUCache

MAX_ADDRESSES = 20_000
OWN_FACTOR = 10
"""Of the bucket of this machine's own addresses, over that of another one."""


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
        whom, own = _whom(address)
        most = self._per_minute * (OWN_FACTOR if own else 1)
        each_s = 60.0 / most
        now = self._clock()
        with self._lock:
            left, then = self._buckets.get(whom, (float(most), now))
            left = min(float(most), left + (now - then) / each_s)
            if left < 1.0:
                self._buckets[whom] = left, now
                return (1.0 - left) * each_s
            self._buckets[whom] = left - 1.0, now
        return 0.0


def _whom(address: str) -> tuple[str, bool]:
    """Give who has the bucket: of IPv6 a network of 64 bits, which is one customer's at least."""
    try:
        found = ip_address(address)
    except ValueError:
        return "", False
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if isinstance(found, IPv6Address) and not found.is_loopback:
        return str(IPv6Network((int(found), 64), strict=False)), False
    return ("own", True) if found.is_loopback else (str(found), False)
