"""Requests of bounded credentials are counted once each, whichever process has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from awsgate.errors import Code, Refusal
from awsgate.tally import Tally

A, B = "ab" * 10, "cd" * 10
CHILD = """
import sys
from pathlib import Path
from awsgate.tally import Tally
tally = Tally(Path(sys.argv[1]))
print([tally(sys.argv[2]) for _ in range(200)])
"""


def test_each_session_has_its_own_number(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "tally")

    assert [tally(A), tally(A), tally(B), tally(A)] == [1, 2, 1, 3]
    assert (tmp_path / "tally").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "tally" / A).stat().st_mode & 0o777 == 0o600


def test_another_process_goes_on_where_one_ended(tmp_path: Path) -> None:
    Tally(tmp_path / "tally")(A)

    assert Tally(tmp_path / "tally")(A) == 2


def test_of_several_processes_at_once_no_two_have_one_number(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path / "tally"), A]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=60)[0] for process in running]

    numbers = sorted(number for one in said for number in map(int, one.strip("[]\n").split(",")))
    assert numbers == list(range(1, 601))


def test_what_cannot_be_counted_does_not_go_on(tmp_path: Path) -> None:
    (tmp_path / "tally").write_text("no folder")

    with pytest.raises(Refusal) as caught:
        Tally(tmp_path / "tally")(A)
    assert caught.value.code is Code.GATEWAY_FAULT


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)

    with pytest.raises(Refusal) as caught:
        Tally(tmp_path / "tally")(A)
    assert (caught.value.code, caught.value.status) == (Code.GATEWAY_FAULT, 503)


def test_sessions_that_have_ended_leave_nothing(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    tally = Tally(tmp_path / "tally", lambda: now[0])
    tally(A)
    os.utime(tmp_path / "tally" / A, (now[0] - 13 * 3600,) * 2)
    now[0] += 601

    tally(B)

    assert [path.name for path in (tmp_path / "tally").iterdir()] == [B]
