"""The routes: a request read and checked, its handler called, an answer made of what comes.

For every call, in this order: the address has attempts left (where it is one), the body is
JSON of the right shape and size, the bearer token is good. What goes wrong becomes an
error in JSON; what nobody foresaw becomes one without a word of what it was.

The Host header, Origin and X-Forwarded-For decide nothing, and cookies are not looked at.
Bodies must say that they are JSON, so that no web page can send one unasked: for that a
browser asks first (CORS), and here nobody answers. The page has rules of its own
(``page.guard``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from awsgate.asking import CREATE, REVIEW
from awsgate.consoledesk import EVENT as CONSOLE
from awsgate.locks import LOCK_ADDED, LOCK_REMOVED
from awsgate.web import access, callbacks, samlmetadata
from awsgate.web.calls import Api, Call, Operation
from awsgate.web.choosing import Caller
from awsgate.web.openapi import PATH, describe
from awsgate.web.page.guard import begun_of
from awsgate.web.page.routes import page_routes
from awsgate.web.page.site import Site
from awsgate.web.problems import NOT_FOUND, Problem, bad_request
from awsgate.web.receiving import (
    ANSWER_TIMEOUT_S,
    MAX_BODY_BYTES,
    body_of,
    check_attempts,
    check_questions,
    client_of,
    form_of,
    problem_for,
    record_refusal,
)
from awsgate.web.records import CREDENTIALS, LOGOUT
from awsgate.web.shapes import Asked
from awsgate.web.table import OPERATIONS

CERTIFICATE = "client_certificate"
"""Of ``request.state``: what TLS has verified, as DER."""
_RECORDED = {
    "credentials": CREDENTIALS,
    "console": CONSOLE,
    "logout": LOGOUT,
    "addLock": LOCK_ADDED,  # those that are added, the proxy records
    "removeLock": LOCK_REMOVED,
    "createRequest": CREATE,
    "reviewRequest": REVIEW,
    "revokeRequest": access.REVOKE,
}
_FOR_ANYBODY = frozenset({"ping", "ca"})
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)

type Endpoint = Callable[[Request], Awaitable[Response]]


def build(api: Api) -> ASGIApp:
    """Give the application."""
    site = Site(api)
    document = JSONResponse(describe(OPERATIONS, api.info.url))

    async def openapi(_: Request) -> Response:
        return document

    routes = [Route(one.path, _endpoint(api, one), methods=[one.method]) for one in OPERATIONS]
    routes += [
        Route(PATH, openapi, methods=["GET"]),
        Route("/v1/callback", _callback(site), methods=["GET", "POST"]),
        Route("/v1/saml/acs/{name}", _callback(site), methods=["POST"]),
        Route(samlmetadata.PATH, _saml_metadata(api), methods=["GET"]),
        *(page_routes(site) if api.insight is not None else ()),
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
            problem = problem_for(exc)
            if operation.needs and problem.status == HTTPStatus.UNAUTHORIZED:
                # A try like any other: or anybody could fill the audit.
                try:
                    check_attempts(api, client_of(api, request)[0])
                except Problem as too_many:
                    return _said(too_many)
            if operation.name in _RECORDED and not problem.recorded:
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
    address, client = client_of(api, request)
    if operation.attempt:
        check_attempts(api, address)
    elif operation.name in _FOR_ANYBODY:
        check_questions(api, address)
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


def _callback(site: Site) -> Endpoint:
    api = site.api

    async def answer(request: Request) -> Response:
        name = request.path_params.get("name", "")
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                address, client = client_of(api, request)
                check_attempts(api, address)
                fields = await form_of(request)
                call = Call(api, client, address, None, None, "", b"", request.path_params)
                saml = f"saml/{name}" if name else ""
                found = await callbacks.come_back(call, fields, saml=saml, begun=begun_of(request))
                if isinstance(found, str):
                    return RedirectResponse(found, HTTPStatus.SEE_OTHER)
                # Only the page begins such a login: there is one.
                return await site.landed(request, call, found)
        except Exception as exc:  # noqa: BLE001 - as above
            return _told(problem_for(exc))

    return answer


def _saml_metadata(api: Api) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            text = await samlmetadata.metadata(api, request.path_params["name"])
        except Exception as exc:  # noqa: BLE001 - as above
            return _told(problem_for(exc))
        return Response(text, media_type=samlmetadata.CONTENT_TYPE)

    return answer


# --- reading ------------------------------------------------------------------------


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
    raw = await body_of(request, MAX_BODY_BYTES)
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


# --- answering ----------------------------------------------------------------------


async def _recorded(
    api: Api, operation: Operation, request: Request, problem: Problem, login: list[Caller]
) -> Problem:
    """Record what was refused. Gives the answer, which may have become another one."""
    whose = login[0].login if login else api.desk.known(_token_of(request))
    address, client = client_of(api, request)
    event = _RECORDED[operation.name]
    if problem.status == HTTPStatus.UNAUTHORIZED:  # it is counted
        return await api.records.refused(event, problem, client, whose)
    return await record_refusal(api, event, problem, address, client, whose)


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
                own = message.get("headers", ())
                said = {name for name, _ in own}
                message["headers"] = [*own, *(one for one in _HEADERS if one[0] not in said)]
            await send(message)

        await app(scope, receive, sending)

    return answer
