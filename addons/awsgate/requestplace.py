"""Where a gateway's access requests are, and what of them is in force in this process.

Nobody who does without access requests pays for them: the database is opened, and the
library for it imported, once there is one.

While the database does not answer, what was granted goes on to its end, and nothing is
added.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from awsgate.connect.secrets import secret_text
from awsgate.errors import SetupError
from awsgate.policy.grants import NO_GRANTS, GrantBook
from awsgate.policy.settings import RequestsSpec

if TYPE_CHECKING:
    from awsgate.requeststore import RequestStore

FILE_NAME = "requests.db"


class RequestPlace:
    """The database of one gateway. Any thread may ask."""

    def __init__(
        self,
        state: Path,
        spec: RequestsSpec,
        *,
        reads: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``reads``: what is granted, at once, if the database answers."""
        self._file, self._url = state / FILE_NAME, spec.database_url
        self._lock, self._clock = threading.Lock(), clock
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
            store = self.store()
            found, deadline = store.grants()
            asked = store.calls(int(self._clock()))
        except SetupError:
            self.forget()
            raise
        return GrantBook(found, asked), deadline

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
