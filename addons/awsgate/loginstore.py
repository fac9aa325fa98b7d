"""Where a client keeps its logins: one for each gateway that somebody has logged in to.

    <config dir>/awsgate/logins/            mode 0700, as all below it
        gate.example.com_3081.json          0600: who, until when, and the login itself
        gate.example.com_3081/bundle.pem    what clients trust: system roots and the gateway's
        gate.example.com_3081/root.pem      the gateway's roots alone
        gate.example.com_3081/reuse/        credentials for the next command (``cli.reuse``)

The login is in the keyring of the desktop instead, where there is one that works. A file
that others may read is refused, not read. ``AWSGATE_LOGINS`` names another folder.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from awsgate.address import joined
from awsgate.errors import SetupError
from awsgate.paths import config_folder, private_folder, read_private, write_file

FOLDER_VARIABLE = "AWSGATE_LOGINS"
SERVICE = "awsgate"
"""What the keyring calls us."""
BUNDLE_NAME, ROOT_NAME = "bundle.pem", "root.pem"
DEFAULT_PORT = 443
# "recommended", as keyring calls it: below are plain files and backends that fail.
_GOOD_KEYRING = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """A login at one gateway, and how to reach and trust that."""

    gateway: str
    """``https://host:port`` of its control API, as ``gateway_url`` writes it."""
    proxy: str
    """What HTTPS_PROXY is to name."""
    user: str
    connector: str
    login: str = field(repr=False)
    """The token; empty if it was not asked for."""
    expires_at: int
    pin: str
    """Of the root that the gateway's certificate must lead to: ``sha256:<hex>``."""
    bundle_path: str
    root_path: str
    id: str = ""
    """Of the login; no secret."""
    tunnel_auth: bool = False
    """The gateway wants to know who opens a tunnel."""
    stored_at: int = 0
    how: str = ""
    """Options that it was made with, as a shell reads them; no secret."""

    def has_ended(self, now: float) -> bool:
        """True if it is of no more use."""
        return now >= self.expires_at

    def again(self) -> str:
        """Give the command that logs in there again."""
        return f"awsgate login --gateway {self.gateway}" + (f" {self.how}" if self.how else "")


def gateway_url(text: str) -> str:
    """Give the one form of a gateway's URL: ``https://host:port``. Raises ``ValueError``."""
    parts = urlsplit(text if "//" in text else f"https://{text}")
    if parts.scheme != "https":
        raise ValueError("it does not begin with https://")
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("it has more than a host and a port")
    host = parts.hostname or ""
    if not re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host):
        raise ValueError("it names no host")
    return f"https://{joined(host, parts.port or DEFAULT_PORT)}"


def logins_folder() -> Path:
    """Give the folder of all logins. It need not be there."""
    named = os.environ.get(FOLDER_VARIABLE, "")
    return Path(named).expanduser().absolute() if named else config_folder() / "logins"


def folder_of(gateway: str) -> Path:
    """Give the folder of what belongs to the login at a gateway."""
    return logins_folder() / _file_name(gateway)


def record_of(gateway: str) -> Path:
    """Give the file that says who is logged in at a gateway."""
    return logins_folder() / f"{_file_name(gateway)}.json"


def load(gateway: str = "", *, with_login: bool = True, now: float | None = None) -> Stored | None:
    """Give the login at a gateway, ended or not; None: there is none.

    Without a gateway the newest is meant, one that has not ended before one that has.
    ``with_login`` off asks no keyring. Raises ``SetupError`` for a file that others may
    read, or that is no login.
    """
    if gateway:
        found = _read(record_of(gateway))
    else:
        moment = time.time() if now is None else now
        every = sorted(_all(), key=lambda s: (not s.has_ended(moment), s.stored_at))
        found = every[-1] if every else None
    if found is None:
        return None
    if not with_login:
        return replace(found, login="")
    return found if found.login else replace(found, login=_from_keyring(found.gateway))


def stored_gateways() -> list[str]:
    """Give the gateways of all logins, ended ones too."""
    return sorted(stored.gateway for stored in _all())


def save(stored: Stored, *, bundle: bytes, root: bytes) -> Stored:
    """Keep a login and what it is trusted by; gives it with the paths of these files."""
    folder = folder_of(stored.gateway)
    try:
        private_folder(folder.parent)
        private_folder(folder)
    except OSError as exc:
        raise SetupError(f"cannot use folder {folder}: {exc.strerror}") from exc
    paths = folder / BUNDLE_NAME, folder / ROOT_NAME
    for path, content in zip(paths, (bundle, root), strict=True):
        write_file(path, content, mode=0o600)
    kept = replace(stored, bundle_path=str(paths[0]), root_path=str(paths[1]))
    in_keyring = _into_keyring(kept.gateway, kept.login)
    record = asdict(kept) | ({"login": ""} if in_keyring else {})
    write_file(record_of(kept.gateway), json.dumps(record).encode(), mode=0o600)
    return kept


