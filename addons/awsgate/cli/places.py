"""The folders that a command works on: those that were named, or the usual ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from awsgate.errors import SetupError
from awsgate.paths import default_certs_folder, default_policy_path, default_state_folder

if TYPE_CHECKING:
    from awsgate.state import State

PROBE_S = 0.3
"""How long a gateway has to take a connection, before a command that needs one goes on."""


def policy_path(given: Path | None) -> Path:
    """Give the policy to read."""
    return (given or default_policy_path()).expanduser().absolute()


def state_folder(given: Path | None) -> Path:
    """Give the state folder."""
    return (given or default_state_folder()).expanduser().absolute()


def state_in_use(folder: Path, otherwise: str, *, or_else: str = "") -> State:
    """Give the state of a gateway that is there: nothing reaches one from another folder.

    Raises ``SetupError`` if there is none; ``otherwise`` says what would become of it.
    """
    from awsgate.state import KEY_NAME, open_state

    if not (folder / KEY_NAME).exists():
        raise SetupError(
            f"no gateway keeps its state in {folder}: {otherwise}",
            hint=f"name the folder that the gateway uses (its awsgate_state) with --state{or_else}",
        )
    return open_state(folder)


def certs_folder(given: Path | None) -> Path:
    """Give the folder of the CA."""
    return (given or default_certs_folder()).expanduser().absolute()


def certs_folder_in_use(given: Path | None) -> Path:
    """Give the folder of the CA that a gateway uses. A folder that was named has one.

    Raises ``SetupError`` if it has none.
    """
    folder = certs_folder(given)
    if given is not None:
        existing_ca(folder)
    return folder


def warn_if_down(proxy: str, todo: str) -> None:
    """Say on stderr if nothing takes a connection where clients are to go."""
    from awsgate.address import proxy_address
    from awsgate.listening import listens

    address = proxy_address(proxy)
    if not listens(address, PROBE_S):
        sys.stderr.write(f"awsgate: warning: nothing answers at {address} ({todo})\n")


def options_of(policy: Path | None, state: Path | None, certs: Path | None) -> list[str]:
    """Give the options that name these folders again; none for what a variable names."""
    named = (("policy", policy, policy_path), ("state", state, state_folder))
    return [
        word
        for name, given, place in (*named, ("certs", certs, certs_folder))
        if given is not None and os.environ.get(f"AWSGATE_{name.upper()}") != str(given)
        for word in (f"--{name}", str(place(given)))
    ]


def existing_ca(folder: Path) -> None:
    """Check that there is a CA in ``folder``: one made there now no gateway would sign with.

    Raises ``SetupError`` if there is none.
    """
    from awsgate.ca import CA_NAME  # and all of x509, which not every command needs

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
