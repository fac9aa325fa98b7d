"""``awsgate request``: ask for a role for a while, and answer those who ask.

With a login, at the gateway of the login; else in the state folder, on the gateway's machine.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from awsgate.cli.durations import duration_of, seconds_of
from awsgate.cli.no import saying_no
from awsgate.cli.options import (
    GatewayOption,
    JsonOption,
    PolicyOption,
    StateOption,
    policy_path,
    state_folder,
)
from awsgate.cli.requestdesks import LocalDesk, RemoteDesk, RequestDesk
from awsgate.cli.terminal import columns, printable
from awsgate.cli.where import gateway_meant
from awsgate.controlclient import GatewayAway
from awsgate.policy.approvals import shown
from awsgate.timestamps import utc_seconds_of

POLL_S = 1.0

app = typer.Typer(
    name="request",
    help="Ask for a role for a while; answer who asks, also for calls.",
    no_args_is_help=True,
)

IdArgument = Annotated[str, typer.Argument(help="Id of a request, as in awsgate request ls.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why. The others read it.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait for the answer; exit 1 if no.")]
UserOption = Annotated[
    str,
    typer.Option(
        "--user",
        help="In the state folder: who asks, or whose roles are to let them answer.",
        envvar="AWSGATE_USER",
    ),
]


@app.command()
def create(
    role: Annotated[str, typer.Option(help="Name of a kind: role document.")],
    reason: ReasonOption = "",
    duration: Annotated[
        str, typer.Option(help="How long, like 1h. Default: an hour, if the terms let it.")
    ] = "",
    wait: WaitOption = False,
    as_json: JsonOption = False,
    user: UserOption = "",
    policy: PolicyOption = None,
    state: StateOption = None,
    gateway: GatewayOption = "",
) -> None:
    """Ask for a role, and print the id of the request.

    Once it is approved, the role is there: no new login, and it ends by itself.

    Example: awsgate request create --role dba --reason "ticket 4711" --duration 1h --wait
    """
    duration_s = seconds_of(duration) if duration else 0
    with saying_no():
        desk = _desk(gateway, policy, state, user)
        row = desk.create(role, reason=reason, duration_s=duration_s)
        if not (as_json and wait):
            print(json.dumps(row, indent=2) if as_json else printable(row["id"]), flush=True)
        if not wait:
            return
        row = _awaited(desk, row)
    if as_json:
        print(json.dumps(row, indent=2))
    sys.stderr.write(f"awsgate: {printable(_became(row))}\n")
    raise typer.Exit(0 if row["state"] == "approved" else 1)


def _awaited(desk: RequestDesk, row: dict[str, Any]) -> dict[str, Any]:
    """Give the request once it waits no more. It waits on while its gateway is restarted."""
    told = False
    while row["state"] == "pending":
        time.sleep(POLL_S)
        try:
            row = desk.get(row["id"])
        except GatewayAway:
            if time.time() >= row["expires_at"]:
                raise
            if not told:
                sys.stderr.write("awsgate: the gateway does not answer now: asking on\n")
            told = True
    return row


@app.command()
def ls(
    as_json: JsonOption = False,
    user: UserOption = "",
    policy: PolicyOption = None,
    state: StateOption = None,
    gateway: GatewayOption = "",
) -> None:
    """List your own requests, and those that you may answer.

    Example: awsgate request ls
    """
    with saying_no():
        rows = _desk(gateway, policy, state, user).all()
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print("\n".join(_table(rows)))
    else:
        sys.stderr.write("awsgate: there are no requests\n")


@app.command()
def roles(
    as_json: JsonOption = False,
    user: UserOption = "",
    policy: PolicyOption = None,
    state: StateOption = None,
    gateway: GatewayOption = "",
) -> None:
    """List the roles that you may ask for, and on what terms.

    Example: awsgate request roles
    """
    with saying_no():
        rows = _desk(gateway, policy, state, user).roles()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    cells = [("ROLE", "AT MOST", "REASON", "ASK")]
    for row in rows:
        reason = (row["prompt"] or "required") if row["reason_required"] else "optional"
        asked = ", ".join(row["reviewers"])
        cells.append((row["role"], duration_of(row["max_duration_s"]), reason, asked))
    if rows:
        print("\n".join(columns(cells)))
    else:
        sys.stderr.write("awsgate: there is no role that you may ask for\n")


@app.command()
def show(
    request: IdArgument,
    wait: WaitOption = False,
    as_json: JsonOption = False,
    user: UserOption = "",
    policy: PolicyOption = None,
    state: StateOption = None,
    gateway: GatewayOption = "",
) -> None:
    """Show one request.

    Example: awsgate request show ar-0123456789 --wait
    """
    with saying_no():
        desk = _desk(gateway, policy, state, user)
        row = desk.get(request)
        if wait:
            row = _awaited(desk, row)
    _print(row, as_json=as_json)
    if wait:
        raise typer.Exit(0 if row["state"] == "approved" else 1)


@app.command()
def approve(
    request: IdArgument,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    user: UserOption = "",
    policy: PolicyOption = None,
    state: StateOption = None,
    gateway: GatewayOption = "",
) -> None:
    """Say yes to a request of somebody else's.

    Example: awsgate request approve ar-0123456789 --reason "ticket 4711"
    """
    with saying_no():
        desk = _desk(gateway, policy, state, user)
        row = desk.review(request, approve=True, reason=reason)
    _print(row, as_json=as_json)


@app.command()
def deny(
    request: IdArgument,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    user: UserOption = "",
    policy: PolicyOption = None,
    state: StateOption = None,
    gateway: GatewayOption = "",
) -> None:
    """Say no to a request of somebody else's.

    Example: awsgate request deny ar-0123456789 --reason "not on a Friday"
    """
    with saying_no():
        desk = _desk(gateway, policy, state, user)
        row = desk.review(request, approve=False, reason=reason)
    _print(row, as_json=as_json)


@app.command()
def revoke(
    request: IdArgument,
    as_json: JsonOption = False,
    user: UserOption = "",
    policy: PolicyOption = None,
    state: StateOption = None,
    gateway: GatewayOption = "",
) -> None:
    """Take a request back, or the role that it has given: within a second it is gone.

    Example: awsgate request revoke ar-0123456789
    """
    with saying_no():
        row = _desk(gateway, policy, state, user).revoke(request)
    _print(row, as_json=as_json)


def _desk(gateway: str, policy: Path | None, state: Path | None, user: str) -> RequestDesk:
    if url := gateway_meant(gateway, policy, state):
        return RemoteDesk(url)
    return LocalDesk(policy_path(policy), state_folder(state), user)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    cells = [("ID", "USER", "WHAT", "FOR", "STATE", "UNTIL", "REASON")]
    for row in rows:
        until = row["until"] or (row["expires_at"] if row["state"] == "pending" else 0)
        cells.append(
            (
                row["id"],
                f"{row['user']} ({row['connector']})",
                _what(row, most=1),
                duration_of(row["duration_s"]),
                row["state"] + (" *" if row["may_review"] else ""),
                utc_seconds_of(until) if until else "",
                " ".join(row["reason"].split()),
            )
        )
    more = ["* waits for you: awsgate request approve ID, or deny ID"]
    return columns(cells) + (more if any(row["may_review"] for row in rows) else [])


def _what(row: dict[str, Any], *, most: int = 0) -> str:
    """Give what is asked for; of a call on several resources the first ``most`` (0: all)."""
    call = row.get("call")  # a gateway of an older version has none
    if call is None:
        return str(row["role"])
    resources = call["resources"]
    some = resources[:most] if most else resources
    more = f" and {len(resources) - len(some)} more" if len(some) < len(resources) else ""
    on = ", ".join(map(shown, some)) or "resources that are not known"
    return f"{', '.join(call['actions'])} on {on}{more}"


def _print(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(row, indent=2))
        return
    print(printable(_became(row)))
    if call := row.get("call"):
        print(printable(f"as {call['role_arn']}, marked by role/{row['role']}"))
    if row["reason"]:
        print(f"reason: {printable(' '.join(row['reason'].split()))}")
    for one in row["reviews"]:
        verdict = "yes" if one["approved"] else "no"
        reason = f": {' '.join(one['reason'].split())}" if one["reason"] else ""
        print(printable(f"{verdict} of {one['reviewer']} ({one['connector']}){reason}"))


def _became(row: dict[str, Any]) -> str:
    whose = f"{row['user']} ({row['connector']})"
    what = f"{row['id']}: {_what(row)} for {whose}, {duration_of(row['duration_s'])}"
    # Of what is over, it is the moment when that came.
    word = "until" if row["state"] == "approved" else "at"
    until = f" {word} {utc_seconds_of(row['until'])}" if row["until"] else ""
    return f"{what}: {row['state']}{until}"
