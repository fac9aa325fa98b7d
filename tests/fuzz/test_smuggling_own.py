"""Hostile streams of bytes through ``awsgate run``: 3,500 cases of one seed.

``scripts/fuzz`` has any number of them, for every way to run the gateway.
"""

from __future__ import annotations

from pathlib import Path

from fuzz.generate import case_of
from fuzz.running import world


def test_what_reaches_aws_was_signed_and_sent_as_it_is(tmp_path: Path) -> None:
    with world(tmp_path, "own") as running:
        found = list(running.judge((n, case_of(20261127, n)) for n in range(3500)))
        figures = running.figures

    assert [(number, words) for number, _, words in found] == []
    assert figures.arrived > 1500, "most of them are still requests"
    assert figures.refused > 1500
    assert "awsgate: error" not in (tmp_path / "gateway.log").read_text()
