"""Logins by a code that is typed on another device (RFC 8628)."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.connect.ways import LoginRefused, Pending
from oidcissuer import Issuer
from oidclogin import REDIRECT, STATE, Connect


async def test_who_typed_the_code_is_logged_in(issuer: Issuer, connect: Connect) -> None:
    issuer.device_steps = [
        (400, {"error": "authorization_pending"}),
        (400, {"error": "slow_down"}),
    ]
    connector = connect()

    code = await connector.start_device()

    assert (code.user_code, code.interval_s, code.expires_in_s) == ("BDWP-HQPK", 2, 600)
    assert code.verification_uri_complete == f"{issuer.url}/type?user_code=BDWP-HQPK"
    assert "device-1" not in repr(code)
    for slow_down in (False, True):
        with pytest.raises(Pending) as waiting:
            await connector.poll_device(code.memory)
        assert waiting.value.slow_down is slow_down
    identity = await connector.poll_device(code.memory)
    assert (identity.user, identity.roles) == ("ann@example.com", ("admin",))


# the provider's answer -> reason
ENDS: dict[str, tuple[int, dict[str, Any], str]] = {
    "nobody typed it in time": (400, {"error": "expired_token"}, "expired"),
    "the person said no": (400, {"error": "access_denied"}, "denied"),
    "the code was used": (400, {"error": "invalid_grant"}, "code-used"),
    "no ID token": (200, {"access_token": "x", "token_type": "Bearer"}, "provider-failed"),
    "the provider fails": (500, {}, "provider-failed"),
}


@pytest.mark.parametrize(("status", "content", "reason"), ENDS.values(), ids=ENDS)
async def test_a_device_login_ends(
    issuer: Issuer, connect: Connect, status: int, content: dict[str, Any], reason: str
) -> None:
    issuer.device_steps = [(status, content)]
    connector = connect()
    code = await connector.start_device()

    with pytest.raises(LoginRefused) as caught:
        await connector.poll_device(code.memory)

    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("metadata", "spec"),
    [({"device_authorization_endpoint": None}, {}), ({}, {"device": False})],
    ids=["the provider has none", "the operator wants none"],
)
async def test_there_may_be_no_device_login(
    issuer: Issuer, connect: Connect, metadata: dict[str, Any], spec: dict[str, Any]
) -> None:
    issuer.metadata = metadata

    with pytest.raises(LoginRefused) as caught:
        await connect(**spec).start_device()

    assert caught.value.reason == "unsupported"


DEVICE = {"device_code": "d", "user_code": "u", "verification_uri": "https://a.example.com/"}
BAD_CODES: dict[str, dict[str, Any]] = {
    "a page that is a script": {"verification_uri": "javascript:alert(1)"},
    "a page in the clear": {"verification_uri": "http://a.example.com"},
    "another page that is a file": {"verification_uri_complete": "file:///etc/passwd"},
    "a code with escapes": {"user_code": "\x1b[2J"},
    "no code": {"user_code": None},
}


@pytest.mark.parametrize(
    ("status", "content", "reason"),
    [(400, {**DEVICE, "error": "access_denied"}, "denied"), (503, DEVICE, "provider-failed")],
)
async def test_a_no_is_one_whatever_stands_beside_it(
    issuer: Issuer, connect: Connect, status: int, content: dict[str, Any], reason: str
) -> None:
    connector = connect()
    issuer.replies["/device"] = (status, content)

    with pytest.raises(LoginRefused) as caught:
        await connector.start_device()

    assert caught.value.reason == reason


@pytest.mark.parametrize("change", BAD_CODES.values(), ids=BAD_CODES)
async def test_what_would_be_shown_or_opened_is_checked(
    issuer: Issuer, connect: Connect, change: dict[str, Any]
) -> None:
    connector = connect()
    issuer.replies["/device"] = (200, DEVICE)
    assert (await connector.start_device()).interval_s == 5
    issuer.replies["/device"] = (200, {**DEVICE, **change})

    with pytest.raises(LoginRefused) as caught:
        await connector.start_device()

    assert caught.value.reason == "provider-failed"


async def test_a_connector_for_machines_has_no_way_for_people(connect: Connect) -> None:
    connector = connect(client_id="", id_tokens={"audiences": ["https://gate"]})

    for way in (
        connector.start_device,
        lambda: connector.begin(state=STATE, redirect_url=REDIRECT),
    ):
        with pytest.raises(LoginRefused) as caught:
            await way()
        assert caught.value.reason == "unsupported"
