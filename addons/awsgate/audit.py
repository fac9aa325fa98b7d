"""The audit log: one JSON object a line, each chained to the one before.

    {"time":...,"id":...,<the fields of AuditRecord>,"prev":P,"hash":H}

P is the ``hash`` of the line before, or 64 zeros on the first line of a file. H is
the SHA-256, in hex, of P followed by the line's canonical JSON without ``hash``: the
very bytes of the line, with ``,"hash":"H"}`` at its end replaced by ``}``. All is
ASCII; no value can bring in a line break. ``verify`` checks a file against this.

Several processes may write one file: each append is under ``flock``. The chain shows
edits, and lines removed or moved; it has no key, so it does not stop who may write
the file from making it anew, nor show that its last lines are gone. Ship the lines
elsewhere for that. Written lines survive a crash of the process; there is no fsync,
so not one of the machine.

Two events are the log's own, with what they say in ``reason``:

    audit.continued  a file begun after rotation: the last hash of the file before
    audit.recovered  what the line or lines before it, cut short by a crash, hash to
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from time import monotonic, sleep

from awsgate.errors import SetupError

GENESIS = "0" * 64
MAX_LOCK_WAIT_S = 0.5
"""An append takes microseconds; whoever holds the lock for longer is stopped or stuck."""

CONTINUED = "audit.continued"
RECOVERED = "audit.recovered"

_TAIL = 64 * 1024  # read back at first; a record has at most a few KiB
_END = re.compile(rb',"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}')
_END_CHARS = len(',"prev":"","hash":""}') + 2 * 64
_HASH_CHARS = len(',"hash":""}') + 64
_OPEN_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class AuditUnavailable(Exception):
    """A record could not be written; the file is as it was before. Names path and cause."""


@dataclass(slots=True, kw_only=True)
class AuditRecord:
    """One audit line. What is not known, or does not apply, stays empty.

    Never a secret, a signature, or the query of a URL.
    """

    time: str = ""
    """UTC, ISO 8601 with milliseconds and ``Z``."""
    id: str = ""
    event: str = ""
    user: str = ""
    session: str = ""
    client: str = ""
    app: str = ""
    role_arn: str = ""
    account: str = ""
    service: str = ""
    region: str = ""
    host: str = ""
    action: str = ""
    resource: str = ""
    access_level: str = ""
    method: str = ""
    path: str = ""
    decision: str = ""
    rule: str = ""
    code: str = ""
    reason: str = ""
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    ms: float = 0.0
    overhead_ms: float = 0.0
    aws_request_id: str = ""
    access_key_id: str = ""
    """The assumed role's key id, as CloudTrail shows it."""
    session_name: str = ""
    source_identity: str = ""


_NAMES = tuple(field.name for field in fields(AuditRecord))
_values = attrgetter(*_NAMES)
# ensure_ascii: line separators of Unicode, and lone surrogates, are escaped too.
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode


class AuditLog:
    """An audit file, open for appending. Threads and processes may share the path.

    Raises ``SetupError`` if the file is not a regular file of ours that nobody else
    may read. A fork must open its own: an open file's lock is shared by its heirs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = threading.Lock()
        self._prev = GENESIS
        self._end = 0
        """Size of the file after our last line; another size means others wrote."""
        self._file = -1
        self._identity = (0, 0)
        self._open()

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
        with self._locked() as size:
            prev, notes, lines = self._prev, [], []
            if size == 0:
                if prev != GENESIS:
                    notes.append(_note(record, CONTINUED, prev))
                prev = GENESIS
            elif size != self._end:
                prev, torn, ended = _read_tail(self._file, size)
                if torn:
                    notes.append(_note(record, RECOVERED, _digest(torn)))
                if not ended:
                    lines.append(b"\n")
            for entry in (*notes, record):
                line, prev = _line(entry, prev)
                lines.append(line)
            self._write_whole(b"".join(lines), size)
            self._prev = prev

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

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the lock of the file that is at the path now. Gives its size in bytes."""
        self._lock()
        try:
            while self._is_replaced():
                self._reopen()
                self._lock()
            yield os.fstat(self._file).st_size
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _lock(self) -> None:
        give_up = 0.0
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now = monotonic()
                give_up = give_up or now + MAX_LOCK_WAIT_S
                if now > give_up:
                    raise OSError(errno.EAGAIN, "locked by another process") from None
                sleep(0.0002)
            else:
                return

    def _is_replaced(self) -> bool:
        """True if the path names another file by now: rotation renames the old one."""
        try:
            there = self.path.lstat()
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != self._identity

    def _reopen(self) -> None:
        """Turn to the new file, with the last hash of the old one in ``_prev``."""
        size = os.fstat(self._file).st_size
        if size not in (0, self._end):
            self._prev, _, _ = _read_tail(self._file, size)
        old = self._file
        self._open()
        os.close(old)
        # An empty file is begun with the old hash; one that others have begun is read.
        self._end = 0

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
        self._file, self._identity = file, (found.st_dev, found.st_ino)


