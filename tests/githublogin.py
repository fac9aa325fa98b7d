"""A browser that logs in at the tests' GitHub."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from awsgate.connect.github import GithubConnector
from awsgate.connect.ways import Begun, LoginRefused
from awsgate.login import Identity

Connect = Callable[..., GithubConnector]
TLS = ssl.create_default_context()  # one for all: each takes 30 ms to make
CALLBACK = "http://127.0.0.1:3081/v1/callback"
STATE = "state-3b1f"


async def browse(begun: Begun) -> dict[str, str]:
    """Be the browser: go where it is sent, and give what comes back to the gateway."""
    async with httpx.AsyncClient(trust_env=False, verify=TLS) as browser:
        answer = await browser.get(begun.url)
    assert answer.status_code == 302
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


async def log_in(connector: GithubConnector) -> Identity:
    begun = await connector.begin(state=STATE, redirect_url=CALLBACK)
    return await connector.finish(await browse(begun), begun.memory)


async def refused(connector: GithubConnector) -> LoginRefused:
    with pytest.raises(LoginRefused) as caught:
        await log_in(connector)
    return caught.value
