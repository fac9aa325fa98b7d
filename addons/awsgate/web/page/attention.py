"""How many requests wait for a visitor, for the navigation of every page.

Who answers none costs nothing. A database that is slow holds no page up: then there is no
number, and few are asked for meanwhile.
"""

from __future__ import annotations

import asyncio
from asyncio import Future

from awsgate.web import access
from awsgate.web.calls import Call

PATIENCE_S = 1.0
MAX_UNDER_WAY = 4


class Attention:
    """Counts. For the event loop of the API."""

    def __init__(self) -> None:
        self._under_way: set[Future[int]] = set()

    async def wanted(self, call: Call) -> int:
        """Give the number; 0 if it is not known in time."""
        if len(self._under_way) >= MAX_UNDER_WAY:
            return 0
        counting = asyncio.get_running_loop().run_in_executor(None, access.waiting, call)
        self._under_way.add(counting)
        counting.add_done_callback(self._under_way.discard)
        # Not wait_for: a thread goes on when nobody waits for it, and counts until it ends.
        done, _ = await asyncio.wait((counting,), timeout=PATIENCE_S)
        return counting.result() if done else 0
