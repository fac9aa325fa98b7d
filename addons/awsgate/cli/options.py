"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from awsgate.ca import CA_NAME
from awsgate.errors import SetupError
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


def certs_folder_in_use(given: Path | None) -> Path:
    """Give the folder of the CA that a gateway uses. A folder that was named has one.

    Raises ``SetupError`` if it has none: another CA there would be one that no gateway
    signs with.
    """
    folder = certs_folder(given)
    if given is None:
        return folder
    try:
        (folder / CA_NAME).lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise SetupError(
            f"no CA in {folder}",
            hint="name the folder that the gateway uses (its awsgate_certs); "
            "the gateway makes the CA when it first starts",
        ) from None
    except OSError as exc:
        raise SetupError(f"cannot read the CA in {folder}: {exc.strerror}") from exc
    return folder
