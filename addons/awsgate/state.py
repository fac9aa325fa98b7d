"""The state folder: the session key, and the places of the audit log and the locks.

    session.key            32 random bytes in hex, mode 0600; made on first start
    session.key.previous   the one before it, while its sessions may still live
    audit.jsonl            written by ``audit``
    locks/                 written by ``locks``
    users/                 written by ``connect.local``: the gateway's own users
    requests.db            written by ``requeststore``: access requests, once there are some

Whoever reads the session key can mint gateway credentials for anybody, so a key
that others may have read ends the start. Gateways of one fleet share the key; for
that, copy the file. No key appears in a message or repr.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from awsgate.errors import SetupError
from awsgate.paths import folder_lock, private_folder, read_private, write_file
from awsgate.session import KEY_BYTES, SessionKeys

KEY_NAME = "session.key"
PREVIOUS_NAME = "session.key.previous"
AUDIT_NAME = "audit.jsonl"
LOCKS_NAME = "locks"
USERS_NAME = "users"


@dataclass(frozen=True, slots=True)
class State:
    """An opened state folder."""

    folder: Path
    session_keys: SessionKeys
    audit_path: Path

    @property
    def locks_folder(self) -> Path:
        """Give the folder of the locks. It need not be there."""
        return self.folder / LOCKS_NAME

    @property
    def users_folder(self) -> Path:
        """Give the folder of the gateway's own users. It need not be there."""
        return self.folder / USERS_NAME


def open_state(folder: Path) -> State:
    """Open the state folder, and make it with a new session key if there is none.

    Processes that start at once agree on one key. Raises ``SetupError`` if folder or
    key are open to others, somebody else's, or damaged.
    """
    folder = folder.absolute()
    private_folder(folder)
    current = _read_key(folder / KEY_NAME)
    if current is None:
        _write_key(folder / KEY_NAME, secrets.token_bytes(KEY_BYTES), replace=False)
        # Read back what is there: another process may have been first.
        current = _require_key(folder / KEY_NAME)
    return State(
        folder=folder,
        session_keys=SessionKeys(current, _read_key(folder / PREVIOUS_NAME)),
        audit_path=folder / AUDIT_NAME,
    )


def keys_in(folder: Path) -> SessionKeys | None:
    """Give the session keys of a folder, and make none: None if there is none.

    Raises ``SetupError`` as ``open_state`` does for a key.
    """
    current, previous = (_read_key(folder / name) for name in (KEY_NAME, PREVIOUS_NAME))
    return SessionKeys(current, previous) if current is not None else None


def rotate_session_key(folder: Path) -> State:
    """Make a new session key; the current one becomes the previous one.

    Sessions of the current key go on working until the next rotation, those of the
    key before it end now. A running gateway takes the new key when it starts again.

    Raises ``SetupError`` as ``open_state`` does.
    """
    open_state(folder)
    folder = folder.absolute()
    with folder_lock(folder):
        # In this order a crash between the two leaves one key twice, and none lost.
        _write_key(folder / PREVIOUS_NAME, _require_key(folder / KEY_NAME), replace=True)
        _write_key(folder / KEY_NAME, secrets.token_bytes(KEY_BYTES), replace=True)
    return open_state(folder)


def _require_key(path: Path) -> bytes:
    key = _read_key(path)
    if key is None:
        raise SetupError(
            f"{path} vanished while it was read", hint="is another program clearing the folder"
        )
    return key


def _read_key(path: Path) -> bytes | None:
    text = read_private(path)
    if text is None:
        return None
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        raise _damaged(path, "is not hex") from None
    if len(key) != KEY_BYTES:
        raise _damaged(path, f"holds {len(key)} bytes, expected {KEY_BYTES}")
    return key


def _write_key(path: Path, key: bytes, *, replace: bool) -> None:
    write_file(path, key.hex().encode() + b"\n", mode=0o600, replace=replace)


def _damaged(path: Path, what: str) -> SetupError:
    return SetupError(
        f"session key {path} {what}",
        hint=f"restore it from a backup; or rm {path}, which ends all sessions of it",
    )
