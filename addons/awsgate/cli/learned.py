"""``awsgate audit policy``: what a user did, as a policy for just that."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from awsgate import learn
from awsgate.auditfile import opened, opened_log
from awsgate.cli.auditlines import Filter, all_records
from awsgate.cli.options import PolicyOption, StateOption, policy_path, state_folder
from awsgate.cli.since import since_text
from awsgate.cli.terminal import printable
from awsgate.errors import SetupError
from awsgate.policy import Policy
from awsgate.policyfile import load_policy
from awsgate.state import AUDIT_NAME

MOST_NOTES = 20


class PolicyFormat(StrEnum):
    """What the policy is for."""

    AWSGATE = "awsgate"
    IAM = "iam"
    TERRAFORM = "terraform"


def policy(
    user: Annotated[str, typer.Option(help="Whose calls. Name of a kind: user document.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of the log. Default: those of the state folder."),
    ] = None,
    since: Annotated[str, typer.Option(help="Like 12h, 7d or 2026-11-27T10:00:00Z.")] = "",
    session: Annotated[str, typer.Option(help="Calls of this session alone.")] = "",
    app: Annotated[str, typer.Option(help="Calls in this app alone.")] = "",
    role: Annotated[str, typer.Option(help="Calls as this IAM role alone: ARN or name.")] = "",
    format: Annotated[  # noqa: A002 - the option's name
        PolicyFormat, typer.Option(help="awsgate: kind: role; iam: JSON; terraform: HCL.")
    ] = PolicyFormat.AWSGATE,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact/--exact", help="3 or more S3 keys of one folder become folder/*, or none do."
        ),
    ] = False,
    any_resource: Annotated[
        bool,
        typer.Option("--any-resource", help="Take in calls of unknown resource, on any resource."),
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what the user's roles grant otherwise instead.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --diff: for programs.")] = False,
    policy_file: PolicyOption = None,
    state: StateOption = None,
) -> None:
    """Make a policy that allows what a user did, and nothing else; exit 1 if that is nothing.

    What cannot be said in a policy, and where it allows more than was done, is on stderr.

    Example: awsgate audit policy --user alice --since 7d
    """
    if as_json and not diff:
        raise typer.BadParameter("--json goes with --diff: the policy has --format")
    begin = since_text(since, datetime.now(UTC))
    wanted = learn.Wanted(user, session, app, role, begin)
    selection = Filter(user=user, session=session, decision="allowed", since=begin)
    log = opened(files) if files else opened_log(state_folder(state) / AUDIT_NAME)
    with log as found:
        lesson = learn.learn(all_records(found, selection), wanted)
    if not (any_resource or diff):
        lesson = lesson.of_known_resources()
    _warn(_left_out(lesson))
    if not lesson.uses:
        sys.stderr.write(f"awsgate: no: the audit has no such call of {user!r} to learn from\n")
        raise typer.Exit(1)
    if diff:
        _print_difference(learn.difference(load_policy(policy_path(policy_file)), lesson), as_json)
        return
    text, notes = _written(lesson, format, compact, policy_file)
    _warn(notes)
    sys.stdout.write(text)


def _written(
    lesson: learn.Lesson, style: PolicyFormat, compact: bool, policy_file: Path | None
) -> tuple[str, list[str]]:
    if style is PolicyFormat.AWSGATE:
        rules = _rules(policy_file)
        return learn.role_documents(lesson, learn.gateway_grants(lesson, compact=compact), rules)
    grants = learn.aws_grants(lesson, compact=compact)
    if style is PolicyFormat.TERRAFORM:
        return learn.terraform(lesson.user, grants)
    roles = sorted({grant.scope.role_arn for grant in grants})
    if len(roles) > 1:
        raise typer.BadParameter(
            f"one policy is for one IAM role: choose --role of {', '.join(roles)}"
        )
    return learn.iam_policy(grants)


def _rules(path: Path | None) -> Policy | None:
    """Give the policy, for the labels of the apps; the audit says the rest."""
    try:
        return load_policy(policy_path(path))
    except SetupError as exc:
        _warn([f"the policy cannot be read: {exc.message}"])
        return None


def _left_out(lesson: learn.Lesson) -> list[str]:
    return [
        *_counted("not in the policy, the action is not known", lesson.unknown),
        *_counted("not in the policy, AWS refused it", lesson.refused_by_aws),
        *_counted("not in the policy, AWS has not answered it", lesson.broken_off),
        *_counted(
            "not in the policy, its resource is not known (--any-resource takes it in)",
            lesson.no_resource,
        ),
        *_counted(
            "some resources are not in the policy, a call named more than its audit line holds",
            lesson.cut_short,
        ),
    ]


def _counted(why: str, found: Counter[str]) -> list[str]:
    lines = [f"{why}: {what}, {count} times" for what, count in sorted(found.items())]
    more = len(lines) - MOST_NOTES
    return lines if more <= 0 else [*lines[:MOST_NOTES], f"{why}: {more} other kinds of calls"]


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stderr.write(f"awsgate: warning: {printable(line)}\n")


def _print_difference(found: learn.Difference, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    lines = [*_not_granted(found), *_not_used(found)]
    print("\n".join(map(printable, lines)) or "no difference")


def _not_granted(found: learn.Difference) -> Sequence[str]:
    if not found.not_granted:
        return []
    lines = ["used, and not granted now:"]
    for each in found.not_granted:
        what = " ".join([*each.use.actions, *each.use.resources, *each.use.regions])
        lines.append(f"  {what}: {each.count} times; {each.reason}")
    return lines


def _not_used(found: learn.Difference) -> Sequence[str]:
    if not found.not_used:
        return []
    lines = ["granted, and not used:"]
    for each in found.not_used:
        where = " ".join(filter(None, [each.rule, each.field, each.value]))
        lines.append(f"  {where}: {each.what}")
    return lines
