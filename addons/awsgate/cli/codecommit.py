"""``awsgate codecommit``: git's credential helper for CodeCommit, signed by the gateway.

    [credential "https://git-codecommit.eu-west-1.amazonaws.com"]
        helper = !awsgate codecommit
        useHttpPath = true

Source: gitcredentials(7) and git-credential(1), "INPUT/OUTPUT FORMAT".
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from awsgate.aws.partitions import region_partition
from awsgate.cli.ordering import ordered
from awsgate.errors import SetupError

_HOST = re.compile(
    r"((?:vpce-[a-z0-9-]+\.)?git-codecommit(?:-fips)?\.([a-z0-9-]+)\.[a-z0-9.-]+)(?::443)?"
)


class Operation(StrEnum):
    """What git wants of a helper."""

    GET = "get"
    STORE = "store"
    ERASE = "erase"


def codecommit(
    operation: Annotated[Operation, typer.Argument(help="As git says it; only get does anything.")],
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Credentials that can pull and not push.")
    ] = False,
) -> None:
    """Be git's credential helper for CodeCommit: reads and answers as git-credential(1) says.

    Example: git config --global credential.helper '!awsgate codecommit'
    """
    if operation is not Operation.GET:
        return  # nothing is kept
    asked = _asked(sys.stdin)
    matched = _HOST.fullmatch(asked.get("host", ""))
    if asked.get("protocol") != "https" or matched is None or not region_partition(matched[2]):
        return  # another helper's
    if not asked.get("path"):
        raise SetupError(
            "git does not say which repository it is",
            hint="git config --global credential.useHttpPath true",
        )
    repository = re.fullmatch(r"v1/repos/([^/]+)", asked["path"])
    if repository is None:
        raise SetupError(f"{asked['path']!r} is not v1/repos/<repository>")
    parameters = {"kind": "codecommit", "host": matched[1], "repository": repository[1]}
    try:
        answer = ordered(matched[2], {**parameters, **({"pull_only": True} if read_only else {})})
    except (typer.Exit, SetupError):
        print("quit=1")  # or git would ask for a password on the terminal
        raise
    ends = int(datetime.fromisoformat(answer["expires"]).timestamp())
    print(f"username={answer['username']}")
    print(f"password={answer['password']}")
    print(f"password_expiry_utc={ends}")  # for helpers that keep passwords; git 2.40


def _asked(lines: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.rstrip("\n").partition("=")
        if not separator:
            break
        found[name] = value
    return found
