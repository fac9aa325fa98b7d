"""Runs the matrix, prints it, and compares it with the kept results.

    python -m conformance.runner [--only NAME]... [--keep] [--jobs N]

Exit 0: all that is kept as passed has passed, or was skipped with its reason; 1: something
has not; 2: used wrongly. ``--keep`` writes what was found to results.json and docs/clients.md.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from awsgate.demo.processes import clean_env
from clients.places import CLIENTS_FOLDER, expanded
from conformance import namespace
from conformance.docs import write_page
from conformance.operations import OPERATIONS, Run, environments, prepare
from conformance.results import PASSED, Result, load, regressions, save
from conformance.stages import Stages, running
from conformance.table import CLIENTS, Client

INSTALLED = CLIENTS_FOLDER / "installed.json"
MARK = {PASSED: "ok", "": "-"}


@dataclass
class Row:
    """What became of a client."""

    client: Client
    version: str = ""
    skipped: str = ""
    seconds: float = 0.0
    operations: Result = field(default_factory=dict)

    def cells(self) -> list[str]:
        """Give the row of the table."""
        if self.skipped:
            return [self.client.name, "", "skipped: " + self.skipped]
        marks = [MARK.get(self.operations.get(name, ""), "FAILED") for name in OPERATIONS]
        return [self.client.name, self.version, *marks, f"{self.seconds:.0f} s"]


def main() -> int:
    """Run it."""
    asked = _arguments()
    chosen = [each for each in CLIENTS if not asked.only or each.name in asked.only]
    # Before any thread: a namespace is entered by a process that has but one.
    _say(namespace.enter())
    began = time.monotonic()
    rows = {each.name: Row(each, skipped=_missing(each)) for each in chosen}
    ready = [row for row in rows.values() if not row.skipped]
    users = [row.client.user for row in ready]
    with (
        tempfile.TemporaryDirectory(prefix="awsgate-conformance-") as name,
        running(folder := Path(name), users) as stages,
    ):
        _say(f"stages up after {time.monotonic() - began:.0f} s; {len(ready)} clients")
        prepare(stages, users)
        _run_all(ready, stages, folder / "clients", asked.jobs)
        faults = stages.storage.faults()
    print("\n" + _table(list(rows.values())))
    return _verdict(list(rows.values()), faults, keep=asked.keep, began=began)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    names = [each.name for each in CLIENTS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", default=[],
                        help="this client alone; may be repeated")  # fmt: skip
    parser.add_argument("--keep", action="store_true",
                        help="write results.json and docs/clients.md")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=2, help="clients at a time")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stderr.write(f"awsgate: {text}\n")


def _missing(client: Client) -> str:
    """Give why a client cannot run here, or nothing."""
    found: dict[str, str] = json.loads(INSTALLED.read_text("utf-8"))
    reasons = [found[step] for step in client.installs if found[step]]
    return "; ".join(reasons)


def _run_all(rows: Sequence[Row], stages: Stages, folder: Path, jobs: int) -> None:
    folder.mkdir()
    envs = {row.client.user: environments(stages, row.client.user) for row in rows}
    with ThreadPoolExecutor(jobs) as pool:
        running_ = {
            pool.submit(
                _run, row, Run(row.client, stages, folder / row.client.user, envs[row.client.user])
            ): row
            for row in rows
        }
        for done in as_completed(running_):
            done.result()
            row = running_[done]
            _say("  ".join(row.cells()))
            for name, result in row.operations.items():
                if result != PASSED:
                    _say(f"    {name}: {result}")


def _run(row: Row, run: Run) -> None:
    run.folder.mkdir()
    began = time.monotonic()
    try:
        row.version = _version(row.client, run.folder)
    except (AssertionError, OSError, subprocess.SubprocessError) as exc:
        row.skipped = f"does not start: {_short(exc)}"
        return
    for name in row.client.operations:
        try:
            OPERATIONS[name](run)
        except Exception as exc:  # noqa: BLE001 - whatever it was, the table says so
            row.operations[name] = _short(exc)
        else:
            row.operations[name] = PASSED
    row.seconds = time.monotonic() - began


def _version(client: Client, folder: Path) -> str:
    done = subprocess.run(
        expanded(client.version), env=clean_env(folder), cwd=folder, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    found = re.search(r"\d+\.\d+(?:\.\d+)*", done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr[-300:]
    assert found, f"no version in {done.stdout[:200]!r}"
    return found[0]


def _short(exc: Exception) -> str:
    text = " ".join(str(exc).split())
    return (
        f"{type(exc).__name__}: {text}"[:600]
        if not isinstance(exc, AssertionError)
        else text[-600:]
    )


def _table(rows: Sequence[Row]) -> str:
    head = ["client", "version", *OPERATIONS, "time"]
    lines = [head, *(row.cells() for row in rows)]
    full = [line for line in lines if len(line) == len(head)]
    widths = [max(len(line[i]) for line in full) for i in range(len(head))]
    widths[0] = max(len(line[0]) for line in lines)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in lines
    )


def _verdict(rows: list[Row], faults: list[str], *, keep: bool, began: float) -> int:
    ran = {row.client.name: (row.version, row.operations) for row in rows if not row.skipped}
    for row in rows:
        if row.skipped:
            print(f"skipped: {row.client.name}: {row.skipped}")
    if keep:
        save(ran, [each.name for each in CLIENTS])
        write_page()
        _say("results.json and docs/clients.md are written")
    lost = regressions(load(), ran)
    for line in (*faults, *lost):
        print(f"REGRESSION: {line}")
    passed = sum(result == PASSED for row in rows for result in row.operations.values())
    failed = sum(len(row.operations) for row in rows) - passed
    print(f"{passed} passed, {failed} failed in {time.monotonic() - began:.0f} s")
    return 1 if faults or lost else 0


if __name__ == "__main__":
    sys.exit(main())
