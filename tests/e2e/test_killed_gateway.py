"""A gateway that is killed outright loses no line of what was answered, and starts again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from e2e.faulty import bench_with
from e2e.killed import CALL, run_and_kill, unrecorded


@pytest.mark.parametrize("workers", [2, 0], ids=["run", "script"])
def test_what_was_answered_is_recorded_and_the_next_start_serves(
    tmp_path: Path, workers: int
) -> None:
    after_s = 0.2 + random.random() * 0.5  # noqa: S311 - each run kills elsewhere

    answered = run_and_kill(tmp_path, "first", workers=workers, after_s=after_s)
    with bench_with(tmp_path, workers=workers) as bench:
        assert bench.ask(CALL, bench.keys()).status == 200
        bench.lines("/")

    assert answered
    assert unrecorded(tmp_path, answered) == []
