"""Whatever a GitHub answers, a login ends: in an identity, a refusal, or a wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from awsgate.connect.github import GithubConnector
from awsgate.connect.ways import LoginRefused, Pending
from awsgate.login import Identity
from awsgate.policy.connectors import Github as Document
from awsgate.policy.fields import is_name
from githublogin import TLS

DOCUMENT = Document.model_validate(
    {
        "kind": "github",
        "version": "v3",
        "metadata": {"name": "corp"},
        "spec": {
            "client_id": "c",
            "client_secret": "s",
            "endpoint_url": "http://127.0.0.1:9",
            "teams_to_roles": [{"organization": "o", "team": "t", "roles": ["r"]}],
        },
    }
)
KEYS = st.sampled_from(
    [
        *("access_token", "token_type", "error", "error_description", "login", "message"),
        *("suspended_at", "slug", "organization", "device_code", "user_code", "interval"),
        *("verification_uri", "expires_in"),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=5),
    st.sampled_from(["bearer", "o", "t", "octocat", "slow_down", "http://127.0.0.1:9/x"]),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
BODIES = st.one_of(
    JSON.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=20),
    st.just(b'[{"slug": "t", "organization": {"login": "o"}}]'),
    st.just(b'{"login": "octocat"}'),
    st.just(b'{"access_token": "a", "token_type": "bearer"}'),
)
HEADERS = st.dictionaries(
    st.sampled_from(["link", "x-github-sso", "retry-after", "location", "x-ratelimit-remaining"]),
    st.sampled_from(
        [
            *("0", "", "required; url=http://[", "partial-results; organizations=1,2", "<>; rel=x"),
            *(
                '<http://127.0.0.1:9/api/v3/user/teams?page=2>; rel="next"',
                '<http://[>; rel="next"',
            ),
        ]
    ),
)
ANSWERS = st.tuples(
    st.sampled_from([200, 200, 200, 204, 301, 401, 403, 404, 429, 500]), HEADERS, BODIES
)


GOOD: list[tuple[int, Mapping[str, str], bytes]] = [
    (200, {}, b'{"access_token": "a", "token_type": "bearer"}'),
    (200, {}, b'{"login": "octocat"}'),
]


class Answering(httpx.AsyncBaseTransport):
    """Gives each answer once, in turn, and then begins again."""

    def __init__(self, answers: list[tuple[int, Mapping[str, str], bytes]]) -> None:
        self._answers = answers
        self._given = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.url.host == "127.0.0.1"  # a token goes nowhere else
        status, headers, body = self._answers[self._given % len(self._answers)]
        self._given += 1
        return httpx.Response(status, headers=dict(headers), stream=httpx.ByteStream(body))


@settings(max_examples=150)
@given(st.lists(ANSWERS, min_size=1, max_size=5), st.integers(0, 2))
def test_any_answers_end_a_login(
    answers: list[tuple[int, Mapping[str, str], bytes]], good: int
) -> None:
    answers = [*GOOD[:good], *answers]  # so that many come to the last steps

    async def ends() -> list[Any]:
        transport = Answering(answers)
        async with httpx.AsyncClient(transport=transport, verify=TLS) as http:
            connector = GithubConnector(DOCUMENT, http=http)
            memory = {"state": "s", "verifier": "v", "redirect_url": "u", "device_code": "d"}
            answer = {"state": "s", "code": "c"}
            ways = (
                connector.finish(answer, memory),
                connector.poll_device(memory),
                connector.start_device(),
            )
            return [await asyncio.gather(way, return_exceptions=True) for way in ways]

    (browser,), (device,), (code,) = asyncio.run(ends())

    assert isinstance(browser, Identity | LoginRefused)
    assert isinstance(device, Identity | LoginRefused | Pending)
    assert not isinstance(code, Exception) or isinstance(code, LoginRefused)
    for refused in (browser, device, code):
        if isinstance(refused, LoginRefused):
            assert f"{refused.message}{refused.hint}".isprintable()
        if isinstance(refused, Identity):
            assert is_name(refused.user)
            assert refused.roles == ("r",)
