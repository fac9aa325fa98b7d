"""``awsgate doctor``: finds what is wrong with a set-up, and says what mends it."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from awsgate.address import proxy_address
from awsgate.aws.sigv4 import SigningKeys
from awsgate.cli.checking import check_proxy, check_upstream
from awsgate.cli.choice import check_names, choices, choose
from awsgate.cli.no import saying_no
from awsgate.cli.options import (
    CertsOption,
    JsonOption,
    PolicyOption,
    StateOption,
    certs_folder,
    policy_path,
    state_folder,
)
from awsgate.cli.terminal import Style, counted, painted, printable
from awsgate.cli.waiting import waiting
from awsgate.demo.serving import Places, first_way, served
from awsgate.doctor.finding import Finding, Severity, count
from awsgate.errors import Refusal, SetupError
from awsgate.gatewaycall import keys_of
from awsgate.policyfile import load_policy
from awsgate.session import KEY_PREFIX, Session, looks_like_gateway_key, open_session
from awsgate.state import keys_in
from awsgate.variables import ENDPOINT, KEYS, MARK

_STYLES = {Severity.OK: Style.GOOD, Severity.WARNING: Style.WARN, Severity.FAULT: Style.BAD}


def _path_here(named: Path | None) -> Path:
    """Give the policy. Raises ``SetupError`` where commands ask a gateway elsewhere."""
    from awsgate.loginstore import load

    path = policy_path(named)
    stored = None if path.exists() else load(with_login=False)
    if stored is not None:
        raise SetupError(
            f"there is no gateway here to look at: commands ask {stored.gateway}, by a login",
            hint="awsgate status shows the login and whether its gateway answers; run doctor "
            "where that gateway is",
        )
    return path


def doctor(
    as_json: JsonOption = False,
    user: Annotated[str, typer.Option(help="Make a call through the gateway as this user.")] = "",
    app: Annotated[str, typer.Option(help="In this app. Default: the first there is.")] = "",
    role: Annotated[str, typer.Option(help="As this role: its ARN, or its name.")] = "",
    proxy: Annotated[
        str, typer.Option(help="Where the gateway is. Default: where the policy says.")
    ] = "",
    upstream: Annotated[
        str,
        typer.Option(
            help="The gateway's awsgate_upstream: an emulator.", envvar="AWSGATE_UPSTREAM"
        ),
    ] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Look at files alone.")] = False,
    timeout: Annotated[float, typer.Option(min=1, max=600, help="Seconds for all of it.")] = 20,
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
) -> None:
    """Check the gateway, its files, this shell, AWS and the programs here; exit 1 on a fault.

    Nothing is changed. The gateway, STS and IAM are asked, and nobody else; each role that
    the policy gives is assumed once, under the name awsgate-doctor, and IAM shows the trust
    policy of one that AWS refuses. Warnings leave the exit code at 0.

    Example: awsgate doctor --user alice
    """
    from awsgate.doctor.examine import Patient, examine

    check_proxy(proxy if "//" in proxy or not proxy else f"http://{proxy}")
    check_upstream(upstream)
    path = _path_here(policy)
    found = served(Places(path, state_folder(state), certs_folder(certs)))
    keys = _keys_here()
    user, app, role_arn = _whom(path, user, app, role, _session_of(keys, state_folder(state)))
    if found is not None and not upstream:
        upstream = found.upstream  # its keys are known to it alone: ask by a call
        with suppress(SetupError):  # a policy with faults is among the findings
            way = None if user or keys is not None else first_way(load_policy(path))
            user, app, role_arn = way or (user, app, role_arn)
    patient = Patient(
        policy=path,
        state=state_folder(state),
        certs=certs_folder(certs),
        environ=dict(os.environ),
        proxy=proxy_address(proxy),
        upstream=upstream,
        user=user,
        app=app,
        role_arn=role_arn,
        endpoint_keys=keys if os.environ.get(ENDPOINT[0]) else None,
        offline=offline,
        timeout_s=timeout,
    )
    _forget_gateway_keys()
    with waiting("awsgate doctor") as say:
        findings = examine(patient, say)
    _print_json(findings) if as_json else _print(findings)
    raise typer.Exit(1 if count(findings, Severity.FAULT) else 0)


def _keys_here() -> SigningKeys | None:
    """Give the gateway keys of this shell, or of the ``awsgate exec`` that it runs in."""
    try:
        keys = keys_of(os.environ)
    except SetupError:
        return None  # what is wrong with them is among the findings
    return keys if looks_like_gateway_key(keys.access_key_id) else None


def _session_of(keys: SigningKeys | None, state: Path) -> Session | None:
    """Open the session of this shell; None: there is none, or it is not for us to open."""
    try:
        opener = keys_in(state) if keys is not None and state.is_dir() else None
        if keys is None or opener is None:
            return None
        return open_session(
            opener,
            access_key_id=keys.access_key_id,
            session_token=keys.session_token,
            now=int(time.time()),
        ).session
    except (SetupError, Refusal, OSError):
        return None


def _forget_gateway_keys() -> None:
    """Keep botocore from taking the keys of a client's shell for awsgate's own."""
    if MARK in os.environ or os.environ.get("AWS_ACCESS_KEY_ID", "").startswith(KEY_PREFIX):
        for name in (*KEYS, *ENDPOINT):
            os.environ.pop(name, None)


def _whom(
    path: Path, user: str, app: str, role: str, session: Session | None
) -> tuple[str, str, str]:
    """Give user, app and role ARN in full, or say no as ``awsgate env`` does.

    What is not told is that of the session here, if it is the user's. Where several are
    meant it is the first, and that is told: any of them shows whether calls get through.
    """
    if not user:
        if not (app or role):
            return "", "", ""
        if session is None:
            raise typer.BadParameter("--app and --role need --user")
        user = session.user
    rules = load_policy(path)
    if session is not None and session.user == user and not (app or role):
        app, role = session.app, session.role_arns[0]
    with saying_no():
        check_names(rules, user, app)
    found = choices(rules, user, app, role)
    if len(found) < 2:
        with saying_no():
            found = [choose(rules, user, app, role)]
    else:
        sys.stderr.write(
            f"awsgate: note: {user} may have {len(found)} roles that are meant; it is tried as "
            f"{found[0].role_arn} in {found[0].app} (--app and --role say another)\n"
        )
    return found[0].user, found[0].app, found[0].role_arn


def _print_json(findings: list[Finding]) -> None:
    rows = {
        "ok": count(findings, Severity.FAULT) == 0,
        "faults": count(findings, Severity.FAULT),
        "warnings": count(findings, Severity.WARNING),
        "findings": [finding.row() for finding in findings],
    }
    print(json.dumps(rows, indent=2))


def _print(findings: list[Finding]) -> None:
    group = None
    for finding in findings:
        if finding.group is not group:
            group = finding.group
            print(painted(str(group), Style.STRONG, sys.stdout))
        style = _STYLES.get(finding.severity)
        label = f"{finding.severity:<8}"
        print(f"  {painted(label, style, sys.stdout) if style else label}{printable(finding.what)}")
        if finding.why:
            print(f"          why: {printable(finding.why)}")
        for number, line in enumerate(finding.fix.splitlines()):
            print(f"          {'     ' if number else 'fix: '}{printable(line)}")
    print(_summary(findings))


def _summary(findings: list[Finding]) -> str:
    faults, warnings = (count(findings, s) for s in (Severity.FAULT, Severity.WARNING))
    if not faults and not warnings:
        return "all good"
    parts = ((faults, "fault"), (warnings, "warning"))
    return ", ".join(counted(number, word) for number, word in parts if number)
