"""How many connections a worker holds, and for how long they may say nothing.

A head that comes a byte at a time holds a connection for ``head_timeout_s`` at most, an
idle one for ``idle_timeout_s``. Requests under way, tunnels and WebSockets are left to
mitmproxy's own limit of silence, since a Lambda call may be silent for 15 minutes.
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


class Bounds:
    """An addon. ``limits`` gives those in force, ``connections`` those that are open."""

    name = "awsgate-bounds"

    def __init__(self, connections: Mapping[Any, Held], limits: Callable[[], Limits]) -> None:
        self._connections, self._limits = connections, limits

    def client_connected(self, client: connection.Client) -> None:
        """Refuse a connection that is one too many."""
        if len(self._connections) > self._limits().max_connections:
            client.error = "awsgate: too many connections"

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


def is_overdue(held: Held, now: float, limits: Limits) -> bool:
    """True if a connection has been silent for longer than it may."""
    if held.asked or held.relayed:
        return False
    if held.since:
        return now - held.since > limits.head_timeout_s
    return now - held.heard > limits.idle_timeout_s
