"""SIGKILL at points of chance: what was done is there, and nothing is there by half."""

from __future__ import annotations

import random
from pathlib import Path

from killing import KINDS, Kept

KILLS = 3
"""``scripts/load`` has many more."""


def test_what_is_kept_is_whole_wherever_its_writer_was_killed(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    chance = random.Random()  # noqa: S311 - each run kills elsewhere
    for _ in range(KILLS):
        kept.kill_one(chance)

    assert kept.faults(KILLS) == []
    assert set(kept.said) == set(KINDS)


def test_a_start_that_was_killed_does_not_hinder_the_next(tmp_path: Path) -> None:
    """Also right after the folder was made, or half of the CA."""
    chance = random.Random()  # noqa: S311 - as above
    for number in range(KILLS):
        kept = Kept(tmp_path / str(number))
        kept.kill_start(chance.random() * 0.05)
        kept.kill_one(chance)

        assert kept.faults(2) == []
