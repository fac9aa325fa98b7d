"""The chain of the audit log, checked: over a file, or over all files of a log.

A file is checked line by line. Files are put in order by what they say themselves: each
but the oldest begins with the last hash of the one before (``audit.continued``), whatever
their names are. So a file that is missing, cut short or there twice is found.

The chain has no key. Who may write the files can make them anew from any line on, and
lines cut off at the end leave no trace in what remains. Against both, note a head hash
somewhere else, and ask for it later: that hash stands for every line up to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from awsgate.auditfile import UNPACK_FAULTS, LogFile, opened
from awsgate.auditline import (
    CONTINUED,
    GENESIS,
    RECOVERED,
    Link,
    digest,
    link_fault,
    link_of,
    note_of,
    parsed,
)
from awsgate.errors import SetupError

NOT_WHOLE = "not a whole record"


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place where the chain does not hold."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}: line {self.line}: {self.what}"


@dataclass(slots=True, eq=False)
class Scan:
    """What is in one file."""

    path: Path
    lines: int = 0
    """Whole lines before the first fault."""
    begins_after: str = GENESIS
    """The hash that its first line continues."""
    head: str = GENESIS
    first: str = ""
    last: str = ""
    fault: Fault | None = None
    torn_at: int = 0
    """Line that was cut short at the end of the file, or 0."""
    torn: bytes = b""
    accounts_for: str = ""
    """Digest of what was cut short in the file before."""
    seen: set[str] = field(default_factory=set)
    """Those of the hashes looked for that a line has."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What is in all files."""

    files: Sequence[Scan]
    """In the order of the chain."""
    fault: Fault | None
    lines: int
    """Before the fault."""
    first: str
    last: str
    head: str
    begins_after: str
    """Hash of the last line of an older file, which is not here; or 64 zeros."""

    def has(self, hashed: str) -> bool:
        """True if a line has this hash, or the oldest file goes on from it."""
        return any(hashed in scan.seen for scan in self.files) or hashed == self.begins_after


def verify(path: Path) -> tuple[int, str | None]:
    """Check the chain of one file: how many lines hold, and the first fault or None.

    Lines cut short by a crash are no fault if the line after them accounts for them.
    May run while the gateway writes. Raises ``SetupError`` if it cannot be read.
    """
    with opened([path]) as (file,):
        found = scan(file)
    fault = found.fault or _torn_end(found)
    return found.lines, f"line {fault.line}: {fault.what}" if fault else None


def verify_files(files: Iterable[LogFile], *, wanted: Iterable[str] = (), after: str = "") -> Chain:
    """Check the chain over all ``files``, in whatever order they are.

    ``wanted`` are hashes to look out for. What stands up to the line whose hash is
    ``after`` is not checked, if there is such a line. Raises ``SetupError`` if a file
    cannot be read.
    """
    hashes = frozenset({*wanted, *([after] if after else [])})
    scans = [scan(file, hashes, after) for file in files]
    ordered, breaks = _in_order([each for each in scans if each.head != GENESIS or each.torn])
    ordered = [*ordered, *(each for each in scans if each.fault and each not in ordered)]
    begun = next((n for n, each in enumerate(ordered) if after in each.seen), None)
    ordered = ordered[begun or 0 :]
    fault, lines = _first_fault(ordered, breaks)
    whole = [each for each in ordered if each.head != GENESIS]
    return Chain(
        files=tuple(ordered),
        fault=fault,
        lines=lines,
        first=next((each.first for each in whole if each.first), ""),
        last=whole[-1].last if whole else "",
        head=whole[-1].head if whole else GENESIS,
        begins_after=after if begun is not None else (whole[0].begins_after if whole else GENESIS),
    )


