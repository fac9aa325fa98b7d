"""How many requests credentials for so many have made: exact, whichever worker has them.

    <state>/tally/<session id>    8 bytes, changed under a lock

For these sessions alone: what they were issued for is a promise to whoever asked, where
``usage`` is a brake of each process. A restart does not begin anew. A file of a session
that must have ended is taken away when another one is begun.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from awsgate.errors import Code, Refusal, SetupError
from awsgate.paths import private_folder
from awsgate.policy.ttl import AWS_MAX_S

FOLDER = "tally"
_COUNT = struct.Struct(">Q")
_PRUNE_EVERY_S = 600.0


class Tally:
    """Counts in files of one folder. Several processes may share it."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock
        self._prune_at = 0.0

    def __call__(self, session: str) -> int:
        """Count one more request of a session; give how many there are with it.

        Raises ``Refusal`` if it cannot be counted: then it does not go on either.
        """
        try:
            return self._count(session)
        except (OSError, SetupError) as exc:
            raise Refusal(
                Code.GATEWAY_FAULT,
                "the requests of these credentials cannot be counted",
                hint="try again; if it stays so, tell the operator of the gateway",
                status=503,
                detail=f"{self._folder}: {getattr(exc, 'strerror', None) or exc}",
            ) from None

    def _count(self, session: str) -> int:
        file = self._open(session)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            held = os.pread(file, _COUNT.size, 0)
            number = (_COUNT.unpack(held)[0] if len(held) == _COUNT.size else 0) + 1
            if os.pwrite(file, _COUNT.pack(number), 0) != _COUNT.size:
                raise OSError("the disk is full")
            return int(number)
        finally:
            os.close(file)  # and with it the lock

    def _open(self, session: str) -> int:
        path, flags = self._folder / session, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            private_folder(self._folder)
            self._prune()
            return os.open(path, flags | os.O_CREAT, 0o600)

    def _prune(self) -> None:
        now = self._clock()
        if now < self._prune_at:
            return
        self._prune_at = now + _PRUNE_EVERY_S
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another process was first
                    if entry.stat(follow_symlinks=False).st_mtime < now - AWS_MAX_S:
                        Path(entry.path).unlink()
