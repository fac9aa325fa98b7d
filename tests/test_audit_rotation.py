"""Rotation: by others, by ourselves, under load, across restarts. No line lost or doubled."""

from __future__ import annotations

import gzip
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditing import GENESIS, fill, killed_after, records
from awsgate import audit
from awsgate.audit import AuditLog, AuditUnavailable, Rotation
from awsgate.auditchain import Chain, verify_files
from awsgate.auditfile import opened_log, rotated_by_awsgate, rotated_name
from awsgate.auditline import parsed

SMALL = Rotation(bytes=4000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[AuditLog]:
    log = AuditLog(path)
    yield log
    log.close()


def chain_at(path: Path) -> Chain:
    with opened_log(path) as files:
        return verify_files(files)


def ids(path: Path) -> list[str]:
    """Give the ids of all lines of all files, in the order of the chain."""
    with opened_log(path) as files:
        by_path = {file.path: file for file in files}
        lines = [line for f in verify_files(files).files for line in by_path[f.path].lines()]
    return [record["id"] for line in lines if (record := parsed(line)) and record["id"]]


# --- several processes, and somebody who rotates meanwhile ------------------------------------

WRITER = """
import sys
from pathlib import Path
from awsgate.audit import AuditLog, AuditRecord, Rotation

log = AuditLog(Path(sys.argv[1]), Rotation(bytes=int(sys.argv[3])))
print("ready", flush=True)
sys.stdin.readline()
for number in range(1500):
    log.write(AuditRecord(id=f"{sys.argv[2]}{number}"))
"""


def write_from_processes(
    path: Path, stack: ExitStack, rotate_bytes: int
) -> list[subprocess.Popen[str]]:
    writers = [
        stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", WRITER, path, name, str(rotate_bytes)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
        )
        for name in ("a", "b", "c")
    ]  # fmt: skip
    stack.enter_context(killed_after(120, *writers))
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return writers


EXPECTED = sorted(f"{name}{number}" for name in "abc" for number in range(1500))


def test_nothing_is_lost_or_doubled_when_others_rotate_under_load(path: Path) -> None:
    rotations = 0
    with ExitStack() as stack:
        writers = write_from_processes(path, stack, 0)
        while any(writer.poll() is None for writer in writers):
            time.sleep(0.002)
            if path.exists() and path.stat().st_size > 50_000:
                rotations += 1
                path.rename(path.with_name(f"audit.jsonl.{rotations}"))
        assert [writer.wait() for writer in writers] == [0, 0, 0]

    assert rotations >= 5
    assert chain_at(path).fault is None
    assert sorted(ids(path)) == EXPECTED


def test_nothing_is_lost_or_doubled_when_several_processes_rotate_themselves(path: Path) -> None:
    with ExitStack() as stack:
        writers = write_from_processes(path, stack, 100_000)
        assert [writer.wait(60) for writer in writers] == [0, 0, 0]

    files = rotated_by_awsgate(path)
    assert len(files) >= 10
    assert all(100_000 <= file.stat().st_size < 103_000 for file in files)
    assert chain_at(path).fault is None
    assert sorted(ids(path)) == EXPECTED


def test_a_check_that_runs_while_files_are_rotated_finds_no_fault(path: Path) -> None:
    checks = 0
    with ExitStack() as stack:
        writers = write_from_processes(path, stack, 30_000)
        while any(writer.poll() is None for writer in writers):
            assert chain_at(path).fault is None
            checks += 1
        assert [writer.wait() for writer in writers] == [0, 0, 0]

    assert checks >= 3


# --- our own rotation ---------------------------------------------------------------------------


def test_a_full_file_is_renamed_and_the_next_goes_on_with_it(path: Path) -> None:
    log = AuditLog(path, SMALL)
    fill(log, 30)
    log.close()

    first, second, *_ = rotated_by_awsgate(path)
    assert records(second)[0]["event"] == "audit.continued"
    assert records(second)[0]["reason"] == records(first)[-1]["hash"]
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    assert ids(path) == [str(number) for number in range(30)]
    assert chain_at(path).fault is None


