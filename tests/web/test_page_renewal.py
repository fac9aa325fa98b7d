"""A login renewed on the page: another one, where it came from, and no longer than policy says."""

from __future__ import annotations

import httpx

from awsgate.web.page.guard import LOGIN
from web.believing import PASSWORD
from web.paging import Browser, signed_in, words_of
from web.served import Served


def test_a_login_is_renewed_where_it_came_from_and_no_longer_than_policy_says(own: Served) -> None:
    browser = signed_in(own)
    before = browser.cookies[LOGIN]
    own.clock.ahead_s += 7 * 3600
    page = browser.get("/login")
    assert "Renew with Okta" in words_of(page)
    assert 'href="/sign-in/provider?connector=oidc/okta"' in page.text

    begun = browser.get("/sign-in/provider", connector="oidc/okta")
    state_of = httpx.URL(begun.headers["location"]).params["state"]
    assert browser.cookies[LOGIN] == before
    browser.get("/v1/callback", {"Sec-Fetch-Site": "cross-site"}, state=state_of, code="alice")

    assert browser.cookies[LOGIN] != before
    assert "7 h 59 min left" in words_of(browser.get("/login"))
    own.clock.ahead_s += 3600
    assert Browser(own).have(before).get("/login").status_code == 401
    assert browser.get("/login").status_code == 200
    own.clock.ahead_s += 7 * 3600
    assert browser.get("/login").status_code == 401


def test_a_password_renews_where_passwords_are_typed(own: Served) -> None:
    browser = Browser(own)
    browser.send("/sign-in/password", user="lola", password=PASSWORD)

    page = browser.get("/login")

    assert "Renew: sign in again" in words_of(page)
    assert "/sign-in/provider" not in page.text
