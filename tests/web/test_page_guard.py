"""What the page refuses: other sites, other hosts, other browsers; and what its answers carry."""

from __future__ import annotations

import re

import httpx
import pytest
from starlette.requests import Request

from awsgate.login import Identity
from awsgate.web.page import guard
from awsgate.web.page.rendering import STATIC
from awsgate.web.problems import Problem
from web.believing import READ, VERIFIER, challenge
from web.paging import HOME, OWN, Browser, signed_in, words_of
from web.served import Served

EVIL = "https://evil.example.com"
FOREIGN = {
    "another site": {"Sec-Fetch-Site": "cross-site", "Origin": EVIL},
    "a sister site": {"Sec-Fetch-Site": "same-site", "Origin": "https://other.example.com"},
    "no page at all": {"Sec-Fetch-Site": "none"},
    "one that says both": {"Sec-Fetch-Site": "same-origin", "Origin": EVIL},
    "another site that says to be ours": {"Sec-Fetch-Site": "cross-site", "Origin": HOME},
    "an old browser from elsewhere": {"Origin": EVIL},
    "an old browser that says nothing": {"Origin": "null"},
    "nobody": {},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_form_of_another_site_does_nothing(headers: dict[str, str], shared: Served) -> None:
    browser = signed_in(shared)
    fields = {"form_token": browser.form_token(), "app": "main", "role": READ}
    before = len(shared.console.wanted)

    answer = browser.post("/launch", fields, headers)

    assert answer.status_code == 403
    assert "not asked for on a page of this gateway" in words_of(answer)
    assert len(shared.console.wanted) == before


@pytest.mark.parametrize("headers", [OWN, {"Origin": HOME}], ids=["fetch metadata", "origin"])
def test_our_own_form_does(headers: dict[str, str], own: Served) -> None:
    browser = signed_in(own)
    fields = {"form_token": browser.form_token(), "app": "main", "role": READ}

    assert browser.post("/launch", fields, headers).status_code == 303


@pytest.mark.parametrize("path", ["/launch", "/sign-out", "/gateway/locks"])
@pytest.mark.parametrize("which", ["none", "wrong", "another login's"])
def test_a_form_needs_the_token_of_its_login(path: str, which: str, shared: Served) -> None:
    browser = signed_in(shared, "olga")
    token = {"none": "", "wrong": "x" * 64, "another login's": signed_in(shared).form_token()}[
        which
    ]

    answer = browser.post(path, {"form_token": token, "app": "main", "role": READ})

    assert answer.status_code == 403
    assert "this form is too old" in words_of(answer).lower()


def test_a_sign_in_form_is_of_the_browser_that_got_it(shared: Served) -> None:
    token = Browser(shared).form_token()

    answer = Browser(shared).post("/sign-in/password", {"form_token": token, "user": "lola"})

    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["evil.example.com", "gate.example.com.evil.example.com", ""])
def test_a_name_that_is_not_the_gateways_is_refused(host: str, shared: Served) -> None:
    answer = signed_in(shared).get("/", {"Host": host})

    assert answer.status_code in (400, 421)
    assert "Launch" not in answer.text


@pytest.mark.parametrize("hosts", [(), ("localhost", "gate.example.com"), ("[::1",)])
def test_there_is_one_name_that_can_be_read_or_none(hosts: tuple[str, ...], own: Served) -> None:
    headers = [(b"host", host.encode()) for host in hosts]

    with pytest.raises(Problem) as caught:
        guard.check_host(Request({"type": "http", "headers": headers}), own.api)

    assert caught.value.status == 421


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1:1", "awsgate.internal", "[::1]:1"])
def test_all_names_of_the_gateway_are_its_own(host: str, shared: Served) -> None:
    assert signed_in(shared).get("/", {"Host": host}).status_code == 200


PAGES = (
    "/",
    "/login",
    "/calls",
    "/requests",
    "/gateway",
    "/sign-in",
    "/signed-out",
    "/sign-in/provider?connector=no",
)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_keeps_to_itself(path: str, shared: Served) -> None:
    answer = signed_in(shared, "olga").get(path)

    policy = dict(
        one.strip().partition(" ")[::2]
        for one in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"].split()[0] == "'self'"
    assert ("aws.amazon.com" in policy["form-action"]) is (path == "/")
    for name, value in {
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "cross-origin-opener-policy": "same-origin",
    }.items():
        assert answer.headers.get_list(name) == [value]
    assert not re.search(
        r"<script(?![^>]*\bsrc=)|\sstyle=|<style|\son[a-z]+=|javascript:", answer.text
    )
    links = re.findall(r'(?:src|href|action)="([^"]*)"', answer.text)
    assert [link for link in links if not link.startswith(("/", "#"))] == []


def test_the_files_of_the_page_are_served_and_no_others(shared: Served) -> None:
    browser = Browser(shared)
    for name, (kind, _) in STATIC.items():
        answer = browser.get(f"/static/{name}")
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)
    for name in ("htmx.LICENSE.txt", "..%2f__init__.py", "%2e%2e/page.css"):
        assert browser.get(f"/static/{name}").status_code == 404


# --- the browser flow: the page's and the CLI's are two ------------------------------------


