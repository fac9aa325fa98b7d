"""``awsgate console``: signs a browser in to AWS's console as a role.

The URL is worth a session there to whoever opens it, so it is handed to the browser, or
printed on stdout alone. What is done leaves an audit line, before the URL is given.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
import webbrowser
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awsgate.cli.choice import Choice, choose
from awsgate.cli.durations import duration_of, seconds_of
from awsgate.cli.lockbooks import lock_books
from awsgate.cli.no import No, saying_no
from awsgate.cli.options import (
    AppOption,
    JsonOption,
    PolicyOption,
    RoleOption,
    StateOption,
    UserOption,
    certs_folder,
    policy_path,
    state_folder,
)
from awsgate.consoledesk import ConsoleDesk, SignedIn, Wanted
from awsgate.errors import Code, Refusal
from awsgate.policyfile import load_policy

if TYPE_CHECKING:
    from awsgate.policy import Policy

EVENT = "console"
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
) -> None:
    """Open AWS's console in the browser, signed in as a role; exit 1 if the policy says no.

    Example: awsgate console --app awsconsole-test --role ExampleReadOnlyAccess --service s3
    """
    rules = load_policy(policy_path(policy))
    folder = state_folder(state)
    with saying_no():
        choice = choose(rules, user, app, role)
        wanted = Wanted(
            choice.user,
            choice.app,
            choice.role_arn,
            service=service,
            region=region,
            destination=destination,
            duration_s=seconds_of(duration) if duration else 0,
            issuer=ISSUER,
        )
        signed_in = _sign_in(rules, policy_path(policy), folder, wanted)
    url = signed_in.switching_url if switch else signed_in.url
    if as_json:
        print(json.dumps(_told(signed_in, url), indent=2))
        return
    _say(choice, signed_in)
    if show or not webbrowser.open(url):
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
    from awsgate.wiring import Settings, console_desk

    settings = Settings(policy=at, state=state, certs=certs_folder(None))
    recorder = _Recorder(rules, state, wanted)
    try:
        _check_locks(rules, state, wanted)
        desk: ConsoleDesk = console_desk(rules, settings)
        signed_in = desk.sign_in(rules, wanted)
    except Refusal as exc:
        recorder.refused(exc)
        raise No(exc.message, hints=[exc.hint] if exc.hint else []) from None
    recorder.done(signed_in)
    return signed_in


@dataclass(frozen=True, slots=True)
class _Recorder:
    rules: Policy
    state: Path
    wanted: Wanted

    def done(self, signed_in: SignedIn) -> None:
        self._write(
            decision="allowed",
            rule=signed_in.rule,
            access_key_id=signed_in.access_key_id,
            session_name=signed_in.session_name,
            source_identity=signed_in.source_identity,
        )

    def refused(self, refusal: Refusal) -> None:
        self._write(
            decision="denied",
            rule=refusal.detail if refusal.detail.startswith(("role/", "lock/")) else "",
            code=refusal.code.value,
            reason=refusal.message,
        )

    def _write(self, **more: str) -> None:
        from awsgate.audit import AuditLog, AuditRecord, AuditUnavailable
        from awsgate.errors import SetupError
        from awsgate.state import open_state
        from awsgate.timestamps import utc_millis

        wanted, arn = self.wanted, self.wanted.role_arn
        record = AuditRecord(
            time=utc_millis(datetime.fromtimestamp(time.time(), UTC)),
            id=str(uuid.uuid4()),
            event=EVENT,
            user=wanted.user,
            app=wanted.app,
            role_arn=arn,
            account=arn.split(":")[4],
            service="signin",
            region=wanted.region,
            **more,  # type: ignore[arg-type]  # names of fields that hold text
        )
        log = AuditLog(open_state(self.state).audit_path)
        try:
            log.write(record)
        except AuditUnavailable as exc:
            if self.rules.gateway.audit.on_failure == "refuse":
                raise SetupError(f"the audit log cannot be written: {exc}") from exc
        finally:
            log.close()


def _told(signed_in: SignedIn, url: str) -> dict[str, object]:
    return {
        "url": url,
        "destination": signed_in.page,
        "expires_in": signed_in.seconds,
        "limited_by": signed_in.because,
        "session_name": signed_in.session_name,
        "account": signed_in.account,
    }


def _say(choice: Choice, signed_in: SignedIn) -> None:
    because = f" ({signed_in.because})" if signed_in.because else ""
    sys.stderr.write(
        f"awsgate: {choice.user} as {choice.role_arn}, for "
        f"{duration_of(signed_in.seconds)}{because}\n"
    )
