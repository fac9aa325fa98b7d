"""Sign in on the page, by a provider or a password; and out."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus

from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from awsgate.web import account, logins, open_to_all
from awsgate.web.calls import PAGE
from awsgate.web.logins import challenge_of
from awsgate.web.page import guard
from awsgate.web.page.site import Site, Visit
from awsgate.web.problems import Problem, bad_request
from awsgate.web.receiving import check_attempts
from awsgate.web.shapes import PasswordAsked


async def sign_in(site: Site, visit: Visit) -> Response:
    """Show the ways in, also to whoever is signed in: for more time, or as somebody else."""
    return await site.sign_in_page(visit.request)


async def begin(site: Site, visit: Visit) -> Response:
    """Send the browser to a provider, with a verifier in a cookie that only it has.

    By a link and not a form: where a form may lead the policy of the page says, and a
    provider sends people wherever its own providers are.
    """
    guard.check_not_foreign(visit.request)
    check_attempts(site.api, visit.call.address)
    if not guard.is_at_home(visit.request, site.api):
        raise Problem(
            400,
            "bad-request",
            "providers send browsers back to another address of this gateway",
            hint=f"open {site.api.info.url}/ and sign in there",
        )
    connector = visit.request.query_params.get("connector", "")
    verifier = guard.fresh()
    try:
        url = await logins.begin(visit.call, connector, challenge_of(verifier), PAGE)
    except Problem as exc:
        return await site.sign_in_page(visit.request, exc.status, error=exc)
    answer = RedirectResponse(url, HTTPStatus.SEE_OTHER)
    guard.keep_begun(answer, verifier, by_form=connector.startswith("saml/"))
    return answer


async def password(site: Site, visit: Visit) -> Response:
    """Sign in a user of the gateway's own."""
    check_attempts(site.api, visit.call.address)
    fields = visit.fields
    try:
        asked = PasswordAsked(
            user=fields.get("user", ""),
            password=fields.get("password", ""),
            totp=fields.get("totp", "").replace(" ", ""),
        )
    except ValidationError:
        error = bad_request("name, password or code cannot be right: they are too long")
        return await site.sign_in_page(visit.request, error.status, error=error)
    try:
        given = await logins.password(replace(visit.call, asked=asked))
    except Problem as exc:
        return await site.sign_in_page(visit.request, exc.status, error=exc)
    return site.welcomed(given.login, given.expires_at)


async def sign_out(_: Site, visit: Visit) -> Response:
    """End the login, and all its sessions."""
    await account.logout(visit.call)
    answer = RedirectResponse("/signed-out", HTTPStatus.SEE_OTHER)
    guard.forget_login(answer)
    return answer


async def signed_out(site: Site, visit: Visit) -> Response:
    """Say that the login has ended."""
    return await site.sign_in_page(visit.request, notice="You are signed out.")


async def my_login(site: Site, visit: Visit) -> Response:
    """Show the login: whose, until when, with which roles."""
    found = await account.whoami(visit.call)
    way = next(
        (one for one in open_to_all.connectors(visit.call) if one.name == found.connector), None
    )
    return await site.shown(visit, "login.html", login=found, way=way)
