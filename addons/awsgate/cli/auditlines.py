"""Audit lines for a person: which are wanted, how one is shown, and waiting for more."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

from awsgate.auditfile import UNPACK_FAULTS, LogFile, identity
from awsgate.auditline import parsed
from awsgate.cli.terminal import Style, coloured, printable
from awsgate.errors import SetupError
from awsgate.policy.globs import glob_matches
from awsgate.timestamps import utc_millis

POLL_S = 0.25
# Lines stand in the order in which they were written. One that had to wait for room on
# the disk, or for another process, can be a little older than the one before.
_OUT_OF_ORDER = timedelta(minutes=10)

type Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """What is asked for. Empty: whatever it is."""

    user: str = ""
    session: str = ""
    decision: str = ""
    action: str = ""
    """A glob; one of the line's actions must match."""
    since: str = ""

    def fits(self, record: Record) -> bool:
        """True if the line is wanted."""
        return (
            self.user in ("", record.get("user"))
            and self.session in ("", record.get("session"))
            and self.decision in ("", record.get("decision"))
            and self.since <= text_of(record, "time")
            and (not self.action or _does(record, self.action))
        )

    @property
    def needle(self) -> bytes:
        """Give what a line must hold to be wanted: most need not be parsed at all."""
        for name in ("session", "user"):
            value = getattr(self, name)
            if value:
                return f'"{name}":{json.dumps(value)}'.encode("ascii")
        return b""


def _does(record: Record, action: str) -> bool:
    done = text_of(record, "action").lower().split()
    return any(glob_matches(action.lower(), each) for each in done)


def text_of(record: Record, name: str) -> str:
    """Give a field of a line; empty if it is not there, or no text."""
    value = record.get(name)
    return value if isinstance(value, str) else ""


# --- reading ------------------------------------------------------------------------------


def last_records(files: Sequence[LogFile], wanted: Filter, count: int) -> list[Record]:
    """Give the last ``count`` wanted lines, the oldest first; 0: all. Reads backwards."""
    found: list[Record] = []
    for record in _backwards(files, wanted):
        found.append(record)
        if len(found) == count:
            break
    return found[::-1]


def all_records(files: Sequence[LogFile], wanted: Filter) -> Iterator[Record]:
    """Give the wanted lines of all files, file by file."""
    for file in _not_older(files, wanted.since):
        yield from _wanted(file.lines(), wanted, file.path)


def _backwards(files: Sequence[LogFile], wanted: Filter) -> Iterator[Record]:
    too_old = _earlier(wanted.since, _OUT_OF_ORDER)
    only_time = Filter()
    for file in reversed(_not_older(files, wanted.since)):
        for record in _wanted(file.lines_backwards(), only_time, file.path, wanted.needle):
            time = text_of(record, "time")
            if time and time < too_old:
                return
            if wanted.fits(record):
                yield record


def _wanted(
    lines: Iterator[bytes], wanted: Filter, path: Path, needle: bytes = b""
) -> Iterator[Record]:
    needle = needle or wanted.needle
    try:
        for line in lines:
            record = parsed(line) if needle in line else None
            if record is not None and wanted.fits(record):
                yield record
    except UNPACK_FAULTS as exc:
        raise SetupError(
            f"cannot decompress {path}: {exc}",
            hint="awsgate audit verify says from which line on; or name the files to read",
        ) from exc


def _not_older(files: Sequence[LogFile], since: str) -> list[LogFile]:
    """Leave out the files that were last written before ``since``."""
    if not since:
        return list(files)
    then = datetime.fromisoformat(since).timestamp()
    return [f for f in files if os.fstat(f.file.fileno()).st_mtime >= then]


def _earlier(since: str, by: timedelta) -> str:
    if not since:
        return ""
    moment = datetime.fromisoformat(since) - by
    return utc_millis(moment)


def follow(file: LogFile, show: Callable[[bytes], None]) -> None:
    """Call ``show`` with each line that is written from now on, over rotations. Never ends."""
    path, handle, place = file.path, os.dup(file.file.fileno()), file.size
    try:
        while True:
            gone = _is_replaced(path, handle)  # asked before the rest is read
            place = _show_new(handle, place, show)
            if not gone:
                sleep(POLL_S)
                continue
            try:
                following = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                sleep(POLL_S)  # renamed, and nothing was written since
                continue
            os.close(handle)
            handle, place = following, 0
    finally:
        os.close(handle)


def _show_new(handle: int, place: int, show: Callable[[bytes], None]) -> int:
    """Show the whole lines from ``place`` on. Gives where the next one begins."""
    size = os.fstat(handle).st_size
    place = place if size >= place else 0  # emptied in place
    lines = os.pread(handle, size - place, place).split(b"\n")
    for line in lines[:-1]:
        show(line)
    return size - len(lines[-1])


def _is_replaced(path: Path, handle: int) -> bool:
    ours = os.fstat(handle)
    try:
        there = path.stat()
    except FileNotFoundError:
        return True
    return identity(there) != identity(ours)


# --- showing ------------------------------------------------------------------------------


def shown(record: Record, *, colour: bool) -> str:
    """Give one line of text for an audit line. What clients chose cannot move the cursor."""
    time = text_of(record, "time")
    decision = text_of(record, "decision")
    padded = f"{decision:<7}"
    if colour and decision:
        padded = coloured(padded, Style.BAD if decision == "refused" else Style.GOOD)
    status, ms = record.get("status") or "", record.get("ms")
    took = f"{ms:.0f} ms" if isinstance(ms, (int, float)) and ms else ""
    columns = [
        f"{time[:19]}Z" if time else " " * 20,
        f"{printable(text_of(record, 'user')) or '-':<12}",
        f"{printable(_what(record)):<32}",
        padded,
        f"{status:>3}",
        f"{took:>8}",
        printable(text_of(record, "reason") or text_of(record, "resource")),
    ]
    return "  ".join(columns).rstrip()


def _what(record: Record) -> str:
    """Say what was done: the action, or what is known instead."""
    action, event = text_of(record, "action"), text_of(record, "event")
    if event == "request" and action:
        return action
    if event == "request":
        return f"{text_of(record, 'method')} {text_of(record, 'host')}"
    return " ".join(filter(None, [event, action or text_of(record, "host")]))
