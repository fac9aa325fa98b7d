"""The gateway, for roles with options.gateway_admin: people, figures, locks, policy, ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.responses import RedirectResponse, Response

from awsgate.auditline import parsed
from awsgate.lockout import LOGOUT_PREFIX
from awsgate.web import operators
from awsgate.web.page.figures import read
from awsgate.web.page.rendering import page
from awsgate.web.page.site import Site, Visit
from awsgate.web.page.tail import backwards
from awsgate.web.problems import bad_request
from awsgate.web.shapes import LockAsked, Target

MAX_PEOPLE = 50
MAX_LINES = 5000
SOON_S = 30 * 86400
TARGETS = tuple(Target.model_fields)


@dataclass(slots=True)
class Person:
    """Somebody of whom the end of the audit log has something."""

    user: str
    last: str
    calls: int = 0
    refused: int = 0
    roles: tuple[str, ...] = ()


async def overview(site: Site, visit: Visit) -> Response:
    """Show all of it."""
    locks = await operators.locks(visit.call)
    status = await operators.status(visit.call)
    policy = site.api.policy
    return await site.shown(
        visit,
        "gateway.html",
        locks=[lock for lock in locks.locks if not lock.name.startswith(LOGOUT_PREFIX)],
        logouts=sum(lock.name.startswith(LOGOUT_PREFIX) for lock in locks.locks),
        gate=status,
        warnings=policy.warnings,
        faults=tuple(site.insight.faults()),
        certificates=await asyncio.to_thread(_ends, site),
        targets=TARGETS,
        **await _live(site),
    )


async def live(site: Site, _: Visit) -> Response:
    """Show what changes by itself."""
    return page("_live.html", **await _live(site))


async def add_lock(_: Site, visit: Visit) -> Response:
    """Lock somebody out, as POST /v1/locks does."""
    fields = visit.fields
    kind, value = fields.get("kind", ""), fields.get("value", "").strip()
    if kind not in TARGETS or not value:
        raise bad_request("a lock needs somebody or something that it holds")
    try:
        asked = LockAsked.model_validate(
            {
                "target": {kind: value},
                "message": fields.get("message", "").strip(),
                "ttl_s": int(fields.get("ttl_s", "0")),
            }
        )
    except ValueError:  # pydantic's own is one
        raise bad_request("what is asked for is no lock: too long, or no time") from None
    await operators.add_lock(replace(visit.call, asked=asked))
    return RedirectResponse("/gateway#locks", HTTPStatus.SEE_OTHER)


async def remove_lock(_: Site, visit: Visit) -> Response:
    """Take a lock away, as DELETE /v1/locks/<name> does."""
    name = visit.fields.get("name", "")
    await operators.remove_lock(replace(visit.call, path={"name": name}))
    return RedirectResponse("/gateway#locks", HTTPStatus.SEE_OTHER)


async def _live(site: Site) -> dict[str, Any]:
    now = site.api.clock()
    people = await asyncio.to_thread(_people, site.insight.audit)
    figures = await asyncio.to_thread(lambda: read(site.insight.figures(), now=now))
    return {"people": people, "figures": figures}


def _people(path: Path) -> list[Person]:
    """Give whom the end of the log knows, the latest first. Blocks."""
    found: dict[str, Person] = {}
    for seen, line in enumerate(backwards(path)):
        if seen >= MAX_LINES:
            break
        record = parsed(line) or {}
        user = record.get("user")
        if not isinstance(user, str) or not user:
            continue
        if user not in found and len(found) >= MAX_PEOPLE:
            continue
        person = found.setdefault(user, Person(user, str(record.get("time", ""))))
        if record.get("event") == "request":
            person.calls += 1
            person.refused += record.get("decision") == "refused"
            role = str(record.get("role_arn", "")).rpartition("/")[2]
            if role and role not in person.roles and len(person.roles) < 3:
                person.roles = (*person.roles, role)
    return list(found.values())


def _ends(site: Site) -> list[dict[str, Any]]:
    now = datetime.fromtimestamp(site.api.clock(), UTC)
    return [
        {
            "name": name,
            "ends": ends.timestamp(),
            "left_s": (ends - now).total_seconds(),
            "soon": (ends - now).total_seconds() < SOON_S,
        }
        for name, ends in site.insight.certificates()
    ]
