"""The audit log: one line a record, chained, shared, and never half written."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from awsgate import audit
from awsgate.audit import AuditLog, AuditRecord, AuditUnavailable, verify
from awsgate.errors import SetupError

GENESIS = "0" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[AuditLog]:
    log = AuditLog(path)
    yield log
    log.close()


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines() if line]


def fill(log: AuditLog, count: int, *, start: int = 0) -> None:
    for number in range(start, start + count):
        log.write(AuditRecord(id=str(number), event="request", path=f"/{number}", status=200))


def test_a_record_is_one_line_with_every_field_and_the_chain(path: Path, log: AuditLog) -> None:
    log.write(AuditRecord(time="2026-01-02T03:04:05.678Z", user="alice", ms=1.5))
    log.write(AuditRecord(user="bob"))

    first, second = records(path)
    assert set(first) == {*AuditRecord.__slots__, "prev", "hash"}
    assert (first["user"], first["ms"], first["status"]) == ("alice", 1.5, 0)
    assert (first["prev"], second["prev"]) == (GENESIS, first["hash"])
    assert verify(path) == (2, None)


def test_the_chain_can_be_checked_with_ordinary_tools(path: Path, log: AuditLog) -> None:
    fill(log, 3)

    prev = GENESIS
    for line in path.read_text().splitlines():
        record = json.loads(line)
        hashed = record.pop("hash")
        canonical = json.dumps(record, separators=(",", ":"))
        assert hashed == hashlib.sha256((prev + canonical).encode()).hexdigest()
        assert record["prev"] == prev
        prev = hashed


def test_a_second_start_goes_on_with_the_chain(path: Path, log: AuditLog) -> None:
    fill(log, 2)
    log.close()

    again = AuditLog(path)
    fill(again, 2)
    again.close()

    assert verify(path) == (4, None)


def test_an_empty_log_verifies(path: Path) -> None:
    AuditLog(path).close()

    assert verify(path) == (0, None)


# --- what verify finds ------------------------------------------------------------------


def test_any_edited_byte_is_found(path: Path, log: AuditLog) -> None:
    fill(log, 3)
    whole = path.read_bytes()
    ends = [match.start() for match in re.finditer(b"\n", whole)]

    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        count, fault = verify(path)

        line = sum(end < at for end in ends) + 1
        assert fault is not None, f"byte {at}"
        # A newline lost makes one bad line of two; the fault is where the first began.
        assert (count, fault.partition(":")[0]) == (line - 1, f"line {line}"), f"byte {at}"


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_deleted_line_is_found(gone: int, path: Path, log: AuditLog) -> None:
    fill(log, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))

    assert verify(path) == (
        gone,
        f"line {gone + 1}: its prev is not the hash of the line before: lines are missing or moved",
    )


def test_swapped_doubled_and_inserted_lines_are_found(path: Path, log: AuditLog) -> None:
    fill(log, 4)
    a, b, c, d = path.read_bytes().splitlines(keepends=True)

    for lines, good in (((a, c, b, d), 1), ((a, b, b, c, d), 2), ((a, b, b'{"user":"x"}\n', c), 2)):
        path.write_bytes(b"".join(lines))
        count, fault = verify(path)

        assert count == good
        assert fault is not None
        assert fault.startswith(f"line {good + 1}: ")


def test_a_damaged_line_is_not_excused_by_a_note_about_another(path: Path, log: AuditLog) -> None:
    fill(log, 2)
    with path.open("ab") as file:
        file.write(b'{"torn":')
    fill(log, 1)
    assert verify(path) == (4, None)
    path.write_bytes(path.read_bytes().replace(b'{"torn":', b'{"tron":'))

    assert verify(path) == (2, "line 3: not a whole record")


def test_a_log_that_is_not_there_is_a_setup_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"cannot read the audit log .*nowhere: No such file"):
        verify(tmp_path / "nowhere")


# --- hostile values -----------------------------------------------------------------------


def test_no_value_can_begin_a_line_or_bring_control_characters(path: Path, log: AuditLog) -> None:
    nasty = 'a\nb\r\u2028\u2029\x85\x00\x1b[31m\udcff"},{"hash":"\x7fé'
    log.write(AuditRecord(path=nasty, user=nasty, reason=nasty))

    raw = path.read_bytes()
    assert raw.count(b"\n") == 1
    assert raw.endswith(b"\n")
    assert len(raw.decode("ascii").splitlines()) == 1
    assert not re.search(rb"[\x00-\x09\x0b-\x1f]", raw)
    assert records(path)[0]["path"] == nasty
    assert verify(path) == (1, None)


def test_a_value_cannot_pass_for_the_end_of_a_line(path: Path, log: AuditLog) -> None:
    nasty = f'","prev":"{GENESIS}","hash":"{GENESIS}"}}'
    log.write(AuditRecord(path=nasty, source_identity=nasty))
    log.close()

    again = AuditLog(path)
    fill(again, 1)
    again.close()

    assert verify(path) == (2, None)


# --- several writers ----------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from awsgate.audit import AuditLog, AuditRecord

log = AuditLog(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(200):
    log.write(AuditRecord(user=sys.argv[2], id=str(number)))
"""


def test_processes_share_a_file(path: Path) -> None:
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, path, name],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for name in ("a", "b")
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        assert [writer.wait(20) for writer in writers] == [0, 0]

    assert verify(path) == (400, None)
    for name in ("a", "b"):
        mine = [int(record["id"]) for record in records(path) if record["user"] == name]
        assert mine == list(range(200))


def test_logs_that_take_turns_keep_one_chain(path: Path, log: AuditLog) -> None:
    other = AuditLog(path)
    for _ in range(10):
        fill(log, 1)
        fill(other, 2)
    other.close()

    assert verify(path) == (30, None)


def test_threads_share_a_log(path: Path, log: AuditLog) -> None:
    threads = [threading.Thread(target=fill, args=(log, 50)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert verify(path) == (200, None)


def test_a_lock_that_is_never_released_is_not_waited_for_for_ever(
    path: Path, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MAX_LOCK_WAIT_S", 0.02)
    with path.open("rb") as stuck:
        fcntl.flock(stuck, fcntl.LOCK_EX)
        with pytest.raises(AuditUnavailable, match=r"audit\.jsonl: locked by another process"):
            fill(log, 1)

    fill(log, 1)
    assert verify(path) == (1, None)


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


@pytest.mark.parametrize("start", [0, 3])
def test_a_full_disk_leaves_no_trace_and_a_later_write_works(
    start: int, path: Path, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, start)
    whole = path.read_bytes()

    def full(_file: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(AuditUnavailable) as caught:
            fill(log, 1)

    assert str(caught.value) == f"{path}: No space left on device"
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
