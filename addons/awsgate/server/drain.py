"""The end of a worker: no new connections, what is under way ends, idle ones are closed.

A connection is told with the next answer (``Connection: close``). One that is quiet is
closed after a moment: a client that is about to send should find it open, and most send
again at once or not for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import monotonic

from mitmproxy import http

from awsgate.server.held import Held, is_quiet

QUIET_S = 1.0
LOOK_S = 0.05


class Draining:
    """An addon: tells clients that their connection ends with this answer."""

    name = "awsgate-draining"

    def __init__(self) -> None:
        self.begun = False

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Ask the client to close, and mitmproxy to."""
        if self.begun and flow.response is not None and flow.response.status_code != 101:
            flow.response.headers["connection"] = "close"

    async def drain(self, connections: Iterable[Held], *, deadline_s: float) -> int:
        """Wait until all connections have ended, or the deadline; give how many are left.

        ``connections`` is looked at again and again: a view of those that are open.
        """
        self.begun = True
        end = monotonic() + deadline_s
        while (held := list(connections)) and monotonic() < end:
            now = monotonic()
            for connection in held:
                if is_quiet(connection, now, QUIET_S):
                    connection.end()
            await asyncio.sleep(LOOK_S)
        return len(list(connections))
