"""What is kept of a run: client -> version, and each operation's result."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("results.json")
PASSED = "passed"

Result = dict[str, str]
"""Operation -> ``PASSED``, or what was wrong."""


def load() -> dict[str, tuple[str, Result]]:
    """Give the kept results."""
    kept: dict[str, Any] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    return {name: (each["version"], each["operations"]) for name, each in kept.items()}


def save(ran: Mapping[str, tuple[str, Result]], names: Collection[str]) -> None:
    """Keep what was found of these clients; one that did not run keeps what it had."""
    kept = {name: each for name, each in {**load(), **ran}.items() if name in names}
    text = json.dumps(
        {
            name: {"version": version, "operations": operations}
            for name, (version, operations) in sorted(kept.items())
        },
        indent=1,
        ensure_ascii=False,
    )
    FILE.write_text(text + "\n", "utf-8")


def regressions(
    kept: Mapping[str, tuple[str, Result]], ran: Mapping[str, tuple[str, Result]]
) -> list[str]:
    """Give what is kept as passed and has not passed, of the clients that ran."""
    return [
        f"{name}, {operation}: {operations.get(operation, 'was not run')}"
        for name, (_, operations) in ran.items()
        for operation, result in kept.get(name, ("", {}))[1].items()
        if result == PASSED and operations.get(operation) != PASSED
    ]
