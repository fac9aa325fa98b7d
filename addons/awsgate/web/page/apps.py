"""The apps that somebody has, and the way from there into AWS's console."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from awsgate.web.console import signed_in
from awsgate.web.page.catalogue import Terminal, catalogue
from awsgate.web.page.guard import form_token
from awsgate.web.page.site import Site, Visit
from awsgate.web.problems import bad_request
from awsgate.web.shapes import ConsoleAsked

MAX_SEARCH_CHARS = 200


async def apps(site: Site, visit: Visit) -> Response:
    """Show the apps by account, as far as they fit the search."""
    search = visit.request.query_params.get("q", "")[:MAX_SEARCH_CHARS]
    look = partial(
        catalogue,
        visit.who,
        site.api.desk.lasting(visit.who.login),
        site.api.console,
        Terminal(site.api.info.url, site.insight.pin),
        client=visit.call.address,
        search=search,
    )
    found = await site.api.lists.run(visit.who.login.user, look)
    count = sum(len(account.apps) for account in found)
    values: dict[str, Any] = {"accounts": found, "count": count, "search": search}
    if visit.by_htmx:
        token = form_token(visit.call.token)
        return await site.rendered(visit, "_apps.html", form_token=token, **values)
    return await site.shown(visit, "apps.html", launches=True, **values)


async def launch(_: Site, visit: Visit) -> Response:
    """Sign the browser in to AWS's console. The URL is in the redirect, and nowhere else."""
    fields = visit.fields
    names = ("app", "role", "service", "region", "destination")
    try:
        asked = ConsoleAsked.model_validate({name: fields.get(name, "").strip() for name in names})
    except ValidationError:
        raise bad_request("what is asked for is too long") from None
    _wanted, found = await signed_in(replace(visit.call, asked=asked))
    switching = fields.get("switch") == "yes"
    url = found.switching_url if switching else found.url
    return RedirectResponse(url, HTTPStatus.SEE_OTHER)