def refresh(stored: Stored, *, bundle: bytes, root: bytes) -> Stored:
    """Keep what a gateway says anew of itself: what clients trust, and where its proxy is.

    The login stays where it is.
    """
    kept = _read(record_of(stored.gateway))
    if kept is None or kept.id != stored.id:
        return stored  # somebody has logged out, or in again, meanwhile
    write_file(Path(kept.bundle_path), bundle, mode=0o600)
    write_file(Path(kept.root_path), root, mode=0o600)
    new = replace(kept, proxy=stored.proxy, tunnel_auth=stored.tunnel_auth)
    if new != kept:
        write_file(record_of(new.gateway), json.dumps(asdict(new)).encode(), mode=0o600)
    return replace(new, login=stored.login)


def forget(gateway: str) -> bool:
    """Remove every secret of the login at a gateway. False: there was none.

    What clients trust stays: it is public, and a program that runs on has its path in
    AWS_CA_BUNDLE. Without the file it would be told of a broken TLS setup, in place of
    what the gateway says of a login that is over.
    """
    import shutil

    record, folder = record_of(gateway), folder_of(gateway)
    there = record.exists()
    try:
        record.unlink(missing_ok=True)
        if folder.is_symlink():
            folder.unlink()
            return True
        for entry in folder.iterdir() if folder.exists() else ():
            if entry.is_dir() and not entry.is_symlink():
                there = True
                shutil.rmtree(entry)
            elif entry.name not in (BUNDLE_NAME, ROOT_NAME):
                there = True
                entry.unlink()
    except OSError as exc:
        raise SetupError(
            f"cannot remove {exc.filename}: {exc.strerror}", hint=f"rm -r {record} {folder}"
        ) from exc
    finally:
        _out_of_keyring(gateway)
    return there


# --- the files --------------------------------------------------------------------------


def _file_name(gateway: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", gateway_url(gateway).removeprefix("https://"))


def _all() -> Iterator[Stored]:
    try:
        names = sorted(n for n in os.listdir(logins_folder()) if n.endswith(".json"))  # noqa: PTH208 - half the time of iterdir
    except FileNotFoundError:
        return
    except OSError as exc:
        raise SetupError(f"cannot read {logins_folder()}: {exc.strerror}") from exc
    for name in names:
        found = _read(logins_folder() / name) if not name.startswith(".") else None
        if found is not None:
            yield found


def _read(path: Path) -> Stored | None:
    raw = read_private(path)
    if raw is None:
        return None
    try:
        stored = Stored(**json.loads(raw))
        _check(stored, path)
    except (ValueError, TypeError, AttributeError) as exc:
        # Not quoted: a secret is in it.
        raise SetupError(
            f"{path} is no login", hint=f"remove it (rm {path}), and log in again: awsgate login"
        ) from exc
    return stored


_TYPES = {"expires_at": int, "stored_at": int, "tunnel_auth": bool}


def _check(stored: Stored, path: Path) -> None:
    for name, value in asdict(stored).items():
        if type(value) is not _TYPES.get(name, str):
            raise TypeError(name)
    if record_of(stored.gateway) != path:
        raise ValueError("of another gateway")


# --- the keyring ------------------------------------------------------------------------


def _keyring() -> Any:
    """Give the keyring of this desktop; None: there is none that works."""
    try:
        import keyring

        backend = keyring.get_keyring()
        works = backend.priority >= _GOOD_KEYRING
    except Exception:  # noqa: BLE001 - whatever is wrong with it, there are files
        return None
    return backend if works else None


def _into_keyring(gateway: str, login: str) -> bool:
    """True if the login is in the keyring now, and can be read there."""
    backend = _keyring()
    if backend is None:
        return False
    try:
        backend.set_password(SERVICE, gateway, login)
        return bool(backend.get_password(SERVICE, gateway) == login)
    except Exception:  # noqa: BLE001 - locked, refused, too long: then a file it is
        return False


def _from_keyring(gateway: str) -> str:
    hint = f"unlock the keyring, or log in again: awsgate login --gateway {gateway}"
    backend = _keyring()
    try:
        login = backend.get_password(SERVICE, gateway) if backend is not None else None
    except Exception as exc:  # each backend has its own
        raise SetupError(f"the keyring does not answer: {type(exc).__name__}", hint=hint) from exc
    if not login:
        raise SetupError(f"the login at {gateway} is not in the keyring any more", hint=hint)
    return str(login)


def _out_of_keyring(gateway: str) -> None:
    backend = _keyring()
    if backend is not None:
        with suppress(Exception):  # it was not there
            backend.delete_password(SERVICE, gateway)
