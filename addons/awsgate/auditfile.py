"""The files of an audit log: which belong together, and reading them.

    audit.jsonl                              written to
    audit-20261127T101530.123456Z.jsonl      rotated by awsgate
    audit.jsonl.1   audit.jsonl-20261127     rotated by logrotate
    audit.jsonl.1.gz                         and compressed

Reading never waits for the gateway, nor does the gateway wait for it: the lock is held
for as long as it takes to learn a file's size, and what is beyond that is not read.
Nothing here checks a line; that is in ``auditchain``.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import BinaryIO

from awsgate.auditline import GENESIS, link_of
from awsgate.errors import SetupError

PACKED = ".gz"
MAX_WAIT_S = 5.0
"""An append takes microseconds; whoever holds the lock for longer is stopped or stuck."""
UNPACK_FAULTS = (gzip.BadGzipFile, EOFError, zlib.error)
_OTHER_PACKERS = frozenset({".xz", ".bz2", ".zst", ".lz4", ".Z", ".zip"})
_TAIL = 64 * 1024  # read back at first; a record has at most a few KiB
_ATTEMPTS = 10
_STAMP = re.compile(r"-\d{8}T\d{6}\.\d{6}Z")


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file of the log, open for reading as far as it was written when it was opened."""

    path: Path
    file: BinaryIO
    size: int
    """Bytes on the disk."""

    @property
    def is_packed(self) -> bool:
        """True if it is compressed."""
        return self.path.suffix == PACKED

    def lines(self) -> Iterator[bytes]:
        """Give the lines, the first one first, with their newlines; a torn one lacks it."""
        self.file.seek(0)
        if self.is_packed:
            with gzip.GzipFile(fileobj=self.file, mode="rb") as unpacked:
                yield from unpacked
            return
        left = self.size
        while left > 0 and (line := self.file.readline(left)):
            left -= len(line)
            yield line

    def lines_backwards(self) -> Iterator[bytes]:
        """Give the lines, the last one first. A compressed file is read whole for it."""
        if self.is_packed:
            yield from reversed(list(self.lines()))
            return
        rest, place = b"", self.size
        while place > 0:
            length = min(place, max(_TAIL, len(rest)))
            place -= length
            block = os.pread(self.file.fileno(), length, place) + rest
            *whole, torn = (piece + b"\n" for piece in block.split(b"\n"))
            found = [*whole, torn[:-1]] if torn != b"\n" else whole
            # The first may have begun in the block before.
            rest = found.pop(0) if place > 0 and found else b""
            yield from reversed(found)


# --- which files ------------------------------------------------------------------------


def rotated_name(path: Path, now: datetime) -> Path:
    """Give the name for a file that is rotated now. It is not in use."""
    while True:
        stamp = now.astimezone(UTC).strftime("-%Y%m%dT%H%M%S.%fZ")
        target = path.with_name(f"{path.stem}{stamp}{path.suffix}")
        if not (target.exists() or target.with_name(target.name + PACKED).exists()):
            return target
        now += timedelta(microseconds=1)  # a clock that was set back


def rotated_by_awsgate(path: Path) -> list[Path]:
    """Give the files that ``rotated_name`` named, the oldest first."""
    name = re.compile(
        rf"{re.escape(path.stem)}{_STAMP.pattern}{re.escape(path.suffix)}(?:{PACKED})?"
    )
    return sorted(entry for entry in path.parent.iterdir() if name.fullmatch(entry.name))


def rotated_files(path: Path) -> list[Path]:
    """Give the older files of the log at ``path``, whoever rotated them. In no order.

    A compressed file beside its original is one that is being written.
    """
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    name = re.compile(rf"{stem}[-.][^/]+{suffix}(?:{PACKED})?|{stem}{suffix}[-.][^/]+")
    try:
        names = {entry.name for entry in path.parent.iterdir()}
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise SetupError(f"cannot list {path.parent}: {exc.strerror}") from exc
    return [
        path.with_name(entry)
        for entry in sorted(names)
        if name.fullmatch(entry) and entry.removesuffix(PACKED) not in names - {entry}
    ]


# --- opening ----------------------------------------------------------------------------


@contextmanager
def opened(paths: Iterable[Path], *, wait_s: float = MAX_WAIT_S) -> Iterator[list[LogFile]]:
    """Open the files, all at once. Raises ``SetupError`` if one cannot be read."""
    with ExitStack() as stack:
        files = [_open(path, wait_s) for path in paths]
        for each in files:
            stack.callback(each.file.close)
        yield _distinct(files)


