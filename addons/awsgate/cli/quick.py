"""The commands that are called over and over, read without typer.

Typer reads options with pydantic, and to import the two takes three times as long as all
else that ``awsgate exec`` does. So a command line that is plainly right is read here.
Whatever is not (a mistake, --help, an option that the table lacks) is left to typer, which
knows what to say. The tests compare the table with typer's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """A command line that was read."""

    told: dict[str, Any]
    """Fields of ``running.Told``."""
    flags: dict[str, bool]
    rest: tuple[str, ...]
    """The command that follows the options."""


VALUES = {
    "--user": "AWSGATE_USER",
    "--app": "AWSGATE_APP",
    "--role": "AWSGATE_ROLE",
    "--ttl": "",
    "--region": "",
    "--proxy": "",
    "--policy": "AWSGATE_POLICY",
    "--state": "AWSGATE_STATE",
    "--certs": "AWSGATE_CERTS",
    "--gateway": "AWSGATE_GATEWAY",
    "--max-requests": "",
}
"""Options with a value -> the variable that gives one."""
BOUND = "--read-only"
FLAGS = ("--static", "--local", BOUND)
PATHS = ("--policy", "--state", "--certs")
NUMBERS = ("--max-requests",)
OF_COMMANDS = {
    "exec": (tuple(VALUES), FLAGS),
    "aws": (tuple(VALUES), FLAGS),
    "credentials": (
        tuple(name for name in VALUES if name not in ("--region", "--proxy")),
        (BOUND,),
    ),
}
"""Command -> its options with a value, and those without."""


def call(command: str, words: Sequence[str]) -> None:
    """Run the command, if its line is plainly right; else come back."""
    line = read(command, words)
    if line is None:
        return
    from awsgate.cli import running

    told = running.Told(**line.told)
    if not _is_valid(told):
        return
    if command == "credentials":
        running.print_credentials(told)
        raise SystemExit(0)
    running.run(
        [*(["aws"] if command == "aws" else []), *line.rest],
        told,
        static=line.flags["static"],
        local=line.flags["local"],
    )


def read(command: str, words: Sequence[str]) -> Line | None:
    """Read a command line; None if that is typer's to do."""
    values, flags = OF_COMMANDS[command]
    given: dict[str, str] = {}
    place = 0
    while place < len(words) and words[place].startswith("-") and words[place] != "--":
        name, equals, value = words[place].partition("=")
        place += 1
        if name in flags and not equals:
            given[name] = name
            continue
        if name not in values:
            return None
        if not equals and place < len(words):
            value = words[place]
            place += 1
        if not value or value.startswith("-"):
            return None
        if name in NUMBERS and not (value.isascii() and value.isdecimal() and len(value) < 10):
            return None
        given[name] = value
    if place < len(words) and words[place] == "--":
        place += 1
    rest = tuple(words[place:])
    if bool(rest) == (command == "credentials"):
        return None
    told = {name: given.get(name) or os.environ.get(VALUES[name] or " ") for name in values}
    return Line(
        {n[2:].replace("-", "_"): _typed(n, v) for n, v in told.items() if v}
        | ({"read_only": True} if BOUND in given else {}),
        {name[2:]: name in given for name in flags if name != BOUND},
        rest,
    )


def _typed(name: str, value: str) -> Any:
    return Path(value) if name in PATHS else int(value) if name in NUMBERS else value


def _is_valid(told: Any) -> bool:
    try:
        told.wanted()
    except Exception:  # noqa: BLE001 - typer comes to the same, and says it
        return False
    return True