def begun(browser: Browser, connector: str = "oidc/okta") -> str:
    """Begin a sign-in; give the state that the provider would send back."""
    answer = browser.get(
        "/sign-in/provider", {"Sec-Fetch-Site": "same-origin"}, connector=connector
    )
    assert answer.status_code == 303, answer.text
    return httpx.URL(answer.headers["location"]).params["state"]


BACK = {"Sec-Fetch-Site": "cross-site"}


def test_the_browser_that_began_gets_the_login_in_a_cookie(own: Served) -> None:
    browser = Browser(own)
    state = begun(browser)

    answer = browser.get("/v1/callback", BACK, state=state, code="alice")

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "samesite=lax" in browser.attributes[guard.LOGIN]
    assert guard.BEGUN not in browser.cookies
    assert "alice" in words_of(browser.get("/"))
    (line,) = own.lines(event="login")
    assert (line["user"], line["rule"], line["decision"]) == ("alice", "oidc/okta", "allowed")
    assert own.api.proved._kept == {}


@pytest.mark.parametrize("cookie", ["", "of-another-sign-in"])
def test_another_browser_gets_nothing_of_it(cookie: str, own: Served) -> None:
    state = begun(Browser(own))
    other = Browser(own)
    if cookie:
        other.cookies[guard.BEGUN] = cookie

    answer = other.get("/v1/callback", BACK, state=state, code="alice")

    assert answer.status_code == 400
    assert "begun in another browser" in words_of(answer)
    assert guard.LOGIN not in other.cookies
    assert own.lines(event="login") == []


def test_a_clis_login_gives_a_browser_no_cookie(own: Served) -> None:
    asked = {"connector": "oidc/okta", "challenge": challenge(), "port": 4321}
    with own.client() as http:
        url = httpx.URL(http.post("/v1/login/browser", json=asked).json()["url"])
    browser = Browser(own)
    browser.cookies[guard.BEGUN] = VERIFIER

    answer = browser.get("/v1/callback", BACK, state=url.params["state"], code="alice")

    assert answer.headers["location"].startswith("http://127.0.0.1:4321/callback?code=")
    assert guard.LOGIN not in browser.cookies


def test_a_pages_login_gives_a_cli_no_code(own: Served) -> None:
    with own.client() as http:
        asked = {"connector": "oidc/okta", "challenge": challenge(), "port": 0}
        answer = http.post("/v1/login/browser", json=asked)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad-request")


def test_a_providers_no_is_told_on_the_page(own: Served) -> None:
    browser = Browser(own)

    answer = browser.get("/v1/callback", BACK, state=begun(browser), code="access_denied")

    assert answer.status_code == 401
    assert "The provider said access_denied" in words_of(answer)
    (line,) = own.lines(event="login")
    assert (line["decision"], line["code"]) == ("refused", "provider-refused")


def test_another_site_begins_no_sign_in(own: Served) -> None:
    answer = Browser(own).get(
        "/sign-in/provider", {"Sec-Fetch-Site": "cross-site"}, connector="oidc/okta"
    )

    assert answer.status_code == 403


def test_at_another_address_the_right_one_is_told(own: Served) -> None:
    answer = Browser(own).get(
        "/sign-in/provider", {"Host": "localhost:8444"}, connector="oidc/okta"
    )

    assert answer.status_code == 400
    assert f"Open {HOME}/ and sign in there" in words_of(answer)


def test_the_api_takes_no_cookie_and_the_page_no_bearer(shared: Served) -> None:
    token = shared.log_in("alice")["login"]
    with shared.client(token) as http:
        page = http.get("/login", headers={"Host": "localhost"})
    api = signed_in(shared).get("/v1/whoami")

    assert page.status_code == 401
    assert api.status_code == 401


def test_a_login_of_many_roles_fits_into_cookies(own: Served) -> None:
    roles = ("reader", *(f"role-{'y' * 40}-{n}" for n in range(38)))
    login = own.api.desk.admit(Identity("alice", "oidc/okta", roles=roles))
    token = own.api.desk.token(login)
    assert len(token) > 2500
    from starlette.responses import Response

    answer = Response()
    guard.keep_login(answer, token, life_s=60)
    cookies = [value.decode() for name, value in answer.raw_headers if name == b"set-cookie"]
    browser = Browser(own)
    for cookie in cookies:
        assert len(cookie) < 4096
        name, _, value = cookie.partition(";")[0].partition("=")
        if value.strip('"'):
            browser.cookies[name] = value

    assert "alice" in words_of(browser.get("/"))


@pytest.mark.parametrize("way", ["password", "provider"])
def test_sign_ins_are_bounded(way: str, own: Served) -> None:
    own.api.attempts._per_minute = 1
    browser, seen = Browser(own), set()
    for _ in range(12):
        if way == "password":
            answer = browser.send("/sign-in/password", "/sign-in", user="lola", password="no")
        else:
            answer = browser.get("/sign-in/provider", connector="oidc/okta")
        seen.add(answer.status_code)

    assert seen == {401 if way == "password" else 303, 429}


def test_guessing_logins_is_bounded(own: Served) -> None:
    own.api.attempts._per_minute = 1
    browser = Browser(own)
    seen = set()
    for _ in range(12):
        browser.have("gatelogin.guessed")
        seen.add(browser.get("/").status_code)

    assert seen == {401, 429}
