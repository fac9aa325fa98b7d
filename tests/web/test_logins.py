"""The ways in: what each gives, once, and to whom."""

from __future__ import annotations

import logging
import time

import httpx
import pytest
from prometheus_client import generate_latest

from awsgate.audit import AuditRecord
from awsgate.login import open_login
from web.believing import PASSWORD, VERIFIER, challenge, id_token
from web.served import Served

ASKED = {"connector": "oidc/okta", "challenge": challenge(), "port": 4321}


def test_who_comes_back_from_the_browser_has_a_login(shared: Served) -> None:
    with shared.client() as http:
        login = shared.log_in_by_browser(http, "carol")

    opened = open_login(shared.state.session_keys, login["login"], now=int(time.time()))
    assert (opened.user, opened.facts.connector, opened.facts.roles) == (
        "carol", "oidc/okta", ("teamed",),
    )  # fmt: skip
    # The trait that a role asks for, and not the other one.
    assert opened.facts.traits == (("team", ("other",)),)
    assert {k: login[k] for k in ("id", "user", "connector", "roles")} == {
        "id": opened.id, "user": "carol", "connector": "oidc/okta", "roles": ["teamed"],
    }  # fmt: skip
    assert login["expires_at"] - login["issued_at"] == 8 * 3600
    (line,) = shared.lines(event="login", session=opened.id)
    assert (line["decision"], line["rule"], line["user"]) == ("allowed", "oidc/okta", "carol")


def test_the_browser_goes_to_the_port_of_the_cli_alone(shared: Served) -> None:
    with shared.client() as http:
        begun = http.post("/v1/login/browser", json=ASKED).json()
        state = httpx.URL(begun["url"]).params["state"]
        answer = http.get(
            "/v1/callback",
            params={"state": state, "code": "alice", "port": "1", "redirect_uri": "https://evil"},
            headers={"Host": "evil.example.com", "X-Forwarded-Host": "evil.example.com"},
        )

    assert answer.status_code == 303
    back = httpx.URL(answer.headers["location"])
    assert (back.scheme, back.host, back.port, back.path) == (
        "http", "127.0.0.1", 4321, "/callback",
    )  # fmt: skip
    assert list(back.params) == ["code"]


def test_the_provider_is_told_the_gateways_own_url_whatever_the_request_says(
    shared: Served,
) -> None:
    with shared.client() as http:
        http.post("/v1/login/browser", json=ASKED, headers={"Host": "evil.example.com"})

    _, redirect_url = shared.fakes["oidc/okta"].begun[-1]
    assert redirect_url == "https://gate.example.com:8444/v1/callback"


def test_an_answer_of_the_provider_is_good_once(shared: Served) -> None:
    with shared.client() as http:
        state = httpx.URL(http.post("/v1/login/browser", json=ASKED).json()["url"]).params["state"]
        first = http.get("/v1/callback", params={"state": state, "code": "alice"})
        again = http.get("/v1/callback", params={"state": state, "code": "alice"})

    assert (first.status_code, again.status_code) == (303, 400)
    assert "no login waits for this answer" in again.text


def test_a_code_is_good_once_and_for_who_began_alone(shared: Served) -> None:
    with shared.client() as http:

        def code() -> str:
            begun = http.post("/v1/login/browser", json=ASKED).json()
            state = httpx.URL(begun["url"]).params["state"]
            back = http.get("/v1/callback", params={"state": state, "code": "alice"})
            return httpx.URL(back.headers["location"]).params["code"]

        one, two = code(), code()
        wrong = http.post("/v1/login/code", json={"code": one, "verifier": "w" * 43})
        after = http.post("/v1/login/code", json={"code": one, "verifier": VERIFIER})
        right = http.post("/v1/login/code", json={"code": two, "verifier": VERIFIER})
        again = http.post("/v1/login/code", json={"code": two, "verifier": VERIFIER})

    assert [a.status_code for a in (wrong, after, right, again)] == [401, 400, 200, 400]
    assert wrong.json()["error"]["code"] == "wrong-verifier"
    assert after.json()["error"]["code"] == "unknown-login"
    assert shared.lines(event="login", code="wrong-verifier", user="alice")


def test_what_has_begun_ends_by_itself(own: Served) -> None:
    with own.client() as http:
        state = httpx.URL(http.post("/v1/login/browser", json=ASKED).json()["url"]).params["state"]
        own.ticks.ahead_s += 601
        late = http.get("/v1/callback", params={"state": state, "code": "alice"})
        state = httpx.URL(http.post("/v1/login/browser", json=ASKED).json()["url"]).params["state"]
        back = http.get("/v1/callback", params={"state": state, "code": "alice"})
        own.ticks.ahead_s += 61
        code = httpx.URL(back.headers["location"]).params["code"]
        later = http.post("/v1/login/code", json={"code": code, "verifier": VERIFIER})

    assert (late.status_code, later.status_code) == (400, 400)