def verify(path: Path) -> tuple[int, str | None]:
    """Check the chain of a file: how many lines hold, and the first fault or None.

    Lines cut short by a crash are no fault if the line after them accounts for them.
    May run while the gateway writes. Raises ``SetupError`` if it cannot be read.
    """
    prev, count, torn_at = GENESIS, 0, 0
    torn: list[bytes] = []
    try:
        for number, line in _whole_lines(path):
            matched = _END.fullmatch(line, max(0, len(line) - 1 - _END_CHARS), len(line) - 1)
            if matched is None or not line.endswith(b"\n"):
                torn.append(line)
                torn_at = torn_at or number
                continue
            if torn and not _accounts_for(line, b"".join(torn)):
                return count, f"line {torn_at}: not a whole record"
            fault = _link_fault(line, matched, prev)
            if fault:
                return count, f"line {number}: {fault}"
            prev, count, torn, torn_at = matched[2].decode(), count + 1, [], 0
    except OSError as exc:
        raise SetupError(f"cannot read the audit log {path}: {exc.strerror}") from exc
    return count, f"line {torn_at}: not a whole record" if torn else None


def _link_fault(line: bytes, matched: re.Match[bytes], prev: str) -> str:
    body = line[: -1 - _HASH_CHARS] + b"}"
    if _chained(matched[1].decode(), body) != matched[2].decode():
        return "its content does not match its hash"
    if matched[1].decode() != prev:
        return "its prev is not the hash of the line before: lines are missing or moved"
    return ""


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Give the lines as they stand between two appends, from number 1."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        left = os.fstat(file.fileno()).st_size
        fcntl.flock(file, fcntl.LOCK_UN)
        number = 0
        while left > 0 and (line := file.readline(left)):
            left -= len(line)
            number += 1
            yield number, line


def _line(record: AuditRecord, prev: str) -> tuple[bytes, str]:
    """Give the line of a record, with its newline, and its hash."""
    values = dict(zip(_NAMES, _values(record), strict=True))
    values["prev"] = prev
    body = _encode(values).encode("ascii")
    hashed = _chained(prev, body)
    return b'%b,"hash":"%b"}\n' % (body[:-1], hashed.encode("ascii")), hashed


def _chained(prev: str, body: bytes) -> str:
    return hashlib.sha256(prev.encode("ascii") + body).hexdigest()


def _note(record: AuditRecord, event: str, reason: str) -> AuditRecord:
    return AuditRecord(time=record.time, event=event, reason=reason)


def _digest(torn: bytes) -> str:
    return "sha256:" + hashlib.sha256(torn.rstrip(b"\n")).hexdigest()


def _accounts_for(line: bytes, torn: bytes) -> bool:
    """True if ``line`` says that ``torn`` was there when the log was opened again.

    That allows no more than cutting off the last lines does, which no chain shows.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return (record.get("event"), record.get("reason")) == (RECOVERED, _digest(torn))


def _read_tail(file: int, size: int) -> tuple[str, bytes, bool]:
    """Give the hash of the last whole line, what follows it, and if that ends a line."""
    length = min(size, _TAIL)
    while True:
        tail = os.pread(file, length, size - length)
        ended = tail.endswith(b"\n")
        lines = tail if ended else tail + b"\n"
        end = len(lines)
        while (end := lines.rfind(b"}\n", 0, end)) >= 0:
            matched = _END.fullmatch(lines, max(0, end + 1 - _END_CHARS), end + 1)
            if matched is not None:
                return matched[2].decode(), lines[end + 2 :], ended
        if length == size:
            return GENESIS, lines, ended
        length = min(size, length * 8)


def _fault_of(found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}, not to {os.geteuid()}"
    if found.st_mode & 0o077:
        return f"is open to others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""
