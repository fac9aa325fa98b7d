"""Logins at GitHub with a code that is typed on another device; and where each GitHub is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from awsgate.connect.github import GithubConnector
from awsgate.connect.githubapi import Places
from awsgate.connect.ways import DeviceCode, LoginRefused, Pending
from awsgate.policy.connectors import GithubSpec
from githubserver import CLIENT_ID, Answer, Github

Connect = Callable[..., GithubConnector]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(github: Github) -> Clock:
    github.now = Clock()
    return github.now


async def pending(connector: GithubConnector, code: DeviceCode) -> bool:
    with pytest.raises(Pending) as caught:
        await connector.poll_device(code.memory)
    return caught.value.slow_down


async def refused(connector: GithubConnector, code: DeviceCode) -> LoginRefused:
    with pytest.raises(LoginRefused) as caught:
        await connector.poll_device(code.memory)
    return caught.value


@pytest.mark.parametrize("secret", [None, "secret-of-the-oauth-app-5f0c2d"])
async def test_who_types_the_code_is_logged_in(
    github: Github, connect: Connect, clock: Clock, secret: str | None
) -> None:
    connector = connect(client_secret=secret)
    code = await connector.start_device()

    assert await pending(connector, code) is False
    assert await pending(connector, code) is True  # at once: too soon
    clock.now += 5
    assert await pending(connector, code) is True  # it is 10 seconds now
    clock.now += 15
    assert await pending(connector, code) is False
    github.type_code(code.user_code)
    clock.now += 15
    identity = await connector.poll_device(code.memory)

    assert (identity.user, identity.roles) == ("octocat", ("admin",))
    assert len(github.dropped) == (1 if secret else 0)  # only with the secret can it be asked to
    assert (await refused(connector, code)).reason == "code-used"


async def test_github_is_asked_for_the_one_scope(github: Github, connect: Connect) -> None:
    code = await connect().start_device()

    assert github.asked[-1].form == {"client_id": CLIENT_ID, "scope": "read:org"}
    assert (code.interval_s, code.expires_in_s) == (5, 900)
    assert code.verification_uri == f"{github.url}/login/device"
    assert code.verification_uri_complete == ""
    assert code.memory["device_code"] not in repr(code)


async def test_who_cancels_is_refused(github: Github, connect: Connect) -> None:
    connector = connect()
    code = await connector.start_device()
    github.type_code(code.user_code, decline=True)

    assert (await refused(connector, code)).reason == "denied"


async def test_a_code_that_nobody_types_ends(connect: Connect, clock: Clock) -> None:
    connector = connect()
    code = await connector.start_device()
    clock.now += 901

    assert (await refused(connector, code)).reason == "expired"


async def test_a_code_of_nobody_is_refused(connect: Connect) -> None:
    code = DeviceCode("", "", "", 5, 900, {"device_code": "0" * 40})

    assert (await refused(connect(), code)).reason == "code-used"


NO_DEVICE = {
    "the connector says no": ({"device": False}, {}, "unsupported", "log in with a browser"),
    "the app says no": ({}, {"device_flow": False}, "unsupported", "does not allow the device"),
    "client unknown": ({"client_id": "other"}, {}, "provider-failed", "client_id may be wrong"),
}


@pytest.mark.parametrize(("spec", "at_hub", "reason", "words"), NO_DEVICE.values(), ids=NO_DEVICE)
async def test_where_there_is_no_device_flow_it_is_said(
    github: Github,
    connect: Connect,
    spec: dict[str, Any],
    at_hub: dict[str, Any],
    reason: str,
    words: str,
) -> None:
    for name, value in at_hub.items():
        setattr(github, name, value)

    with pytest.raises(LoginRefused) as caught:
        await connect(**spec).start_device()

    assert caught.value.reason == reason
    assert words in f"{caught.value.message} {caught.value.hint}"


GOOD = {"device_code": "d", "user_code": "WDJB-MJHT", "verification_uri": "{url}/login/device"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"user_code": ""}, "gave no user_code that can be used"),
        ({"user_code": "A\x1b[2J"}, "gave no user_code that can be used"),
        ({"device_code": 5}, "gave no device_code that can be used"),
        ({"verification_uri": "https://evil.example.com/login/device"}, "elsewhere"),
        ({"verification_uri": "{url}.evil.example.com/login/device"}, "elsewhere"),
    ],
)
async def test_an_answer_that_would_mislead_is_refused(
    github: Github, connect: Connect, changed: dict[str, Any], words: str
) -> None:
    body = {
        k: v.format(url=github.url) if isinstance(v, str) else v
        for k, v in (GOOD | changed).items()
    }
    github.instead["/login/device/code"] = Answer(200, body)

    with pytest.raises(LoginRefused) as caught:
        await connect().start_device()

    assert (caught.value.reason, words in caught.value.message) == ("provider-failed", True)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ({}, (5, 900)),
        ({"interval": 0, "expires_in": -1}, (5, 900)),
        ({"interval": 10**9, "expires_in": 10**9}, (60, 1800)),
        ({"interval": True, "expires_in": "900"}, (5, 900)),
    ],
)
async def test_times_are_bounded(
    github: Github, connect: Connect, given: dict[str, Any], used: tuple[int, int]
) -> None:
    body = GOOD | {"verification_uri": f"{github.url}/login/device"} | given
    github.instead["/login/device/code"] = Answer(200, body)

    code = await connect().start_device()

    assert (code.interval_s, code.expires_in_s) == used


# --- where each GitHub is ---------------------------------------------------------------------

PLACES = {
    "github.com": ({}, "https://github.com", "https://api.github.com"),
    "with a slash": (
        {"endpoint_url": "https://GitHub.com/"}, "https://github.com", "https://api.github.com",
    ),
    "GHE.com": (
        {"endpoint_url": "https://octocorp.ghe.com"},
        "https://octocorp.ghe.com", "https://api.octocorp.ghe.com",
    ),
    "Enterprise Server": (
        {"endpoint_url": "https://git.example.com/"},
        "https://git.example.com", "https://git.example.com/api/v3",
    ),
    "with a port": (
        {"endpoint_url": "https://git.example.com:8443"},
        "https://git.example.com:8443", "https://git.example.com:8443/api/v3",
    ),
    "no GHE.com": (
        {"endpoint_url": "https://a.b.ghe.com.example.com"},
        "https://a.b.ghe.com.example.com", "https://a.b.ghe.com.example.com/api/v3",
    ),
    "subdomain isolation": (
        {"endpoint_url": "https://g.example.com", "api_endpoint_url": "https://api.g.example.com/"},
        "https://g.example.com", "https://api.g.example.com",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "web", "api"), PLACES.values(), ids=PLACES)
def test_each_github_is_asked_where_it_is(spec: dict[str, str], web: str, api: str) -> None:
    rows = [{"organization": "o", "team": "t", "roles": ["r"]}]
    places = Places.of(GithubSpec.model_validate({"client_id": "c", "teams_to_roles": rows} | spec))

    assert (places.web, places.api) == (web, api)
    assert places.authorize == f"{web}/login/oauth/authorize"
    assert places.token == f"{web}/login/oauth/access_token"
    assert places.device_code == f"{web}/login/device/code"
