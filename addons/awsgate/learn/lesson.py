"""What a user did, from audit lines: each kind of call once, and what is not known of it.

Lines of requests that the gateway let through count. Those that AWS itself refused with
401 or 403 do not, and are listed; a refusal of AWS's JSON services is a 400 like any other
mistake, and counts. A call whose action the gateway did not know cannot be in a policy,
and is listed too, as are calls that were broken off before AWS answered.

Whoever makes a call chooses how it looks, so no call may widen what others have shown:
one without a known resource is left out if its like can name one (``of_known_resources``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from awsgate.address import host_of
from awsgate.auditline import resource_list
from awsgate.aws.catalogue import actions_without_resource
from awsgate.aws.endpoint import resolve_endpoint

EVENTS = frozenset({"request", "websocket.open", "artefact"})
"""Those of calls to AWS, and of what the gateway made with a role's keys."""
_REFUSED_BY_AWS = frozenset({401, 403})
_REGION = re.compile(r"[a-z0-9-]+")
_OF_A_USE = ("app", "granted_role_arn", "role_arn", "host", "region", "action", "resource")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose calls, and which of them. Empty: whatever it is."""

    user: str
    session: str = ""
    app: str = ""
    role: str = ""
    """ARN or name of an IAM role."""
    since: str = ""
    """As in the audit: ``2026-11-27T10:15:30.000Z``."""


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """One kind of call."""

    app: str
    granted_role_arn: str
    """The role that the policy gives."""
    role_arn: str
    """The role that AWS saw: another one, if the client assumed it itself."""
    tenant: str
    """Service of an endpoint that anybody can own; empty: it is none."""
    actions: tuple[str, ...]
    """All that the call needs, the main one first."""
    resources: tuple[str, ...]
    """Those that are known, which need not be all (``Lesson.cut_short``)."""
    regions: tuple[str, ...]
    """Regions that it was signed for; empty: not known."""

    @property
    def service(self) -> str:
        """Give the IAM prefix of the main action."""
        return self.actions[0].partition(":")[0]


@dataclass(slots=True)
class Seen:
    """How often a kind of call was made, and the facts of one of them."""

    count: int = 0
    client: str = ""
    time: str = ""
    access_level: str = ""


@dataclass(slots=True)
class Lesson:
    """All that was learned."""

    user: str
    uses: dict[Use, Seen] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    """Calls whose action is not known -> how many."""
    refused_by_aws: Counter[str] = field(default_factory=Counter)
    """Actions that AWS refused -> how many times."""
    broken_off: Counter[str] = field(default_factory=Counter)
    """Actions of calls that AWS has not answered -> how many times."""
    cut_short: Counter[str] = field(default_factory=Counter)
    """Actions of calls whose resources are not all in the line -> how many times."""
    no_resource: Counter[str] = field(default_factory=Counter)
    """What ``of_known_resources`` has left out."""
    first: str = ""
    last: str = ""

    @property
    def calls(self) -> int:
        """Give how many calls the policy is made from."""
        return sum(seen.count for seen in self.uses.values())

    def of_known_resources(self) -> Lesson:
        """Leave out calls whose resource is not known, but could have been.

        Those of an action that never comes with a resource stay.
        """
        left_out = [use for use in self.uses if not use.resources and not _is_without(use)]
        count: Counter[str] = Counter()
        for use in left_out:
            count[use.actions[0]] += self.uses[use].count
        kept = {use: seen for use, seen in self.uses.items() if use not in set(left_out)}
        return replace(self, uses=kept, no_resource=count)


def _is_without(use: Use) -> bool:
    return use.actions[0].lower() in actions_without_resource(use.service)


def learn(records: Iterable[Mapping[str, Any]], wanted: Wanted) -> Lesson:
    """Read audit lines, in any order."""
    lesson = Lesson(wanted.user)
    for record in records:
        if _is_wanted(record, wanted):
            _take(lesson, record)
    return lesson


def _is_wanted(record: Mapping[str, Any], wanted: Wanted) -> bool:
    return (
        record.get("event") in EVENTS
        and record.get("decision") == "allowed"
        and record.get("user") == wanted.user
        and wanted.session in ("", record.get("session"))
        and wanted.app in ("", record.get("app"))
        and _is_role(wanted.role, record)
        and wanted.since <= _text(record, "time")
    )


def _is_role(role: str, record: Mapping[str, Any]) -> bool:
    arns = (_text(record, "role_arn"), _text(record, "granted_role_arn"))
    return not role or any(arn == role or arn.endswith(f"/{role}") for arn in arns)


def _take(lesson: Lesson, record: Mapping[str, Any]) -> None:
    time, actions = _text(record, "time"), tuple(_text(record, "action").split())
    lesson.first = min(lesson.first or time, time)
    lesson.last = max(lesson.last, time)
    # A call of which the actions are known has an access level; an envelope's name has not.
    if not actions or not _text(record, "access_level"):
        lesson.unknown[_described(record)] += 1
        return
    if record.get("status") in _REFUSED_BY_AWS:
        lesson.refused_by_aws.update(actions[:1])
        return
    if record.get("status") == 0:
        lesson.broken_off.update(actions[:1])
        return
    use = _use(*(_text(record, name) for name in _OF_A_USE))
    if not resource_list(_text(record, "resource"))[1]:
        lesson.cut_short.update(actions[:1])
    seen = lesson.uses.setdefault(use, Seen())
    seen.count += 1
    if time >= seen.time:
        client = host_of(_text(record, "client"))
        seen.time, seen.client = time, client
        seen.access_level = _text(record, "access_level")


@lru_cache(maxsize=16_384)  # calls repeat
def _use(
    app: str, granted: str, role_arn: str, host: str, region: str, action: str, resource: str
) -> Use:
    resources, _ = resource_list(resource)
    endpoint = resolve_endpoint(host)
    region = region or (endpoint.region if endpoint is not None else "")
    return Use(
        app=app,
        granted_role_arn=granted or role_arn,
        role_arn=role_arn,
        tenant=endpoint.service if endpoint is not None and endpoint.tenant_controlled else "",
        actions=tuple(action.split()),
        resources=tuple(sorted(set(resources))),
        regions=_regions(region),
    )


def _regions(text: str) -> tuple[str, ...]:
    """Give the regions of a signature; of one with a glob, as SigV4a has it, none is known."""
    regions = {part for part in text.replace(" ", "").split(",") if part}
    return tuple(sorted(regions)) if all(map(_REGION.fullmatch, regions)) else ()


def _described(record: Mapping[str, Any]) -> str:
    """Say which call it was, for somebody who must write a rule for it by hand."""
    what = _text(record, "action") or _text(record, "service") or "a call"
    return f"{what} ({_text(record, 'method')} {_text(record, 'host')}{_text(record, 'path')[:80]})"


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""
