"""Access requests over the API: whoever is logged in asks, whose roles say so answer."""

from __future__ import annotations

from collections.abc import Callable

from awsgate import asking
from awsgate.asking import Asker, NotDone, described, described_terms
from awsgate.errors import SetupError
from awsgate.policy.accessrequest import AccessRequest
from awsgate.web.accessshapes import (
    AccessInfo,
    AccessRequests,
    Requestable,
    RequestableRoles,
)
from awsgate.web.calls import Call
from awsgate.web.problems import Problem

REVOKE = "request.revoke"
"""Event of the audit: a call that may not take a request back."""
_STATUS = {
    asking.NOT_REQUESTABLE: 403,
    asking.NOT_REVIEWER: 403,
    asking.NO_SUCH: 404,
    asking.NOT_NOW: 409,
    asking.EXISTS: 409,
    asking.TOO_MANY: 429,
}


async def requestable(call: Call) -> RequestableRoles:
    """List the roles that the caller may ask for."""
    found = call.api.asking.requestable(_asker(call))
    rows = [Requestable(**described_terms(role, terms)) for role, terms in found]
    return RequestableRoles(roles=rows)


async def listed(call: Call) -> AccessRequests:
    """List the requests that the caller may see."""
    asker = _asker(call)

    def ask() -> AccessRequests:
        found, now = call.api.asking.all_for(asker), call.api.clock()
        return AccessRequests(requests=[_info(one, asker, now) for one in found])

    return await call.api.database.run(asker.user, ask)


def waiting(call: Call) -> int:
    """Count what waits for the caller's answer. Blocks; 0 if the database does not say."""
    try:
        return call.api.asking.waiting_for(_asker(call))
    except SetupError:
        return 0  # whoever lists them is told


async def create(call: Call) -> AccessInfo:
    """Ask for a role."""
    asked = call.asked
    return await _done(
        call,
        lambda asker: call.api.asking.create(
            asker, asked.role, reason=asked.reason, duration_s=asked.duration_s
        ),
    )


async def show(call: Call) -> AccessInfo:
    """Give one request."""
    return await _done(call, lambda asker: call.api.asking.get(asker, call.path["id"]))


async def review(call: Call) -> AccessInfo:
    """Answer a request of somebody else's."""
    asked = call.asked
    return await _done(
        call,
        lambda asker: call.api.asking.review(
            asker, call.path["id"], approve=asked.approve, reason=asked.reason
        ),
    )


async def revoke(call: Call) -> AccessInfo:
    """Take a request back, or the role that it has given."""
    return await _done(call, lambda asker: call.api.asking.revoke(asker, call.path["id"]))


async def _done(call: Call, do: Callable[[Asker], AccessRequest]) -> AccessInfo:
    asker = _asker(call)
    try:
        # The database may take its time.
        found = await call.api.database.run(asker.user, lambda: do(asker))
    except NotDone as no:
        raise Problem(_STATUS[no.code], no.code, no.message, hint=no.hint) from None
    return _info(found, asker, call.api.clock())


def _asker(call: Call) -> Asker:
    who = call.who
    return Asker(
        user=who.login.user,
        connector=who.login.facts.connector,
        policy=who.policy,
        is_admin=call.api.desk.is_admin(who),
        client=call.client,
        login=who.login.id,
    )


def _info(request: AccessRequest, asker: Asker, now: float) -> AccessInfo:
    return AccessInfo.model_validate(described(request, asker, now))