def test_a_login_on_another_device_is_fetched_once_it_is_confirmed(own: Served) -> None:
    own.api.connectors.take(own.policy[0])
    fake = own.fakes["oidc/okta"]
    fake.answers = ["pending", "slow", "alice"]
    with own.client() as http:
        begun = http.post("/v1/login/device", json={"connector": "oidc/okta"}).json()
        asked = {"handle": begun["handle"]}
        too_soon = http.post("/v1/login/device/poll", json=asked)
        said = []
        for wait_s in (5, 5, 10):
            own.ticks.ahead_s += wait_s
            said.append(http.post("/v1/login/device/poll", json=asked))
        again = http.post("/v1/login/device/poll", json=asked)

    assert begun["user_code"] == "WDJB-MJHT"
    assert (begun["interval"], begun["expires_in"]) == (5, 900)
    assert (too_soon.status_code, too_soon.json()) == (202, {"pending": True, "slow_down": False})
    assert [one.status_code for one in said] == [202, 202, 200]
    assert [one.json().get("slow_down") for one in said] == [False, True, None]
    assert said[2].json()["user"] == "alice"
    assert again.json()["error"]["code"] == "unknown-login"
    assert fake.polls == 3  # the one that came too soon did not reach the provider


def test_a_poll_before_the_slower_interval_does_not_reach_the_provider(own: Served) -> None:
    own.api.connectors.take(own.policy[0])
    fake = own.fakes["oidc/okta"]
    fake.answers = ["slow", "alice"]
    with own.client() as http:
        asked = {
            "handle": http.post("/v1/login/device", json={"connector": "oidc/okta"}).json()[
                "handle"
            ]
        }
        codes = []
        for wait_s in (5, 6, 4):
            own.ticks.ahead_s += wait_s
            codes.append(http.post("/v1/login/device/poll", json=asked).status_code)

    assert codes == [202, 202, 200]
    assert fake.polls == 2


def test_a_provider_that_fails_once_ends_no_login(own: Served) -> None:
    own.api.connectors.take(own.policy[0])
    own.fakes["oidc/okta"].answers = ["down", "explode", "alice", "wrong-nonce"]
    with own.client() as http:
        handles = [
            http.post("/v1/login/device", json={"connector": "oidc/okta"}).json()["handle"]
            for _ in range(2)
        ]
        said = []
        for handle in (*[handles[0]] * 3, *[handles[1]] * 2):
            own.ticks.ahead_s += 6
            said.append(http.post("/v1/login/device/poll", json={"handle": handle}))

    assert [one.status_code for one in said] == [502, 500, 200, 401, 400]


def test_a_local_user_has_the_roles_of_the_policy(shared: Served) -> None:
    asked = {"user": "lola", "password": PASSWORD, "totp": "123456"}
    with shared.client() as http:
        login = http.post("/v1/login/password", json=asked).json()

    assert (login["user"], login["connector"], login["roles"]) == ("lola", "local", ["reader"])


def test_an_invitation_sets_a_password(shared: Served) -> None:
    with shared.client() as http:
        answer = http.post("/v1/login/invitation", json={"token": "invited", "password": "x" * 12})

    assert answer.json()["user"] == "lola"
    assert answer.json()["totp_uri"].startswith("otpauth://totp/")
    assert shared.lines(event="login", user="lola", rule="local", decision="allowed", session="")


def test_a_machine_logs_in_by_its_token_for_as_long_as_the_connector_says(shared: Served) -> None:
    with shared.client() as http:
        login = http.post("/v1/login/id-token", json={"token": id_token("alice")}).json()
        named = http.post(
            "/v1/login/id-token", json={"token": id_token("alice"), "connector": "oidc/ci"}
        ).json()

    assert (login["connector"], named["connector"]) == ("oidc/ci", "oidc/ci")
    assert login["expires_at"] - login["issued_at"] == 600


def test_a_login_ends_with_the_identity(shared: Served) -> None:
    login = shared.log_in("brief")

    assert login["expires_at"] - login["issued_at"] in (119, 120)


def test_a_reason_in_the_audit_is_bounded(own: Served) -> None:
    own.api.records.write_now(AuditRecord(event="login", reason="x" * 100_000))

    (line,) = own.lines(event="login")
    assert line["reason"] == "x" * 512


def test_nothing_that_is_secret_is_recorded_logged_or_counted(
    own: Served, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with own.client() as http:
        state = httpx.URL(http.post("/v1/login/browser", json=ASKED).json()["url"]).params["state"]
        back = http.get("/v1/callback", params={"state": state, "code": "alice"})
        code = httpx.URL(back.headers["location"]).params["code"]
        login = http.post("/v1/login/code", json={"code": code, "verifier": VERIFIER}).json()
        http.post("/v1/login/password", json={"user": PASSWORD, "password": PASSWORD})
        http.post("/v1/login/password", json={"user": "lola", "password": PASSWORD, "x": PASSWORD})
        http.post("/v1/login/id-token", json={"token": id_token("explode")})
    with own.client(login["login"]) as http:
        keys = http.post("/v1/credentials", json={"app": "main"}).json()

    told = own.audit_path.read_text() + capfd.readouterr().err
    told += "".join(r.getMessage() for r in caplog.records if r.name.startswith(("awsgate", "uvi")))
    told += generate_latest(own.metrics.registry).decode()
    secrets = {
        *(state, code, VERIFIER, PASSWORD, login["login"], id_token("explode")),
        *(keys["secret_access_key"], keys["proxy_password"], keys["session_token"]),
        "canary-secret-in-an-exception",
    }
    assert {line["event"] for line in own.lines()} == {"login", "credentials"}
    assert "RuntimeError at " in told
    assert [one for one in secrets if one in told] == []
