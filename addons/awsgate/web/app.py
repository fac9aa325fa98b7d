"""The routes: a request read and checked, its handler called, an answer made of what comes.

For every call, in this order: the address has attempts left (where it is one), the body is
JSON of the right shape and size, the bearer token is good. What goes wrong becomes an
error in JSON; what nobody foresaw becomes one without a word of what it was.

The Host header, Origin and X-Forwarded-For decide nothing. Bodies must say that they are
JSON, so that no web page can send one unasked: for that a browser asks first (CORS), and
here nobody answers.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import parse_qsl

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from awsgate.address import joined
from awsgate.asking import CREATE, REVIEW
from awsgate.connect.ways import LoginRefused
from awsgate.errors import Refusal, SetupError
from awsgate.web import callbacks, samlmetadata
from awsgate.web.calls import Api, Call, Operation
from awsgate.web.desk import Caller
from awsgate.web.openapi import PATH, describe
from awsgate.web.problems import (
    NOT_FOUND,
    TOO_MANY,
    Problem,
    bad_request,
    broken,
    problem_of,
)
from awsgate.web.records import CREDENTIALS, LOGOUT
from awsgate.web.shapes import Asked
from awsgate.web.table import OPERATIONS

MAX_BODY_BYTES = 128 * 1024
MAX_FORM_BYTES = 1024 * 1024
"""Of an assertion in a form: those of a person in hundreds of groups are large."""
MAX_FIELDS = 50
BODY_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 60.0
"""Of a handler: providers are asked over the network."""
CERTIFICATE = "client_certificate"
"""Of ``request.state``: what TLS has verified, as DER."""
_RECORDED = {
    "credentials": CREDENTIALS,
    "logout": LOGOUT,
    "addLock": "lock.add",  # those that are added, the proxy records
    "removeLock": "lock.remove",
    "createRequest": CREATE,
    "reviewRequest": REVIEW,
    "revokeRequest": "request.revoke",
}
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)

log = logging.getLogger("awsgate")

type Endpoint = Callable[[Request], Awaitable[Response]]


def build(api: Api) -> ASGIApp:
    """Give the application."""
    document = JSONResponse(describe(OPERATIONS, api.info.url))

    async def openapi(_: Request) -> Response:
        return document

    routes = [Route(one.path, _endpoint(api, one), methods=[one.method]) for one in OPERATIONS]
    routes += [
        Route(PATH, openapi, methods=["GET"]),
        Route("/v1/callback", _callback(api), methods=["GET", "POST"]),
        Route("/v1/saml/acs/{name}", _callback(api), methods=["POST"]),
        Route(samlmetadata.PATH, _saml_metadata(api), methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_route})
    app.router.redirect_slashes = False  # it would believe the Host header
    return _with_headers(app)


def _endpoint(api: Api, operation: Operation) -> Endpoint:
    async def answer(request: Request) -> Response:
        login: list[Caller] = []
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                call = await _call(api, operation, request, login)
                found = await operation.handle(call)
        except Exception as exc:  # noqa: BLE001 - whatever it is, an answer goes out
            problem = _problem(exc)
            if operation.needs and problem.status == HTTPStatus.UNAUTHORIZED:
                # A try like any other: or anybody could fill the audit.
                try:
                    _check_attempts(api, _client(request)[0])
                except Problem as too_many:
                    return _said(too_many)
            if operation.name in _RECORDED:
                problem = await _recorded(api, operation, request, problem, login)
            return _said(problem)
        status = next(
            (status for status, model in operation.also.items() if isinstance(found, model)),
            operation.status,
        )
        return JSONResponse(found.model_dump(exclude_unset=False), status)

    return answer


async def _call(api: Api, operation: Operation, request: Request, login: list[Caller]) -> Call:
    """Read and check a request. ``login`` is filled as soon as it is known whose it is."""
    address, client = _client(request)
    if operation.attempt:
        _check_attempts(api, address)
    token = _bearer(request) if operation.needs else ""
    caller = None
    if operation.needs in ("login", "admin"):
        caller = await asyncio.to_thread(api.desk.opened, token)
        login.append(caller)
    if operation.needs == "admin" and caller is not None:
        api.desk.check_admin(caller)
    return Call(
        api=api,
        client=client,
        address=address,
        asked=await _asked(request, operation.asked) if operation.asked is not None else None,
        caller=caller,
        token=token,
        certificate=getattr(request.state, CERTIFICATE, b""),
        path=request.path_params,
    )


def _callback(api: Api) -> Endpoint:
    async def answer(request: Request) -> Response:
        name = request.path_params.get("name", "")
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                address, client = _client(request)
                _check_attempts(api, address)
                fields = await _form(request)
                call = Call(api, client, address, None, None, "", b"", request.path_params)
                url = await callbacks.come_back(call, fields, saml=f"saml/{name}" if name else "")
        except Exception as exc:  # noqa: BLE001 - as above
            return _told(_problem(exc))
        return RedirectResponse(url, HTTPStatus.SEE_OTHER)

    return answer


def _saml_metadata(api: Api) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            text = await samlmetadata.metadata(api, request.path_params["name"])
        except Exception as exc:  # noqa: BLE001 - as above
            return _told(_problem(exc))
        return Response(text, media_type=samlmetadata.CONTENT_TYPE)

    return answer


# --- reading ------------------------------------------------------------------------


def _client(request: Request) -> tuple[str, str]:
    """Give the address, and address and port for the audit."""
    if request.client is None:
        return "", ""
    return request.client.host, joined(request.client.host, request.client.port)


def _check_attempts(api: Api, address: str) -> None:
    wait_s = api.attempts.wait_s(address)
    if wait_s:
        raise Problem(
            429,
            TOO_MANY,
            "too many attempts to log in from this address",
            hint="wait, and try again",
            retry_after_s=max(1, round(wait_s)),
        )


def _bearer(request: Request) -> str:
    given = request.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise Problem(
            401,
            "not-signed",
            "this needs a login",
            hint="send Authorization: Bearer with a login of this gateway (awsgate login)",
        )
    return token.strip()


async def _asked(request: Request, model: type[Asked]) -> Asked:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "bad-request", "the body must be JSON, and say so in Content-Type")
    raw = await _body(request, MAX_BODY_BYTES)
    try:
        return model.model_validate_json(raw)
    except ValidationError as exc:
        raise bad_request(_faults(exc), hint="see /v1/openapi.json") from None


def _faults(exc: ValidationError) -> str:
    # Names and rules alone: values may be secrets. A name that is not known is the caller's.
    faults = exc.errors(include_url=False, include_context=False, include_input=False)
    texts = [
        f"{'.'.join(str(part)[:40] for part in fault['loc']) or 'body'}: {fault['msg']}"
        for fault in faults[:10]
    ]
    return "; ".join(texts)[:1000]


async def _form(request: Request) -> list[tuple[str, str]]:
    """Give the fields of the query, or of a form. Raises ``Problem``."""
    if request.method == "GET":
        raw = request.scope["query_string"]
    else:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise Problem(415, "bad-request", "the body must be a form")
        raw = await _body(request, MAX_FORM_BYTES)
    try:
        text = raw.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise bad_request("the fields cannot be read") from None


async def _body(request: Request, most: int) -> bytes:
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


# --- answering ----------------------------------------------------------------------


def _problem(exc: Exception) -> Problem:
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


async def _recorded(
    api: Api, operation: Operation, request: Request, problem: Problem, login: list[Caller]
) -> Problem:
    """Record what was refused. Gives the answer, which may have become another one."""
    whose = login[0].login if login else api.desk.known(_token_of(request))
    try:
        client = _client(request)[1]
        await api.records.refused(_RECORDED[operation.name], problem, client, whose)
    except Problem as exc:
        return exc
    return problem


def _token_of(request: Request) -> str:
    try:
        return _bearer(request)
    except Problem:
        return ""


def _said(problem: Problem) -> Response:
    return JSONResponse(problem.content(), problem.status, problem.headers())


def _told(problem: Problem) -> Response:
    text = f"awsgate: {problem.message}\n" + (f"{problem.hint}\n" if problem.hint else "")
    return PlainTextResponse(text, problem.status, problem.headers())


async def _no_route(_: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    headers = dict(exc.headers or {}) if isinstance(exc, HTTPException) else {}
    problem = Problem(status, NOT_FOUND, HTTPStatus(status).phrase.lower(), hint=f"see {PATH}")
    return JSONResponse(problem.content(), status, headers)


def _with_headers(app: ASGIApp) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await app(scope, receive, sending)

    return answer
