"""Path -> handler. What goes wrong in any of them becomes a page that can be read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from awsgate.asking import CREATE, REVIEW
from awsgate.consoledesk import EVENT as CONSOLE
from awsgate.locks import LOCK_ADDED, LOCK_REMOVED
from awsgate.web.access import REVOKE
from awsgate.web.page import apps, calls, overview, requests, signing_in
from awsgate.web.page.rendering import static
from awsgate.web.page.site import Needs, Site, Visit
from awsgate.web.receiving import ANSWER_TIMEOUT_S, problem_for, record_refusal

type Handler = Callable[[Site, Visit], Awaitable[Response]]


def page_routes(site: Site) -> list[Route]:
    """Give the routes of the page."""
    streams = calls.Streams()

    def route(
        path: str, handle: Handler, needs: Needs = "", method: str = "GET", *, event: str = ""
    ) -> Route:
        return Route(path, _endpoint(site, handle, needs, event), methods=[method])

    return [
        route("/", apps.apps, "login"),
        route("/launch", apps.launch, "login", "POST", event=CONSOLE),
        route("/login", signing_in.my_login, "login"),
        route("/calls", calls.calls, "login"),
        route("/calls/stream", partial(_stream, streams=streams), "login"),
        route("/requests", requests.requests, "login"),
        route("/requests/live", requests.live, "login"),
        route("/requests", requests.create, "login", "POST", event=CREATE),
        route("/requests/answer", requests.answer, "login", "POST", event=REVIEW),
        route("/requests/revoke", requests.revoke, "login", "POST", event=REVOKE),
        route("/gateway", overview.overview, "admin"),
        route("/gateway/live", overview.live, "admin"),
        route("/gateway/locks", overview.add_lock, "admin", "POST", event=LOCK_ADDED),
        route("/gateway/locks/remove", overview.remove_lock, "admin", "POST", event=LOCK_REMOVED),
        route("/sign-in", signing_in.sign_in),
        route("/sign-in/provider", signing_in.begin),
        route("/sign-in/password", signing_in.password, "", "POST"),
        route("/sign-out", signing_in.sign_out, "token", "POST"),
        route("/signed-out", signing_in.signed_out),
        Route("/static/{name}", _static, methods=["GET"]),
    ]


async def _stream(site: Site, visit: Visit, streams: calls.Streams) -> Response:
    return await calls.stream(site, visit, streams)


def _endpoint(
    site: Site, handle: Handler, needs: Needs, event: str
) -> Callable[[Request], Awaitable[Response]]:
    """``event``: what the handler refuses has an audit line of that name."""

    async def answer(request: Request) -> Response:
        visit = None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                visit = await site.visit(request, needs)
                return await handle(site, visit)
        except Exception as exc:  # noqa: BLE001 - whatever it is, a page goes out
            problem = problem_for(exc)
            if event and visit is not None and not problem.recorded:
                call = visit.call
                problem = await record_refusal(
                    site.api, event, problem, call.address, call.client, visit.who.login
                )
            return await site.failed(request, problem, visit)

    return answer


async def _static(request: Request) -> Response:
    found = await asyncio.to_thread(static, request.path_params["name"])
    return found if found is not None else Response("no such file\n", 404, media_type="text/plain")
