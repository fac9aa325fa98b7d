"""The locks of the state folder, as the API reads and writes them.

Each call reads the folder again (a file that has not changed costs one look), so that a
lock holds at once, whoever set it. What cannot be read any more stays in force as it was,
as in the proxy; without the folder nothing is given out.

A logout is a lock on the login, named after it. It ends with the login, and then its file
is taken away.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from awsgate.errors import SetupError
from awsgate.lockout import LOGOUT_PREFIX
from awsgate.locks import BY, CREATED, LockStore
from awsgate.login import Login
from awsgate.policy import Lock
from awsgate.policy.locks import LockBook, in_force
from awsgate.timestamps import utc_seconds


class Revoking:
    """The folder of one gateway. Any thread may ask."""

    def __init__(self, store: LockStore) -> None:
        self._store = store
        self._book = LockBook()
        self._unknown: tuple[str, ...] = ()
        self._turn = threading.Lock()

    def read(self) -> LockBook:
        """Give all locks of the folder. Raises ``SetupError`` if it is gone, or not ours alone."""
        with self._turn:
            found = self._store.read()
            kept = [lock for lock in self._book if lock.metadata.name in found.unread]
            known = {lock.metadata.name for lock in kept}
            self._unknown = tuple(sorted(found.unread - known))
            self._book = LockBook([*found.locks, *kept]) if kept else found.locks
            return self._book

    def unknown(self) -> tuple[str, ...]:
        """Give the names of the locks that nobody could ever read. Raises as ``read`` does."""
        self.read()
        return self._unknown

    def end(self, login: Login, *, now: datetime) -> None:
        """Lock a login until its end, and take away what earlier logouts left. Idempotent."""
        name = f"{LOGOUT_PREFIX}{login.id}"
        self.prune(now)
        ends = utc_seconds(datetime.fromtimestamp(login.expires_at, UTC))
        try:
            self.add(
                name,
                {"session": login.id},
                message="this login was logged out",
                expires=ends,
                by=login.user,
                now=now,
            )
        except SetupError:
            if not any(lock.metadata.name == name for lock in self.read()):
                raise

    def add(
        self,
        name: str,
        target: Mapping[str, str],
        *,
        message: str,
        expires: str | None,
        by: str,
        now: datetime,
    ) -> Lock:
        """Add a lock. Raises ``SetupError`` if it is not in order, or there is one of the name."""
        spec: dict[str, Any] = {"target": dict(target), "message": message}
        document = {
            "kind": "lock",
            "version": "v1",
            "metadata": {"name": name, "labels": {CREATED: utc_seconds(now), BY: by}},
            "spec": spec | ({"expires": expires} if expires else {}),
        }
        return self._store.add(document)

    def remove(self, name: str) -> bool:
        """Take a lock away. False: there is none. Raises ``SetupError``."""
        return self._store.remove(name)

    def prune(self, now: datetime) -> None:
        """Take away the logouts whose logins have ended by themselves."""
        for lock in self.read():
            if lock.metadata.name.startswith(LOGOUT_PREFIX) and not in_force(lock, now):
                with suppress(SetupError):  # the next one tries again
                    self._store.remove(lock.metadata.name)
