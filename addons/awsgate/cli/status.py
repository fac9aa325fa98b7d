"""``awsgate status``: is the session in this environment good, and does the gateway answer.

Nothing is made, minted or asked of AWS, and no secret is printed. What this machine
cannot know (the session key is the gateway's) is left out and said to be so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

import typer

from awsgate.cli.durations import duration_of
from awsgate.cli.options import (
    CertsOption,
    GatewayOption,
    JsonOption,
    PolicyOption,
    StateOption,
    certs_folder,
    policy_path,
    state_folder,
)
from awsgate.cli.surroundings import Seen, look, look_with_login
from awsgate.cli.terminal import Style, counted, painted, printable
from awsgate.cli.where import login_meant


def status(
    as_json: JsonOption = False,
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
    gateway: GatewayOption = "",
) -> None:
    """Show the login, the session of this environment, the gateway, its CA, policy and locks.

    Exit 0 if the session can be used, 1 if not: ended, locked, or the gateway is down. With a
    login, that must be good; there need be no session then.

    Example: awsgate status
    """
    stored = login_meant(gateway, policy, state, certs)
    if stored is None:
        seen = look(
            policy_path(policy),
            state_folder(state),
            certs_folder(certs),
            now=datetime.now(UTC),
            own_state=state is not None,
        )
    else:
        seen = look_with_login(stored, now=datetime.now(UTC))
    if as_json:
        said = {name: value for name, value in asdict(seen).items() if name != "login" or value}
        print(json.dumps({"usable": not seen.problems, **said}, indent=2))
    else:
        print("\n".join(_lines(seen)))
    raise typer.Exit(1 if seen.problems else 0)


def _lines(seen: Seen) -> Iterator[str]:
    for name, texts in (
        ("login", _login(seen)),
        ("session", _session(seen)),
        ("gateway", _gateway(seen)),
        ("CA", _ca(seen)),
        ("policy", _policy(seen)),
        ("locks", _locks(seen)),
    ):
        for index, text in enumerate(texts):
            yield f"{name if not index else '':9} {printable(text)}"
    for note in seen.notes:
        yield f"note: {printable(note)}"
    for problem in seen.problems:
        yield f"{painted('problem', Style.BAD, sys.stdout)}: {printable(problem)}"
    if not seen.problems:
        yield painted("usable", Style.GOOD, sys.stdout)


def _login(seen: Seen) -> Iterator[str]:
    login = seen.login
    if login is None:
        return
    yield f"{login.user} ({login.connector}) at {login.gateway}"
    yield f"id {login.id}" + (f", roles {', '.join(login.roles)}" if login.roles else "")
    if login.ends_in_s > 0:
        yield f"ends in {duration_of(login.ends_in_s)}, at {login.ends}"
    else:
        yield f"ended at {login.ends}"


def _session(seen: Seen) -> Iterator[str]:
    session = seen.session
    if session is None:
        yield "none in this environment"
        return
    if session.user:
        yield f"{session.user} as {session.role_arn} in {session.app}"
        yield f"id {session.id}, started {session.started}"
    else:
        yield f"{session.access_key_id} (whose it is, the gateway alone knows)"
    if session.ends and session.ends_in_s is not None and session.ends_in_s > 0:
        yield f"ends in {duration_of(session.ends_in_s)}, at {session.ends}"
    elif session.ends:
        yield f"ended at {session.ends}"
    else:
        yield "its end is not known here"


def _gateway(seen: Seen) -> Iterator[str]:
    gateway = seen.gateway
    if not gateway.address:
        yield "not known: no HTTPS_PROXY and no policy here"
        return
    said = "answers" if gateway.answers else "does not answer"
    version = f", awsgate {gateway.version}" if gateway.version else ""
    yield f"{gateway.address} {said}{version} ({gateway.known_by})"


def _ca(seen: Seen) -> Iterator[str]:
    if seen.ca is None:
        yield "not found here"
    else:
        yield f"{seen.ca.file}, until {seen.ca.not_after[:10]}"


def _policy(seen: Seen) -> Iterator[str]:
    policy = seen.policy
    if policy is None:
        yield "the gateway's" if seen.login is not None else "not readable here"
        return
    kinds = ((policy.users, "user"), (policy.roles, "role"), (policy.apps, "app"))
    counts = ", ".join(counted(number, word) for number, word in kinds)
    yield f"{policy.path}: {counts}" + ("" if policy.mode == "enforce" else f", mode {policy.mode}")


def _locks(seen: Seen) -> Iterator[str]:
    if seen.locks is None:
        yield "not known here"
    elif not seen.locks:
        yield "none in force"
    for lock in seen.locks or ():
        target = " ".join(f"{key}={value}" for key, value in lock.target.items())
        until = f", until {lock.expires}" if lock.expires else ""
        yield f"{lock.name}: {target}{until}"
