"""The folder of a run: its own, in memory if it can be, and gone when the run is."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from pathlib import Path

import pytest

from awsgate.server import scratch
from awsgate.server.scratch import scratch_folder


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    made = tmp_path / "memory"
    made.mkdir()
    return made


def aged(folder: Path) -> Path:
    long_ago = time.time() - 3600
    os.utime(folder, (long_ago, long_ago))
    return folder


def left_by_a_killed_run(place: Path) -> Path:
    folder = place / f"{scratch.PREFIX}left"
    folder.mkdir(mode=0o700)
    (folder / scratch.LOCK).touch()
    (folder / "metrics").mkdir()
    (folder / "metrics" / "counter_1.db").write_bytes(b"x")
    return folder


def test_it_is_in_memory_and_its_owners_alone_and_goes(memory: Path) -> None:
    with scratch_folder(memory=memory) as folder:
        assert folder.parent == memory
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "metrics").mkdir()

    assert list(memory.iterdir()) == []


def test_where_there_is_no_such_place_or_no_room_it_is_a_temporary_one(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scratch_folder(memory=tmp_path / "nowhere") as folder:
        assert folder.parent == Path(tempfile.gettempdir())
    monkeypatch.setattr(scratch, "ENOUGH_BYTES", 1 << 62)
    with scratch_folder(memory=memory) as folder:
        assert folder.parent == Path(tempfile.gettempdir())


def test_what_a_killed_run_left_is_taken_away(memory: Path) -> None:
    left = aged(left_by_a_killed_run(memory))

    with scratch_folder(memory=memory):
        assert not left.exists()


def test_the_folder_of_another_run_stays(memory: Path) -> None:
    with scratch_folder(memory=memory) as other:
        aged(other)
        with scratch_folder(memory=memory) as folder:
            assert other.is_dir()
            assert folder != other


def test_one_that_is_just_being_made_stays(memory: Path) -> None:
    left = left_by_a_killed_run(memory)

    with scratch_folder(memory=memory):
        assert left.is_dir()


def test_what_only_has_such_a_name_stays(memory: Path, tmp_path: Path) -> None:
    elsewhere = left_by_a_killed_run(tmp_path)
    (memory / f"{scratch.PREFIX}link").symlink_to(elsewhere)
    (memory / f"{scratch.PREFIX}file").touch()
    (memory / f"{scratch.PREFIX}folder").mkdir()
    for entry in memory.iterdir():
        long_ago = time.time() - 3600
        os.utime(entry, (long_ago, long_ago), follow_symlinks=False)

    with scratch_folder(memory=memory):
        assert len(list(memory.iterdir())) == 4
    assert elsewhere.is_dir()
