"""Where browsers come back from the provider: /v1/callback, /v1/saml/acs/<name>.

Of a login that a CLI began a browser is sent on to 127.0.0.1 and the port of that CLI, and
nowhere else. What it carries is a code for that CLI alone, or why there is none.

Of a login that began on the page the browser itself gets the login, if it is the one that
began: it alone has the verifier, in a cookie (``page.guard``). Which of the two it is the
gateway remembers; nothing that comes back can say so.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from awsgate.login import Login
from awsgate.web.calls import PAGE, Browsing, Call, Proved
from awsgate.web.logins import admit, challenge_of, refusing
from awsgate.web.problems import BUSY, UNKNOWN_LOGIN, Problem
from awsgate.web.waiting import Full

MAX_MESSAGE_CHARS = 300


@dataclass(frozen=True, slots=True)
class Landed:
    """What became of a login that began on the page."""

    login: Login | None
    problem: Problem | None = None


async def come_back(
    call: Call, answer: Sequence[tuple[str, str]], *, saml: str = "", begun: str = ""
) -> str | Landed:
    """Give the URL on 127.0.0.1 where the browser goes on, or what the page is to say.

    ``answer`` is the query or the form, ``saml`` the connector whose own address it came to,
    ``begun`` the verifier of the page that this browser has. Raises ``Problem`` if nobody is
    known who waits for it.
    """
    fields = dict(answer)
    state = fields.get("RelayState" if saml else "state", "")
    waiting = call.api.browsing.take(state)
    if waiting is None or len(fields) != len(answer):
        raise _unknown()
    if waiting.connector.startswith("saml/") != bool(saml) or saml not in ("", waiting.connector):
        raise _unknown()
    if waiting.port == PAGE:
        return await _landed(call, waiting, fields, begun)
    try:
        return _back(waiting.port, {"code": await _finished(call, waiting, fields)})
    except Problem as exc:
        message = exc.message if not exc.hint else f"{exc.message}: {exc.hint}"
        return _back(waiting.port, {"error": exc.code, "message": message[:MAX_MESSAGE_CHARS]})


async def _landed(call: Call, waiting: Browsing, fields: Mapping[str, str], begun: str) -> Landed:
    if not hmac.compare_digest(challenge_of(begun), waiting.challenge):
        # Somebody was sent a link that another one began: nobody is to get their login.
        wrong = Problem(
            400,
            UNKNOWN_LOGIN,
            "this sign-in was begun in another browser",
            hint="begin again on this page, and with no link that somebody sent",
        )
        return Landed(None, wrong)
    try:
        return Landed(await _proved(call, waiting, fields))
    except Problem as exc:
        return Landed(None, exc)


async def _finished(call: Call, waiting: Browsing, fields: Mapping[str, str]) -> str:
    login = await _proved(call, waiting, fields)
    try:
        return call.api.proved.put(Proved(waiting.challenge, login))
    except Full:
        raise Problem(503, BUSY, "too many logins wait to be fetched") from None


async def _proved(call: Call, waiting: Browsing, fields: Mapping[str, str]) -> Login:
    api = call.api
    way = api.connectors.get(api.policy, waiting.connector).has("browser")
    identity = await refusing(call, waiting.connector, way.finish(fields, waiting.memory))
    return await admit(call, waiting.connector, identity)


def _back(port: int, query: Mapping[str, str]) -> str:
    return f"http://127.0.0.1:{port}/callback?{urlencode(query)}"


def _unknown() -> Problem:
    return Problem(
        400,
        UNKNOWN_LOGIN,
        "no login waits for this answer: it may be too old, or have come before",
        hint="log in again: awsgate login",
    )
