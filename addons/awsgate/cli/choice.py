"""Who calls, in which app, as which role: as far as it is told, and else what is clear.

    user   as told; else the login name, if the policy has it; else the only user there is
    app, role  as told; else the only pair that the user may have

What is not clear is no guess: ``No`` with the table to choose from.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from awsgate.cli.no import MAX_SHOWN, No, to_choose_from
from awsgate.policy import Decision, Policy, decide, grantable_roles, may_be
from awsgate.policy.fields import ACCOUNT_LABEL
from awsgate.policy.meant import pairs_meant, role_meant, short_roles, unknown_name
from awsgate.policy.standing import NO_ROLE_ARN


@dataclass(frozen=True, slots=True)
class Choice:
    """What credentials are for."""

    user: str
    app: str
    role_arn: str


def choose(policy: Policy, user: str, app: str, role: str) -> Choice:
    """Give what is meant. Empty is what was not told. Raises ``No``."""
    user = user or default_user(policy)
    check_names(policy, user, app)
    if app and role:
        return Choice(user, app, _allowed_role(policy, user, app, role))
    found = choices(policy, user, app, role)
    if len(found) == 1:
        return found[0]
    told = f" in {app}" if app else f" as {role}" if role else ""
    if not found:
        raise No(f"{user} may have no role{told}", hints=_may_have(policy, user))
    left = "--role" if app else "--app" if role else "--app and --role"
    raise No(
        f"{user} may have {len(found)} roles{told}: say which with {left}",
        _table(policy, found),
        hints=[_example(found)],
    )


def check_names(policy: Policy, user: str, app: str) -> None:
    """Raise ``No`` if the policy does not have them; empty is none."""
    unknown = unknown_name(policy, user, app)
    if unknown:
        raise No(unknown, hints=_may_have(policy, user) if user in policy.users else [])


def choices(policy: Policy, user: str, app: str = "", role: str = "") -> list[Choice]:
    """Give every pair of app and role that ``user`` may have, as far as told.

    A role that only a pattern allows is found if it is told, and not listed otherwise.
    """
    pairs, _ = pairs_meant(policy, user, app, role)
    return [Choice(user, name, arn) for name, arn in pairs if may_be(policy, user, name, arn)]


def default_user(policy: Policy) -> str:
    """Give the user who is meant where none is named. Raises ``No`` if that is not clear."""
    login = login_name()
    if login in policy.users:
        return login
    if len(policy.users) == 1:
        return next(iter(policy.users))
    known = sorted(policy.users)
    raise No(
        f"the policy has {len(known)} users, and none is called {login!r} as you are here"
        if known
        else "the policy has no user",
        [f"  {name}" for name in known[:MAX_SHOWN]],
        hints=["say who with --user, or set AWSGATE_USER"] if known else [],
    )


def behind_sudo() -> str:
    """Give who called sudo; empty: nobody did, or what stands there is no name."""
    caller = os.environ.get("SUDO_USER", "")
    return caller if os.getuid() == 0 and re.fullmatch(r"[\w.@-]{1,100}", caller) else ""


def login_name() -> str:
    """Give who is logged in here; empty if that cannot be told."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return ""


def _table(policy: Policy, found: Sequence[Choice]) -> list[str]:
    shown, rows = found[:MAX_SHOWN], []
    short = {app: _short(found, app) for app in {choice.app for choice in shown}}
    for choice in shown:
        app = policy.apps[choice.app]
        account = app.labels.get(ACCOUNT_LABEL) or choice.role_arn.split(":")[4]
        rows.append((choice.app, account, short[choice.app][choice.role_arn]))
    return to_choose_from(rows, len(found))


def _example(found: Sequence[Choice]) -> str:
    first = found[0]
    role = _short(found, first.app)[first.role_arn]
    words = ("--user", first.user, "--app", first.app, "--role", role)
    return f"for the first: {shlex.join(words)}"


def _short(found: Sequence[Choice], app: str) -> dict[str, str]:
    """Give the short name of each role that was found in an app."""
    return short_roles(choice.role_arn for choice in found if choice.app == app)


def _allowed_role(policy: Policy, user: str, app: str, role: str) -> str:
    """Give the ARN of a role that the user may have, or say no."""
    role_arn, unclear = role_meant(policy, user, app, role)
    decision = _decision(policy, user, app, role_arn)
    if decision.allowed:
        return role_arn
    reason = unclear if unclear and decision.reason == NO_ROLE_ARN else decision.reason
    hints = _may_have(policy, user)
    if role in policy.roles and role_arn == role:
        hints.insert(0, f"{role} is a role of the policy: ask for one of the IAM roles it allows")
    raise No(f"{user} may not have {role} in {app}: {reason}", hints=hints)


def _may_have(policy: Policy, user: str) -> list[str]:
    return [f"{user} may have {arn} in {name}" for name, arn in grantable_roles(policy, user)[:10]]


def _decision(policy: Policy, user: str, app: str, role_arn: str) -> Decision:
    return decide(
        policy,
        user=user,
        app=app,
        role_arn=role_arn,
        endpoint_service="sts",
        tenant_controlled=False,
    )
