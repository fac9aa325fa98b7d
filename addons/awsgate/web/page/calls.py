"""What the gateway did for somebody: the last calls, and each as it ends (server-sent events).

Of the audit log, the lines of this user alone. A stream ends after some minutes, and with
the login; the browser asks again with the last id that it has seen.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from starlette.responses import Response, StreamingResponse

from awsgate.consoledesk import EVENT as CONSOLE
from awsgate.errors import Refusal, SetupError
from awsgate.web.page.rendering import text_of
from awsgate.web.page.site import Site, Visit
from awsgate.web.page.tail import Follower, Record, last, of_user
from awsgate.web.problems import BUSY, Problem

EVENTS = frozenset(
    {"request", "artefact", "websocket.open", "tunnel.open", "tunnel.refuse", CONSOLE}
)
SHOWN = 50
MAX_STREAMS, MAX_STREAMS_OF_ONE = 100, 6
STREAM_S = 300.0
LOOK_S = 0.5
CHECK_EVERY = 20  # looks: is the login still good?
BEAT_EVERY = 30


class Streams:
    """How many look on, in all and of each user. For the event loop of the API."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def enter(self, user: str) -> None:
        """Count one more. Raises ``Problem`` if that is too many."""
        if self._open.total() >= MAX_STREAMS or self._open[user] >= MAX_STREAMS_OF_ONE:
            raise Problem(
                503, BUSY, "too many pages show calls live", hint="close some", retry_after_s=60
            )
        self._open[user] += 1

    def leave(self, user: str) -> None:
        """Count one less."""
        self._open[user] -= 1
        if not self._open[user]:
            del self._open[user]


async def calls(site: Site, visit: Visit) -> Response:
    """Show the last calls."""
    read = of_user(visit.who.login.user, EVENTS)
    look = partial(last, site.insight.audit, read, most=SHOWN)
    found = await site.api.lists.run(visit.who.login.user, look)
    newest = found[0]["id"] if found else ""
    return await site.shown(
        visit, "calls.html", calls=[row_of(one) for one in found], newest=newest
    )


async def stream(site: Site, visit: Visit, streams: Streams) -> Response:
    """Send each call as it ends."""
    request, user = visit.request, visit.who.login.user
    after = request.headers.get("last-event-id") or request.query_params.get("after", "")
    streams.enter(user)
    try:
        follower = await asyncio.to_thread(Follower, site.insight.audit)
    except BaseException:
        streams.leave(user)
        raise
    return _Stream(_events(site, visit, follower, after), follower, lambda: streams.leave(user))


class _Stream(StreamingResponse):
    """One that gives back what it holds, however it ends."""

    def __init__(self, events: AsyncIterator[str], follower: Follower, leave: Any) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._follower, self._leave = follower, leave

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._follower.close()
            self._leave()


async def _events(site: Site, visit: Visit, follower: Follower, after: str) -> AsyncIterator[str]:
    read, path = of_user(visit.who.login.user, EVENTS), site.insight.audit
    yield "retry: 2000\n\n"
    try:
        missed = await asyncio.to_thread(last, path, read, most=SHOWN, after=after)
        sent = {record["id"] for record in missed}
        for record in reversed(missed):
            yield event_of(record)
        for look in range(int(STREAM_S / LOOK_S)):
            if look % CHECK_EVERY == CHECK_EVERY - 1:
                await asyncio.to_thread(site.api.desk.opened, visit.call.token)
            for line in await asyncio.to_thread(follower.more):
                record = read(line)
                if record is not None and record["id"] not in sent:
                    yield event_of(record)
            if look % BEAT_EVERY == BEAT_EVERY - 1:
                yield ": still here\n\n"  # so that a browser that has gone is noticed
            await asyncio.sleep(LOOK_S)
    except (Refusal, SetupError):
        yield "event: over\ndata: over\n\n"


def event_of(record: Record) -> str:
    """Give a call as an event: a row of the page."""
    lines = text_of("_call.html", call=row_of(record), new=True).splitlines()
    data = "".join(f"data: {line}\n" for line in lines if line.strip())
    return f"id: {record['id']}\n{data}\n"


def row_of(record: Record) -> dict[str, Any]:
    """Give what a row shows of an audit line."""
    refused = record.get("decision") not in ("allowed", "")
    what = record.get("action") or _what(record)
    return {
        "time": str(record.get("time", "")),
        "what": what,
        "refused": refused,
        "decision": record.get("decision") or "-",
        "status": record.get("status") or "",
        "ms": record.get("ms") or 0,
        "role": str(record.get("role_arn", "")).rpartition("/")[2],
        "app": record.get("app", ""),
        "resource": record.get("resource", ""),
        "code": record.get("code", ""),
        "reason": record.get("reason", "") if refused else "",
        "rule": record.get("rule", ""),
        "id": record.get("id", ""),
    }


def _what(record: Record) -> str:
    if record.get("event") == CONSOLE:
        return "console sign-in"
    if str(record.get("event", "")).startswith("tunnel"):
        return f"tunnel to {record.get('host', '')}"
    return f"{record.get('service') or record.get('host', '')} {record.get('method', '')}".strip()
