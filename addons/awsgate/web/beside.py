"""Threads of their own for what takes long: a database, AWS, the lists and pages of one user.

Everybody's login and every lock go through the threads of the API. If what hangs elsewhere
held these, or one person who asks without end, that would stop all.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from awsgate.web.problems import BUSY, Problem

THREADS = 4
MAX_WAITING = 100
MAX_OF_ONE = 16
"""Of one user, at once: pages and commands of theirs that ask."""


class Beside:
    """A few threads, and a bounded number who wait for them. For an event loop."""

    def __init__(self, name: str, *, threads_of_one: int = THREADS, times: int = 1) -> None:
        """``threads_of_one``: more of one user waits, while there are threads for others.

        ``times`` as many may wait as usual: for what is soon done.
        """
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"awsgate-{name}")
        self._threads_of_one, self._times = threads_of_one, times
        self._of: Counter[str] = Counter()
        self._running: Counter[str] = Counter()
        self._lines: defaultdict[str, deque[Callable[[], None]]] = defaultdict(deque)
        self._turn = threading.Lock()

    async def run[T](self, user: str, work: Callable[[], T]) -> T:
        """Give what ``work`` gives. Raises ``Problem`` if too many wait, of all or of one user."""
        with self._turn:
            most, most_of_one = self._times * MAX_WAITING, self._times * MAX_OF_ONE
            if self._of.total() >= most or self._of[user] >= most_of_one:
                raise Problem(
                    503, BUSY, "too much is asked for at once", hint="try again", retry_after_s=5
                )
            self._of[user] += 1
        given: Future[T] = Future()
        task = partial(_do, work, given)
        # When it has ended, not when nobody waits for it any more, unless it has not begun.
        given.add_done_callback(lambda _: self._left(user, task))
        self._line_up(user, task)
        return await asyncio.wrap_future(given)

    def _line_up(self, user: str, task: Callable[[], None]) -> None:
        with self._turn:
            self._lines[user].append(task)
            if self._running[user] >= self._threads_of_one:
                return  # one of theirs that ends takes it
            self._running[user] += 1
            task = self._lines[user].popleft()
        self._pool.submit(self._work, user, task)

    def _work(self, user: str, task: Callable[[], None]) -> None:
        """Do one thing of a user's, and go to the end of the line with the next."""
        task()
        with self._turn:
            line = self._lines[user]
            following = line.popleft() if line else None
            if following is None:
                self._running[user] -= 1
                if self._running[user] <= 0:
                    del self._running[user], self._lines[user]
        if following is not None:
            self._pool.submit(self._work, user, following)

    def _left(self, user: str, task: Callable[[], None]) -> None:
        with self._turn:
            with suppress(ValueError):  # it has begun; else those given up would line up
                self._lines.get(user, deque()).remove(task)
            self._of[user] -= 1
            if self._of[user] <= 0:
                del self._of[user]


def _do[T](work: Callable[[], T], given: Future[T]) -> None:
    if not given.set_running_or_notify_cancel():
        return  # nobody waits for it, and it has not begun
    try:
        given.set_result(work())
    except BaseException as exc:  # noqa: BLE001 - whoever waits has it
        given.set_exception(exc)
