"""Credentials of one command for the next, while more than half of their life is left.

``awsgate exec`` in a shell loop, and SDKs that run ``awsgate credentials`` for each
client they make, must not pay for the policy each time: reading it takes longer than
all else together. So what was issued is kept in the state folder, beside the session
key: who may read the one may mint anyway.

    reuse/<what was asked>.json    mode 0600
    reuse/hands-on                 whether the policy hands calls on (``where``)

Where a gateway is asked instead of a policy, they are kept beside the login there.

It serves for the same question alone, and no longer than all that answered it is
unchanged: the files of the policy, the session key, the CA, this version; or the login. A
lock needs nothing of this: the gateway looks at it with every request. Credentials for a
number of requests are one command's alone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from awsgate.cli.issuing import Issued, Wanted, issue
from awsgate.cli.no import No
from awsgate.errors import SetupError
from awsgate.paths import is_policy_file, private_folder, read_private, stamp_of, write_file
from awsgate.variables import Keys
from awsgate.version import __version__

FOLDER = "reuse"
MAX_POLICY_FILES = 1000
# As ``state`` and ``ca`` have them (a test compares): these take long to import.
_LOGIN_NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")  # as getpass.getuser reads them
_KEY_FILES = ("session.key", "session.key.previous")
_CA_FILES = ("mitmproxy-ca.pem", "ca-cert.pem", "ca-bundle.pem")


def issued_lately(wanted: Wanted) -> Issued:
    """Give credentials that are still good for a while: kept ones, or new ones.

    Raises ``No`` and ``SetupError`` as ``issue`` does.
    """
    if wanted.max_requests:
        return issue(wanted)
    asked = _question(wanted)
    path = _folder(wanted) / f"{_digest(asked)}.json"
    answered_by = _sources(wanted)
    kept = _read(path, asked, answered_by)
    if kept is not None:
        return kept
    issued = issue(wanted)
    # Only if nothing changed while it was read; the session key may be new.
    if answered_by is not None and _unchanged(wanted, answered_by):
        _keep(path, asked, _sources(wanted), issued)
    return issued


def _folder(wanted: Wanted) -> Path:
    if not wanted.gateway:
        return wanted.state / FOLDER
    from awsgate.loginstore import folder_of

    return folder_of(wanted.gateway) / FOLDER


def again(wanted: Wanted, issued: Issued) -> Issued:
    """Issue anew what was issued: the same user, app and role, whatever is clear by now.

    Raises ``No`` where that would be more than was asked for.
    """
    if wanted.max_requests:
        raise No(
            f"these credentials were for {wanted.max_requests} requests, and have ended: "
            "they are not renewed (awsgate exec --ttl gives them longer)"
        )
    return issue(replace(wanted, user=issued.user, app=issued.app, role=issued.role_arn))


def found_before(policy: Path, state: Path, name: str, find: Callable[[], bool]) -> bool:
    """Give what ``find`` says of a policy; while its files are unchanged, as it did before."""
    place = state / FOLDER / name
    seen = [__version__, str(policy), _policy(policy)]
    try:
        kept = json.loads(read_private(place) or "null")
    except (SetupError, ValueError):  # as for credentials: somebody meddled, so ask anew
        kept = None
    for answer in (True, False):
        if kept == [answer, seen]:
            return answer
    answer = find()
    if seen[-1] is not None and seen[-1] == _policy(policy) and state.is_dir():
        with suppress(SetupError, OSError):  # the command works without
            private_folder(place.parent)
            write_file(place, json.dumps([answer, seen]).encode(), mode=0o600)
    return answer


def _question(wanted: Wanted) -> dict[str, Any]:
    # The login name decides where no user was named.
    login = "" if wanted.user else [os.environ.get(n) for n in _LOGIN_NAMES]
    paths = [str(p) for p in (wanted.policy, wanted.state, wanted.certs)]
    named = [wanted.user, wanted.app, wanted.role, wanted.ttl_s]
    more = [wanted.gateway, wanted.read_only]
    return {
        "version": __version__,
        "asked": [*named, *paths, *more],
        "login": login,
        "uid": os.getuid(),
    }


def _sources(wanted: Wanted) -> dict[str, Any] | None:
    """Give what the answer hangs on; None if a part of it is not there, or not in sight."""
    if wanted.gateway:
        return _sources_remote(wanted.gateway)
    policy = _policy(wanted.policy)
    key = [_stamp(wanted.state / name) for name in _KEY_FILES]
    ca = [_stamp(wanted.certs / name) for name in _CA_FILES]
    if policy is None:
        return None
    from awsgate.loginstore import logins_folder

    # Where calls are handed on (``handedon``), the login says whose they are.
    logins = _stamp(logins_folder())
    return {"policy": policy, "key": key, "ca": ca, "logins": logins}


def _sources_remote(gateway: str) -> dict[str, Any]:
    from awsgate.loginstore import folder_of, record_of

    files = sorted(folder_of(gateway).glob("*.pem"))
    return {"policy": [], "key": [_stamp(record_of(gateway))], "ca": [_stamp(f) for f in files]}


def _unchanged(wanted: Wanted, sources: dict[str, Any]) -> bool:
    """True if what answered has not changed since; the session key may be new."""
    if wanted.gateway:
        return _sources_remote(wanted.gateway) == sources
    return bool(_policy(wanted.policy) == sources["policy"])


def _policy(path: Path) -> list[Any] | None:
    try:
        if not path.is_dir():
            return [_stamp(path)]
        names = sorted(n for n in os.listdir(path) if is_policy_file(n))  # noqa: PTH208 - half the time of iterdir
    except OSError:
        return None
    if len(names) > MAX_POLICY_FILES:
        return None
    return [_stamp(path), *([name, _stamp(path / name)] for name in names)]


def _stamp(path: Path) -> list[int]:
    """Give what differs once a file has been changed or replaced; empty: it is not there."""
    try:
        return list(stamp_of(path.stat()))
    except OSError:
        return []


def _digest(asked: dict[str, Any]) -> str:
    return sha256(json.dumps(asked).encode()).hexdigest()[:32]


def _read(path: Path, asked: dict[str, Any], sources: dict[str, Any] | None) -> Issued | None:
    if sources is None or not all((*sources["key"][:1], *sources["ca"])):
        return None
    try:
        raw = read_private(path)
        kept = json.loads(raw) if raw is not None else {}
        if kept.get("question") != asked or kept.get("sources") != sources:
            return None
        issued = Issued(**{**kept["issued"], "keys": Keys(**kept["issued"]["keys"])})
    # Somebody meddled, or it is half there: new ones do no harm.
    except (SetupError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return issued if issued.half_left(time.time()) else None


def _keep(path: Path, asked: dict[str, Any], sources: dict[str, Any] | None, new: Issued) -> None:
    from dataclasses import asdict

    record = {"question": asked, "sources": sources, "issued": asdict(new)}
    try:
        private_folder(path.parent)
        for old in _ended(path.parent, time.time()):
            old.unlink(missing_ok=True)
        write_file(path, json.dumps(record).encode(), mode=0o600)
        os.utime(path, (new.keys.expires_at, new.keys.expires_at))
    except (SetupError, OSError):
        # The command works without; what is wrong with the folder shows where it matters.
        path.unlink(missing_ok=True)


def _ended(folder: Path, now: float) -> Iterator[Path]:
    """Give the files of credentials that have ended: their time is the end."""
    return (path for path in folder.glob("*.json") if path.stat().st_mtime < now)
