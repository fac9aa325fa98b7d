"""``awsgate audit``: check the audit log, read it, and make a policy from it.

Works on the files, beside a running gateway or without one. Times are UTC.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from awsgate.auditchain import Chain, verify_files
from awsgate.auditfile import LogFile, opened, opened_log
from awsgate.auditline import GENESIS, parsed
from awsgate.cli.auditlines import Filter, follow, last_records, shown
from awsgate.cli.learned import policy
from awsgate.cli.options import JsonOption, StateOption, state_folder
from awsgate.cli.since import since_text
from awsgate.cli.terminal import counted, printable, wants_colour
from awsgate.state import AUDIT_NAME

app = typer.Typer(
    name="audit", help="Check the audit log, read it, learn from it.", no_args_is_help=True
)
app.command()(policy)

FilesArgument = Annotated[
    list[Path] | None,
    typer.Argument(help="Files of the log. Default: those of the state folder, older ones too."),
]

_HASH = re.compile(r"[0-9a-f]{64}")
LINES = 20


class DecisionOption(StrEnum):
    """What became of a request."""

    ALLOWED = "allowed"
    REFUSED = "refused"


@contextmanager
def log_files(files: Sequence[Path] | None, state: Path | None) -> Iterator[list[LogFile]]:
    """Open the files that are named, or else the log of the state folder."""
    if files:
        with opened(list(dict.fromkeys(files))) as found:
            yield found
    else:
        with opened_log(state_folder(state) / AUDIT_NAME) as found:
            yield found


@app.command()
def verify(
    files: FilesArgument = None,
    expect_head: Annotated[
        str, typer.Option("--expect-head", help="Hash noted before: it must still be there.")
    ] = "",
    from_hash: Annotated[
        str, typer.Option("--from", help="Hash noted before: check what was written after it.")
    ] = "",
    as_json: JsonOption = False,
    state: StateOption = None,
) -> None:
    """Check that no line was changed, moved or lost; exit 1 and the place if one was.

    The chain has no key: whoever may write the files can make all of it anew, and lines
    cut off at the end leave no trace. Note the head somewhere else; --expect-head shows
    later that everything up to it is still there, unchanged.

    Example: awsgate audit verify
    """
    for name, value in (("--expect-head", expect_head), ("--from", from_hash)):
        if value and not _HASH.fullmatch(value):
            raise typer.BadParameter(f"{value!r} is not a hash of 64 hex digits", param_hint=name)
    with log_files(files, state) as found:
        wanted = [expect_head] if expect_head else []
        chain = verify_files(found, wanted=wanted, after=from_hash)
    missing = [each for each in (from_hash, expect_head) if each and not chain.has(each)]
    if as_json:
        print(json.dumps(_for_programs(chain, missing), indent=2))
    else:
        print("\n".join(map(printable, _for_people(chain, missing))))
    if chain.fault or missing:
        raise typer.Exit(1)


def _for_people(chain: Chain, missing: Sequence[str]) -> Iterator[str]:
    for each in chain.files:
        span = f"  {each.first} to {each.last}" if each.first else ""
        yield f"{each.path}: {counted(each.lines, 'line')}{span}"
    if chain.fault:
        yield f"broken: {chain.fault}"
        hold = "holds" if chain.lines == 1 else "hold"
        yield f"{counted(chain.lines, 'line')} before it {hold}"
        return
    if chain.begins_after != GENESIS:
        yield f"begins after {chain.begins_after}"
    for hashed in missing:
        yield f"broken: no line has the hash {hashed}: it was cut off, or is in a file not read"
    if not missing:
        yield f"unbroken: {counted(chain.lines, 'line')} in {counted(len(chain.files), 'file')}"
        yield f"head: {chain.head}"


def _for_programs(chain: Chain, missing: Sequence[str]) -> dict[str, Any]:
    fault = asdict(chain.fault) if chain.fault else None
    return {
        "unbroken": not (fault or missing),
        "fault": {**fault, "path": str(fault["path"])} if fault else None,
        "missing": list(missing),
        "lines": chain.lines,
        "first": chain.first,
        "last": chain.last,
        "head": chain.head,
        "begins_after": None if chain.begins_after == GENESIS else chain.begins_after,
        "files": [
            {"path": str(f.path), "lines": f.lines, "first": f.first, "last": f.last}
            for f in chain.files
        ],
    }


@app.command()
def tail(
    files: FilesArgument = None,
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", min=1, help=f"How many. Default: {LINES}, or all."),
    ] = None,
    user: Annotated[str, typer.Option(help="Lines of this user.")] = "",
    session: Annotated[str, typer.Option(help="Lines of this session.")] = "",
    since: Annotated[str, typer.Option(help="Like 90m, 12h, 7d or 2026-11-27T10:00:00Z.")] = "",
    decision: Annotated[DecisionOption | None, typer.Option(help="Lines of this kind.")] = None,
    action: Annotated[str, typer.Option(help="IAM action with * and ?, like 's3:*'.")] = "",
    follows: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The lines as they stand.")] = False,
    state: StateOption = None,
) -> None:
    """Show the last lines: time, user, action, decision, status, time taken, reason.

    Example: awsgate audit tail --user alice --since 1h --decision refused
    """
    if follows and files and len(files) > 1:
        raise typer.BadParameter("--follow takes one file")
    wanted = Filter(user, session, decision or "", action, since_text(since, datetime.now(UTC)))
    colour = not as_json and wants_colour(sys.stdout)

    def show(record: dict[str, Any]) -> None:
        line = (
            json.dumps(record, separators=(",", ":")) if as_json else shown(record, colour=colour)
        )
        print(line, flush=follows)

    with log_files(files, state) as found:
        for record in last_records(found, wanted, lines or (0 if since else LINES)):
            show(record)
        if not follows:
            return

        def show_new(line: bytes) -> None:
            record = parsed(line)
            if record is not None and wanted.fits(record):
                show(record)

        try:
            follow(found[-1], show_new)
        except KeyboardInterrupt:
            sys.stderr.write("\n")
