"""The audit log, written: one line a record, each chained to the one before.

What a line is made of is in ``auditline``; reading the files, and checking the chain, in
``auditfile`` and ``auditchain``.

Several processes may write one file: each append is under ``flock``. The chain shows
edits, and lines removed or moved; it has no key, so it does not stop who may write
the file from making it anew, nor show that its last lines are gone. Ship the lines
elsewhere for that. Written lines survive a crash of the process; there is no fsync,
so not one of the machine.

A file is left for a new one when somebody has renamed it, and replaced by ourselves when
it has grown to ``Rotation.bytes``. Either way the new file begins with the last hash of
the old one; also after a restart, when that is read from the file that was written last.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from awsgate.auditfile import (
    end_of_older,
    identity,
    lock,
    read_tail,
    rotated_by_awsgate,
    rotated_name,
)
from awsgate.auditline import CONTINUED, GENESIS, RECOVERED, digest, written
from awsgate.auditline import AuditRecord as AuditRecord  # what is written
from awsgate.errors import SetupError

log = logging.getLogger("awsgate")

MAX_LOCK_WAIT_S = 0.5
"""An append takes microseconds; whoever holds the lock for longer is stopped or stuck."""
ROTATE_AGAIN_S = 10.0
"""After a rotation that failed: each attempt costs a file and a look through the folder."""

_OPEN_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class AuditUnavailable(Exception):
    """A record could not be written; the file is as it was before. Names path and cause."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is full, and how many full ones are kept."""

    bytes: int = 0
    """0: it is never full."""
    keep: int = 0
    """0: all. Files that others rotated are never deleted."""


