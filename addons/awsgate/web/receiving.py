"""Reading a request, for the API and for the page: bounded in size and time.

What goes wrong becomes a ``Problem``; of what nobody foresaw, not a word of what it was.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from awsgate.address import joined
from awsgate.connect.ways import LoginRefused
from awsgate.errors import Refusal, SetupError
from awsgate.login import Login
from awsgate.web.calls import Api
from awsgate.web.problems import TOO_MANY, Problem, bad_request, broken, problem_of

MAX_BODY_BYTES = 128 * 1024
MAX_FORM_BYTES = 1024 * 1024
"""Of an assertion in a form: those of a person in hundreds of groups are large."""
MAX_FIELDS = 50
BODY_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 60.0
"""Of a handler: providers are asked over the network."""

log = logging.getLogger("awsgate")


def client_of(api: Api, request: Request) -> tuple[str, str]:
    """Give the address, and address and port for the audit: of who is behind a tunnel."""
    if request.client is None:
        return "", ""
    host, port = api.tunnel_clients.behind((request.client.host, request.client.port))
    return host, joined(host, port)


def check_attempts(api: Api, address: str) -> None:
    """Count an attempt. Raises ``Problem`` if it is one too many."""
    _check(api.attempts.wait_s(address), "too many attempts to log in from this address")


def check_questions(api: Api, address: str) -> None:
    """Count what anybody may ask. Raises ``Problem`` if it is one too many."""
    _check(api.questions.wait_s(address), "too many questions from this address")


def check_refusals(api: Api, address: str, login: Login | None) -> None:
    """Count a refusal that is to be recorded. Raises ``Problem`` if it is one too many.

    Or whoever is locked, or asks for what they may not have, could fill the audit.
    """
    user, connector = (login.user, login.facts.connector) if login is not None else ("", "")
    wait_s = api.refusals.wait_s(address, user, connector)
    _check(wait_s, "too much was refused of this user, or of this address")


def _check(wait_s: float, what: str) -> None:
    if wait_s:
        again_s = max(1, round(wait_s))
        problem = Problem(429, TOO_MANY, what, hint="wait, and try again", retry_after_s=again_s)
        problem.recorded = True  # never, that is: it is there so that the audit is not filled
        raise problem


async def record_refusal(
    api: Api, event: str, problem: Problem, address: str, client: str, login: Login | None
) -> Problem:
    """Record what was refused of a call that needs a login.

    Gives the answer: the problem, or another one if it is one too many, or not to be recorded.
    """
    try:
        check_refusals(api, address, login)
    except Problem as too_many:
        return too_many
    return await api.records.refused(event, problem, client, login)


async def form_of(request: Request, most: int = MAX_FORM_BYTES) -> list[tuple[str, str]]:
    """Give the fields of the query, or of a form. Raises ``Problem``."""
    if request.method == "GET":
        raw = request.scope["query_string"]
    else:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise Problem(415, "bad-request", "the body must be a form")
        raw = await body_of(request, most)
    try:
        text = raw.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise bad_request("the fields cannot be read") from None


async def body_of(request: Request, most: int) -> bytes:
    """Read a body of at most so many bytes. Raises ``Problem``."""
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for piece in request.stream():
                found += piece
                if len(found) > most:
                    raise Problem(413, "body-too-large", f"the body is over {most} bytes")
    except TimeoutError:
        raise Problem(408, "bad-request", "the body did not come in time") from None
    except ClientDisconnect:
        raise bad_request("the body broke off") from None
    return bytes(found)


def problem_for(exc: Exception) -> Problem:
    """Give the answer for whatever went wrong."""
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, LoginRefused | Refusal):
        return problem_of(exc)
    if isinstance(exc, SetupError):
        log.error("control API: %s", exc.message)
        return broken()
    if isinstance(exc, TimeoutError):
        return Problem(504, "provider-failed", "this took too long", hint="try again")
    # No text of it: it may hold what the caller sent, or what a provider answered.
    place = next(reversed(traceback.extract_tb(exc.__traceback__)), None)
    where = f"{place.filename}:{place.lineno}" if place is not None else "?"
    log.error("control API: %s at %s", type(exc).__name__, where)
    return Problem(
        500, "gateway-fault", "the gateway failed", hint="tell the operator of the gateway"
    )
