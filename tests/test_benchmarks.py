"""What ``scripts/bench`` says of a run: which targets hold, and the table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAM = """
from benchmarks.contenders import BARE, RUN, SCRIPT
from benchmarks.report import lines
results = {
    "requests": {
        BARE: {"cpu_ms": 1.0, "cpu_ms_of_bare": 1.0},
        SCRIPT: {"cpu_ms": 0.9, "cpu_ms_of_bare": 0.9},
        RUN: {"cpu_ms": 0.3, "cpu_ms_of_bare": 0.3},
    },
    "policy": {"10,000 rules, of 1 user": {"cpu_ms": 0.3, "of_smallest": 1.3}},
}
print("\\n".join(lines(results)))
"""


def test_a_table_says_what_was_measured_and_which_targets_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()

    assert lines[0] == "| | mitmdump -q, bare | mitmdump -s awsgate.py | awsgate run |"
    assert "| CPU per request, ms | 1 | 0.9 | 0.3 |" in lines
    assert "| 10,000 rules, of 1 user | 0.3 | 1.3 |  |" in lines
    assert "| CPU per request, of bare mitmdump: awsgate run | 0.45 | 0.3 | holds |" in lines
    (script,) = [line for line in lines if line.startswith("| CPU") and "0.8 | 0.9" in line]
    assert script.endswith("| **does not hold** |")
    assert "| cost of 10 rules: 10,000 rules, of 1 user | 1.2 | 1.3 | **does not hold** |" in lines
