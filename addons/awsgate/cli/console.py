"""``awsgate console``: signs a browser in to AWS's console as a role.

The URL is worth a session there to whoever opens it, so it is handed to the browser
(``handing``), or printed on stdout alone. What is done leaves an audit line, before the URL
is given. With a login at a gateway that one is asked; else the policy here, and AWS.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awsgate.cli.bounded import check_unbounded
from awsgate.cli.choice import choose
from awsgate.cli.durations import duration_of, seconds_of
from awsgate.cli.handing import hand_to_browser
from awsgate.cli.lockbooks import lock_books
from awsgate.cli.no import No, saying_no
from awsgate.cli.options import (
    AppOption,
    GatewayOption,
    JsonOption,
    PolicyOption,
    RoleOption,
    StateOption,
    UserOption,
    certs_folder,
    policy_path,
    state_folder,
)
from awsgate.cli.recording import record_here
from awsgate.cli.terminal import printable
from awsgate.cli.where import gateway_meant
from awsgate.consoledesk import SignedIn, Wanted, record_of
from awsgate.errors import Code, Refusal, SetupError
from awsgate.policyfile import load_policy
from awsgate.state import open_state

if TYPE_CHECKING:
    from awsgate.policy import Policy

ISSUER = "https://awsgate.internal/"
"""Where AWS sends a person whose session has ended, if the gateway has no page."""


def console(
    user: UserOption = "",
    app: AppOption = "",
    role: RoleOption = "",
    service: Annotated[
        str, typer.Option("--service", help="Land on a service's page, like s3 or ec2.")
    ] = "",
    region: Annotated[str, typer.Option("--region", help="And in a region.")] = "",
    destination: Annotated[
        str, typer.Option("--destination", help="Or on this page of the console: its URL.")
    ] = "",
    duration: Annotated[
        str, typer.Option("--duration", help="15m to 12h. Default: as long as may be.")
    ] = "",
    switch: Annotated[
        bool,
        typer.Option("--switch", help="Sign out first, if the browser is in another account."),
    ] = False,
    show: Annotated[
        bool,
        typer.Option("--print/--browser", help="Print the URL instead of opening a browser."),
    ] = False,
    as_json: JsonOption = False,
    policy: PolicyOption = None,
    state: StateOption = None,
    gateway: GatewayOption = "",
) -> None:
    """Open AWS's console in the browser, signed in as a role; exit 1 if the policy says no.

    Example: awsgate console --app awsconsole-test --role ExampleReadOnlyAccess --service s3
    """
    asked = {"service": service, "region": region, "destination": destination}
    seconds = seconds_of(duration) if duration else 0
    with saying_no():
        url = gateway_meant(gateway, policy, state)
        check_unbounded("the console")
        if url:
            way = _remotely(url, user, {"app": app, "role": role, **asked, "duration_s": seconds})
        else:
            way = _here(policy_path(policy), state_folder(state), (user, app, role), asked, seconds)
    _give(way, switch=switch, show=show, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Way:
    """The way in, whoever gave it."""

    user: str
    role_arn: str
    url: str = field(repr=False)
    switching_url: str = field(repr=False)
    page: str
    seconds: int
    because: str
    session_name: str
    account: str


def _remotely(url: str, user: str, asked: dict[str, object]) -> _Way:
    """Ask the gateway where one is logged in. Raises ``No`` and ``SetupError``."""
    from awsgate.cli.remote import asking, check_user, client_at

    stored, client = client_at(url)
    check_user(stored, user)
    with asking(stored):
        said = client.console(asked)
    names = ("user", "role_arn", "url", "switching_url", "destination")
    try:
        user, role_arn, opened, switching, page = (str(said[name]) for name in names)
        seconds, because = int(said["expires_in"]), str(said["limited_by"])
        session, account = str(said["session_name"]), str(said["account"])
    except (KeyError, TypeError, ValueError):
        raise SetupError(f"what {stored.gateway} says of the console cannot be read") from None
    # As a redirect and on a command line it is one word.
    if not all(re.fullmatch(r"https://[!-~]+", one) for one in (opened, switching)):
        raise SetupError(f"{stored.gateway} gives no https:// URL of the console")
    return _Way(user, role_arn, opened, switching, page, seconds, because, session, account)


def _here(
    at: Path, folder: Path, who: tuple[str, str, str], asked: dict[str, str], seconds: int
) -> _Way:
    """Sign in by the policy, the state and the AWS credentials of this machine."""
    rules = load_policy(at)
    choice = choose(rules, *who)
    wanted = Wanted(
        *(choice.user, choice.app, choice.role_arn),
        *(asked["service"], asked["region"], asked["destination"]),
        duration_s=seconds,
        issuer=ISSUER,
    )
    found = _sign_in(rules, at, folder, wanted)
    return _Way(
        *(choice.user, choice.role_arn, found.url, found.switching_url, found.page),
        *(found.seconds, found.because, found.session_name, found.account),
    )


def _give(way: _Way, *, switch: bool, show: bool, as_json: bool) -> None:
    url = way.switching_url if switch else way.url
    if as_json:
        print(json.dumps(_told(way, url), indent=2))
        return
    because = f" ({way.because})" if way.because else ""
    sys.stderr.write(
        printable(f"awsgate: {way.user} as {way.role_arn}, for {duration_of(way.seconds)}{because}")
        + "\n"
    )
    if show or not hand_to_browser(url):
        print(url)


def _check_locks(rules: Policy, state: Path, wanted: Wanted) -> None:
    """Refuse who is locked, and all while a lock cannot be read. Raises ``Refusal``.

    Nothing ends a console session afterwards, and who is meant by such a lock nobody knows.
    """
    from awsgate.lockout import clause_of, lock_among, rule_of

    books, faults = lock_books(rules, state)
    lock = lock_among(
        books,
        rules,
        user=wanted.user,
        app=wanted.app,
        session="",
        role_arn=wanted.role_arn,
        came_by=(),
        now=datetime.now(UTC),
    )
    if lock is not None:
        rule = rule_of(lock)
        raise Refusal(Code.LOCKED, f"{wanted.user} is {clause_of(lock)} ({rule})", detail=rule)
    if faults:
        raise Refusal(
            Code.LOCKED,
            faults[0],
            hint="awsgate lock ls shows the locks; awsgate lock rm NAME takes one away",
        )


def _sign_in(rules: Policy, at: Path, state: Path, wanted: Wanted) -> SignedIn:
    """Do it and record it, whatever becomes of it. Raises ``No``."""
    from awsgate.sts import in_words
    from awsgate.wiring import Settings, console_desk

    settings = Settings(policy=at, state=state, certs=certs_folder(None))
    desk = console_desk(lambda: rules, settings)
    if desk is None:
        raise No("the policy here hands calls on: log in at the gateway ahead (awsgate login)")
    try:
        _check_locks(rules, state, wanted)
        signed_in = desk.sign_in(rules, wanted)
    except Refusal as exc:
        record_here(open_state(state).audit_path, rules.gateway, record_of(wanted, exc))
        # Here it is the operator who asks, and what is missing is for them to know.
        missing = in_words(exc.detail) if exc.code is Code.ROLE_UNAVAILABLE else ""
        hint = missing or exc.hint
        raise No(exc.message, hints=[hint] if hint else []) from None
    record_here(open_state(state).audit_path, rules.gateway, record_of(wanted, signed_in))
    return signed_in


def _told(way: _Way, url: str) -> dict[str, object]:
    return {
        "url": url,
        "destination": way.page,
        "expires_in": way.seconds,
        "limited_by": way.because,
        "session_name": way.session_name,
        "account": way.account,
    }
