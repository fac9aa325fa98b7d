"""Every no of the API: its status, its code, its audit line, its count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from web.believing import PASSWORD, VERIFIER, challenge, id_token
from web.served import Served, Stage, served_on

type Ask = Callable[[Served, httpx.Client], httpx.Response]

BROWSER = {"connector": "oidc/okta", "challenge": challenge(), "port": 4321}


def post(path: str, **body: Any) -> Ask:
    return lambda _, http: http.post(f"/v1{path}", json=body)


def raw(path: str, content: bytes, **headers: str) -> Ask:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _, http: http.post(f"/v1{path}", content=content, headers=named)


def token(sub: str, **claims: str) -> Ask:
    return post("/login/id-token", token=id_token(sub, **claims))


# What is asked -> status, code, connector in the audit (empty: no line, for nobody was
# proved or refused by anybody).
LOGINS: dict[str, tuple[Ask, int, str, str]] = {
    "a name of the policy's own user is taken": (token("lola"), 403, "taken", "oidc/ci"),
    "the same in other letters": (token("Lola"), 403, "taken", "oidc/ci"),
    "what reads like it": (token("lola\u3164"), 403, "bad-name", "oidc/ci"),
    "no role of the policy": (token("nora"), 403, "no-role", "oidc/ci"),
    "more roles than fit in a token": (token("huge"), 403, "too-large", "oidc/ci"),
    "a name with control characters": (token("bad\x1bname"), 403, "bad-name", "oidc/ci"),
    "an identity that has ended": (token("gone"), 401, "expired", "oidc/ci"),
    "what the connector refuses": (token("wrong-nonce"), 401, "replayed", "oidc/ci"),
    "an identity of another connector": (
        token("impostor"), 502, "provider-failed", "oidc/ci",
    ),
    "an issuer that no connector has": (
        token("alice", iss="https://evil.example.com"), 401, "wrong-issuer", "unknown",
    ),
    "no JWT": (post("/login/id-token", token="x"), 401, "wrong-issuer", "unknown"),
    "a JWT whose issuer is no text": (
        post("/login/id-token", token="e30.eyJpc3MiOlsxXX0.c2ln"), 401, "wrong-issuer", "unknown",
    ),
    "more than can be hashed at once": (
        post("/login/password", user="busy", password="no"), 503, "busy", "local",
    ),
    "a wrong password": (
        post("/login/password", user="lola", password="no"), 401, "wrong-password", "local",
    ),
    "a right password of a user who is not in the policy": (
        post("/login/password", user="ghost", password=PASSWORD), 401, "unknown-user", "local",
    ),
    "a password that is too weak": (
        post("/login/invitation", token="invited", password="x"), 400, "weak-password", "local",
    ),
    "an invitation that is not known": (
        post("/login/invitation", token="x", password="x" * 12), 401, "bad-invitation", "local",
    ),
    "a connector that is not there": (
        post("/login/browser", **{**BROWSER, "connector": "oidc/none"}), 404,
        "unknown-connector", "",
    ),
    "a way that the connector has not": (
        post("/login/browser", **{**BROWSER, "connector": "oidc/ci"}), 400, "no-such-way", "",
    ),
    "an ID token for a connector for people": (
        post("/login/id-token", token=id_token("alice"), connector="oidc/okta"), 400,
        "no-such-way", "",
    ),
    "GitHub without a secret has no browser": (
        post("/login/browser", **{**BROWSER, "connector": "github/corp"}), 400, "no-such-way", "",
    ),
    "a code that nobody was given": (
        post("/login/code", code="x", verifier=VERIFIER), 400, "unknown-login", "",
    ),
    "a handle that nobody was given": (
        post("/login/device/poll", handle="x"), 400, "unknown-login", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", LOGINS.values(), ids=LOGINS)
def test_a_login_is_refused(shared: Served, row: tuple[Ask, int, str, str]) -> None:
    ask, status, code, connector = row
    lines = len(shared.lines(code=code, rule=connector, decision="refused"))
    counted = shared.count(connector, code)

    with shared.client() as http:
        answer = ask(shared, http)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["message"]
    assert "login" not in answer.json()
    found = shared.lines(code=code, rule=connector, decision="refused", event="login")
    assert len(found) - lines == (1 if connector else 0)
    assert shared.count(connector, code) - counted == (1 if connector else 0)
    if connector:
        assert (found[-1]["status"], found[-1]["client"].split(":")[0]) == (status, "127.0.0.1")
    # Whom a connector has proved is named, and nobody else.
    named = ("taken", "no-role", "too-large", "bad-name", "expired", "unknown-user")
    assert bool(found and found[-1]["user"]) == (code in named)


@pytest.mark.parametrize("who", ["lola", "nora", "wrong-nonce", "access_denied", "impostor"])
def test_a_browser_brings_the_refusal_to_the_cli(shared: Served, who: str) -> None:
    with shared.client() as http:
        state = httpx.URL(http.post("/v1/login/browser", json=BROWSER).json()["url"]).params[
            "state"
        ]
        back = http.get("/v1/callback", params={"state": state, "code": who})

    url = httpx.URL(back.headers["location"])
    assert (back.status_code, url.host, url.port) == (303, "127.0.0.1", 4321)
    reasons = {
        "lola": "taken", "nora": "no-role", "wrong-nonce": "replayed",
        "impostor": "provider-failed",
    }  # fmt: skip
    assert url.params["error"] == reasons.get(who, "provider-refused")
    assert url.params["message"]
    assert "code" not in url.params


BAD: dict[str, tuple[Ask, int]] = {
    "no JSON": (raw("/login/device", b"{", content_type="application/json"), 400),
    "JSON that is no object": (raw("/login/device", b"[]", content_type="application/json"), 400),
    "JSON that is not said to be": (raw("/login/device", b'{"connector":"oidc/okta"}'), 415),
    "a form, as any web page can send": (
        raw("/login/device", b"connector=oidc/okta", content_type="text/plain"), 415,
    ),
    "a key that is not known": (post("/login/device", connector="oidc/okta", ttl=1), 400),
    "a key that is missing": (post("/login/device"), 400),
    "a number as text": (post("/login/browser", **{**BROWSER, "port": "4321"}), 400),
    "no port": (post("/login/browser", **{**BROWSER, "port": 0}), 400),
    "a port beyond all": (post("/login/browser", **{**BROWSER, "port": 65536}), 400),
    "a challenge that is none": (post("/login/browser", **{**BROWSER, "challenge": "x"}), 400),
    "a body that is too large": (
        raw("/login/device", b'{"connector":"' + b"x" * 200_000 + b'"}',
            content_type="application/json"), 413,
    ),
    "bytes that are no UTF-8": (
        raw("/login/device", b'{"connector":"\xff"}', content_type="application/json"), 400,
    ),
    "another method": (lambda _, http: http.get("/v1/login/device"), 405),
    "a slash too much": (lambda _, http: http.get("/v1/ping/"), 404),
    "a Host that is none": (
        lambda _, http: http.get("/v1/callback?state=x", headers={"Host": "[x"}), 400,
    ),
    "another path": (lambda _, http: http.get("/v1/nothing"), 404),
    "an answer of a provider that nobody waits for": (
        lambda _, http: http.get("/v1/callback?state=x&code=y"), 400,
    ),
    "an assertion that nobody waits for": (
        raw("/saml/acs/adfs", b"SAMLResponse=x&RelayState=y",
            content_type="application/x-www-form-urlencoded"), 400,
    ),
    "an assertion that is too large": (
        raw("/saml/acs/adfs", b"SAMLResponse=" + b"x" * 1_100_000,
            content_type="application/x-www-form-urlencoded"), 413,
    ),
    "a callback that is no form": (raw("/callback", b"{}", content_type="application/json"), 415),
    "a callback of too many fields": (
        lambda _, http: http.get("/v1/callback?" + "a=b&" * 60), 400,
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", BAD.values(), ids=BAD)
def test_what_is_asked_wrongly_is_refused(shared: Served, row: tuple[Ask, int]) -> None:
    ask, status = row
    lines = len(shared.lines())

    with shared.client() as http:
        answer = ask(shared, http)

    assert answer.status_code == status
    assert answer.headers["cache-control"] == "no-store"
    assert len(shared.lines()) == lines
    if "callback" not in str(answer.url) and "saml" not in str(answer.url):
        assert set(answer.json()["error"]) == {"code", "message", "hint"}


def test_a_state_is_good_only_at_the_connectors_own_address(shared: Served) -> None:
    with shared.client() as http:
        state = httpx.URL(http.post("/v1/login/browser", json=BROWSER).json()["url"]).params[
            "state"
        ]
        answer = http.post("/v1/saml/acs/okta", data={"RelayState": state, "code": "alice"})
        after = http.get("/v1/callback", params={"state": state, "code": "alice"})

    assert (answer.status_code, after.status_code) == (400, 400)


def test_a_state_that_comes_twice_in_an_answer_is_refused(shared: Served) -> None:
    with shared.client() as http:
        state = httpx.URL(http.post("/v1/login/browser", json=BROWSER).json()["url"]).params[
            "state"
        ]
        answer = http.get(f"/v1/callback?state={state}&code=alice&code=bob")

    assert answer.status_code == 400


def test_who_tries_too_often_waits(stage: Stage, tmp_path: Path) -> None:
    # From this machine itself: ten times the limit.
    with served_on(stage, tmp_path, logins_per_minute=1) as own, own.client() as http:
        asked = {"user": "lola", "password": "no"}
        codes = [http.post("/v1/login/password", json=asked) for _ in range(12)]
        own.ticks.ahead_s += 6
        after = [http.post("/v1/login/password", json=asked).status_code for _ in range(2)]
        ping = http.get("/v1/ping")

    assert [one.status_code for one in codes[:10]] == [401] * 10
    assert {one.status_code for one in codes[10:]} == {429}
    assert 1 <= int(codes[-1].headers["retry-after"]) <= 60
    assert codes[-1].json()["error"]["code"] == "too-many-attempts"
    assert after == [401, 429]
    assert ping.status_code == 200
    assert len(own.lines(code="wrong-password")) == 11


def test_who_asks_what_anybody_may_too_often_waits_and_can_still_log_in(
    stage: Stage, tmp_path: Path
) -> None:
    # Ten times the limit, and ten times that from this machine itself.
    with served_on(stage, tmp_path, logins_per_minute=1) as own, own.client() as http:
        asked = [http.get(path) for path in ("/v1/ping", "/v1/ca") for _ in range(51)]
        good = own.log_in("alice")["login"]

    assert {one.status_code for one in asked[:100]} == {200}
    assert [one.status_code for one in asked[100:]] == [429] * 2
    assert asked[-1].json()["error"]["code"] == "too-many-attempts"
    assert 1 <= int(asked[-1].headers["retry-after"]) <= 60
    assert good


def test_who_guesses_passwords_is_not_told_what_was_wrong(shared: Served) -> None:
    asked = [{"user": who, "password": "no"} for who in ("lola", "shut-out", "nobody")]
    with shared.client() as http:
        answers = [http.post("/v1/login/password", json=one) for one in asked]

    assert {(one.status_code, one.json()["error"]["code"]) for one in answers} == {
        (401, "wrong-password")
    }
    assert shared.lines(event="login", code="locked-out", rule="local")
    assert shared.count("local", "locked-out") == 1


def test_who_tries_too_many_tokens_fills_no_audit(stage: Stage, tmp_path: Path) -> None:
    with served_on(stage, tmp_path, logins_per_minute=1) as own:
        good = own.log_in("alice")["login"]
        with own.client("gatelogin.AAAA") as http:
            codes = [http.post("/v1/credentials", json={}).status_code for _ in range(15)]
        with own.client(good) as http:
            after = http.post("/v1/credentials", json={}).status_code

    assert codes == [401] * 10 + [429] * 5
    assert len(own.lines(event="credentials", code="unknown-key")) == 10
    assert after == 200


def test_a_gateway_without_users_of_its_own_has_no_password(stage: Stage, tmp_path: Path) -> None:
    with served_on(stage, tmp_path, local=False) as own, own.client() as http:
        answer = http.post("/v1/login/password", json={"user": "lola", "password": PASSWORD})
        ping = http.get("/v1/ping").json()

    assert answer.json()["error"]["code"] == "no-such-way"
    assert "local" not in {one["name"] for one in ping["connectors"]}


def test_a_full_table_takes_no_more_and_keeps_what_it_has(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own.api.browsing, "_most", 1)
    with own.client() as http:
        first = http.post("/v1/login/browser", json=BROWSER)
        second = http.post("/v1/login/browser", json=BROWSER)
        state = httpx.URL(first.json()["url"]).params["state"]
        back = http.get("/v1/callback", params={"state": state, "code": "alice"})

    assert (second.status_code, second.json()["error"]["code"]) == (503, "busy")
    assert "code=" in back.headers["location"]
