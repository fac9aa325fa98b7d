"""Asks an identity provider, and believes nothing about the size and shape of its answer.

HTTPS, or plain HTTP if the provider is on this machine; no redirects, no cookies, no
compression; a limit in bytes and one in seconds for the whole answer.

What is fetched again and again (metadata, keys) is ``Remembered``: fetched once for all
who wait, at most every ``RETRY_S`` seconds, and kept for a while if the provider fails.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from awsgate.connect.ways import LoginRefused
from awsgate.policy.fields import provider_url

MAX_ANSWER_BYTES = 1024**2
FRESH_S = 600
RETRY_S = 10
"""Between two fetches that somebody's token has caused."""
STALE_S = 6 * 3600
"""How long the old is good if there is no new: a provider that is down must not stop CI."""
_STEP_S = 10.0
_WHOLE_S = 20.0
_LEFT_OUT = {"accept-encoding": "identity", "accept": "application/json"}


class TooMuch(Exception):
    """More than was asked for."""


@asynccontextmanager
async def answering(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    headers: Mapping[str, str],
    form: Mapping[str, str] | None = None,
) -> AsyncIterator[httpx.Response]:
    """Ask, and give the answer while its body is read: all of it bounded in time.

    Raises as httpx does, and ``TimeoutError``.
    """
    async with asyncio.timeout(_WHOLE_S):
        request = http.build_request(
            method, url, headers=headers, data=form, timeout=httpx.Timeout(_STEP_S)
        )
        # One client serves all who log in: what one was given is not for the next.
        request.headers.pop("cookie", None)
        # No redirects: https must not end in plain HTTP.
        answer = await http.send(request, stream=True, follow_redirects=False)
        try:
            yield answer
        finally:
            await answer.aclose()


def is_compressed(answer: httpx.Response) -> bool:
    """True if the body is not as it stands, though nobody asked for that."""
    return bool(answer.headers.get("content-encoding", "identity") != "identity")


async def body_of(answer: httpx.Response, most: int) -> bytes:
    """Give the body, of ``most`` bytes. Raises ``TooMuch``."""
    body = bytearray()
    async for part in answer.aiter_raw():
        body += part
        if len(body) > most:
            raise TooMuch("too large")
    return bytes(body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said."""

    status: int
    content: Mapping[str, object] = field(repr=False)


class Fetcher:
    """Asks one provider, whose own URL says if plain HTTP will do."""

    def __init__(self, http: httpx.AsyncClient, provider: str) -> None:
        self._http = http
        self._plain = urlsplit(provider).scheme == "http"

    async def get(self, url: str, *, bearer: str = "") -> Mapping[str, object]:
        """Give the JSON object at ``url``. Raises ``LoginRefused``."""
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        answer = await self._ask("GET", url, headers, None)
        if answer.status != 200:
            raise _failed(url, f"answered with status {answer.status}")
        return answer.content

    async def post(self, url: str, form: Mapping[str, str], *, authorization: str = "") -> Answer:
        """Post a form; a refusal (4xx) is an answer too. Raises ``LoginRefused``."""
        headers = {"authorization": authorization} if authorization else {}
        answer = await self._ask("POST", url, headers, form)
        if answer.status not in (200, 400, 401, 403):
            raise _failed(url, f"answered with status {answer.status}")
        return answer

    def checked(self, url: object, what: str) -> str:
        """Give ``url`` if a provider's own may be this one. Raises ``LoginRefused``."""
        try:
            if not isinstance(url, str):
                raise ValueError("not a text")  # noqa: TRY004, TRY301 - one way out
            if not self._plain and urlsplit(url).scheme != "https":
                raise ValueError("must start with https://")  # noqa: TRY301
            return provider_url(url)
        except ValueError as exc:
            raise LoginRefused(
                "provider-failed", f"the provider's {what} is no URL to use: {exc}"
            ) from None

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> Answer:
        url = self.checked(url, "address")
        status = 0
        try:
            async with answering(self._http, method, url, {**_LEFT_OUT, **headers}, form) as answer:
                status = answer.status_code
                if is_compressed(answer):
                    raise _failed(url, "gave an answer that is compressed, unasked")
                body = await body_of(answer, MAX_ANSWER_BYTES)
            content = json.loads(body)
            if not isinstance(content, dict):
                raise ValueError("no object")  # noqa: TRY004, TRY301 - one way out
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as exc:
            raise _failed(url, f"did not answer ({type(exc).__name__})") from exc
        except TooMuch as exc:
            raise _failed(url, f"gave an answer that is {exc}") from None
        except (ValueError, RecursionError):
            # Not from exc: the exception holds the text, with tokens in it. An error page
            # or a redirect has no JSON, and its status says more.
            if status != 200:
                return Answer(status, {})
            raise _failed(url, "gave an answer that is no JSON object") from None
        return Answer(status, content)


def _failed(url: str, what: str) -> LoginRefused:
    parts = urlsplit(url)
    return LoginRefused(
        "provider-failed",
        f"the identity provider ({parts.netloc}{parts.path}) {what}",
        hint="try again; if it stays so, the gateway's operator has to look",
    )


class Remembered[T]:
    """What ``load`` gives, fetched anew when it is old, or when somebody needs it newer."""

    def __init__(self, load: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> None:
        self._load = load
        self._clock = clock
        self._known: tuple[float, T] | None = None
        self._failure: LoginRefused | None = None
        self._tried_at: float | None = None
        self._one_at_a_time = asyncio.Lock()

    async def get(self, *, newer: bool = False) -> T:
        """Give it. ``newer``: fetched just now, unless one was a moment ago."""
        if not newer and self._known is not None:
            # Not behind those who wait for a slow provider: anybody's token can make one fetch.
            fetched_at, known = self._known
            if self._was(fetched_at, self._clock(), FRESH_S):
                return known
        async with self._one_at_a_time:
            now = self._clock()
            if not self._was(self._tried_at, now, RETRY_S) and (
                newer or self._known is None or not self._was(self._known[0], now, FRESH_S)
            ):
                await self._fetch(now)
            if self._known is not None and self._was(self._known[0], now, STALE_S):
                return self._known[1]
            failure = self._failure or LoginRefused("provider-failed", "nothing was fetched")
            # Made anew: one that is raised again and again grows by its tracebacks.
            raise LoginRefused(failure.reason, failure.message, hint=failure.hint)

    async def _fetch(self, now: float) -> None:
        self._tried_at = now
        try:
            self._known, self._failure = (now, await self._load()), None
            self._tried_at = self._clock()  # or each who waited through a slow one would fetch
        except LoginRefused as failure:
            self._failure = LoginRefused(failure.reason, failure.message, hint=failure.hint)
            self._tried_at = self._clock()
        except asyncio.CancelledError:
            self._tried_at = None  # who waits next asks anew
            raise

    @staticmethod
    def _was(then: float | None, now: float, within_s: float) -> bool:
        # A clock that was set back makes nothing fresh.
        return then is not None and 0 <= now - then < within_s
