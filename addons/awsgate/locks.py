"""The locks that ``awsgate lock`` keeps: one file each, in the state folder.

    <state>/locks/alice-3f9a1c.json    a ``kind: lock`` document, in JSON, mode 0600

A file is there whole or not at all, and none is written over. Who wrote it and when are
labels of the document, for ``awsgate lock ls``; nothing is decided by them. What stands
in the folder and is no lock is a fault: an operator may believe that it locks somebody.

What a lock means is in ``policy.locks``. The gateway reads this folder (``policywatch``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from awsgate.errors import SetupError
from awsgate.paths import private_folder, read_private, write_file
from awsgate.policy import Lock, parse_policy
from awsgate.policy.locks import LockBook

SUFFIX = ".json"
MAX_FILE_BYTES = 64 * 1024
CREATED, BY = "created", "by"
"""Labels of a lock that was made by ``awsgate lock``."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,99}")


class LockStore:
    """The folder. Processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> LockBook:
        """Make the folder if it is not there, and read it. Raises as ``read`` does."""
        private_folder(self.folder)
        return self.read()

    def read(self) -> LockBook:
        """Give all locks, expired ones too.

        Raises ``SetupError`` with every fault: whoever holds locks keeps those that it has.
        """
        faults: list[str] = []
        locks: list[Lock] = []
        for path in self._files():
            locks += _read(path, faults)
        if faults:
            some = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
            raise SetupError(
                f"{some} in the locks of {self.folder}",
                hint="awsgate lock rm takes a lock away, whatever is in its file",
                faults=tuple(faults),
            )
        return LockBook(locks)

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
        found = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        s = entry.stat(follow_symlinks=False)
                        found.append((entry.name, s.st_ino, s.st_mtime_ns, s.st_ctime_ns))
            return (self.folder.stat().st_mode, sorted(found))
        except OSError as exc:
            return exc.errno

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():  # not made again here: that would open every lock
            raise SetupError(
                f"the folder of the locks is gone: {self.folder}",
                hint="the locks in force stay; restore it from a backup, or restart to do without",
            )
        private_folder(self.folder)
        return sorted(path for path in self.folder.iterdir() if not path.name.startswith("."))


def _read(path: Path, faults: list[str]) -> list[Lock]:
    """Give the lock of a file, nothing if it went away meanwhile, or note what is wrong."""
    if path.suffix != SUFFIX or not _NAME.fullmatch(path.stem):
        faults.append(f"{path.name}: is no lock: move it out of the folder")
        return []
    try:
        raw = read_private(path)
        if raw is None:
            return []
        if len(raw) > MAX_FILE_BYTES:
            faults.append(f"{path.name}: is over {MAX_FILE_BYTES} bytes")
            return []
        return [_lock_of(path.stem, json.loads(raw))]
    except SetupError as exc:
        faults += exc.faults or (exc.message,)
    except (ValueError, RecursionError):
        faults.append(f"{path.name}: is not JSON")
    return []


def _lock_of(name: str, document: object) -> Lock:
    """Check a document. Raises ``SetupError`` with its faults."""
    place = f"{name}{SUFFIX}"
    lock = parse_policy([(place, document)], complete=False).locks.get(name)
    if lock is None:
        raise SetupError("bad lock", faults=(f"{place}: is not a lock of the name {name!r}",))
    return lock


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SetupError(
            f"{name[:100]!r} cannot be the name of a lock",
            hint="1 to 100 letters, digits and _ . @ + -, beginning with a letter or a digit",
        )