@contextmanager
def opened_log(path: Path) -> Iterator[list[LogFile]]:
    """Open the log at ``path`` and its older files, the last written last.

    May run while the log is written and rotated. Raises ``SetupError`` if there is no
    log at all, or a file of it cannot be read.
    """
    files: list[LogFile] = []
    try:
        for attempt in range(_ATTEMPTS):
            # The current file first: of those that were rotated before it, none is missed
            # then, and one that is rotated meanwhile is there twice.
            current = [found] if (found := _open_if_there(path)) else []
            older = [found for each in rotated_files(path) if (found := _open_if_there(each))]
            files = [*older, *current]
            if _are_all(files, path) or attempt == _ATTEMPTS - 1:
                break
            for each in files:
                each.file.close()
        if not files:
            raise SetupError(
                f"no audit log at {path}",
                hint="the gateway makes it at its first start (awsgate run), in its state folder: "
                "name that with --state, or the files",
            )
        yield sorted(
            _distinct(files), key=lambda f: (f.path == path, os.fstat(f.file.fileno()).st_mtime_ns)
        )
    finally:
        for each in files:
            each.file.close()


def _distinct(files: list[LogFile]) -> list[LogFile]:
    """Give each file once: one that is being rotated has two names."""
    return list({_inode(each): each for each in files}.values())


def identity(found: os.stat_result) -> tuple[int, int]:
    """Give what tells a file from every other, whatever its name."""
    return found.st_dev, found.st_ino


def _inode(file: LogFile) -> tuple[int, int]:
    return identity(os.fstat(file.file.fileno()))


def _are_all(files: list[LogFile], path: Path) -> bool:
    """True if nothing was rotated while the files were opened."""
    there = set()
    for each in [*rotated_files(path), path]:
        try:
            found = each.stat()
        except FileNotFoundError:
            continue
        there.add(identity(found))
    return there == {_inode(each) for each in files}


def _open_if_there(path: Path) -> LogFile | None:
    try:
        return _open(path, MAX_WAIT_S)
    except SetupError as exc:
        if isinstance(exc.__cause__, FileNotFoundError):
            return None
        raise


def _open(path: Path, wait_s: float) -> LogFile:
    if path.suffix in _OTHER_PACKERS:
        raise SetupError(
            f"cannot read {path}: awsgate reads plain files and {PACKED}",
            hint=f"decompress it first, or compress with gzip ({PACKED})",
        )
    try:
        file = path.open("rb")
    except OSError as exc:
        raise SetupError(f"cannot read the audit log {path}: {exc.strerror}") from exc
    try:
        size = _size_between_appends(file, wait_s)
    except OSError as exc:
        file.close()
        raise SetupError(f"cannot read the audit log {path}: {exc.strerror}") from exc
    return LogFile(path, file, size)


def _size_between_appends(file: BinaryIO, wait_s: float) -> int:
    """Give the size while no line is half there."""
    lock(file.fileno(), fcntl.LOCK_SH, wait_s)
    size = os.fstat(file.fileno()).st_size
    fcntl.flock(file, fcntl.LOCK_UN)
    return size


def lock(file: int, how: int, wait_s: float) -> None:
    """Take a lock, ``fcntl.LOCK_SH`` or ``LOCK_EX``. Raises ``OSError`` if others hold it."""
    give_up = 0.0  # an append that does not wait reads no clock
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            now = monotonic()
            give_up = give_up or now + wait_s
            if now > give_up:
                raise OSError(errno.EAGAIN, "locked by another process") from None
            sleep(0.0002)
        else:
            return


# --- the end of a file --------------------------------------------------------------------


def read_tail(file: int, size: int) -> tuple[str, bytes, bool]:
    """Give the hash of the last whole line, what follows it, and if that ends a line."""
    length = min(size, _TAIL)
    while True:
        tail = os.pread(file, length, size - length)
        ended = tail.endswith(b"\n")
        lines = tail if ended else tail + b"\n"
        end = len(lines)
        while (end := lines.rfind(b"}\n", 0, end)) >= 0:
            link = link_of(lines, end + 2)
            if link is not None:
                return link.hash, lines[end + 2 :], ended
        if length == size:
            return GENESIS, lines, ended
        length = min(size, length * 8)


def end_of_older(path: Path, *, after_ns: int, wait_s: float) -> tuple[str, bytes] | None:
    """Give the hash that a new file at ``path`` continues, and what was torn after it.

    That is the end of the file that was written last, if it was after ``after_ns``;
    None: there is none. Raises ``SetupError`` if it cannot be read.
    """
    older = [(mtime, each) for each in rotated_files(path) if (mtime := _mtime_ns(each)) > after_ns]
    for _, newest in sorted(older, reverse=True):
        with opened([newest], wait_s=wait_s) as (file,):
            hashed, torn = _end_of(file)
        if hashed != GENESIS:
            return hashed, torn
    return None


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return -1


def _end_of(file: LogFile) -> tuple[str, bytes]:
    if not file.is_packed:
        hashed, torn, _ = read_tail(file.file.fileno(), file.size) if file.size else ("", b"", True)
        return hashed or GENESIS, torn
    hashed, rest = GENESIS, b""
    try:
        for line in file.lines():
            link = link_of(line)
            hashed, rest = (link.hash, b"") if link else (hashed, rest + line)
    except UNPACK_FAULTS as exc:
        raise SetupError(f"cannot decompress {file.path}: {exc}") from exc
    return hashed, rest
