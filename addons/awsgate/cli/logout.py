"""``awsgate logout``: end a login at its gateway, and keep nothing of it here."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from awsgate.cli.checking import checked_gateway
from awsgate.cli.no import No, saying_no
from awsgate.cli.options import GatewayOption
from awsgate.cli.remote import root_of
from awsgate.cli.terminal import printable
from awsgate.controlclient import LOGIN_OVER, ControlClient, ControlError
from awsgate.errors import Code, SetupError
from awsgate.loginstore import Stored, forget, load, stored_gateways
from awsgate.timestamps import utc_seconds
from awsgate.variables import MARK

AllOption = Annotated[bool, typer.Option("--all", help="All gateways that you are logged in at.")]


def logout(gateway: GatewayOption = "", every: AllOption = False) -> None:
    """End the login at a gateway, and all its sessions; remove every secret of it here.

    Exit 1 if nobody is logged in, or if the gateway could not be told: what is here is
    removed all the same.

    Example: awsgate logout
    """
    with saying_no():
        told = [_out(url) for url in _meant(gateway, every=every)]
    if os.environ.get(MARK):
        # What names the bundle would look for a file that is gone.
        sys.stderr.write(
            'awsgate: hint: this shell is still set up for it: eval "$(awsgate env --unset)"\n'
        )
    raise typer.Exit(0 if all(told) else 1)


def _meant(gateway: str, *, every: bool) -> list[str]:
    """Give the gateways to log out at. Raises ``No`` if there is none."""
    if every:
        found = stored_gateways()
    elif gateway:
        found = [checked_gateway(gateway)]
    else:
        newest = load(with_login=False)
        found = [newest.gateway] if newest is not None else []
    if not found:
        raise No("nobody is logged in here")
    return found


def _out(gateway: str) -> bool:
    """Log out at one gateway. True if nothing is left of the login, there and here."""
    problem = ""
    try:
        stored = load(gateway)
        if stored is not None:
            problem = _revoke(stored)
    except SetupError as exc:  # it cannot be read; that it goes is all the more wanted
        problem = exc.message
    if not forget(gateway):
        raise No(f"nobody is logged in at {gateway} here")
    if problem:
        sys.stderr.write(printable(f"awsgate: warning: {problem}") + "\n")
    sys.stderr.write(f"awsgate: logged out at {gateway}: no secret of it is kept here\n")
    return not problem


def _revoke(stored: Stored) -> str:
    """End a login at its gateway; give why that could not be done, or nothing."""
    if stored.has_ended(time.time()):
        return ""
    try:
        ControlClient(stored.gateway, root_of(stored), login=stored.login).logout()
    except ControlError as no:
        if no.code in {*LOGIN_OVER, Code.LOCKED}:
            return ""  # it was of no use any more
        why = f"{no.message} [{no.code}]"
    except SetupError as exc:
        why = exc.message
    else:
        return ""
    ends = utc_seconds(datetime.fromtimestamp(stored.expires_at, UTC))
    return (
        f"the gateway could not be told, so the login and its sessions are good there until "
        f"{ends}: {why}. There, awsgate lock add --session {stored.id} ends them"
    )
