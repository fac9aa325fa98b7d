"""What a user did, from audit lines: each kind of call once, and what is not known of it.

Lines of requests that the gateway let through count. Those that AWS itself refused with
401 or 403 do not, and are listed; a refusal of AWS's JSON services is a 400 like any other
mistake, and counts. A call whose action the gateway did not know cannot be in a policy,
and is listed too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from awsgate.auditline import resource_list
from awsgate.aws.endpoint import resolve_endpoint

EVENTS = frozenset({"request", "websocket.open", "artefact"})
"""Those of calls to AWS, and of what the gateway made with a role's keys."""
_REFUSED_BY_AWS = frozenset({401, 403})
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
    """Empty: not known."""
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
    first: str = ""
    last: str = ""

    @property
    def calls(self) -> int:
        """Give how many calls the policy is made from."""
        return sum(seen.count for seen in self.uses.values())


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
    use = _use(*(_text(record, name) for name in _OF_A_USE))
    seen = lesson.uses.setdefault(use, Seen())
    seen.count += 1
    if time >= seen.time:
        client = _text(record, "client").rpartition(":")[0].strip("[]")
        seen.time, seen.client = time, client
        seen.access_level = _text(record, "access_level")


@lru_cache(maxsize=16_384)  # calls repeat
def _use(
    app: str, granted: str, role_arn: str, host: str, region: str, action: str, resource: str
) -> Use:
    resources, whole = resource_list(resource)
    endpoint = resolve_endpoint(host)
    region = region or (endpoint.region if endpoint is not None else "")
    return Use(
        app=app,
        granted_role_arn=granted or role_arn,
        role_arn=role_arn,
        tenant=endpoint.service if endpoint is not None and endpoint.tenant_controlled else "",
        actions=tuple(action.split()),
        resources=tuple(sorted(set(resources))) if whole else (),
        regions=_regions(region),
    )


def _regions(text: str) -> tuple[str, ...]:
    """Give the regions of a signature. One with a ``*`` is known to be in none of them."""
    regions = {part for part in text.replace(" ", "").split(",") if part}
    return ("*",) if any("*" in region for region in regions) else tuple(sorted(regions))


def _described(record: Mapping[str, Any]) -> str:
    """Say which call it was, for somebody who must write a rule for it by hand."""
    what = _text(record, "action") or _text(record, "service") or "a call"
    return f"{what} ({_text(record, 'method')} {_text(record, 'host')}{_text(record, 'path')[:80]})"


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""
