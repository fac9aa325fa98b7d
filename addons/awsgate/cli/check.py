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

    Example: awsgate check policy/
    """
    place = policy_path(path)
    try:
        policy = load_policy(place)
    except SetupError as exc:
        sys.stderr.write(exc.render() + "\n")
        raise typer.Exit(1) from None
    print(
        f"{place}: {len(policy.users)} users, {len(policy.roles)} roles, "
        f"{len(policy.apps)} apps, no faults"
    )
