"""Hostile streams of bytes through ``mitmdump -s addons/awsgate.py``: 1,500 cases of one seed."""

from __future__ import annotations

from pathlib import Path

from fuzz.generate import case_of
from fuzz.running import world


def test_what_reaches_aws_was_signed_and_sent_as_it_is(tmp_path: Path) -> None:
    with world(tmp_path, "script") as running:
        found = list(running.judge((n, case_of(20261128, n)) for n in range(1500)))
        figures = running.figures

    assert [(number, words) for number, _, words in found] == []
    assert figures.arrived > 500, "most of them are still requests"
    assert figures.refused > 500
    assert "crashed" not in (tmp_path / "gateway.log").read_text()
