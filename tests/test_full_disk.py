"""A disk that is full or read-only: what is kept there is refused in words, or is whole.

Real file systems. When there is room again, everything works, and nothing half-written is left.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from awsgate.audit import AuditLog
from awsgate.ca import ensure_ca, rotate_ca
from awsgate.errors import Refusal, SetupError
from awsgate.locks import LockStore
from awsgate.policy.accessrequest import asked
from awsgate.policy.requests import Terms
from awsgate.requestdb import sqlite_url
from awsgate.requeststore import RequestStore
from awsgate.state import open_state, rotate_session_key
from awsgate.tally import Tally
from disks import TROUBLES, small_disk

NOW = datetime.now(UTC)
SUFFIXES = ("amazonaws.com",)
TERMS = Terms(((1, 1),), 7200, reason_required=False, reviewers=("bob",))
LOCK = {
    "kind": "lock",
    "version": "v1",
    "metadata": {"name": "one"},
    "spec": {"target": {"user": "alice"}, "message": "m" * 5000},
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", size_kib=512) as made:
        yield made


def _session_key(disk: Path) -> str:
    return repr(open_state(disk / "state").session_keys.current)


def _new_session_key(disk: Path) -> str:
    return repr(rotate_session_key(disk / "state").session_keys.current)


def _ca(disk: Path) -> str:
    return str(ensure_ca(disk / "certs", suffixes=SUFFIXES, now=NOW).not_after)


def _new_ca(disk: Path) -> str:
    return str(rotate_ca(disk / "certs", suffixes=SUFFIXES, now=NOW).not_after)


def _lock(disk: Path) -> str:
    store = LockStore(disk / "locks")
    store.open()
    store.add(LOCK)
    return ",".join(lock.metadata.name for lock in store.read().locks)


def _audit(disk: Path) -> str:
    log = AuditLog(disk / "audit.jsonl")
    log.close()
    return "opened"


def _tally(disk: Path) -> str:
    return str(Tally(disk / "tally")("a" * 32))


def _request(disk: Path) -> str:
    store = RequestStore(sqlite_url(disk / "requests.db"))
    try:
        made = asked("ar-1", "alice", "local", "dba", terms=TERMS, reason="r" * 3000,
                     duration_s=600, now=1_800_000_000)  # fmt: skip
        store.add(made, lambda _: None, lambda _: None)
        found = store.get("ar-1")
        assert found == made
    finally:
        store.close()
    with closing(sqlite3.connect(disk / "requests.db")) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


WORKS: dict[str, Callable[[Path], str]] = {
    "a session key is made": _session_key,
    "a CA is made": _ca,
    "a lock is added": _lock,
    "a request is counted": _tally,
    "an access request is kept": _request,
}
ROTATIONS = {
    "the session key is rotated": (_session_key, _new_session_key),
    "the CA is rotated": (_ca, _new_ca),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_what_cannot_be_written_is_told_and_later_it_can(
    disk: Path, work: Callable[[Path], str], trouble: str
) -> None:
    with TROUBLES[trouble](disk), pytest.raises((SetupError, Refusal)) as caught:
        work(disk)

    shown = str(caught.value)
    assert shown
    assert "Traceback" not in shown
    assert work(disk), "what it holds now"


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize(("read", "rotate"), ROTATIONS.values(), ids=ROTATIONS)
def test_a_rotation_that_cannot_be_written_leaves_the_old_one(
    disk: Path, read: Callable[[Path], str], rotate: Callable[[Path], str], trouble: str
) -> None:
    before = read(disk)
    with TROUBLES[trouble](disk), pytest.raises(SetupError):
        rotate(disk)

    assert read(disk) == before
    rotate(disk)
    assert read(disk)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_an_access_request_that_cannot_be_kept_changes_nothing(disk: Path, trouble: str) -> None:
    store = RequestStore(sqlite_url(disk / "requests.db"))
    one = asked("ar-0", "alice", "local", "dba", terms=TERMS, reason="before",
                duration_s=600, now=1_800_000_000)  # fmt: skip
    store.add(one, lambda _: None, lambda _: None)
    store.close()

    with TROUBLES[trouble](disk), pytest.raises(SetupError):
        _request(disk)

    assert _request(disk) == "ok"
    again = RequestStore(sqlite_url(disk / "requests.db"))
    assert [found.id for found in again.newest()] == ["ar-0", "ar-1"]
    again.close()


def test_an_audit_log_on_a_read_only_disk_ends_the_start(disk: Path) -> None:
    with TROUBLES["read-only"](disk), pytest.raises(SetupError, match="Read-only file system"):
        _audit(disk)

    assert _audit(disk) == "opened"
