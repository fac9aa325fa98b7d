"""What a browser must show before the page does anything for it. Pure but for entropy.

    Host        is one of the gateway's names: another site's name that leads here is refused
    a POST      comes from a page of ours (Sec-Fetch-Site, Origin), with the token of its form
    the login   is in a cookie: HttpOnly, Secure, of this host alone (``__Host-``)

Cookies are SameSite=Lax, since a browser comes back from its provider by a redirect; what
changes anything is a POST, with which no cookie comes from elsewhere. The verifier of a
sign-in by SAML is SameSite=None, for there the provider sends a form.

That prefix is a browser's promise about a name, byte by byte: another site of the same domain
can plant cookies of any other name here. So names are compared as bytes, in ``_cookies`` alone.

A form's token is an HMAC keyed with the cookie's value: it says nothing of the value, any
gateway of the same key knows it, and it ends with the login.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from awsgate.login import MAX_TOKEN_CHARS
from awsgate.servercert import ALWAYS
from awsgate.web.calls import BROWSER_LIFE_S, Api
from awsgate.web.problems import Problem

LOGIN, VISIT, BEGUN = "__Host-awsgate", "__Host-awsgate-visit", "__Host-awsgate-begun"
_PART_CHARS = 2500  # browsers keep 4096 bytes of a cookie, its name and attributes included
_TOLD_S = 86400
_PARTS = -(-MAX_TOKEN_CHARS // _PART_CHARS)
_LOGINS = tuple(LOGIN + (f"-{part}" if part else "") for part in range(_PARTS))
_OWN = {name.encode(): name for name in (*_LOGINS, VISIT, BEGUN)}
FIELD = "form_token"


def check_host(request: Request, api: Api) -> None:
    """Raise ``Problem`` unless the request is for a name of this gateway."""
    names = {*ALWAYS, *api.policy.gateway.names, urlsplit(api.info.url).hostname}
    if _host(request) not in names:
        raise Problem(
            421,
            "bad-request",
            "this gateway does not have the name by which it was called",
            hint=f"open {api.info.url}/",
        )


def is_at_home(request: Request, api: Api) -> bool:
    """True if the page was opened by the address to which providers send browsers back."""
    return request.headers.get("host", "").lower() == urlsplit(api.info.url).netloc.lower()


def _host(request: Request) -> str:
    given = request.headers.getlist("host")
    try:
        return (urlsplit(f"//{given[0]}").hostname or "") if len(given) == 1 else ""
    except ValueError:
        return ""


def check_own(request: Request) -> None:
    """Raise ``Problem`` unless a page of ours makes the request.

    Referrer-Policy no-referrer makes ``Origin: null`` of ours: then Sec-Fetch-Site says it.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    ours = f"https://{request.headers.get('host', '')}"
    by_site = site == "same-origin" and origin in (None, "null", ours)
    if not (by_site or (site is None and origin == ours)):
        raise _foreign()


def check_not_foreign(request: Request) -> None:
    """Raise ``Problem`` if another site makes the request; a person who typed it may."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise _foreign()


def _foreign() -> Problem:
    return Problem(
        403,
        "denied",
        "this was not asked for on a page of this gateway",
        hint="open the gateway's page, and do it there",
    )


# --- forms ------------------------------------------------------------------------------


def form_token(secret: str) -> str:
    """Give the token of the forms of a page. ``secret`` is a cookie's value."""
    return hmac.new(secret.encode(), b"awsgate form", hashlib.sha256).hexdigest()


def check_form(fields: Mapping[str, str], secret: str) -> None:
    """Raise ``Problem`` unless a form was made for the browser that sends it."""
    given = fields.get(FIELD, "")
    if not secret or not hmac.compare_digest(given.encode(), form_token(secret).encode()):
        raise Problem(
            403,
            "denied",
            "this form is too old, or of another sign-in",
            hint="go back to the page, and do it there again",
        )


# --- cookies ----------------------------------------------------------------------------


def login_of(request: Request) -> str:
    """Give the token of the login that a browser has; empty: none."""
    cookies = _cookies(request)
    return "".join(cookies.get(name, "") for name in _LOGINS)


def keep_login(answer: Response, token: str, *, life_s: int) -> None:
    """Let the browser keep a login until it ends, and a day more: so it can be told."""
    for part, name in enumerate(_LOGINS):
        piece = token[part * _PART_CHARS : (part + 1) * _PART_CHARS]
        _set(answer, name, piece, max_age=life_s + _TOLD_S if piece else 0)
    _set(answer, VISIT, "", max_age=0)
    forget_begun(answer)


def forget_login(answer: Response) -> None:
    """Let the browser forget its login."""
    for name in _LOGINS:
        _set(answer, name, "", max_age=0)


def visit_of(request: Request) -> str:
    """Give what a browser without a login is known by; empty: not yet."""
    return _cookies(request).get(VISIT, "")


def keep_visit(answer: Response, visit: str) -> None:
    """Let a browser be known while it is open."""
    _set(answer, VISIT, visit)


def begun_of(request: Request) -> str:
    """Give the verifier of the sign-in that a browser began; empty: none."""
    return _cookies(request).get(BEGUN, "")


def keep_begun(answer: Response, verifier: str, *, by_form: bool) -> None:
    """Let the browser keep a verifier until it is back. ``by_form``: the provider sends one."""
    site = "none" if by_form else "lax"
    _set(answer, BEGUN, verifier, max_age=int(BROWSER_LIFE_S), same_site=site)


def forget_begun(answer: Response) -> None:
    """Let the browser forget the verifier: it is good once."""
    _set(answer, BEGUN, "", max_age=0)


def fresh() -> str:
    """Give a value that cannot be guessed."""
    return secrets.token_urlsafe(48)


def _cookies(request: Request) -> dict[str, str]:
    """Give the cookies of ours that a request has: none of them, if one of them is there twice.

    Starlette's reader takes more around a name than spaces and tabs, which are all that a
    browser takes off before it looks for the prefix. A browser has one cookie of such a name.
    """
    found: dict[str, str] = {}
    for header, line in request.headers.raw:
        if header != b"cookie":
            continue
        for pair in line.split(b";"):
            given, _, value = pair.partition(b"=")
            name = _OWN.get(given.strip(b" \t"))
            if name in found:
                return {}
            if name is not None:
                found[name] = value.strip(b" \t").decode("latin-1")
    return found


def _set(
    answer: Response, name: str, value: str, *, max_age: int | None = None, same_site: str = "lax"
) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=max_age,
        path="/",
        secure=True,
        httponly=True,
        samesite=same_site,  # type: ignore[arg-type]  # one of its literals
    )
