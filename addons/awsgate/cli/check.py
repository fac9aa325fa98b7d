"""``awsgate check``: tells whether the policy is in order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from awsgate.cli.options import policy_path
from awsgate.errors import SetupError
from awsgate.policyfile import load_policy


def check(
    path: Annotated[
        Path | None, typer.Argument(help="Policy file or folder.", envvar="AWSGATE_POLICY")
    ] = None,
) -> None:
    """Read the policy and report every fault at once; exit 1 if there is one.

    Warnings are about what is valid and probably not meant; they do not change the exit
    code. No policy there at all is exit 2.

    Example: awsgate check policy/
    """
    place = policy_path(path)
    try:
        policy = load_policy(place)
    except SetupError as exc:
        if not exc.faults:  # nothing there to check
            raise
        # Without the hint, which is to run this command.
        sys.stderr.write(SetupError(exc.message, faults=exc.faults).render() + "\n")
        raise typer.Exit(1) from None
    for warning in policy.warnings:
        sys.stderr.write(f"awsgate: warning: {warning}\n")
    print(
        f"{place}: {len(policy.users)} users, {len(policy.roles)} roles, "
        f"{len(policy.apps)} apps, no faults" + _counted(len(policy.warnings))
    )


def _counted(warnings: int) -> str:
    return "" if not warnings else f", {warnings} warning{'s' if warnings > 1 else ''}"
