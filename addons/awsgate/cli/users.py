"""``awsgate users``: the gateway's own users, who log in with a password and a code.

Works on the gateway's state folder, on its machine. What a user may do, and that there is
one of that name, the policy says (``kind: user``): here is only how they prove who they are.
"""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.x509 import load_pem_x509_certificates

from awsgate.address import host_of, joined
from awsgate.cli.durations import seconds_of
from awsgate.cli.no import No, saying_no
from awsgate.cli.options import (
    CertsOption,
    JsonOption,
    PolicyOption,
    StateOption,
    certs_folder,
    policy_path,
    state_folder,
)
from awsgate.cli.places import state_in_use
from awsgate.cli.terminal import columns
from awsgate.connect.invitations import Invitation
from awsgate.connect.local import INVITATION_TTL_S, LocalUsers
from awsgate.connect.userfiles import UserRecord
from awsgate.errors import SetupError
from awsgate.pins import pin_of
from awsgate.policy import GatewaySpec, Policy
from awsgate.policyfile import load_policy
from awsgate.servercert import CERT_NAME
from awsgate.timestamps import utc_seconds

app = typer.Typer(
    name="users",
    help="Add, reset and remove the gateway's own users, who have a password.",
    no_args_is_help=True,
)

NameArgument = Annotated[str, typer.Argument(help="Name of a kind: user document.")]
InvitationTtlOption = Annotated[
    str, typer.Option("--ttl", help="Life of the invitation, like 8h or 2d. Default: 24h.")
]
GatewayOption = Annotated[
    str,
    typer.Option("--gateway", help="URL of the control API, to print. Default: the policy's."),
]
_PLACE = "https://GATEWAY"
"""Stands for a URL that the policy does not say."""
_ANY = ("0.0.0.0", "::", "")  # noqa: S104 - read, not bound


@app.command()
def add(
    name: NameArgument,
    ttl: InvitationTtlOption = "",
    without_totp: Annotated[
        bool,
        typer.Option("--without-totp", help="The password alone lets them in. For machines."),
    ] = False,
    gateway: GatewayOption = "",
    as_json: JsonOption = False,
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
) -> None:
    """Add a user, and print the invitation: what they run to choose a password.

    It stands on a line of its own, to be pasted when the command asks for it. It is shown
    this once, works once, and ends after a day. Whoever has it is let in as that user, so
    hand it over as you would a password.

    Example: awsgate users add alice
    """
    rules = _policy(policy)
    with saying_no():
        made = _users(state).add(name, ttl_s=_ttl_s(ttl), wants_totp=not without_totp)
        if made is None:
            raise No(
                f"there is a user {name!r} already",
                hints=[f"awsgate users reset {shlex.quote(name)} invites them anew"],
            )
    _show(made, gateway, rules, certs_folder(certs), as_json)


@app.command()
def reset(
    name: NameArgument,
    ttl: InvitationTtlOption = "",
    unlock: Annotated[
        bool,
        typer.Option("--unlock", help="Only let in again who failed too often. Nothing else ends."),
    ] = False,
    gateway: GatewayOption = "",
    as_json: JsonOption = False,
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
) -> None:
    """Invite a user anew: password and authenticator app end now, and any older invitation.

    Logins that they have go on until they end; a lock ends those.

    Example: awsgate users reset alice
    """
    users = _users(state)
    if unlock:
        with saying_no():
            if not users.unlock(name):
                raise _nobody(name)
        return
    rules = _policy(policy)
    with saying_no():
        made = users.reset(name, ttl_s=_ttl_s(ttl))
        if made is None:
            raise _nobody(name)
    _show(made, gateway, rules, certs_folder(certs), as_json)
    _say_how_to_lock(name)


@app.command()
def rm(name: NameArgument, state: StateOption = None) -> None:
    """Take a user's password away; exit 1 if there is none of that name.

    Logins that they have go on until they end; a lock ends those.

    Example: awsgate users rm alice
    """
    with saying_no():
        if not _users(state).remove(name):
            raise _nobody(name)
    _say_how_to_lock(name)


@app.command()
def ls(as_json: JsonOption = False, state: StateOption = None) -> None:
    """List the users who have a password, or are invited.

    Exit 2 if a file cannot be read; the rest is listed all the same.

    Example: awsgate users ls
    """
    users = _users(state)
    records, faults = users.files.all()
    now = int(datetime.now(UTC).timestamp())
    rows = [_row(record, now) for record in records]
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print("\n".join(_table(rows)))
    elif not faults:
        sys.stderr.write("awsgate: there are no users (awsgate users add)\n")
    if faults:
        raise SetupError(
            f"users in {users.files.folder} cannot be read, and cannot log in",
            hint="restore the files from a backup, or awsgate users rm, and add the users again",
            faults=tuple(faults),
        )


