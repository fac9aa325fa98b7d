"""``awsgate lock``: shut somebody out at once, and let them in again.

Works on the gateway's state folder, on its machine: no policy is needed, so that a lock
can be set while the policy is broken. A running gateway sees it within a second. Whoever is
logged in at a gateway, in a role with ``options.gateway_admin``, works on that one's.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from awsgate.cli import remotelocks
from awsgate.cli.choice import behind_sudo
from awsgate.cli.durations import seconds_of
from awsgate.cli.options import (
    GatewayOption,
    JsonOption,
    PolicyOption,
    StateOption,
    policy_path,
    state_folder,
)
from awsgate.cli.places import state_in_use
from awsgate.cli.revoke import revocation
from awsgate.cli.terminal import columns, printable
from awsgate.cli.where import gateway_meant
from awsgate.errors import SetupError
from awsgate.locks import BY, CREATED, LockStore
from awsgate.policy import Lock, Policy
from awsgate.policy.lint import idle
from awsgate.policy.locks import in_force
from awsgate.policyfile import load_policy
from awsgate.timestamps import utc_seconds

app = typer.Typer(
    name="lock", help="Shut out a user, a role, an app or a session at once.", no_args_is_help=True
)


@app.command()
def add(
    user: Annotated[str, typer.Option(help="Name of a kind: user document.")] = "",
    role: Annotated[str, typer.Option(help="Name of a kind: role document: all who have it.")] = "",
    app_name: Annotated[str, typer.Option("--app", help="Name of a kind: app document.")] = "",
    session: Annotated[str, typer.Option(help="Session id, as in the audit.")] = "",
    aws_role_arn: Annotated[str, typer.Option(help="ARN of an IAM role: all who use it.")] = "",
    reason: Annotated[str, typer.Option(help="Shown to whom it shuts out.")] = "",
    ttl: Annotated[str, typer.Option(help="How long, like 8h or 2d. Default: for good.")] = "",
    expires: Annotated[str, typer.Option(help="Until when: 2026-12-24T18:00:00Z.")] = "",
    name: Annotated[str, typer.Option(help="Name of the lock. Default: made up.")] = "",
    revoke_aws: Annotated[
        bool, typer.Option("--revoke-aws", help="Print how to end AWS's own sessions as well.")
    ] = False,
    policy: PolicyOption = None,
    state: StateOption = None,
    gateway: GatewayOption = "",
) -> None:
    """Add a lock, and print its name. Where several things are given, all must fit.

    With --revoke-aws the output is a shell script that ends what AWS itself has begun:
    the gateway changes nothing at AWS.

    Example: awsgate lock add --user alice --reason "laptop lost" --ttl 8h
    """
    named = {"user": user, "role": role, "app": app_name, "session": session}
    target = {k: v for k, v in {**named, "aws_role_arn": aws_role_arn}.items() if v}
    if not target:
        raise typer.BadParameter("name --user, --role, --app, --session or --aws-role-arn")
    if ttl and expires:
        raise typer.BadParameter("--ttl and --expires are two ways to say one thing")
    now = datetime.now(UTC)
    if url := gateway_meant(gateway, policy, state):
        if revoke_aws:
            raise typer.BadParameter("--revoke-aws is for the gateway's own machine")
        life_s = seconds_of(ttl) if ttl else remotelocks.seconds_until(expires, now)
        print(printable(remotelocks.add(url, target, name=name, reason=reason, ttl_s=life_s)))
        return
    until = utc_seconds(now + timedelta(seconds=seconds_of(ttl))) if ttl else expires
    name = name or _made_up(target)
    document = {
        "kind": "lock",
        "version": "v1",
        "metadata": {"name": name, "labels": {CREATED: utc_seconds(now), BY: _me()}},
        "spec": {"target": target, "message": reason} | ({"expires": until} if until else {}),
    }
    lock = _store(state).add(document)
    print(f"# lock {name}" if revoke_aws else name)
    rules = _policy(policy)
    _warn(lock, rules, now)
    if revoke_aws:
        print(revocation(lock.spec.target, rules, now))


@app.command()
def rm(
    name: Annotated[str, typer.Argument(help="Name of the lock, as in awsgate lock ls.")],
    state: StateOption = None,
    gateway: GatewayOption = "",
) -> None:
    """Take a lock away; exit 1 if there is none of that name.

    Example: awsgate lock rm alice-3f9a1c
    """
    url = gateway_meant(gateway, state)
    if not (remotelocks.remove(url, name) if url else _store(state).remove(name)):
        sys.stderr.write(f"awsgate: no: there is no lock {name!r} (awsgate lock ls)\n")
        raise typer.Exit(1)


@app.command()
def ls(
    as_json: JsonOption = False,
    state: StateOption = None,
    gateway: GatewayOption = "",
) -> None:
    """List the locks of the state folder. Those of the policy are in its files.

    Exit 2 if something in the folder cannot be read; the rest is listed all the same.

    Example: awsgate lock ls
    """
    if url := gateway_meant(gateway, state):
        rows, fault = remotelocks.rows(url), None
    else:
        now, store = datetime.now(UTC), _store(state)
        found = store.read()
        rows, fault = [_row(lock, now) for lock in found.locks], found.fault(store.folder)
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print("\n".join(_table(rows)))
    elif fault is None:
        sys.stderr.write("awsgate: there are no locks\n")
    if fault is not None:
        raise fault


def _row(lock: Lock, now: datetime) -> dict[str, Any]:
    expires, labels = lock.spec.expires, lock.metadata.labels
    return {
        "name": lock.metadata.name,
        "target": lock.spec.target.model_dump(exclude_none=True),
        "message": lock.spec.message,
        "expires": utc_seconds(expires) if expires is not None else None,
        "in_force": in_force(lock, now),
        "created": labels.get(CREATED, ""),
        "by": labels.get(BY, ""),
    }


def _table(rows: list[dict[str, Any]]) -> list[str]:
    cells = [("NAME", "LOCKED OUT", "UNTIL", "BY", "ADDED", "REASON")]
    for row in rows:
        target = " ".join(f"{k}={shlex.quote(v)}" for k, v in row["target"].items())
        until = row["expires"] or "for good"
        until += "" if row["in_force"] else " (over)"
        message = " ".join(row["message"].split())
        cells.append((row["name"], target, until, row["by"], row["created"], message))
    return columns(cells)


def _store(state: Path | None) -> LockStore:
    there = state_in_use(state_folder(state), "a lock there would lock nobody")
    store = LockStore(there.locks_folder)
    if not store.folder.exists():
        store.open()
    return store


def _policy(path: Path | None) -> Policy | None:
    """Give the policy, if it is in order: a lock must not depend on that."""
    try:
        return load_policy(policy_path(path))
    except SetupError:
        sys.stderr.write(
            "awsgate: warning: the policy cannot be read, so no name was checked; the lock is set\n"
        )
        return None


def _warn(lock: Lock, rules: Policy | None, now: datetime) -> None:
    for _, what, todo in idle(lock, rules, now):
        line = f"{what}: {todo}" if todo else what
        sys.stderr.write(f"awsgate: warning: the lock is set, but {line}\n")


def _made_up(target: dict[str, str]) -> str:
    """Give a name that says whom: 'alice-3f9a1c'."""
    value = next(iter(target.values())).rpartition("/")[2]
    clean = re.sub(r"[^A-Za-z0-9_.@+-]", "_", value).lstrip("_.@+-")[:60] or "lock"
    return f"{clean}-{secrets.token_hex(3)}"


def _me() -> str:
    """Give who runs this, for people to read: nothing is decided by it."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user need not have a name
        name = f"uid {os.getuid()}"
    caller = behind_sudo()
    return f"{caller} as {name}" if caller else name