def test_nothing_is_rotated_unless_it_is_asked_for(path: Path, log: AuditLog) -> None:
    fill(log, 30)

    assert rotated_by_awsgate(path) == []


def test_rotation_can_be_changed_while_the_log_is_open(path: Path, log: AuditLog) -> None:
    fill(log, 10)
    log.rotation = SMALL
    fill(log, 10, start=10)

    assert rotated_by_awsgate(path)
    assert ids(path) == [str(number) for number in range(20)]


def test_the_oldest_are_deleted_and_only_those_that_we_rotated(path: Path) -> None:
    others = [path.with_name("audit.jsonl.1"), path.with_name("audit-exported.jsonl")]
    for other in others:
        other.write_text("not ours\n")
    log = AuditLog(path, Rotation(bytes=4000, keep=2))
    fill(log, 60)
    log.close()

    kept = rotated_by_awsgate(path)
    assert len(kept) == 2
    assert all(other.exists() for other in others)
    for other in others:
        other.unlink()
    chain = chain_at(path)
    assert chain.fault is None
    assert chain.begins_after != GENESIS
    assert ids(path)[-1] == "59"


def test_two_names_of_one_file_count_once_and_go_together(path: Path) -> None:
    """As a process leaves them that is killed between giving the one and taking the other."""
    log = AuditLog(path, Rotation(bytes=4000, keep=2))
    fill(log, 30)
    twin = rotated_name(path, datetime.now(UTC))
    twin.hardlink_to(path)  # when it is full, it gets another one
    for number in range(30, 60):
        if not path.samefile(twin):
            break
        fill(log, 1, start=number)

    inodes = [file.stat().st_ino for file in rotated_by_awsgate(path)]
    assert len(inodes) == 3
    assert len(set(inodes)) == 2
    assert chain_at(path).fault is None

    fill(log, 40, start=60)
    log.close()
    assert not twin.exists()
    assert len(rotated_by_awsgate(path)) == 2


def test_compressed_ones_count_among_those_that_are_kept(path: Path) -> None:
    log = AuditLog(path, Rotation(bytes=4000, keep=3))
    fill(log, 12)
    for file in rotated_by_awsgate(path):
        with gzip.open(file.with_name(file.name + ".gz"), "wb") as packed:
            packed.write(file.read_bytes())
        file.unlink()
    fill(log, 30, start=12)
    log.close()

    assert len(rotated_by_awsgate(path)) == 3


def test_what_cannot_be_rotated_is_written_on_and_said_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = 0

    def refuse(*_: object) -> None:
        nonlocal tried
        tried += 1
        raise PermissionError(13, "Permission denied")

    log, now = AuditLog(path, SMALL), 1000.0
    monkeypatch.setattr(audit, "monotonic", lambda: now)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(Path, "hardlink_to", refuse)
        fill(log, 30)
    assert [r.getMessage() for r in caplog.records] == [
        f"audit log: {path} cannot be rotated: Permission denied"
    ]
    assert len(records(path)) == 30
    assert tried == 1

    fill(log, 1, start=30)
    assert rotated_by_awsgate(path) == []
    now += audit.ROTATE_AGAIN_S
    fill(log, 1, start=31)
    log.close()
    assert len(rotated_by_awsgate(path)) == 1
    assert ids(path) == [str(number) for number in range(32)]


def test_a_full_disk_at_our_own_rotation_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "ROTATE_AGAIN_S", 0.0)
    log = AuditLog(path, SMALL)
    written = 0
    while not rotated_by_awsgate(path):
        whole = path.stat().st_size >= 4000
        if whole:
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", lambda _file, _data: 0)
                with pytest.raises(AuditUnavailable):
                    fill(log, 1, start=written)
        fill(log, 1, start=written)
        written += 1
    log.close()

    assert chain_at(path).fault is None
    assert ids(path) == [str(number) for number in range(written)]


# --- restarts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_a_log_renamed_while_no_gateway_runs_is_continued(packed: bool, path: Path) -> None:
    log = AuditLog(path)
    fill(log, 2)
    log.close()
    old = path.rename(path.with_name("audit.jsonl.1"))
    if packed:
        with gzip.open(old.with_name(old.name + ".gz"), "wb") as file:
            file.write(old.read_bytes())
        old.unlink()

    again = AuditLog(path)
    fill(again, 2, start=2)
    again.close()

    assert chain_at(path).fault is None
    assert ids(path) == ["0", "1", "2", "3"]


