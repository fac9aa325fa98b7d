"""How many connections a worker holds, and for how long they may say nothing.

A head that comes a byte at a time holds a connection for ``head_timeout_s`` at most, an
idle one for ``idle_timeout_s``, and a body that must be read before anything is decided
has to come at some speed. Requests under way, tunnels and WebSockets are left to
mitmproxy's own limit of silence, since a Lambda call may be silent for 15 minutes.

When all places are taken, those that have been quiet for longest give way: so nobody keeps
others out by connections that do nothing, however many. Tunnels are among them if nobody is
known to have opened them; a user's keep their place, since each user has so many alone. One
that is ending gives way already, if not at once (TLS takes its time for that): nobody else has
to for the same place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from mitmproxy import connection

from awsgate.policy.settings import Limits
from awsgate.server.held import Held

LOOK_S = 1.0
MIN_BODY_BYTES_S = 1000
"""On the average, once ``head_timeout_s`` is over. Apache's figure is half of it."""
AT_ONCE_SHARE = 100
"""One in so many gives way at a time: to look at all of them has its price."""
ALL_BUSY_S = 0.1
ENDING_SHARE = 2
"""One in so many may be there besides, as long as that many are ending."""


class Bounds:
    """An addon. ``limits`` gives those in force, ``connections`` those that are open."""

    name = "awsgate-bounds"

    def __init__(self, connections: Mapping[Any, Held], limits: Callable[[], Limits]) -> None:
        self._connections, self._limits = connections, limits
        self._all_busy_until = 0.0

    def client_connected(self, client: connection.Client) -> None:
        """Make room for a connection that is one too many, or refuse it."""
        if len(self._connections) > self._limits().max_connections and not self.make_room():
            client.error = "awsgate: too many connections"

    def make_room(self, greeted: int = 0) -> bool:
        """Close those that have been quiet for longest; False: all that there are do something.

        ``greeted`` is how many places are taken besides, with the one that is to be had.
        """
        now, limit = monotonic(), self._limits().max_connections
        if now < self._all_busy_until:
            return False
        # Not the newest, for which there is to be room.
        held = list(self._connections.values())[:-1]
        live = [one for one in held if not one.ending]
        if len(live) + greeted < limit:
            return len(held) + greeted < limit + limit // ENDING_SHARE
        quiet = [one for one in live if gives_way(one)]
        for one in sorted(quiet, key=quiet_since)[: len(held) // AT_ONCE_SHARE + 1]:
            one.end()
        if not quiet:
            self._all_busy_until = now + ALL_BUSY_S
        return bool(quiet)

    async def watch(self) -> None:
        """Close what is silent for too long, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.sweep(monotonic())

    def sweep(self, now: float) -> None:
        """Look at every connection once."""
        limits = self._limits()
        for held in list(self._connections.values()):
            if is_overdue(held, now, limits):
                held.end()


def gives_way(held: Held) -> bool:
    """True if it may be closed for another: nothing is under way that is anybody's."""
    if held.relayed:
        return held.nobodys
    return not held.asked or bool(held.body_since)


def quiet_since(held: Held) -> float:
    """Give when a connection last did what it owes: no byte of an endless head or body counts."""
    if held.relayed:
        return held.stirred
    return held.body_since or held.since or held.heard


def is_overdue(held: Held, now: float, limits: Limits) -> bool:
    """True if a connection has been silent, or slow, for longer than it may."""
    if held.body_since:
        may_s = limits.head_timeout_s + held.body_bytes / MIN_BODY_BYTES_S
        return now - held.body_since > may_s
    if held.asked or held.relayed:
        return False
    if held.since:
        return now - held.since > limits.head_timeout_s
    return now - held.heard > limits.idle_timeout_s
