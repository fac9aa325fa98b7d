"""The folders that a command works on: those that were named, or the usual ones."""

from __future__ import annotations

from pathlib import Path

from awsgate.errors import SetupError
from awsgate.paths import default_certs_folder, default_policy_path, default_state_folder


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

    Raises ``SetupError`` if it has none.
    """
    folder = certs_folder(given)
    if given is not None:
        existing_ca(folder)
    return folder


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
