"""``awsgate session-key``: replace the key that sessions and logins are sealed with."""

from __future__ import annotations

import sys

import typer

from awsgate.cli.options import StateOption, state_folder
from awsgate.errors import SetupError
from awsgate.state import KEY_NAME, keys_in, rotate_session_key

app = typer.Typer(
    help="Replace the key that all sessions and logins are sealed with.", no_args_is_help=True
)


@app.callback()
def session_key() -> None:
    """Keep ``rotate`` a subcommand: others will stand beside it."""


@app.command()
def rotate(state: StateOption = None) -> None:
    """Make a new session key; what was sealed with the current one goes on until it ends.

    What was sealed with the one before it ends now: so after a theft, rotate twice. Restart
    the gateway at once (all of a fleet, with the new file): until then it takes nothing that
    is made with the new key.

    Example: awsgate session-key rotate
    """
    folder = state_folder(state)
    if keys_in(folder) is None:
        raise SetupError(
            f"there is no session key in {folder}",
            hint="name the gateway's state folder with --state",
        )
    rotate_session_key(folder)
    print(folder / KEY_NAME)
    sys.stderr.write("awsgate: the gateway takes the new key when it is started again\n")
