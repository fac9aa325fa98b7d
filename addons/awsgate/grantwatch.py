"""Follows what is granted, for ``policywatch``: a question for one row each second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from awsgate.errors import SetupError
from awsgate.policy.accessrequest import AccessRequest
from awsgate.policy.grants import NO_GRANTS, GrantBook
from awsgate.policywatch import Source
from awsgate.requestplace import RequestPlace

GRANTS = "grants"
"""The name of the source."""
POLL_S = 1.0
_AWAY = "away"


class GrantWatch:
    """What ``policywatch`` needs to follow the grants.

    ``closes``: of several processes with one place, one notes that requests have ended.
    """

    def __init__(
        self, place: RequestPlace, *, closes: bool, clock: Callable[[], float] = time.time
    ) -> None:
        self._place, self._closes, self._clock = place, closes, clock
        self._book, self._deadline = NO_GRANTS, 0
        self._ended: deque[AccessRequest] = deque()

    def source(self) -> Source[object]:
        """Give the source. It loads a ``GrantBook``."""
        return Source(GRANTS, None, self.fingerprint, self.load, poll_s=POLL_S)

    def fingerprint(self) -> object:
        """Give what differs whenever what is granted differs. Never raises."""
        place, now = self._place, self._clock()
        if not place.is_there():
            return None
        try:
            store = place.store()
            if self._closes and 0 < self._deadline <= now:
                self._ended.extend(store.close_ended(int(now)))
            version = store.version()
        except SetupError:
            place.forget()
            return _AWAY
        return version, sum(now < grant.until for grant in self._book)

    def load(self) -> GrantBook:
        """Read what is granted. Raises ``SetupError``."""
        self._book, self._deadline = self._place.grants()
        return self._book

    def take_ended(self) -> list[AccessRequest]:
        """Give the requests whose end was noted since the last question."""
        found = []
        while self._ended:
            found.append(self._ended.popleft())
        return found
