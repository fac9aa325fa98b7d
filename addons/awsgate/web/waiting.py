"""What waits for its second step, by a key that cannot be guessed. Bounded in number and time.

A full table takes nothing new: what is in it goes on. Throwing the oldest out would let
anybody end the logins of others by beginning enough of his own.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

KEY_BYTES = 32


class Full(Exception):
    """There is no room for another one now."""


@dataclass(frozen=True, slots=True)
class _Kept[T]:
    value: T
    ends_at: float


class Waiting[T]:
    """Values by key, each for ``life_s`` seconds at most. Any thread may ask.

    ``clock`` gives seconds that never go back.
    """

    def __init__(self, *, life_s: float, most: int, clock: Callable[[], float]) -> None:
        self._life_s, self._most, self._clock = life_s, most, clock
        self._kept: dict[str, _Kept[T]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, value: T, *, life_s: float | None = None) -> str:
        """Keep a value; give its key, a secret. Raises ``Full``."""
        key = secrets.token_urlsafe(KEY_BYTES)
        now = self._clock()
        with self._lock:
            if len(self._kept) >= self._most:
                self._drop_ended(now)
            if len(self._kept) >= self._most:
                raise Full
            lasts = self._life_s if life_s is None else min(life_s, self._life_s)
            self._kept[key] = _Kept(value, now + lasts)
        return key

    def put_back(self, key: str, value: T, ends_at: float) -> None:
        """Keep under its old key what was taken and is not done. It ends when it would have."""
        with self._lock:
            self._kept[key] = _Kept(value, ends_at)

    def amend(self, key: str, value: T) -> None:
        """Put another value in the place of one. Its end stays; what is gone stays gone."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept[key] = _Kept(value, found.ends_at)

    def take(self, key: str) -> T | None:
        """Give a value, once: it is gone with that. None: there is none, or its time is over."""
        found = self.take_with_end(key)
        return found[0] if found is not None else None

    def take_with_end(self, key: str) -> tuple[T, float] | None:
        """As ``take``, with its end for ``put_back``."""
        with self._lock:
            found = self._kept.pop(key, None)
        if found is None or self._clock() >= found.ends_at:
            return None
        return found.value, found.ends_at

    def _drop_ended(self, now: float) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if now < kept.ends_at}
