"""Threads of their own for what waits for others: a database, AWS.

Everybody's login and every lock go through the threads of the API. If what hangs elsewhere
held these, one slow database, or one person who opens consoles without end, would stop all.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from awsgate.web.problems import BUSY, Problem

THREADS = 4
MAX_WAITING = 100
MAX_OF_ONE = 16
"""Of one user, at once: pages and commands of theirs that ask."""


class Beside:
    """A few threads, and a bounded number who wait for them. For an event loop."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"awsgate-{name}")
        self._of: Counter[str] = Counter()
        self._turn = threading.Lock()

    async def run[T](self, user: str, work: Callable[[], T]) -> T:
        """Give what ``work`` gives. Raises ``Problem`` if too many wait, of all or of one user."""
        with self._turn:
            if self._of.total() >= MAX_WAITING or self._of[user] >= MAX_OF_ONE:
                raise Problem(
                    503, BUSY, "too much is asked for at once", hint="try again", retry_after_s=5
                )
            self._of[user] += 1
        running = self._pool.submit(work)
        # When it has ended, not when nobody waits for it any more.
        running.add_done_callback(lambda _: self._left(user))
        return await asyncio.wrap_future(running)

    def _left(self, user: str) -> None:
        with self._turn:
            self._of[user] -= 1
            if self._of[user] <= 0:
                del self._of[user]
