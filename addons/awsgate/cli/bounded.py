"""Credentials for less than their user may, and that a command which has such asks for no more.

    --read-only       no call but those that read or list
    --max-requests N  no more than N calls; not renewed, for that would be N more

The gate holds every session to what it was asked for: that is the boundary. This file is
for honest programs: in an environment of such credentials (``AWSGATE_BOUNDS``) awsgate
gives none for another app or role, or wider ones, opens no console, answers no access
requests, and sets no locks with the login. A program that unsets the variable, and runs as
the user who logged in, can read that login: see docs/ci.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from awsgate.cli.no import No
from awsgate.errors import SetupError
from awsgate.variables import BOUNDS

if TYPE_CHECKING:
    from awsgate.cli.issuing import Issued, Wanted


BACK = ('a shell that awsgate env has changed is put back by: eval "$(awsgate env --unset)"',)


@dataclass(frozen=True, slots=True)
class Around:
    """What the credentials of the environment around are good for."""

    read_only: bool
    max_requests: int
    user: str
    app: str
    role_arn: str


def around(environment: Mapping[str, str] = os.environ) -> Around | None:
    """Read the bounds of the environment; None: it has none.

    Raises ``SetupError`` if they cannot be read: then they are not known to be less.
    """
    text = environment.get(BOUNDS, "")
    if not text:
        return None
    try:
        found = Around(**json.loads(text))
    except (ValueError, TypeError):
        found = None
    types = (bool, int, str, str, str)
    if found is None or tuple(map(type, asdict(found).values())) != types:
        raise SetupError(
            f"{BOUNDS} is not as awsgate sets it",
            hint=BACK[0],
        )
    return found


def check_unbounded(than: str) -> None:
    """Raise ``No`` if the environment has credentials for less than that."""
    if around() is not None:
        raise No(f"the credentials of this environment are for less than {than}", hints=BACK)


def narrowed(wanted: Wanted) -> Wanted:
    """Give what is wanted, held to the bounds around. Raises ``No`` if it is more."""
    within = around()
    if within is None:
        return wanted
    if within.max_requests:
        raise No(
            f"the credentials of this environment are for {within.max_requests} requests, "
            "and there are no others here",
            hints=BACK,
        )
    return replace(
        wanted,
        user=wanted.user or within.user,
        app=wanted.app or within.app,
        role=wanted.role or within.role_arn,
        read_only=wanted.read_only or within.read_only,
    )


def check_within(issued: Issued) -> None:
    """Raise ``No`` if credentials are for something else than those of the environment."""
    within = around()
    if within is None:
        return
    if (issued.user, issued.app, issued.role_arn) != (within.user, within.app, within.role_arn):
        raise No(
            f"the credentials of this environment are those of {within.user} for reading alone, "
            f"as {within.role_arn} in {within.app}, and there are no others here",
            hints=BACK,
        )


def marked(wanted: Wanted, issued: Issued) -> dict[str, str]:
    """Give the variable that says what these credentials are bound to; nothing: they are not."""
    if not wanted.read_only and not wanted.max_requests:
        return {}
    bounds = Around(wanted.read_only, wanted.max_requests, issued.user, issued.app, issued.role_arn)
    return {BOUNDS: json.dumps(asdict(bounds), separators=(",", ":"))}