def _show(made: Invitation, gateway: str, rules: Policy | None, certs: Path, as_json: bool) -> None:
    spec = rules.gateway if rules is not None else GatewaySpec()
    url, pin = gateway or _control_url(spec), _pin(spec, certs)
    words = ["awsgate", "login", "--gateway", url or _PLACE, *(["--ca-pin", pin] if pin else [])]
    # Not the token: others read the arguments of a process, and it waits for a password.
    command = shlex.join([*words, "--invitation", "-"])
    if as_json:
        row = {
            "user": made.user,
            "invitation": made.token,
            "expires": _moment(made.expires_at),
            "gateway": url,
            "ca_pin": pin,
            "command": command,
        }
        print(json.dumps(row, indent=2))
    else:
        print(command)
        print(made.token)
        sys.stderr.write(
            f"awsgate: {made.user} runs the first line by {_moment(made.expires_at)}, and pastes "
            "the second when asked; it works once, and is not shown again\n"
        )
    if not url and not as_json:
        _warn(f"put the gateway's address in place of {_PLACE} (or name it: --gateway)")
    if rules is not None and not spec.control.listen:
        _warn("the gateway has no control API (control.listen), and without it nobody can log in")
    if rules is not None and made.user not in rules.users:
        _warn(
            f"the policy has no kind: user document {made.user!r}, "
            "and until it does they cannot log in"
        )


def _control_url(spec: GatewaySpec) -> str:
    """Give how clients reach the control API, as far as the policy says."""
    host = host_of(spec.control.listen)
    name = next(iter(spec.names), "" if host in _ANY else host)
    if spec.control.url or not spec.control.listen or not name:
        return spec.control.url
    return f"https://{joined(name, int(spec.control.listen.rpartition(':')[2]))}"


def _pin(spec: GatewaySpec, certs: Path) -> str:
    """Give the pin of the certificate that the gateway has; empty: it has none yet."""
    path = Path(spec.certificate.cert_file) if spec.certificate else certs / CERT_NAME
    try:
        return pin_of(load_pem_x509_certificates(path.read_bytes())[-1])
    except (OSError, ValueError):
        return ""


def _row(record: UserRecord, now: int) -> dict[str, Any]:
    locked = record.locked_until > now
    return {
        "user": record.user,
        "state": _state(record, now),
        "totp": bool(record.totp) if record.password else record.wants_totp,
        "created": _moment(record.created_at),
        "invited_until": _moment(record.invited_until) if record.invitation else None,
        "last_login": _moment(record.last_login_at) if record.last_login_at else None,
        "failures": record.failures,
        "locked_until": _moment(record.locked_until) if locked else None,
    }


def _state(record: UserRecord, now: int) -> str:
    if record.password:
        return "shut out" if record.locked_until > now else "active"
    return "invited" if record.invited_until > now else "invitation ended"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    cells = [("USER", "STATE", "UNTIL", "CODE", "LAST LOGIN", "FAILURES")]
    for row in rows:
        until = row["locked_until"] or row["invited_until"] or ""
        code = "totp" if row["totp"] else "none"
        last = row["last_login"] or "never"
        cells.append((row["user"], row["state"], until, code, last, str(row["failures"])))
    return columns(cells)


def _users(state: Path | None) -> LocalUsers:
    there = state_in_use(state_folder(state), "a user there could log in nowhere")
    return LocalUsers(there.users_folder)


def _policy(path: Path | None) -> Policy | None:
    try:
        return load_policy(policy_path(path))
    except SetupError:
        _warn("the policy cannot be read, so it was not checked that it has this user")
        return None


def _ttl_s(ttl: str) -> int:
    return seconds_of(ttl) if ttl else INVITATION_TTL_S


def _moment(seconds: int) -> str:
    return utc_seconds(datetime.fromtimestamp(seconds, UTC))


def _nobody(name: str) -> No:
    return No(f"there is no user {name!r}", hints=["awsgate users ls lists them"])


def _say_how_to_lock(name: str) -> None:
    sys.stderr.write(
        f"awsgate: hint: logins that they have go on; awsgate lock add --user {shlex.quote(name)} "
        "ends them, and shuts the user out\n"
    )


def _warn(text: str) -> None:
    sys.stderr.write(f"awsgate: warning: {text}\n")
