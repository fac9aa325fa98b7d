"""Where programs are: some in ``.venv``, some the system's, and the rest in one folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
CLIENTS_FOLDER = Path(os.environ.get("AWSGATE_CLIENTS", HERE.parents[1] / ".venv-clients"))
"""A virtual environment beside ``.venv``, with what ``conformance.install`` adds to it."""
CLI_V2 = os.environ.get("AWSGATE_AWS_CLI_V2", "/usr/bin/aws")
"""Debian's. The first ``aws`` on PATH is the v1 of ``.venv``."""


def expanded(command: tuple[str, ...]) -> list[str]:
    """Fill in where programs are."""
    places = {
        "{venv}": str(Path(sys.executable).parent),
        "{clients}": str(CLIENTS_FOLDER),
        "{here}": str(HERE),
        "{js}": str(CLIENTS_FOLDER / "js"),
        "{java}": str(CLIENTS_FOLDER / "java/target"),
        "{cli_v2}": CLI_V2,
        "{rclone_old}": "/usr/bin/rclone",
    }
    filled = []
    for word in command:
        for name, place in places.items():
            word = word.replace(name, place)
        filled.append(word)
    return filled
