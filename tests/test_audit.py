"""The audit log: one line a record, chained, shared, and never half written."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from auditing import GENESIS, fill, killed_after, records
from awsgate import audit
from awsgate.audit import AuditLog, AuditRecord, AuditUnavailable
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
        stack.enter_context(killed_after(60, *writers))
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
