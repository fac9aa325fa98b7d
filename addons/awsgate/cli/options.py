"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from awsgate.paths import default_certs_folder, default_policy_path, default_state_folder

PolicyOption = Annotated[
    Path | None, typer.Option("--policy", help="Policy file or folder.", envvar="AWSGATE_POLICY")
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", help="Folder of the session key.", envvar="AWSGATE_STATE"),
]
CertsOption = Annotated[
    Path | None, typer.Option("--certs", help="Folder of the CA.", envvar="AWSGATE_CERTS")
]


def policy_path(given: Path | None) -> Path:
    """Give the policy to read."""
    return (given or default_policy_path()).expanduser().absolute()


def state_folder(given: Path | None) -> Path:
    """Give the state folder."""
    return (given or default_state_folder()).expanduser().absolute()


def certs_folder(given: Path | None) -> Path:
    """Give the folder of the CA."""
    return (given or default_certs_folder()).expanduser().absolute()
