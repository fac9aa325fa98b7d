"""Access requests: ask for a role, see what became of it, answer those of others.

By the API's own calls (``web.access``), which judge, record and refuse. The lists come anew
by themselves, if anything in them has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from starlette.responses import RedirectResponse, Response

from awsgate.policy.accessrequest import DEFAULT_DURATION_S, LIVE, MAX_TEXT_CHARS
from awsgate.web import access
from awsgate.web.accessshapes import AccessAsked, AccessInfo, AccessRequests, ReviewAsked
from awsgate.web.page.guard import form_token
from awsgate.web.page.site import Site, Visit
from awsgate.web.problems import bad_request

MAX_OVER = 20
"""Of those that are over, in each list."""
_HOUR, _DAY = 3600, 86400
_SPANS = (
    900, 1800, _HOUR, 2 * _HOUR, 4 * _HOUR, 8 * _HOUR, 12 * _HOUR,
    _DAY, 2 * _DAY, 3 * _DAY, 7 * _DAY, 14 * _DAY,
)  # fmt: skip
_VERDICTS = {"approve": True, "deny": False}


async def requests(site: Site, visit: Visit) -> Response:
    """Show all that concerns the visitor."""
    terms = await access.requestable(visit.call)
    roles = [{"terms": one, "spans": spans(one.max_duration_s)} for one in terms.roles]
    return await site.shown(
        visit,
        "requests.html",
        roles=roles,
        usual_s=DEFAULT_DURATION_S,
        **await _lists(site, visit),
    )


async def live(site: Site, visit: Visit) -> Response:
    """Show the lists, unless they are what the browser has."""
    lists = await _lists(site, visit)
    if visit.request.query_params.get("seen") == lists["seen"]:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return await site.rendered(
        visit,
        "_requests.html",
        alone=True,
        form_token=form_token(visit.call.token),
        now=site.api.clock(),
        waits=len(lists["waiting"]),
        **lists,
    )


async def create(_: Site, visit: Visit) -> Response:
    """Ask for a role, as POST /v1/requests does."""
    fields = visit.fields
    try:
        asked = AccessAsked(
            role=fields.get("role", ""),
            reason=_reason(fields),
            duration_s=int(fields.get("duration_s", "")),
        )
    except ValueError:  # pydantic's own is one
        raise bad_request("what is asked for is no role, or no time") from None
    made = await access.create(replace(visit.call, asked=asked))
    return _back(made)


async def answer(_: Site, visit: Visit) -> Response:
    """Answer a request, as POST /v1/requests/<id>/review does."""
    fields = visit.fields
    verdict = _VERDICTS.get(fields.get("verdict", ""))
    if verdict is None:
        raise bad_request("an answer is yes or no")
    asked = ReviewAsked(approve=verdict, reason=_reason(fields))
    call = replace(visit.call, asked=asked, path={"id": fields.get("id", "")})
    return _back(await access.review(call))


async def revoke(_: Site, visit: Visit) -> Response:
    """Take a request back, or what it gave, as POST /v1/requests/<id>/revoke does."""
    call = replace(visit.call, path={"id": visit.fields.get("id", "")})
    return _back(await access.revoke(call))


def spans(most_s: int) -> list[int]:
    """Give the durations to choose from; the longest is what the terms allow."""
    return [*(one for one in _SPANS if one < most_s), most_s]


def _reason(fields: Mapping[str, str]) -> str:
    # A browser sends two characters where its user, and maxlength, see the end of a line.
    reason = fields.get("reason", "").replace("\r\n", "\n").strip()
    if len(reason) > MAX_TEXT_CHARS:
        raise bad_request(f"a reason has {MAX_TEXT_CHARS} characters at most")
    return reason


def _back(request: AccessInfo) -> Response:
    return RedirectResponse(f"/requests#{request.id}", HTTPStatus.SEE_OTHER)


async def _lists(site: Site, visit: Visit) -> dict[str, Any]:
    answered = await access.listed(visit.call)
    return await site.api.lists.run(visit.who.login.user, lambda: _listed(answered))


def _listed(answered: AccessRequests) -> dict[str, Any]:
    """Give the lists. Who waits longest is first, so that whoever comes moves nobody."""
    found = answered.requests
    waiting = [one for one in reversed(found) if one.may_review]
    mine, more_mine = _bounded([one for one in found if one.own])
    others, more_others = _bounded([one for one in found if not one.own and not one.may_review])
    text = answered.model_dump_json().encode()
    return {
        "waiting": waiting,
        "mine": mine,
        "more_mine": more_mine,
        "others": others,
        "more_others": more_others,
        "most_chars": MAX_TEXT_CHARS,
        "seen": hashlib.sha256(text).hexdigest()[:16],
    }


def _bounded(found: list[AccessInfo]) -> tuple[list[AccessInfo], int]:
    """Give those that are not over, then the latest of the others; and how many are left out."""
    over = [one for one in found if one.state not in LIVE]
    shown = [one for one in found if one.state in LIVE] + over[:MAX_OVER]
    return shown, len(found) - len(shown)
