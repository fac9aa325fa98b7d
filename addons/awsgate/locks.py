"""The locks that ``awsgate lock`` keeps: one file each, in the state folder.

    <state>/locks/alice-3f9a1c.json    a ``kind: lock`` document, in JSON, mode 0600

A file is there whole or not at all, and none is written over. Who wrote it and when are
labels of the document, for ``awsgate lock ls``; nothing is decided by them. What stands
in the folder and is no lock is a fault: an operator may believe that it locks somebody.
It keeps no other lock from being read: they stand each for itself.

What a lock means is in ``policy.locks``. The gateway reads this folder (``policywatch``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awsgate.errors import SetupError
from awsgate.paths import private_folder, read_private, stamp_of, write_file
from awsgate.policy import Lock, parse_policy
from awsgate.policy.locks import LockBook

SUFFIX = ".json"
MAX_FILE_BYTES = 64 * 1024
CREATED, BY = "created", "by"
"""Labels of a lock that was made by ``awsgate lock``."""
LOCK_ADDED, LOCK_REMOVED = "lock.add", "lock.remove"
"""Events of the audit: a lock of the folder that came or went, or that somebody may not set."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,99}")


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in the folder."""

    locks: LockBook
    """All that can be read, expired ones too."""
    faults: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()
    """Names of the locks that are there and cannot be read."""

    def fault(self, folder: Path) -> SetupError | None:
        """Give all faults as one error; None: there is none."""
        if not self.faults:
            return None
        some = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        return SetupError(
            f"{some} in the locks of {folder}",
            hint="awsgate lock rm NAME takes a lock away, whatever is in its file",
            faults=self.faults,
        )


class LockStore:
    """The folder. Processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[object, Lock]] = {}
        """Name -> the file's stamp and what was in it: one more lock costs one more file."""

    def open(self) -> LockBook:
        """Make the folder if it is not there, and give all locks.

        Raises ``SetupError`` with every fault.
        """
        private_folder(self.folder)
        found = self.read()
        fault = found.fault(self.folder)
        if fault is not None:
            raise fault
        return found.locks

    def read(self) -> Found:
        """Read all locks. Raises ``SetupError`` if the folder is gone or not ours alone."""
        faults: list[str] = []
        unread: set[str] = set()
        known: dict[str, tuple[object, Lock]] = {}
        for path, stamp in self._files():
            old, before = self._known.get(path.name), len(faults)
            if old is not None and old[0] == stamp:
                known[path.name] = old
                continue
            lock = _read(path, faults)
            if lock is not None:
                known[path.name] = stamp, lock
            elif len(faults) > before and path.suffix == SUFFIX:
                unread.add(path.stem)
        self._known = known
        book = LockBook(lock for _, lock in known.values())
        return Found(book, tuple(faults), frozenset(unread))

    def add(self, document: Mapping[str, Any]) -> Lock:
        """Check a ``kind: lock`` document and keep it under its name.

        Raises ``SetupError`` if it is not in order, or if there is one of that name.
        """
        name = str(document["metadata"]["name"])
        _check_name(name)
        lock = _lock_of(name, document)
        private_folder(self.folder)
        content = json.dumps(document, indent=2).encode() + b"\n"
        if not write_file(self._path(name), content, mode=0o600, replace=False):
            raise SetupError(
                f"there is a lock {name!r} already",
                hint=f"give another --name, or take it away first: awsgate lock rm {name}",
            )
        return lock

    def remove(self, name: str) -> bool:
        """Take a lock away. False: there is none of that name."""
        _check_name(name)
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise SetupError(f"cannot remove lock {name}: {exc.strerror}") from exc
        return True

    def fingerprint(self) -> object:
        """Give what differs whenever the files differ. Cheap; never raises."""
        try:
            return (self.folder.stat().st_mode, _stamps(self.folder))
        except OSError as exc:
            return exc.errno

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"

    def _files(self) -> list[tuple[Path, object]]:
        if not self.folder.is_dir():  # not made again here: that would open every lock
            raise SetupError(
                f"the folder of the locks is gone: {self.folder}",
                hint="restore it from a backup, or restart the gateway to do without",
            )
        private_folder(self.folder)
        try:
            return [(self.folder / name, stamp) for name, stamp in _stamps(self.folder)]
        except OSError as exc:
            raise SetupError(f"cannot read the locks of {self.folder}: {exc.strerror}") from exc


def _stamps(folder: Path) -> list[tuple[str, object]]:
    """Give each file that counts with what differs when it differs, sorted by name."""
    found: list[tuple[str, object]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                with suppress(FileNotFoundError):  # taken away meanwhile
                    found.append((entry.name, stamp_of(entry.stat(follow_symlinks=False))))
    return sorted(found, key=lambda one: one[0])


def _read(path: Path, faults: list[str]) -> Lock | None:
    """Give the lock of a file; None: it went away meanwhile, or it is noted what is wrong."""
    if path.suffix != SUFFIX or not _NAME.fullmatch(path.stem):
        faults.append(f"{path.name}: is no lock: move it out of the folder")
        return None
    try:
        raw = read_private(path)
        if raw is not None and len(raw) > MAX_FILE_BYTES:
            faults.append(f"{path.name}: is over {MAX_FILE_BYTES} bytes")
        elif raw is not None:
            return _lock_of(path.stem, json.loads(raw))
    except SetupError as exc:
        faults += exc.faults or (exc.message,)
    except (ValueError, RecursionError):
        faults.append(f"{path.name}: is not JSON")
    return None


def _lock_of(name: str, document: object) -> Lock:
    """Check a document. Raises ``SetupError`` with its faults."""
    place = f"{name}{SUFFIX}"
    try:
        lock = parse_policy([(place, document)], complete=False).locks.get(name)
    except SetupError as exc:
        raise SetupError("this is no lock", faults=exc.faults) from exc
    if lock is None:
        fault = f"{place}: is not a lock of the name {name!r}"
        raise SetupError("this is no lock", faults=(fault,))
    return lock


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SetupError(
            f"{name[:100]!r} cannot be the name of a lock",
            hint="1 to 100 letters, digits and _ . @ + -, beginning with a letter or a digit",
        )
