"""The folder of one run: what its processes share, and nobody needs when it is over.

The metrics of several processes are files that are mapped into memory. Where a page of one
finds no room on its disk, the process that touches it is killed (SIGBUS). So the folder is
in memory, where there is a place for that, and no full disk ends a worker.

A run that was killed leaves its folder behind. The next one takes it away: a folder whose
lock nobody holds, and that is not a moment old, is nobody's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "awsgate-run-"
LOCK = "lock"
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there is 0700, under a name of chance
ENOUGH_BYTES = 32 * 1024**2
"""A worker's files are some hundred KiB, and a few MiB with thousands of labels."""
_JUST_MADE_S = 60.0


@contextmanager
def scratch_folder(*, memory: Path = IN_MEMORY) -> Iterator[Path]:
    """Give an empty folder that nobody else may enter; it is gone afterwards."""
    place = _place(memory)
    _take_away_old(place)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as name:
        folder = Path(name)
        # Closed in workers: who holds it is the parent, and with it the lock ends.
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(handle)


def _place(memory: Path) -> Path:
    with suppress(OSError):
        if os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free > ENOUGH_BYTES:
            return memory
    return Path(tempfile.gettempdir())


def _take_away_old(place: Path) -> None:
    for folder in place.glob(PREFIX + "*"):
        with suppress(OSError):
            info = folder.lstat()
            mine = info.st_uid == os.geteuid() and not folder.is_symlink()
            if mine and info.st_mtime < time.time() - _JUST_MADE_S and _is_left(folder / LOCK):
                shutil.rmtree(folder, ignore_errors=True)


def _is_left(lock: Path) -> bool:
    """True if nobody holds the lock. Raises ``OSError`` if there is none."""
    handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
