"""Where a command gets its answers: of the policy here, or of a gateway with a login there.

    1  a gateway that is named: --gateway, AWSGATE_GATEWAY
    2  a policy, state or CA that is named, by an option or a variable: here
    3  a gateway here that hands calls on (upstream_gateway): here
    4  a login that has not ended: its gateway, of several the newest
    5  here

So nothing changes for who has never logged in.
"""

from __future__ import annotations

import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from awsgate.cli.terminal import printable
from awsgate.errors import SetupError
from awsgate.paths import is_policy_file

if TYPE_CHECKING:
    from awsgate.loginstore import Stored


def gateway_meant(named: str, *here: Path | None) -> str:
    """Give the URL of the gateway to ask; empty: the policy here says.

    ``here`` are the places of this machine that were named. Raises ``SetupError`` if
    nobody is logged in where that is needed.
    """
    stored = login_meant(named, *here)
    if stored is None:
        return ""
    if stored.has_ended(time.time()):
        raise ended(stored)
    return stored.gateway


def login_meant(named: str, *here: Path | None) -> Stored | None:
    """Give the login to go by, without its token; None: the policy here says.

    One that has ended is meant where it was named, or where there is no policy.
    """
    if named:
        return _named(named)
    if any(here):
        return None
    from awsgate.loginstore import load

    stored = load(with_login=False)
    if stored is None or _hands_on():
        return None
    if not stored.has_ended(time.time()):
        return stored
    from awsgate.cli.places import policy_path

    if not policy_path(None).exists():
        return stored
    _note(
        f"the login at {stored.gateway} has ended, so the policy here is asked ({stored.again()})"
    )
    return None


@cache
def _note(text: str) -> None:
    """Say it once, however often the question is asked."""
    sys.stderr.write(f"awsgate: note: {printable(text)}\n")


def _hands_on() -> bool:
    """True if the policy here hands all calls to another gateway."""
    from awsgate.cli.places import policy_path, state_folder
    from awsgate.cli.reuse import found_before

    path = policy_path(None)
    files = [path] if path.is_file() else [f for f in path.glob("*") if is_policy_file(f.name)]
    # To read a policy takes longer than all else: hardly any says so.
    try:
        if not any(b"upstream_gateway" in file.read_bytes() for file in files):
            return False
    except OSError:
        return False
    return found_before(path, state_folder(None), "hands-on", lambda: _says_so(path))


def _says_so(path: Path) -> bool:
    from awsgate.policyfile import load_policy

    return load_policy(path).gateway.upstream_gateway is not None


def _named(gateway: str) -> Stored:
    from awsgate.cli.checking import checked_gateway
    from awsgate.loginstore import load

    url = checked_gateway(gateway)
    stored = load(url, with_login=False)
    if stored is None:
        raise SetupError(
            f"nobody is logged in at {url} here", hint=f"awsgate login --gateway {url}"
        )
    return stored


def login_at(gateway: str) -> Stored:
    """Give the login at a gateway, with its token. Raises ``SetupError`` if it has ended."""
    from awsgate.loginstore import load

    stored = load(gateway)
    if stored is None:
        raise SetupError(
            f"the login at {gateway} is gone (logged out): awsgate login --gateway {gateway}"
        )
    if stored.has_ended(time.time()):
        raise ended(stored)
    return stored


def ended(stored: Stored) -> SetupError:
    """Give what is said of a login that has ended: one line, for SDKs show no more."""
    return SetupError(f"the login of {stored.user} at {stored.gateway} has ended: {stored.again()}")
