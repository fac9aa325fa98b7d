"""``awsgate env``: gateway credentials, and all that a client needs to use them.

On stdout the assignments and nothing else, so that it can be evaluated; words for people
go to stderr.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from awsgate.address import proxy_address
from awsgate.cli import athena
from awsgate.cli.bounded import check_within, marked
from awsgate.cli.issuing import Issued, issue
from awsgate.cli.lockbooks import lock_books
from awsgate.cli.no import saying_no
from awsgate.cli.options import (
    AppOption,
    CertsOption,
    GatewayOption,
    MaxRequestsOption,
    PolicyOption,
    ProxyOption,
    ReadOnlyOption,
    RegionOption,
    RoleOption,
    StateOption,
    TtlOption,
    UserOption,
)
from awsgate.cli.places import warn_if_down
from awsgate.cli.running import Told
from awsgate.cli.shells import CANNOT_UNSET, Format, Unwritable, login_shell, written
from awsgate.cli.terminal import printable
from awsgate.errors import SetupError
from awsgate.lockout import clause_of, lock_among, rule_of
from awsgate.policy import Policy
from awsgate.policyfile import load_policy
from awsgate.variables import (
    HTTP_PROXIES,
    MARK,
    PROFILES,
    Change,
    Way,
    access_by_keys,
    leading_past,
    stale,
    undoing,
)

FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        "--shell",
        help="What reads it: a shell to eval it (auto: that of $SHELL), json (a map), a file "
        "for dotenv or docker --env-file, Athena's drivers.",
    ),
]
UnsetOption = Annotated[
    bool, typer.Option("--unset", help="Print what takes back an earlier awsgate env.")
]


def env(
    user: UserOption = "",
    app: AppOption = "",
    role: RoleOption = "",
    format: FormatOption = Format.BASH,  # noqa: A002 - the option's name
    ttl: TtlOption = "",
    region: RegionOption = "",
    proxy: ProxyOption = "",
    unset: UnsetOption = False,
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
    gateway: GatewayOption = "",
    read_only: ReadOnlyOption = False,
    max_requests: MaxRequestsOption = 0,
) -> None:
    """Print gateway credentials as environment variables; exit 1 if the policy says no.

    Example: eval "$(awsgate env --user alice --app awsconsole-test --role ExampleReadOnlyAccess)"

    The other shells: awsgate env --format fish | source,
    awsgate env --format powershell | Out-String | Invoke-Expression,
    awsgate env --format nushell | from json | load-env.
    """
    style = login_shell(os.environ) if format is Format.AUTO else format
    if unset:
        _print_undoing(style)
        return
    told = Told(
        *(user, app, role, ttl, region, proxy, policy, state, certs),
        *(gateway, read_only, max_requests),
    )
    with saying_no():
        wanted = told.wanted()
        rules = None if wanted.gateway else load_policy(wanted.policy)
        issued = issue(wanted, rules)
        check_within(issued)
    way = issued.way(proxy, region)
    try:
        text = _text(style, way, issued, marked(wanted, issued))
    except Unwritable as exc:
        raise SetupError(
            f"--format {style.value} cannot be written: {exc}",
            hint="the folder of the CA may have another name: --certs; or take --format json",
        ) from None
    _warn(style, way)
    if rules is not None:
        _warn_of_lock(rules, wanted.state, issued)
    warn_if_down(way.proxy, "awsgate status" if wanted.gateway else "awsgate run")
    if sys.stdout.isatty() and style in _SHELLS:
        sys.stderr.write(f"awsgate: hint: to have these in this shell: {_EVALUATED[style]}\n")
    print(text)


def _text(style: Format, way: Way, issued: Issued, marks: dict[str, str]) -> str:
    if style in (Format.ATHENA_ODBC, Format.ATHENA_JDBC):
        region = way.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not region:
            raise typer.BadParameter("Athena's drivers need a region: --region us-east-1")
        way = Way(way.proxy, way.bundle, way.root, region)
        form = athena.odbc if style is Format.ATHENA_ODBC else athena.jdbc
        return form(way, issued.keys, os.environ.get(athena.WORKGROUP) or "primary")
    return written(style, access_by_keys(way, issued.keys, os.environ, marks))


def _print_undoing(style: Format) -> None:
    if style not in _SHELLS:
        raise typer.BadParameter(f"--unset is for shells, and {style.value} is none")
    change = undoing(os.environ)
    if change == Change({}, ()):
        sys.stderr.write(f"awsgate: nothing to take back: {MARK} is not set here\n")
        return
    print(written(style, change))


_SHELLS = frozenset(
    {Format.BASH, Format.ZSH, Format.FISH, Format.POWERSHELL, Format.CMD, Format.NUSHELL}
)


_EVALUATED = {
    Format.BASH: 'eval "$(awsgate env ...)"',
    Format.ZSH: 'eval "$(awsgate env --format zsh ...)"',
    Format.FISH: "awsgate env --format fish ... | source",
    Format.POWERSHELL: "awsgate env --format powershell ... | Out-String | Invoke-Expression",
    Format.CMD: "write them to a file.cmd, and call it",
    Format.NUSHELL: "awsgate env --format nushell ... | from json | load-env",
}


def _warn_of_lock(rules: Policy, state: Path, issued: Issued) -> None:
    """Tell that the gateway will refuse what was issued."""
    books, _ = lock_books(rules, state)
    who = {"user": issued.user, "app": issued.app, "session": ""}
    now = datetime.now(UTC)
    lock = lock_among(books, rules, **who, role_arn=issued.role_arn, came_by=(), now=now)
    if lock is not None:
        said = printable(f"{issued.user} is {clause_of(lock)} ({rule_of(lock)})")
        sys.stderr.write(f"awsgate: warning: {said}\n")


def _warn(style: Format, way: Way) -> None:
    """Tell what in this environment would undo the variables."""
    left = stale(os.environ) if style in CANNOT_UNSET else []
    gateway = proxy_address(way.proxy)
    proxies = [name for name in HTTP_PROXIES if proxy_address(os.environ.get(name, "")) == gateway]
    lines = [
        *(f"{name} is set: unset it, or some clients use {_instead(name)}" for name in left),
        *(f"{name} names the gateway, which is for HTTPS alone: unset it" for name in proxies),
        *(f"NO_PROXY: {entry} is left out, it is AWS" for entry in leading_past(os.environ)),
    ]
    sys.stderr.writelines(f"awsgate: warning: {line}\n" for line in lines)


def _instead(name: str) -> str:
    return "that profile" if name in PROFILES else "that instead"
