"""A request of a browser, read and checked; and the page that tells what went wrong.

For every page, in this order: the name of the gateway is right, a POST comes from a page of
ours, the login in the cookie is good and may see the page, the form was made for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from awsgate.errors import Code, Refusal
from awsgate.web import open_to_all
from awsgate.web.callbacks import Landed
from awsgate.web.calls import Api, Call, Insight
from awsgate.web.choosing import Caller
from awsgate.web.logins import give
from awsgate.web.page import guard
from awsgate.web.page.attention import Attention
from awsgate.web.page.rendering import page
from awsgate.web.problems import Problem
from awsgate.web.receiving import check_attempts, client_of, form_of

MAX_FORM_BYTES = 16 * 1024
_LOGIN_ENDED = (Code.SESSION_EXPIRED.value, Code.UNKNOWN_KEY.value)
_NO_LOGIN = "no-login"

type Needs = Literal["", "token", "login", "admin"]
"""token: of a login that a lock may hold by now."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a browser."""

    request: Request
    call: Call
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of the form."""

    @property
    def who(self) -> Caller:
        """Give the caller of a page that needs one."""
        return self.call.who

    @property
    def by_htmx(self) -> bool:
        """True if a part of the page is wanted, not all of it."""
        return self.request.headers.get("hx-request") == "true"


class Site:
    """The page of one gateway."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._attention = Attention()

    @property
    def insight(self) -> Insight:
        """Give what the page knows of the gateway."""
        if self.api.insight is None:
            raise RuntimeError("a page of a gateway that has none")
        return self.api.insight

    async def visit(self, request: Request, needs: Needs) -> Visit:
        """Read and check a request. Raises ``Problem``, ``Refusal`` and ``SetupError``."""
        guard.check_host(request, self.api)
        posted = request.method == "POST"
        if posted:
            guard.check_own(request)
        token = guard.login_of(request)
        caller = await self._caller(request, token) if needs in ("login", "admin") else None
        if needs == "admin" and caller is not None:
            self.api.desk.check_admin(caller)
        fields: dict[str, str] = {}
        if posted:
            fields = dict(await form_of(request, MAX_FORM_BYTES))
            guard.check_form(fields, token if needs else guard.visit_of(request))
        return Visit(request, self._call(request, token, caller), fields)

    async def _caller(self, request: Request, token: str) -> Caller:
        if not token:
            raise Problem(401, _NO_LOGIN, "sign in first")
        try:
            return await asyncio.to_thread(self.api.desk.opened, token)
        except Refusal:
            # Or anybody could guess at will.
            check_attempts(self.api, client_of(self.api, request)[0])
            raise

    def _call(self, request: Request, token: str, caller: Caller | None) -> Call:
        address, client = client_of(self.api, request)
        return Call(self.api, client, address, None, caller, token, b"", request.path_params)

    # --- answers ----------------------------------------------------------------------

    async def shown(
        self, visit: Visit, template: str, *, launches: bool = False, **more: Any
    ) -> Response:
        """Give a page for somebody who is signed in."""
        values = self._frame(visit.request, visit.call.token, visit.who)
        values["waits"] = await self._attention.wanted(visit.call)
        return await self.rendered(visit, template, launches=launches, **values, **more)

    async def rendered(
        self, visit: Visit, template: str, *, launches: bool = False, **values: Any
    ) -> Response:
        """Give a page, or a part of one, for somebody who is signed in.

        Beside the loop: a thousand roles or requests take a tenth of a second to write.
        """
        write = partial(page, template, launches=launches, **values)
        return await self.api.lists.run(visit.who.login.user, write)

    def _frame(self, request: Request, token: str, who: Caller | None) -> dict[str, Any]:
        now = self.api.clock()
        return {
            "here": request.scope["path"],
            "gateway": next(iter(self.api.policy.gateway.names), "awsgate"),
            "user": who.login.user if who is not None else "",
            "admin": who is not None and self.api.desk.is_admin(who),
            "form_token": guard.form_token(token) if token else "",
            "left_s": who.login.expires_at - now if who is not None else 0,
            "now": now,
            "waits": 0,
        }

    async def sign_in_page(
        self, request: Request, status: int = 200, *, notice: str = "", error: Problem | None = None
    ) -> Response:
        """Give the ways to sign in."""
        visit = guard.visit_of(request) or guard.fresh()
        call = self._call(request, "", None)
        values = {**self._frame(request, "", None), "form_token": guard.form_token(visit)}
        ways = list(open_to_all.connectors(call))
        answer = page(
            "signin.html",
            status,
            providers=[one for one in ways if "browser" in one.ways],
            passwords=any("password" in one.ways for one in ways),
            notice=notice,
            error=error,
            **values,
        )
        guard.keep_visit(answer, visit)
        return answer

    async def failed(self, request: Request, problem: Problem, visit: Visit | None) -> Response:
        """Give the page that says what went wrong, and what to do."""
        if problem.code == _NO_LOGIN or problem.code in _LOGIN_ENDED:
            return await self._signed_out(request, problem)
        who = visit.call.caller if visit is not None else None
        token = visit.call.token if visit is not None and who is not None else ""
        values = self._frame(request, token, who)
        answer = page("problem.html", problem.status, problem=problem, **values)
        answer.headers.update({k: v for k, v in problem.headers().items() if k == "Retry-After"})
        return answer

    async def _signed_out(self, request: Request, problem: Problem) -> Response:
        if request.headers.get("hx-request") == "true":
            # A part of a page is no place to sign in.
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={"HX-Refresh": "true"})
        notices = {
            Code.SESSION_EXPIRED.value: "Your login has ended. Sign in to go on.",
            Code.UNKNOWN_KEY.value: "This gateway does not know your login any more. Sign in.",
        }
        notice = notices.get(problem.code, "")
        status = 200 if request.scope["path"] == "/" and not notice else 401
        answer = await self.sign_in_page(request, status, notice=notice)
        if problem.code in _LOGIN_ENDED:
            guard.forget_login(answer)
        return answer

    async def landed(self, request: Request, call: Call, found: Landed) -> Response:
        """Give what a browser sees that is back from the provider."""
        if found.login is None:
            status = found.problem.status if found.problem is not None else 400
            answer = await self.sign_in_page(request, status, error=found.problem)
            guard.forget_begun(answer)
            return answer
        given = await give(call, found.login)
        return self.welcomed(given.login, given.expires_at)

    def welcomed(self, token: str, expires_at: int) -> Response:
        """Give a login to the browser, and go to the apps."""
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        guard.keep_login(answer, token, life_s=max(0, expires_at - int(self.api.clock())))
        return answer
