"""Where a gateway's access requests are, and what of them is in force in this process.

Nobody who does without access requests pays for them: the database is opened, and the
library for it imported, once there is one.

``GrantWatch`` is what ``policywatch`` follows: a question for one row each second. While
the database does not answer, what was granted goes on to its end, and nothing is added.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from awsgate.connect.secrets import secret_text
from awsgate.errors import SetupError
from awsgate.policy.accessrequest import AccessRequest
from awsgate.policy.grants import NO_GRANTS, GrantBook
from awsgate.policy.settings import RequestsSpec
from awsgate.policywatch import Source

if TYPE_CHECKING:
    from awsgate.requeststore import RequestStore

FILE_NAME = "requests.db"
GRANTS = "grants"
"""The name of the source."""
POLL_S = 1.0
_AWAY = "away"


class RequestPlace:
    """The database of one gateway. Any thread may ask."""

    def __init__(self, state: Path, spec: RequestsSpec, *, reads: bool = False) -> None:
        """``reads``: what is granted, at once, if the database answers."""
        self._file, self._url = state / FILE_NAME, spec.database_url
        self._lock = threading.Lock()
        self._opened: RequestStore | None = None
        self._was_there = False
        self.book = NO_GRANTS
        """What is granted, as this process knows."""
        if reads:
            self.refresh()

    def is_there(self) -> bool:
        """True if there may be requests: a database is named, or the file has been made."""
        self._was_there = self._was_there or self._url is not None or _exists(self._file)
        return self._was_there

    def store(self) -> RequestStore:
        """Open the database, and make it if there was none. Raises ``SetupError``."""
        if self._url is None and self._was_there and not self._file.exists():
            # Not made anew: all that was granted would be over.
            raise SetupError(
                f"the file of the access requests is gone: {self._file}",
                hint="restore it from a backup, or restart the gateway to begin a new one",
            )
        from awsgate.requestdb import sqlite_url  # heavy, and mostly off
        from awsgate.requeststore import RequestStore

        with self._lock:
            if self._opened is None:
                url = secret_text(self._url) or sqlite_url(self._file.absolute())
                self._opened = RequestStore(url)
                self._was_there = True
            return self._opened

    def forget(self) -> None:
        """Open it anew the next time: it has failed."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def grants(self) -> tuple[GrantBook, int]:
        """Read what is granted, and when the next request changes by itself (0: none does).

        Raises ``SetupError``.
        """
        if not self.is_there():
            return NO_GRANTS, 0
        try:
            found, deadline = self.store().grants()
        except SetupError:
            self.forget()
            raise
        return GrantBook(found), deadline

    def refresh(self) -> None:
        """Take what is granted now; what was, stays, if the database does not answer."""
        try:
            self.book = self.grants()[0]
        except SetupError:
            return  # the watch says it


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # of a folder that is not ours
        return False


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
