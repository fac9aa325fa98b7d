"""The audit log as a file: crashes, full disks, rotation, and whose it is."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import pytest

from auditing import GENESIS, fill, records
from awsgate.audit import AuditLog, AuditUnavailable
from awsgate.auditchain import verify
from awsgate.errors import SetupError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[AuditLog]:
    log = AuditLog(path)
    yield log
    log.close()


# --- crashes and full disks ---------------------------------------------------------------

TORN = {
    "half a record": b'{"time":"2026-01-02","id":"x","pa',
    "a record that was cut at a brace": b'{"time":"","path":"/{x}',
    "garbage": b"\x00" * 100,
    "lines of garbage": b'{"a":1}\nrubbish\n',
    "a blank line": b"\n",
    "a long record": b'{"path":"' + b"x" * 200_000,
}


@pytest.mark.parametrize("torn", TORN.values(), ids=TORN)
@pytest.mark.parametrize("before", [0, 2])
def test_a_torn_line_is_closed_and_accounted_for(
    before: int, torn: bytes, path: Path, log: AuditLog
) -> None:
    fill(log, before)
    with path.open("ab") as file:
        file.write(torn)
    assert verify(path) == (before, f"line {before + 1}: not a whole record")

    fill(log, 1, start=before)

    note, record = [json.loads(line) for line in path.read_bytes().splitlines()[-2:]]
    assert note["event"] == "audit.recovered"
    digest = hashlib.sha256(torn.rstrip(b"\n")).hexdigest()
    assert note["reason"] == f"sha256:{digest}"
    assert record["id"] == str(before)
    assert verify(path) == (before + 2, None)


def test_a_record_that_lost_its_newline_alone_counts(path: Path, log: AuditLog) -> None:
    fill(log, 2)
    os.truncate(path, path.stat().st_size - 1)

    fill(log, 1, start=2)

    assert [record["id"] for record in records(path)] == ["0", "1", "2"]
    assert verify(path) == (3, None)


@pytest.mark.parametrize("cause", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("start", [0, 3])
def test_a_full_disk_leaves_no_trace_and_a_later_write_works(
    start: int, cause: int, path: Path, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, start)
    whole = path.read_bytes()

    def full(_file: int, _data: bytes) -> int:
        raise OSError(cause, os.strerror(cause))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(AuditUnavailable) as caught:
            fill(log, 1)

    assert str(caught.value) == f"{path}: {os.strerror(cause)}"
    assert path.read_bytes() == whole
    fill(log, 1, start=start)
    assert verify(path) == (start + 1, None)


def test_a_short_write_is_taken_back(path: Path, log: AuditLog) -> None:
    fill(log, 3)
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # The kernel itself writes 100 bytes and no more.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, hard))
    try:
        with pytest.raises(AuditUnavailable, match=r"only 100 of \d+ bytes could be written"):
            fill(log, 1)
        assert path.read_bytes() == whole
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)

    fill(log, 1, start=3)
    assert verify(path) == (4, None)


def test_a_short_write_that_cannot_be_taken_back_is_accounted_for(
    path: Path, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, 1)
    write = os.write

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:50]))
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(AuditUnavailable):
            fill(log, 1)

    fill(log, 1)
    assert [r["event"] for r in map(json.loads, path.read_bytes().splitlines()[2:])] == [
        "audit.recovered",
        "request",
    ]
    assert verify(path) == (3, None)


def test_a_closed_log_says_so(log: AuditLog) -> None:
    log.close()
    log.close()

    with pytest.raises(AuditUnavailable, match="the audit log is closed"):
        fill(log, 1)


# --- rotation -----------------------------------------------------------------------------


def test_a_renamed_log_is_left_and_the_new_one_names_its_last_hash(
    path: Path, log: AuditLog
) -> None:
    fill(log, 2)
    old = path.rename(path.with_suffix(".1"))
    fill(log, 2)

    note = records(path)[0]
    assert (note["event"], note["reason"]) == ("audit.continued", records(old)[-1]["hash"])
    assert note["prev"] == GENESIS
    assert (verify(old), verify(path)) == ((2, None), (3, None))
    assert path.stat().st_mode & 0o777 == 0o600


def test_both_writers_follow_a_rotation(path: Path, log: AuditLog) -> None:
    other = AuditLog(path)
    fill(log, 1)
    fill(other, 1)
    old = path.rename(path.with_suffix(".1"))
    fill(log, 1)
    fill(other, 1)
    other.close()

    # ``log`` had not seen the last line of the old file before it was renamed.
    assert records(path)[0]["reason"] == records(old)[-1]["hash"]
    assert (verify(old), verify(path)) == ((2, None), (3, None))


def test_a_log_emptied_in_place_begins_anew(path: Path, log: AuditLog) -> None:
    fill(log, 2)
    last = records(path)[-1]["hash"]
    os.truncate(path, 0)
    fill(log, 1)

    assert records(path)[0]["reason"] == last
    assert verify(path) == (2, None)


def test_a_full_disk_at_rotation_does_not_lose_the_link(
    path: Path, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, 2)
    old = path.rename(path.with_suffix(".1"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda _file, _data: 0)
        with pytest.raises(AuditUnavailable):
            fill(log, 1)
    fill(log, 1)

    assert records(path)[0]["reason"] == records(old)[-1]["hash"]
    assert verify(path) == (2, None)


def test_a_file_put_in_its_place_that_others_may_read_is_refused(path: Path, log: AuditLog) -> None:
    fill(log, 1)
    path.rename(path.with_suffix(".1"))
    path.touch(0o644)

    with pytest.raises(AuditUnavailable, match=r"is open to others \(mode 0644\)"):
        fill(log, 1)
    path.chmod(0o600)
    fill(log, 1)
    assert verify(path) == (2, None)


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_rotations_leave_no_open_files(path: Path, log: AuditLog) -> None:
    fill(log, 1)
    before = open_files()
    for number in range(5):
        path.rename(path.with_suffix(f".{number}"))
        fill(log, 1)

    assert open_files() == before


# --- which files --------------------------------------------------------------------------


def test_a_new_log_is_for_its_owner_alone(path: Path) -> None:
    mask = os.umask(0)
    try:
        AuditLog(path).close()
    finally:
        os.umask(mask)

    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_log_that_others_may_touch_is_refused(mode: int, path: Path) -> None:
    path.touch()
    path.chmod(mode)

    with pytest.raises(SetupError, match=rf"is open to others \(mode {mode:04o}\)") as caught:
        AuditLog(path)
    assert "chmod 600" in caught.value.hint


def test_a_symlink_a_folder_a_device_and_a_fifo_are_refused(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "fifo", 0o600)

    for refused in (path, tmp_path, Path("/dev/full"), tmp_path / "fifo"):
        with pytest.raises(SetupError, match=re.escape(str(refused))):
            AuditLog(refused)
    assert not (tmp_path / "elsewhere").exists()


def test_a_log_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    AuditLog(path).close()
    uid = os.getuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)

    with pytest.raises(SetupError, match=f"belongs to user {uid}, not to {uid + 1}"):
        AuditLog(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file or directory"):
        AuditLog(tmp_path / "nowhere/audit.jsonl")


def test_the_file_is_not_inherited(log: AuditLog) -> None:
    assert not os.get_inheritable(log._file)


def test_a_write_takes_less_time_than_a_request_can_feel(log: AuditLog) -> None:
    fill(log, 100)
    began = perf_counter()
    fill(log, 1000)

    # 21 microseconds on the machine this was written on; the bound is for a slow one.
    assert (perf_counter() - began) / 1000 < 0.001
