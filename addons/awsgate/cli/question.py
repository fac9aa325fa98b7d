"""What ``awsgate explain`` is asked: about a call that is named, or one from the audit."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import typer

from awsgate.address import host_of
from awsgate.auditfile import opened_log
from awsgate.auditline import parsed, resource_list
from awsgate.aws.call import Call, access_levels_of, recorded_levels
from awsgate.aws.catalogue import operation_actions, tenant_service
from awsgate.aws.endpoint import resolve_endpoint
from awsgate.cli.checking import check_region
from awsgate.errors import SetupError
from awsgate.policy import CallFacts, Policy
from awsgate.policy.meant import pairs_meant
from awsgate.policy.misnamed import action_problem

type Pair = tuple[str, str]
"""App and role ARN."""


@dataclass(frozen=True, slots=True)
class Question:
    """Who wants to do what; in one or more apps and roles."""

    user: str
    pairs: list[Pair]
    facts: CallFacts | None
    """None: whether the user may be the role at all."""
    endpoint_service: str
    tenant_controlled: bool
    session: str = ""
    chained_arn: str = ""
    """A role that the client had assumed itself, from that of the pair."""
    record: dict[str, Any] = field(default_factory=dict)
    """The audit line, if it is about one."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """The options of the command line."""

    user: str
    actions: list[str]
    resources: list[str]
    app: str
    role: str
    region: str
    client: str
    at: str


def asked_by_options(policy: Policy, named: Named, now: datetime) -> Question:
    """Read the options. Raises ``typer.BadParameter`` with what is wrong with one."""
    call, notes = named_call(named.actions, named.resources) if named.actions else (None, [])
    pairs, unclear = pairs_meant(policy, named.user, named.app, named.role)
    check_region(named.region)
    client, moment = _client(named.client), _moment(named.at, now)
    tenant = tenant_service(call.actions[0]) if call is not None and call.actions else ""
    facts = None
    if call is not None:
        facts = CallFacts(call, (named.region,) if named.region else (), client, moment)
    return Question(
        user=named.user,
        pairs=pairs,
        facts=facts,
        endpoint_service=tenant or (call.service if call is not None else ""),
        tenant_controlled=bool(tenant),
        notes=(*notes, *filter(None, [unclear])),
    )


def named_call(names: list[str], resources: list[str]) -> tuple[Call, list[str]]:
    """Give the call of IAM actions, or of an API operation, and what is to be said of it."""
    actions: list[str] = []
    operation, notes = "", []
    for name in names:
        service, colon, rest = name.partition(":")
        if not (service and colon and rest) or "*" in name or "?" in name:
            raise typer.BadParameter(f"{name!r} is not an action like s3:GetObject")
        problem = action_problem(name)
        found = operation_actions(service.lower(), rest) if problem else None
        if found is not None:
            operation = found[0]
            actions += found[1]
            needs = " and ".join(found[1]) or "no action that is known"
            notes.append(f"{name} is an API operation; it needs {needs}")
            continue
        if problem is not None:
            meant = f": {problem[1]}" if problem[1] else ""
            notes.append(f"{problem[0]}{meant}; taken as a Write")
        actions.append(name)
    for arn in resources:
        if arn.count(":") < 5 or not arn.startswith("arn:"):
            raise typer.BadParameter(f"{arn!r} is not an ARN like arn:aws:s3:::reports/a")
    service = (actions or names)[0].partition(":")[0].lower()
    unique = tuple(dict.fromkeys(actions))
    return Call(service, operation, unique, access_levels_of(unique), tuple(resources)), notes


def asked_by_record(record: dict[str, Any]) -> Question:
    """Read an audit line. Its call is as far known as it was then."""
    text = {key: value for key, value in record.items() if isinstance(value, str)}
    known = bool(text.get("access_level"))
    actions = tuple(text.get("action", "").split()) if known else ()
    service = text.get("action", "").partition(":")[0] or text.get("service", "")
    listed, whole = resource_list(text.get("resource", ""))
    resources = listed if whole else ()
    levels = recorded_levels(actions, text.get("access_level", ""))
    found = resolve_endpoint(text.get("host", ""))
    region = text.get("region") or (found.region if found is not None else "")
    granted = text.get("granted_role_arn") or text.get("role_arn", "")
    chained = text.get("role_arn", "")
    return Question(
        user=text.get("user", ""),
        pairs=[(text.get("app", ""), granted)],
        facts=CallFacts(
            Call(service, "", actions, levels, resources),
            tuple(filter(None, region.replace(" ", "").split(","))),
            host_of(text.get("client", "")),
            _time(text.get("time", "")),
        ),
        endpoint_service=found.service if found is not None else text.get("service", ""),
        tenant_controlled=found.tenant_controlled if found is not None else False,
        session=text.get("session", ""),
        chained_arn=chained if chained != granted else "",
        record=record,
    )


def find_record(path: Path, request_id: str) -> dict[str, Any]:
    """Give the newest audit line of a request, by our id or by AWS's.

    Raises ``SetupError`` if there is no log, or no such line in it.
    """
    needle = request_id.encode()
    with opened_log(path) as files:
        for file in reversed(files):
            for line in file.lines_backwards():
                record = parsed(line) if needle in line else None
                if record and request_id in (record.get("id"), record.get("aws_request_id")):
                    return record
    raise SetupError(
        f"no request {request_id!r} in the audit log {path} and its older files",
        hint="the id is in the header x-awsgate-request-id, and in the SDK's RequestId; "
        "--state names the gateway's state folder",
    )


def _client(text: str) -> str:
    if text:
        try:
            ip_address(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not an address like 10.1.2.3") from None
    return text


def _moment(text: str, now: datetime) -> datetime:
    if not text:
        return now
    found = _time(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a time like 2026-11-27T18:00:00Z")
    return found


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else None
