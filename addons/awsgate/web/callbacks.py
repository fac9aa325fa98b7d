"""Where browsers come back from the provider: /v1/callback, /v1/saml/acs/<name>.

A browser is sent on to 127.0.0.1 and the port of the CLI that began, and nowhere else. What
it carries is a code for that CLI alone, or why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from awsgate.connect.ways import LoginRefused
from awsgate.web.calls import Browsing, Call, Proved
from awsgate.web.logins import admit, refuse, refusing
from awsgate.web.problems import BUSY, UNKNOWN_LOGIN, Problem
from awsgate.web.waiting import Full

MAX_MESSAGE_CHARS = 300


async def come_back(call: Call, answer: Sequence[tuple[str, str]], *, saml: str = "") -> str:
    """Give the URL on 127.0.0.1 where the browser goes on.

    ``answer`` is the query or the form, ``saml`` the connector whose own address it came to.
    Raises ``Problem`` if no CLI is known that waits for it.
    """
    fields = dict(answer)
    state = fields.get("RelayState" if saml else "state", "")
    waiting = call.api.browsing.take(state)
    if waiting is None or len(fields) != len(answer):
        raise _unknown()
    if waiting.connector.startswith("saml/") != bool(saml) or saml not in ("", waiting.connector):
        raise _unknown()
    try:
        return _back(waiting.port, {"code": await _finished(call, waiting, fields)})
    except Problem as exc:
        message = exc.message if not exc.hint else f"{exc.message}: {exc.hint}"
        return _back(waiting.port, {"error": exc.code, "message": message[:MAX_MESSAGE_CHARS]})


async def _finished(call: Call, waiting: Browsing, fields: Mapping[str, str]) -> str:
    api = call.api
    way = api.connectors.get(api.policy, waiting.connector).has("browser")
    identity = await refusing(call, waiting.connector, way.finish(fields, waiting.memory))
    if identity.connector != waiting.connector:
        wrong = LoginRefused("provider-failed", "the connector gave another one's identity")
        await refuse(call, waiting.connector, wrong)
    login = await admit(call, identity)
    try:
        return api.proved.put(Proved(waiting.challenge, login))
    except Full:
        raise Problem(503, BUSY, "too many logins wait to be fetched") from None


def _back(port: int, query: Mapping[str, str]) -> str:
    return f"http://127.0.0.1:{port}/callback?{urlencode(query)}"


def _unknown() -> Problem:
    return Problem(
        400,
        UNKNOWN_LOGIN,
        "no login waits for this answer: it may be too old, or have come before",
        hint="log in again: awsgate login",
    )