def scan(file: LogFile, wanted: frozenset[str] = frozenset(), after: str = "") -> Scan:
    """Read a file from its beginning to its end. ``after`` as in ``verify_files``."""
    found = Scan(file.path)
    number, last = 0, b""
    torn: list[bytes] = []
    try:
        for number, line in enumerate(file.lines(), 1):
            link = link_of(line)
            if link is None:
                torn.append(line)
                found.torn_at = found.torn_at or number
                continue
            _take(found, number, line, link, b"".join(torn))
            torn, found.torn_at = [], 0
            if found.fault is None or link.hash == after:
                last = line  # the last that holds
            if link.hash in wanted:
                found.seen.add(link.hash)
                if link.hash == after:
                    found.lines, found.fault, found.first = 0, None, ""
    except UNPACK_FAULTS as exc:
        _blame(found, number + 1, f"cannot be decompressed from here on: {exc}")
    except OSError as exc:
        raise SetupError(f"cannot read the audit log {file.path}: {exc.strerror}") from exc
    found.torn, found.last = b"".join(torn), _time(last)
    return found


def _take(found: Scan, number: int, line: bytes, link: Link, torn: bytes) -> None:
    """Take a whole line that follows what is found so far, and ``torn`` after it."""
    begins = found.head == GENESIS
    if torn and note_of(line, RECOVERED) != digest(torn):
        # One that accounts for them allows no more than cutting off the last lines
        # does, which no chain shows.
        _blame(found, found.torn_at, NOT_WHOLE)
    elif not torn and found.lines <= 1:
        found.accounts_for = found.accounts_for or note_of(line, RECOVERED)
    fault = link_fault(line, link, found.head)
    if fault:
        _blame(found, number, fault)
    if begins:
        found.begins_after = note_of(line, CONTINUED) or GENESIS
    found.first = found.first or _time(line)
    found.head = link.hash
    found.lines += found.fault is None


def _blame(found: Scan, line: int, what: str) -> None:
    found.fault = found.fault or Fault(found.path, line, what)


def _time(line: bytes) -> str:
    time = (parsed(line) or {}).get("time")
    return time if isinstance(time, str) else ""


def _first_fault(ordered: Sequence[Scan], breaks: Mapping[int, str]) -> tuple[Fault | None, int]:
    """Give the first fault in the order of the chain, and how many lines are before it."""
    lines = 0
    for number, each in enumerate(ordered):
        if number and id(each) in breaks:
            return Fault(each.path, 1, breaks[id(each)]), lines
        lines += each.lines
        fault = each.fault or _torn_end(each, ordered[number + 1 : number + 2])
        if fault:
            return fault, lines
    return None, lines


def _torn_end(scan: Scan, following: Sequence[Scan] = ()) -> Fault | None:
    if not scan.torn or any(digest(scan.torn) == each.accounts_for for each in following):
        return None
    return Fault(scan.path, scan.torn_at, NOT_WHOLE)


def _in_order(scans: Sequence[Scan]) -> tuple[list[Scan], dict[int, str]]:
    """Give the files in the order of the chain, and where it does not lead on, why."""
    heads = {each.head for each in scans}
    following: dict[str, list[Scan]] = {}
    for each in sorted(scans, key=lambda s: s.first):
        following.setdefault(each.begins_after, []).append(each)
    ordered: list[Scan] = []
    breaks: dict[int, str] = {}
    # The oldest files first: those that nothing here leads to.
    for each in sorted(scans, key=lambda s: (s.begins_after in heads - {GENESIS}, s.first)):
        if each in ordered:
            continue
        if ordered:
            breaks[id(each)] = _why_apart(each, heads)
        found: Scan | None = each
        while found is not None:
            ordered.append(found)
            after = following.get(found.head, []) if found.head != GENESIS else []
            found = next((one for one in after if one not in ordered), None)
    return ordered, breaks


def _why_apart(scan: Scan, heads: set[str]) -> str:
    if scan.begins_after == GENESIS:
        return "a chain of its own begins here: nothing links it to a file before"
    if scan.begins_after in heads:
        return "another file goes on from the same line: it is here twice, or was written anew"
    return "it goes on from a line that no file here ends with: lines before it are missing"
