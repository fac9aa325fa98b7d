"""GitHub over HTTPS: where its endpoints are, and what it answered. No rules about logins.

    github.com          https://github.com       https://api.github.com
    GHE.com             https://SUB.ghe.com      https://api.SUB.ghe.com
    Enterprise Server   https://HOST             https://HOST/api/v3

Believes nothing about size and shape of an answer: a limit in bytes, one in seconds, no
redirects, no cookies. A page's link to the next is followed only within the API, since the
token goes along. No token appears in a message.

Sources, at docs.github.com: "Authorizing OAuth apps"; "REST API endpoints for teams", list
teams for the authenticated user; "Using pagination in the REST API"; "REST API endpoints
for OAuth authorizations", delete an app token; "Troubleshooting the REST API".
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import httpx

from awsgate.connect.fetching import TooMuch, answering, body_of, is_compressed
from awsgate.connect.ways import LoginRefused
from awsgate.policy.connectors import GithubSpec

PER_PAGE = 100  # the most that GitHub gives
MAX_PAGES = 50
MAX_ANSWER_BYTES = 4 * 1024**2  # a page of 100 teams is some 300 kB
_DROPPING_S = 3.0
_GHE_COM = re.compile(r"https://[a-z0-9-]+\.ghe\.com", re.IGNORECASE)
_API_HEADERS = {
    "accept": "application/vnd.github+json",
    "accept-encoding": "identity",
    "x-github-api-version": "2022-11-28",
    "user-agent": "awsgate",  # "All API requests must include a valid User-Agent header."
}
_OAUTH_HEADERS = {
    "accept": "application/json",
    "accept-encoding": "identity",
    "user-agent": "awsgate",
}
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{1,1024}=*")


@dataclass(frozen=True, slots=True)
class Places:
    """Where one GitHub is asked."""

    web: str
    api: str

    @classmethod
    def of(cls, spec: GithubSpec) -> Places:
        """Give those of a connector."""
        web = spec.endpoint_url.rstrip("/")
        if spec.api_endpoint_url:
            return cls(web, spec.api_endpoint_url.rstrip("/"))
        if web.lower() in ("https://github.com", "https://www.github.com"):
            return cls("https://github.com", "https://api.github.com")
        if _GHE_COM.fullmatch(web):
            return cls(web, web.replace("://", "://api.", 1))
        return cls(web, f"{web}/api/v3")

    @property
    def authorize(self) -> str:
        """Give where a browser is sent."""
        return f"{self.web}/login/oauth/authorize"

    @property
    def token(self) -> str:
        """Give where a code becomes a token."""
        return f"{self.web}/login/oauth/access_token"

    @property
    def device_code(self) -> str:
        """Give where a login on another device begins."""
        return f"{self.web}/login/device/code"


@dataclass(frozen=True, slots=True)
class Reply:
    """What GitHub said, whatever its status."""

    status: int
    headers: httpx.Headers = field(repr=False)
    content: object = field(repr=False)

    @property
    def said(self) -> Mapping[str, object]:
        """Give the JSON object that it is; empty if it is none."""
        return self.content if isinstance(self.content, dict) else {}


class GithubApi:
    """One GitHub."""

    def __init__(self, http: httpx.AsyncClient, places: Places) -> None:
        self._http = http
        self._places = places

    async def post(self, url: str, form: Mapping[str, str]) -> Reply:
        """Post to one of the OAuth endpoints. Raises ``LoginRefused`` if nothing answers."""
        return await self._ask("POST", url, _OAUTH_HEADERS, form)

    async def get(self, path_or_url: str, token: str) -> Reply:
        """Ask the API in the name of whom a token is of. Raises ``LoginRefused``."""
        if not _BEARER.fullmatch(token):
            raise failed(self._places.token, "gave a token that is none")
        url = path_or_url if "://" in path_or_url else self._places.api + path_or_url
        return await self._ask("GET", url, {**_API_HEADERS, "authorization": f"Bearer {token}"})

    def next_page(self, reply: Reply) -> str:
        """Give the URL of the next page, or nothing. Raises ``LoginRefused``."""
        links = httpx.Response(200, headers=reply.headers).links
        url = str(links.get("next", {}).get("url", ""))
        if url and not _is_within(url, self._places.api):
            raise failed(self._places.api, "names a next page that is elsewhere")
        return url

    async def drop(self, token: str, client_id: str, secret: str) -> None:
        """Have GitHub forget a token. Best effort: it is needed by nobody any more."""
        pair = b64encode(f"{client_id}:{secret}".encode()).decode()
        with suppress(httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            async with asyncio.timeout(_DROPPING_S):
                request = self._http.build_request(
                    "DELETE",
                    f"{self._places.api}/applications/{quote(client_id, safe='')}/token",
                    headers={**_API_HEADERS, "authorization": f"Basic {pair}"},
                    json={"access_token": token},
                )
                request.headers.pop("cookie", None)
                await (await self._http.send(request, stream=True)).aclose()

    async def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        try:
            async with answering(self._http, method, url, headers, form) as answer:
                if is_compressed(answer):
                    raise failed(url, "compresses its answer, unasked")
                body = await body_of(answer, MAX_ANSWER_BYTES)
        except TooMuch as exc:
            raise failed(url, f"gave an answer that is {exc}") from None
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as exc:
            raise failed(url, f"did not answer ({type(exc).__name__})") from None
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            # Not from it: the exception holds the text, which may be a token.
            if answer.status_code == 200:
                raise failed(url, "gave an answer that is no JSON") from None
            content = None
        return Reply(answer.status_code, answer.headers, content)


def failed(url: str, what: str, *, hint: str = "") -> LoginRefused:
    """Give the refusal for a GitHub that does not work as it should."""
    parts = urlsplit(url)
    return LoginRefused(
        "provider-failed",
        f"GitHub ({parts.netloc}{parts.path}) {what}",
        hint=hint or "try again; if it stays so, the gateway's operator has to look",
    )


def _is_within(url: str, api: str) -> bool:
    try:
        given, ours = httpx.URL(url), httpx.URL(api)
    except httpx.InvalidURL:
        return False
    same = (given.scheme, given.host, given.port) == (ours.scheme, ours.host, ours.port)
    return same and not given.userinfo and given.path.startswith(f"{ours.path.rstrip('/')}/")
