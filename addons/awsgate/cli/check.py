"""``awsgate check``: tells whether the policy is in order."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from awsgate.address import host_of
from awsgate.cli.options import JsonOption, policy_path
from awsgate.cli.terminal import Style, counted, painted
from awsgate.errors import SetupError
from awsgate.policy import Policy
from awsgate.policy.lint import lint
from awsgate.policy.remark import Remark
from awsgate.policyfile import load_policy
from awsgate.publicness import check_places


def check(
    path: Annotated[
        Path | None, typer.Argument(help="Policy file or folder.", envvar="AWSGATE_POLICY")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if there is a warning.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read the policy and report every fault at once; exit 1 if there is one.

    Warnings are about what is valid and probably not meant: rules that can never match,
    actions that AWS does not have, roles that no user has. Without --strict they do not
    change the exit code. No policy there at all is exit 2.

    Example: awsgate check policy/
    """
    place = policy_path(path)
    try:
        policy = load_policy(place)
    except SetupError as exc:
        if not exc.faults:  # nothing there to check
            raise
        if as_json:
            _print_json(place, None, [Remark.parse(fault) for fault in exc.faults], [])
        else:
            # Without the hint, which is to run this command.
            sys.stderr.write(SetupError(exc.message, faults=exc.faults).render() + "\n")
        raise typer.Exit(1) from None
    warnings = [
        *map(Remark.parse, policy.warnings),
        *lint(policy, datetime.now(UTC)),
        *_open_places(policy),
    ]
    if as_json:
        _print_json(place, policy, [], warnings)
    else:
        for warning in warnings:
            sys.stderr.write(f"awsgate: {_shown(warning)}\n")
        print(f"{place}: {_counts(policy)}, no faults" + _counted(len(warnings)))
    raise typer.Exit(1 if strict and warnings else 0)


def _open_places(policy: Policy) -> Iterator[Remark]:
    """Give why the gateway would not start on its address. A socket of systemd's may be another."""
    try:
        check_places(policy.gateway, [host_of(policy.gateway.listen)])
    except SetupError as exc:
        place = next((p for k, p in policy.places.items() if k.startswith("gateway/")), "")
        for fault in exc.faults:
            yield Remark(place, "spec.listen", f"{exc.message}: the gateway does not start", fault)


def _shown(warning: Remark) -> str:
    word = painted("warning", Style.WARN, sys.stderr)
    place = painted(warning.place, Style.STRONG, sys.stderr)
    return f"{word}: {place}{warning.removeprefix(warning.place)}"


def _counts(policy: Policy) -> str:
    kinds = ((policy.users, "user"), (policy.roles, "role"), (policy.apps, "app"))
    return ", ".join(counted(len(found), word) for found, word in kinds)


def _counted(warnings: int) -> str:
    return f", {counted(warnings, 'warning')}" if warnings else ""


def _print_json(
    place: Path, policy: Policy | None, faults: Sequence[Remark], warnings: Sequence[Remark]
) -> None:
    counts = None
    if policy is not None:
        kinds = ("users", "roles", "apps", "locks")
        counts = {kind: len(getattr(policy, kind)) for kind in kinds}
    report: dict[str, Any] = {
        "policy": str(place),
        "documents": counts,
        "faults": [_parts(fault) for fault in faults],
        "warnings": [_parts(warning) for warning in warnings],
    }
    print(json.dumps(report, indent=2))


def _parts(finding: Remark) -> dict[str, str]:
    return {name: getattr(finding, name) for name in ("place", "path", "what", "todo")}
