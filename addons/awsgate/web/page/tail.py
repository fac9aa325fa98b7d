"""The end of the audit log, for one user: what was last, and what comes. Bounded; blocks.

The chain is not checked here (``awsgate audit verify`` does), and nothing is written. Lines
are looked through as bytes first: most of them are other people's.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from awsgate.auditfile import identity, opened
from awsgate.auditline import parsed
from awsgate.errors import SetupError

MAX_LOOKED_THROUGH_BYTES = 4 * 1024 * 1024
MAX_AT_ONCE_BYTES = 1024 * 1024
"""Of what comes: a log that grows faster is skipped over."""

type Record = dict[str, Any]


def of_user(user: str, events: frozenset[str]) -> Callable[[bytes], Record | None]:
    """Give what reads a line if it is of a user, and of one of these events."""
    mark = f'"user":{json.dumps(user, ensure_ascii=True)}'.encode("ascii")

    def read(line: bytes) -> Record | None:
        if mark not in line:
            return None
        record = parsed(line)
        if record is None or record.get("user") != user or record.get("event") not in events:
            return None
        return record

    return read


def last(
    path: Path, read: Callable[[bytes], Record | None], *, most: int, after: str = ""
) -> list[Record]:
    """Give the last records that ``read`` takes, the latest first; back to the id ``after``.

    Raises ``SetupError`` if the log cannot be read.
    """
    found: list[Record] = []
    for line in backwards(path):
        record = read(line)
        if record is None:
            continue
        if after and record.get("id") == after:
            break
        found.append(record)
        if len(found) >= most:
            break
    return found


def backwards(path: Path, most_bytes: int = MAX_LOOKED_THROUGH_BYTES) -> Iterator[bytes]:
    """Give the lines of the file that is written, the last one first. Raises ``SetupError``."""
    if not path.exists():
        return
    with opened([path]) as (file,):
        for line in file.lines_backwards():
            most_bytes -= len(line)
            if most_bytes < 0:
                return
            yield line


class Follower:
    """Reads what is appended from now on, over rotations. One for each who looks on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._place = 0
        self._rest = b""
        self._turn = threading.Lock()
        """Who looks on may go while a thread still reads."""
        self._closed = False
        self._open(at_end=True)

    def more(self) -> list[bytes]:
        """Give the whole lines that have come. Raises ``SetupError``."""
        with self._turn:
            if self._closed:
                return []
            try:
                return self._more()
            except OSError as exc:
                raise SetupError(f"cannot read the audit log: {exc.strerror}") from exc

    def close(self) -> None:
        """Close the file. Harmless if it is closed."""
        with self._turn:
            self._closed = True
            self._drop()

    def _more(self) -> list[bytes]:
        lines = self._read()
        if self._is_replaced():
            lines += self._read()  # what came between the look and the new file
            self._drop()
            self._open(at_end=False)
            lines += self._read()
        return lines

    def _drop(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self, *, at_end: bool) -> None:
        self._rest = b""
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._place = 0
            return
        self._place = os.fstat(self._file).st_size if at_end else 0

    def _is_replaced(self) -> bool:
        try:
            there = self._path.lstat()
        except FileNotFoundError:
            return False
        return self._file < 0 or identity(there) != identity(os.fstat(self._file))

    def _read(self) -> list[bytes]:
        if self._file < 0:
            return []
        size = os.fstat(self._file).st_size
        if size - self._place > MAX_AT_ONCE_BYTES:
            self._place, self._rest = size - MAX_AT_ONCE_BYTES, b""
        data = self._rest + os.pread(self._file, size - self._place, self._place)
        self._place = size
        *whole, self._rest = data.split(b"\n")
        return whole