class AuditLog:
    """An audit file, open for appending. Threads and processes may share the path.

    Raises ``SetupError`` if the file is not a regular file of ours that nobody else
    may read. A fork must open its own: an open file's lock is shared by its heirs.
    """

    def __init__(self, path: Path, rotation: Rotation = Rotation()) -> None:
        self.path, self._name = path, os.fspath(path)
        self.rotation = rotation
        """May be changed at any time."""
        self._thread = threading.Lock()
        self._prev = GENESIS
        self._torn = b""
        """What followed the last whole line of the file before, and is not yet accounted for."""
        self._end = 0
        """Size of the file after our last line; another size means others wrote."""
        self._file = -1
        self._identity = (0, 0)
        self._cannot_rotate = False
        self._rotate_at_s = 0.0
        self._open()
        if os.fstat(self._file).st_size == 0:
            self._find_older()

    def write(self, record: AuditRecord) -> None:
        """Append one line.

        Raises ``AuditUnavailable``, with nothing left behind; a later call may work.
        """
        with self._thread:
            try:
                self._append(record)
            except SetupError as exc:
                raise AuditUnavailable(exc.message) from exc
            except OSError as exc:
                raise AuditUnavailable(f"{self.path}: {exc.strerror or exc}") from exc

    def close(self) -> None:
        """Close the file. Harmless if it is closed."""
        with self._thread:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _append(self, record: AuditRecord) -> None:
        if self._file < 0:
            raise OSError(errno.EBADF, "the audit log is closed")
        self._lock()
        try:
            size = self._current(record.time)
            if size == self._end and size:
                line, hashed = written(record, self._prev)
                self._write_whole(line, size)
            else:
                data, hashed = self._continued(record, size)
                self._write_whole(data, size)
            self._prev, self._torn = hashed, b""
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _continued(self, record: AuditRecord, size: int) -> tuple[bytes, str]:
        """Give the line for a file that others have written to, or nobody; and its hash."""
        prev, torn, notes, lines = self._prev, self._torn, [], []
        if size == 0:
            if prev != GENESIS:
                notes.append(_note(record.time, CONTINUED, prev))
            prev = GENESIS
        else:
            prev, torn, ended = read_tail(self._file, size)
            if not ended:
                lines.append(b"\n")
        if torn:
            notes.append(_note(record.time, RECOVERED, digest(torn)))
        for entry in (*notes, record):
            line, prev = written(entry, prev)
            lines.append(line)
        return b"".join(lines), prev

    def _write_whole(self, data: bytes, size: int) -> None:
        """Append ``data`` with one system call, or leave the file as it was."""
        self._end = -1  # until it is written, nothing is known of the end of the file
        written = 0
        try:
            written = os.write(self._file, data)
        finally:
            if written != len(data):
                # If even this fails, the next write finds the torn line and says so.
                with suppress(OSError):
                    os.ftruncate(self._file, size)
        if written != len(data):
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes could be written")
        self._end = size + len(data)

    def _current(self, time: str) -> int:
        """Have the file that is at the path now, locked. Gives its size in bytes."""
        size = os.fstat(self._file).st_size
        full = self.rotation.bytes and size >= self.rotation.bytes
        if full and monotonic() >= self._rotate_at_s and not self._is_replaced():
            self._rotate(size, time)
        while self._is_replaced():
            self._reopen()
            self._lock()
            size = os.fstat(self._file).st_size
        return size

    def _lock(self) -> None:
        lock(self._file, fcntl.LOCK_EX, MAX_LOCK_WAIT_S)

    def _is_replaced(self) -> bool:
        """True if the path names another file by now: rotation renames the old one."""
        try:
            there = os.lstat(self._name)  # not Path.lstat: at each line, that costs thrice as much
        except FileNotFoundError:
            return True
        return identity(there) != self._identity

    def _rotate(self, size: int, time: str) -> None:
        """Put a new file in the place of a full one. Under its lock: one process does it."""
        try:
            self._replace(size, time)
            self._delete_oldest()
        except OSError as exc:
            # The line itself can be written all the same.
            if not self._cannot_rotate:
                log.warning("audit log: %s cannot be rotated: %s", self.path, exc.strerror)
            self._cannot_rotate = True
            self._rotate_at_s = monotonic() + ROTATE_AGAIN_S
        else:
            self._cannot_rotate = False

    def _delete_oldest(self) -> None:
        """Keep as many files as are wanted; 0: all.

        A process that was killed while it rotated leaves two names of one file: these are
        one, and go together.
        """
        kept: set[tuple[int, int]] = set()
        for old in reversed(rotated_by_awsgate(self.path)) if self.rotation.keep else ():
            with suppress(FileNotFoundError):  # somebody else has deleted it
                found = old.lstat()
                if len(kept) < self.rotation.keep:
                    kept.add(identity(found))
                elif identity(found) not in kept:
                    old.unlink()

    def _replace(self, size: int, time: str) -> None:
        """Give the file an older name, and its own to a new one that continues it.

        There is a file at the path all the time, and never an empty one: a process that
        had missed a file could take that for the continuation of the one it knows.
        """
        prev, torn = self._prev, b""
        if size != self._end:
            prev, torn, _ = read_tail(self._file, size)
        first, hashed = written(_note(time, CONTINUED, prev), GENESIS)
        second = written(_note(time, RECOVERED, digest(torn)), hashed)[0] if torn else b""
        file, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        following = Path(name)
        try:
            if os.write(file, first + second) != len(first + second):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            older = rotated_name(self.path, datetime.now(UTC))
            older.hardlink_to(self.path)
            try:
                following.replace(self.path)
            except OSError:
                older.unlink()
                raise
        finally:
            os.close(file)
            following.unlink(missing_ok=True)

    def _find_older(self, known_ns: int = -1) -> None:
        """Find what an empty file continues, if that was written after ``known_ns``.

        It may have been begun while no gateway ran, or while another process wrote a
        file that this one has never seen.
        """
        try:
            found = end_of_older(self.path, after_ns=known_ns, wait_s=MAX_LOCK_WAIT_S)
        except SetupError as exc:
            log.warning("audit log: what it continues is not known: %s", exc.message)
        else:
            if found is not None:
                self._prev, self._torn = found

    def _reopen(self) -> None:
        """Turn to the new file, with the last hash of the old one in ``_prev``."""
        known = os.fstat(self._file)
        if known.st_size not in (0, self._end):
            self._prev, self._torn, _ = read_tail(self._file, known.st_size)
        old = self._file
        self._open()
        os.close(old)
        # An empty file is begun with the old hash; one that others have begun is read.
        self._end = 0
        if os.fstat(self._file).st_size == 0:
            self._find_older(known.st_mtime_ns)

    def _open(self) -> None:
        try:
            file = os.open(self.path, _OPEN_FLAGS, 0o600)
        except OSError as exc:
            raise SetupError(
                f"cannot open the audit log {self.path}: {exc.strerror}",
                hint="it must be a plain file, no symlink, in a folder that awsgate may write",
            ) from exc
        found = os.fstat(file)
        fault = _fault_of(found)
        if fault:
            os.close(file)
            raise SetupError(
                f"audit log {self.path} {fault}",
                hint=f"chown it to the user of awsgate and chmod 600 {self.path}, or move it away",
            )
        self._file, self._identity = file, identity(found)


def _note(time: str, event: str, reason: str) -> AuditRecord:
    return AuditRecord(time=time, event=event, reason=reason)


def _fault_of(found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}, not to {os.geteuid()}"
    if found.st_mode & 0o077:
        return f"is open to others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""
