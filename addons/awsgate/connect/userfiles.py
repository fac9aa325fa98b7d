"""The files of the gateway's own users: one each, in the state folder.

    <state>/users/alice.json     mode 0600

A file holds the hash of a password, the secret of an authenticator app, and how often a
login has failed. With the state folder they are as secret as the session key beside them.
A file is there whole or not at all. Who changes one holds ``locked`` meanwhile: the
gateway's processes and ``awsgate users`` work on them at once.

A name that is a good file name everywhere, also where case does not count, is one; any
other stands as a hash. The user's name is in the file, and is compared.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from awsgate.errors import SetupError
from awsgate.paths import folder_lock, private_folder, read_private, write_file

SUFFIX = ".json"
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_.@+-]{0,99}")
_DECOY = ".nobody"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class UserRecord:
    """One user. Times in epoch seconds; 0: never, or no longer."""

    user: str
    created_at: int
    wants_totp: bool = True
    password: str = field(default="", repr=False)
    """Argon2's own form, parameters and salt in it; empty: invited, and has none yet."""
    totp: str = field(default="", repr=False)
    """The authenticator's secret in base32."""
    last_step: int = -1
    """The step of the last code that was used: it and all before it count no more."""
    invitation: str = field(default="", repr=False)
    """SHA-256 of the invitation's secret; empty: there is none, or it was used."""
    invited_until: int = 0
    failures: int = 0
    """In a row, since the last login or lockout."""
    lockouts: int = 0
    """In a row, since the last login."""
    locked_until: int = 0
    last_login_at: int = 0


def file_name(user: str) -> str:
    """Give the name of a user's file."""
    if _PLAIN.fullmatch(user):
        return user + SUFFIX
    # '=' begins no plain name.
    return f"={hashlib.sha256(user.encode('utf-8', 'surrogatepass')).hexdigest()}{SUFFIX}"


class UserFiles:
    """The folder. Processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep everybody else from changing a file. Makes the folder."""
        private_folder(self.folder)
        with folder_lock(self.folder):
            yield

    def read(self, user: str) -> UserRecord | None:
        """Give a user; None: there is none of that name. Raises ``SetupError``."""
        path = self.folder / file_name(user)
        raw = read_private(path)
        if raw is None:
            return None
        record = _parsed(path, raw)
        if record.user != user:
            raise SetupError(
                f"{path} is of another user, {record.user!r}",
                hint="restore it from a backup, or move it away",
            )
        return record

    def write(self, record: UserRecord) -> None:
        """Keep a user in place of the one of that name. Raises ``SetupError``."""
        self._write(file_name(record.user), record)

    def write_decoy(self) -> None:
        """Do what it takes to keep a user, and keep none."""
        self._write(_DECOY, UserRecord("", 0, password="-" * 97, totp="-" * 32))

    def remove(self, user: str) -> bool:
        """Take a user away, whatever is in the file. False: there is none of that name."""
        try:
            (self.folder / file_name(user)).unlink()
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise SetupError(f"cannot remove user {user!r}: {exc.strerror}") from exc
        return True

    def all(self) -> tuple[list[UserRecord], list[str]]:
        """Give all users by name, and what is wrong with files that cannot be read."""
        if not self.folder.is_dir():
            return [], []
        private_folder(self.folder)
        records, faults = [], []
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith("."):
                continue
            try:
                raw = read_private(path)
                if raw is None:
                    continue
                record = _parsed(path, raw)
            except SetupError as exc:
                faults.append(exc.message)
            else:
                if file_name(record.user) == path.name:
                    records.append(record)
                else:
                    faults.append(f"{path} is not the file of its user, {record.user!r}")
        return sorted(records, key=lambda record: record.user), faults

    def _write(self, name: str, record: UserRecord) -> None:
        content = json.dumps({"version": _VERSION, **asdict(record)}, indent=2)
        write_file(self.folder / name, content.encode() + b"\n", mode=0o600)


def _parsed(path: Path, raw: bytes) -> UserRecord:
    try:
        return _checked(json.loads(raw))
    except (ValueError, RecursionError) as exc:
        # Not what stands there: it may be a secret.
        what = "is not JSON" if isinstance(exc, json.JSONDecodeError) else "is not a user's file"
        raise SetupError(
            f"{path} {what}",
            hint="restore it from a backup, or awsgate users rm, and add the user again",
        ) from None


def _checked(found: Any) -> UserRecord:
    """Check that each field is there, and of its type. Raises ``ValueError``.

    A field too many is a fault as well: it may be a restriction of a later version.
    """
    known = {f.name: f for f in fields(UserRecord)}
    types = {"str": str, "int": int, "bool": bool}
    if not isinstance(found, dict) or found.pop("version", None) != _VERSION:
        raise ValueError("is not of this version")
    if not found.keys() <= known.keys():
        raise ValueError("unknown field")
    for name, one in known.items():
        if name not in found:
            if one.default is MISSING:
                raise ValueError(f"no {name}")
        elif type(found[name]) is not types[str(one.type)]:
            raise ValueError(f"{name} is of a wrong type")
    return UserRecord(**found)
