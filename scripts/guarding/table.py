"""The table of guards: of which modules, by hand where the code does not show them, and waived.

modules.yaml   which modules' guards are read from their code, and which kinds
rows.yaml      guards of other shapes: a text, what it becomes, what it holds off
waived.yaml    guards that no test can miss, each with the reason
killers.json   for each guard a test that fails without it: written by ``--keep``
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from guarding.finding import ALWAYS, CLOSELY, Guard, guards_in

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[1] / "addons" / "awsgate"


class Stale(Exception):
    """The table does not fit the code."""


@dataclass
class Table:
    """Every guard, those that are waived, and who misses which."""

    guards: list[Guard]
    waived: dict[str, str]
    killers: dict[str, str] = field(default_factory=dict)
    unmissed: list[str] = field(default_factory=list)

    @property
    def stale(self) -> list[str]:
        """What is said of guards that are no more."""
        known = {guard.key for guard in self.guards}
        return sorted({*self.waived, *self.killers, *self.unmissed} - known)


def read_table(package: Path = PACKAGE, folder: Path = HERE) -> Table:
    """Read the table and the code that it is about. Raises ``Stale``."""
    modules = _yaml(folder / "modules.yaml")
    guards = []
    for file in sorted(str(path.relative_to(package)) for path in package.rglob("*.py")):
        kinds = kinds_of(file, modules)
        if kinds:
            lists = tuple(modules["lists"].get(file, ()))
            guards += guards_in(file, (package / file).read_text(), kinds, lists)
    guards += [_by_hand(package, row) for row in _yaml(folder / "rows.yaml")]
    tests = modules["tests"]
    guards = [replace(guard, tests=tuple(tests.get(guard.file, ()))) for guard in guards]
    return Table(
        sorted(guards, key=lambda guard: (guard.file, guard.start, guard.end)),
        {entry["guard"]: entry["reason"] for entry in _yaml(folder / "waived.yaml")},
        _json(folder / "killers.json") or {},
        _json(folder / "unmissed.json") or [],
    )


def keep(table: Table, killers: dict[str, str], folder: Path = HERE) -> None:
    """Write down who misses which guard, and which nobody does."""
    known = {guard.key for guard in table.guards}
    kept = {key: killers[key] for key in sorted(known & killers.keys() - table.waived.keys())}
    _write(folder / "killers.json", kept)
    _write(folder / "unmissed.json", sorted(known - kept.keys() - table.waived.keys()))


def kinds_of(file: str, modules: dict[str, Any]) -> tuple[str, ...]:
    """Say which kinds of guards of a module are read from its code."""
    if file in modules["closely"]:
        return CLOSELY
    return () if any(fnmatchcase(file, pattern) for pattern in modules["none"]) else ALWAYS


def _by_hand(package: Path, row: dict[str, Any]) -> Guard:
    file, text = row["file"], row["text"]
    source = (package / file).read_text()
    if source.count(text) != 1:
        raise Stale(f"{file}: stands there {source.count(text)} times, and not once: {text}")
    start = source.index(text)
    before = source[:start]
    first = before.count("\n") + 1
    return Guard(
        file,
        f"row | {row['holds off']}",
        len(before.encode()),
        len((before + text).encode()),
        row["becomes"],
        (first, first + text.count("\n")),
        row["holds off"],
    )


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) or []


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=0, ensure_ascii=False) + "\n")
