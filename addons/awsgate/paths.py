"""Where awsgate keeps its files, and how it reads and writes the private ones.

    checkout     <root>/policy            <root>/certs                  <root>/state
    installed    ~/.config/awsgate/policy ~/.local/share/awsgate/certs  ~/.local/state/awsgate

A checkout is a package at ``<root>/addons/awsgate`` with ``<root>/pyproject.toml``.
Installed, the folders follow the XDG rules, and ``/etc/awsgate/policy`` goes first
if it is there: on a shared host the policy belongs to root, not to a user.

The second half is for files that only their owner may read (``state``, ``ca``). It
knows nothing of what they hold. POSIX only.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from awsgate.errors import SetupError

SYSTEM_POLICY = Path("/etc/awsgate/policy")
LOCK_NAME = ".lock"
_POLICY_SUFFIXES = (".yaml", ".yml")
_PACKAGE = Path(__file__).resolve().parent


def default_policy_path() -> Path:
    """Give the folder of the policy files. It need not be there."""
    root = _checkout()
    if root is not None:
        return root / "policy"
    if SYSTEM_POLICY.exists():
        return SYSTEM_POLICY
    return config_folder() / "policy"


def is_policy_file(name: str) -> bool:
    """True if a file of that name in the policy's folder is one of the policy's."""
    return name.lower().endswith(_POLICY_SUFFIXES) and not name.startswith(".")


def default_certs_folder() -> Path:
    """Give the folder of the gateway's CA. It need not be there."""
    root = _checkout()
    if root is not None:
        return root / "certs"
    return _xdg("XDG_DATA_HOME", ".local/share") / "awsgate" / "certs"


def default_state_folder() -> Path:
    """Give the folder of session key and audit log. It need not be there."""
    root = _checkout()
    if root is not None:
        return root / "state"
    return _xdg("XDG_STATE_HOME", ".local/state") / "awsgate"


def config_folder() -> Path:
    """Give the folder of a user's own settings, wherever awsgate runs from."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "awsgate"


def private_folder(folder: Path, *, harmless: Collection[str] = ()) -> None:
    """Make ``folder`` with mode 0700, or check that it is nobody else's to enter.

    A folder that holds nothing but ``harmless`` names is closed to others; one with
    more in it may be somebody's home, so it is left alone and refused.

    Raises ``SetupError``, with the command that mends it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Listed before the mode is read: another process that starts at once closes
        # the folder before it puts anything in.
        others = {entry.name for entry in folder.iterdir()} - {*harmless, LOCK_NAME}
        info = folder.stat()
    except OSError as exc:
        raise SetupError(
            f"cannot use folder {folder}: {exc.strerror}",
            hint="name another folder, or make this one for the user that runs awsgate",
        ) from exc
    _check_owner(folder, info)
    if info.st_mode & 0o077 == 0:
        return
    if others:
        raise _too_open(folder, info, "700")
    folder.chmod(0o700)


def read_private(path: Path) -> bytes | None:
    """Give the content of a file that its owner alone may read; None if not there.

    Raises ``SetupError`` if it is a link, somebody else's, or open to others: then
    its content may be known, or chosen, by somebody else.
    """
    try:
        # O_NOFOLLOW and fstat: what is checked is what is read. O_NONBLOCK: a FIFO
        # in its place may not hold up the start.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if path.is_symlink():
            raise SetupError(
                f"{path} is a symbolic link", hint="put the file itself there"
            ) from exc
        raise SetupError(
            f"cannot read {path}: {exc.strerror}", hint=f"chown {os.geteuid()} {path}"
        ) from exc
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise SetupError(f"{path} is not a regular file", hint="move it out of the way")
        _check_owner(path, info)
        if info.st_mode & 0o077:
            raise _too_open(path, info, "600")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def check_private(path: Path) -> None:
    """Raise ``SetupError`` unless a file is its owner's alone, and no link."""
    try:
        info = path.lstat()
    except OSError as exc:
        raise SetupError(f"cannot read {path}: {exc.strerror}") from exc
    if not stat.S_ISREG(info.st_mode):
        raise SetupError(f"{path} is not a regular file", hint="move it out of the way")
    _check_owner(path, info)
    if info.st_mode & 0o077:
        raise _too_open(path, info, "600")


def write_file(path: Path, content: bytes, *, mode: int, replace: bool = True) -> bool:
    """Write a file that is there whole or not at all. True if it was written.

    With ``replace`` off a file that is there already stays, and the answer is False.
    Raises ``SetupError`` if it cannot be written.
    """
    try:
        # mkstemp opens with O_EXCL and 0600, so the content is never open to others.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as exc:
        raise _cannot_write(path, exc) from exc
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    except FileExistsError:
        return False
    except OSError as exc:
        raise _cannot_write(path, exc) from exc
    else:
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _cannot_write(path: Path, exc: OSError) -> SetupError:
    return SetupError(
        f"cannot write {path}: {exc.strerror}",
        hint=f"is {path.parent} writable, and is there space on the disk",
    )


def stamp_of(info: os.stat_result) -> tuple[int, ...]:
    """Give what differs once a file has been changed or replaced."""
    return (
        *(info.st_dev, info.st_ino, info.st_mode),
        *(info.st_size, info.st_mtime_ns, info.st_ctime_ns),
    )


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep other processes out of ``folder``; waits for the one that is inside."""
    try:
        handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise SetupError(
            f"cannot write to {folder}: {exc.strerror}",
            hint=f"make {folder} writable for the user that runs awsgate",
        ) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _checkout() -> Path | None:
    source, root = _PACKAGE.parent, _PACKAGE.parent.parent
    if source.name == "addons" and (root / "pyproject.toml").is_file():
        return root
    return None


def _xdg(variable: str, fallback: str) -> Path:
    # "All paths set in these environment variables must be absolute. If an
    # implementation encounters a relative path [...] it should consider the path
    # invalid and ignore it." (XDG Base Directory Specification 0.8)
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / fallback


def _check_owner(path: Path, info: os.stat_result) -> None:
    if info.st_uid != os.geteuid():
        raise SetupError(
            f"{path} belongs to uid {info.st_uid}, and awsgate runs as uid {os.geteuid()}",
            hint=f"chown {os.geteuid()} {path}, or run awsgate as its owner",
        )


def _too_open(path: Path, info: os.stat_result, mode: str) -> SetupError:
    return SetupError(
        f"{path} is open to other users (mode {stat.S_IMODE(info.st_mode):04o})",
        hint=f"chmod {mode} {path}",
    )
