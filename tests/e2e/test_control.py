"""Two people on one gateway, each by their own login; lock and logout within a second.

They come through the proxy, as clients do that have nothing but HTTPS_PROXY.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aws_server.server import StrictAws
from awsgate.aws.sigv4 import SigningKeys
from awsgate.connect.local import LocalUsers
from awsgate.demo.processes import GatewayProcess
from awsgate.state import open_state
from e2e.held import OBJECT, POWER, READ, SOON_S, Bench, Held, app, gateway, role, until, user
from rawclient import secure

PASSWORDS = {name: f"{name}: correct horse battery" for name in ("alice", "bob", "olga")}
POLICY = "---\n".join(
    [
        gateway("{control: {listen: '127.0.0.1:0'}, names: [gate.example.com]}"),
        role("reader", READ),
        role("power", POWER, READ),
        role("ops", READ) + "  options: {gateway_admin: true}\n",
        user("alice", "reader"),
        user("bob", "power"),
        user("olga", "ops"),
        app("main"),
    ]
)


@pytest.fixture(scope="module", params=["mitmdump", "awsgate run"])
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("control")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    enrol(folder / "state")
    with StrictAws() as aws:
        running = GatewayProcess(
            folder,
            policy=policy,
            keys=aws.gateway_keys,
            upstream=aws.url,
            workers=2 if request.param == "awsgate run" else 0,
        )
        try:
            yield Bench(aws, running, policy)
        finally:
            running.stop()


def enrol(state: Path) -> None:
    """Have them all choose a password."""
    users = LocalUsers(open_state(state).users_folder)
    for name, password in PASSWORDS.items():
        invitation = users.add(name, wants_totp=False)
        assert invitation is not None
        asyncio.run(users.accept(invitation.token, password))


def api(bench: Bench, token: str = "") -> httpx.Client:
    trust = ssl.create_default_context(cafile=str(bench.gateway.certs / "gateway-root.pem"))
    return httpx.Client(
        base_url="https://awsgate.internal",
        proxy=bench.gateway.proxy,
        verify=trust,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        trust_env=False,
    )


def log_in(bench: Bench, who: str) -> dict[str, Any]:
    with api(bench) as http:
        answer = http.post(
            "/v1/login/password", json={"user": who, "password": PASSWORDS[who], "totp": ""}
        )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def credentials(bench: Bench, login: dict[str, Any], **asked: Any) -> dict[str, Any]:
    with api(bench, login["login"]) as http:
        answer = http.post("/v1/credentials", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def keys_of(given: dict[str, Any]) -> SigningKeys:
    return SigningKeys(given["access_key_id"], given["secret_access_key"], given["session_token"])


def verdict(bench: Bench, keys: SigningKeys) -> str:
    """Give what becomes of a call; a lock that comes while it is under way cuts it."""
    with secure(bench.gateway, OBJECT.host) as wire:
        try:
            return Held(wire, keys, OBJECT).verdict()
        except ConnectionError:
            return "cut"


def test_the_api_knows_who_comes_through_the_proxy(bench: Bench) -> None:
    """Though the connection comes from the gateway itself."""
    for number in range(4):  # at one worker or the other
        asked = {"user": f"stranger{number}", "password": "no", "totp": ""}
        with api(bench) as http:
            stream = http.post("/v1/login/password", json=asked).extensions["network_stream"]
            host, port = stream.get_extra_info("client_addr")
            again = http.post("/v1/login/password", json=asked)
        assert again.extensions["network_stream"] is stream

        lines = bench.lines(event="login", decision="refused")[-2:]
        assert [line["client"] for line in lines] == [f"{host}:{port}"] * 2
        assert bench.lines(event="tunnel.open", client=f"{host}:{port}")


def test_two_people_each_with_their_own(bench: Bench) -> None:
    logins = {who: log_in(bench, who) for who in ("alice", "bob")}
    given = {
        "alice": credentials(bench, logins["alice"]),
        "bob": credentials(bench, logins["bob"], role="Power"),
    }
    keys = {who: keys_of(one) for who, one in given.items()}

    assert {who: verdict(bench, one) for who, one in keys.items()} == {"alice": "200", "bob": "200"}
    for who, arn in (("alice", READ), ("bob", POWER)):
        # The line follows the last byte of the answer.
        assert until(lambda who=who: bench.lines(event="request", user=who), within=5)
        (line,) = bench.lines(event="request", user=who)
        assert (line["role_arn"], line["session_name"], line["decision"]) == (arn, who, "allowed")
        (issued,) = bench.lines(event="credentials", session=line["session"])
        assert f"login {logins[who]['id']}" in issued["reason"]
        assert bench.lines(event="login", session=logins[who]["id"], user=who)
    # The key id of one and the token of the other are nobody's.
    mixed = SigningKeys(
        keys["alice"].access_key_id, keys["alice"].secret_access_key, keys["bob"].session_token
    )
    assert verdict(bench, mixed) == "unknown-key"
    with api(bench, logins["alice"]["login"]) as http:
        denied = http.post("/v1/credentials", json={"role": POWER})
    assert denied.json()["error"]["code"] == "denied"
    metrics = bench.gateway.metrics()
    assert re.search(r'awsgate_logins_total\{connector="local",result="ok"\} [1-9]', metrics)
    assert re.search(r'awsgate_requests_total\{[^}]*user="alice"[^}]*\} 1\.0', metrics)


def test_a_logout_ends_all_sessions_of_the_login_within_a_second(bench: Bench) -> None:
    login, other = log_in(bench, "bob"), log_in(bench, "bob")
    mine = [keys_of(credentials(bench, login, role=name)) for name in ("Power", "Read")]
    kept = keys_of(credentials(bench, other, role="Power"))
    assert [verdict(bench, one) for one in (*mine, kept)] == ["200", "200", "200"]

    with api(bench, login["login"]) as http:
        assert http.post("/v1/logout").status_code == 200
        began = time.monotonic()
        assert http.get("/v1/whoami").status_code == 403
    assert until(lambda: verdict(bench, mine[0]) == "locked", within=SOON_S)
    assert until(lambda: verdict(bench, mine[1]) == "locked", within=SOON_S)
    assert time.monotonic() - began < 2 * SOON_S
    assert verdict(bench, kept) == "200"


def test_a_lock_of_an_admin_holds_one_person_within_a_second(bench: Bench) -> None:
    admin, login = log_in(bench, "olga"), log_in(bench, "bob")
    bob, alice = (
        keys_of(credentials(bench, login, role="Power")),
        keys_of(credentials(bench, log_in(bench, "alice"))),
    )
    assert (verdict(bench, bob), verdict(bench, alice)) == ("200", "200")

    with api(bench, admin["login"]) as http:
        asked = {"name": "bob", "target": {"user": "bob"}, "message": "talk to security"}
        assert http.post("/v1/locks", json=asked).status_code == 201
        assert until(lambda: verdict(bench, bob) == "locked", within=SOON_S)
        with api(bench, login["login"]) as his:
            assert his.post("/v1/credentials", json={}).json()["error"]["message"] == (
                "talk to security"
            )
        assert verdict(bench, alice) == "200"
        assert http.delete("/v1/locks/bob").status_code == 200
    assert until(lambda: verdict(bench, bob) == "200", within=SOON_S)
    lines = bench.lines(event="lock.add", rule="lock/bob")
    assert "by olga: talk to security" in lines[-1]["reason"]


def test_the_policy_in_force_decides(bench: Bench) -> None:
    login = log_in(bench, "alice")
    with bench.taken("policy.reload", within=10):
        bench.policy.write_text(POLICY.replace(f"['{READ}']", f"['{POWER}']", 1))
    try:
        with api(bench, login["login"]) as http:
            assert until(
                lambda: (
                    [one["role_arn"] for one in http.get("/v1/roles").json()["roles"]] == [POWER]
                ),
                within=10,
            )
    finally:
        with bench.taken("policy.reload", within=10):
            bench.policy.write_text(POLICY)