def test_of_several_older_files_the_last_written_is_continued(path: Path) -> None:
    for name in ("audit.jsonl.9", "audit.jsonl.1"):
        log = AuditLog(path)
        fill(log, 1)
        log.close()
        path.rename(path.with_name(name))
        os.utime(path.with_name(name), ns=(0, 10**18 if name.endswith("1") else 10**17))

    log = AuditLog(path)
    fill(log, 1)
    log.close()

    assert records(path)[0]["reason"] == records(path.with_name("audit.jsonl.1"))[-1]["hash"]
    assert chain_at(path).fault is None


def test_a_worker_that_starts_right_after_a_rotation_does_not_cut_the_chain(
    path: Path, log: AuditLog
) -> None:
    fill(log, 2)
    path.rename(path.with_name("audit.jsonl.1"))
    started = AuditLog(path)
    fill(started, 1, start=2)
    fill(log, 1, start=3)
    started.close()

    assert chain_at(path).fault is None
    assert ids(path) == ["0", "1", "2", "3"]


def test_a_worker_that_missed_a_whole_file_goes_on_with_the_last_one(
    path: Path, log: AuditLog
) -> None:
    other = AuditLog(path)
    fill(log, 1)
    fill(other, 1, start=1)
    first = path.rename(path.with_name("audit.jsonl.2"))
    fill(other, 1, start=2)  # ``log`` writes nothing meanwhile
    path.rename(path.with_name("audit.jsonl.1"))
    os.utime(first, ns=(0, first.stat().st_mtime_ns - 10**9))
    fill(log, 1, start=3)
    fill(other, 1, start=4)
    other.close()

    assert chain_at(path).fault is None
    assert ids(path) == ["0", "1", "2", "3", "4"]


def test_a_rotation_leaves_no_moment_without_a_file(
    path: Path, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that finds none begins one; it may not know what that continues."""
    log.rotation = SMALL
    replace, seen = Path.replace, []

    def watch(new: Path, target: Path) -> Path:
        seen.append((path.stat().st_size, new.stat().st_size))
        return replace(new, target)

    monkeypatch.setattr(Path, "replace", watch)
    fill(log, 30)

    assert len(seen) == len(rotated_by_awsgate(path)) > 2
    assert all(old >= 4000 and new > 0 for old, new in seen)


def test_a_rotation_that_fails_halfway_leaves_nothing_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(122, "Disk quota exceeded")

    log = AuditLog(path, SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        fill(log, 30)
    log.close()

    assert [entry.name for entry in path.parent.iterdir()] == ["audit.jsonl"]
    assert ids(path) == [str(number) for number in range(30)]


@pytest.mark.parametrize("running", [False, True])
def test_a_line_torn_before_a_rotation_is_accounted_for_after_it(
    running: bool, path: Path, log: AuditLog
) -> None:
    fill(log, 2)
    with path.open("ab") as file:
        file.write(b'{"torn":')  # another worker was killed
    old = path.rename(path.with_name("audit.jsonl.1"))
    if not running:
        log.close()
        log = AuditLog(path)
    fill(log, 1, start=2)
    log.close()

    assert [r["event"] for r in records(path)][:2] == ["audit.continued", "audit.recovered"]
    assert chain_at(path).fault is None
    old.write_bytes(old.read_bytes().replace(b'{"torn":', b'{"tron":'))
    assert str(chain_at(path).fault) == f"{old}: line 3: not a whole record"


def test_older_files_that_cannot_be_read_do_not_hinder_the_start(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.with_name("audit.jsonl.1.gz").write_bytes(b"\x1f\x8b\x08 cut off")

    with caplog.at_level(logging.WARNING):
        log = AuditLog(path)
    fill(log, 1)
    log.close()

    assert "audit log: what it continues is not known: cannot decompress" in caplog.text
    assert len(records(path)) == 1
