"""Logins at GitHub that are refused: each with its reason, and with words that help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from awsgate.connect import github as connector_module
from awsgate.connect.githubapi import MAX_ANSWER_BYTES
from awsgate.connect.ways import LoginRefused
from githublogin import CALLBACK, STATE, Connect, browse, refused
from githubserver import API, CLIENT_SECRET, Answer, Github

# --- what is refused --------------------------------------------------------------------------

TEAMS, USER, TOKEN = f"{API}/user/teams", f"{API}/user", "/login/oauth/access_token"
SSO = "X-GitHub-SSO"


def oauth_error(error: Any, about: Any = "Words.") -> Answer:
    return Answer(200, {"error": error, "error_description": about})


# sentence -> what is wrong at GitHub, reason, and words of message or hint
REFUSED: dict[str, tuple[Mapping[str, Any], str, str]] = {
    "declined": ({"declines": True}, "denied", "the login was declined at GitHub"),
    "callback unknown": (
        {"callback": "https://elsewhere.example.com/"},
        "provider-refused",
        "GitHub does not know the gateway's callback URL",
    ),
    "no team": ({"teams": {}}, "no-role", "approve the gateway's OAuth app"),
    "other teams": (
        {"teams": {"octocat": [("octo-org", "guests")]}},
        "no-role",
        "octocat of GitHub has no role here (teams seen: octo-org/guests)",
    ),
    "suspended": ({"suspended": {"octocat"}}, "suspended", "your account at GitHub is suspended"),
    "suspended, in words of the user": (
        {"instead": {USER: Answer(200, {"login": "octocat", "suspended_at": "2026-01-01"})}},
        "suspended",
        "your account at GitHub is suspended",
    ),
    "scope not granted": ({"scope_granted": "gist"}, "missing-scope", "grant it read:org"),
    "teams hidden": (
        {"instead": {TEAMS: Answer(404, {"message": "Not Found"})}},
        "missing-scope",
        "does not let the gateway see your teams (Not Found)",
    ),
    "single sign-on wanted": (
        {
            "instead": {
                TEAMS: Answer(
                    403,
                    {"message": "Resource protected by organization SAML enforcement."},
                    {SSO: "required; url={url}/orgs/octo-org/sso?authorization_request=A1B2"},
                )
            }
        },
        "sso-required",
        "sign in at {url}/orgs/octo-org/sso, then log in again",
    ),
    "single sign-on elsewhere": (
        {
            "instead": {
                TEAMS: Answer(403, {}, {SSO: "required; url=https://evil.example.com/orgs/x/sso"})
            }
        },
        "sso-required",
        "sign in at {url}/orgs/ORGANISATION/sso, then log in again",
    ),
    "an organisation hidden for want of single sign-on": (
        {
            "teams": {},
            "headers": {TEAMS: {SSO: "partial-results; organizations=21955855,20582480"}},
        },
        "no-role",
        "its teams are hidden (organisations 21955855,20582480)",
    ),
    "rate limit": (
        {"instead": {USER: Answer(403, {"message": "API rate limit exceeded"},
                                  {"X-RateLimit-Remaining": "0"})}},
        "provider-failed",
        "wants to be asked less often",
    ),
    "secondary rate limit": (
        {"instead": {TEAMS: Answer(403, {"message": "secondary rate limit"},
                                   {"Retry-After": "60"})}},
        "provider-failed",
        "wants to be asked less often",
    ),
    "too many requests": (
        {"instead": {TEAMS: Answer(429, {})}},
        "provider-failed",
        "wants to be asked less often",
    ),
    "token not known to the API": (
        {"instead": {USER: Answer(401, {"message": "Bad credentials"})}},
        "provider-failed",
        "answered with status 401 (Bad credentials)",
    ),
    "server error": (
        {"instead": {USER: Answer(502, b"<html>")}},
        "provider-failed",
        "answered with status 502",
    ),
    "no JSON": ({"instead": {USER: Answer(200, b"<html>")}}, "provider-failed", "is no JSON"),
    "deep JSON": (
        {"instead": {USER: Answer(200, b"[" * 200_000)}}, "provider-failed", "is no JSON",
    ),
    "too large": (
        {"instead": {TEAMS: Answer(200, b" " * (MAX_ANSWER_BYTES + 1))}},
        "provider-failed",
        "gave an answer that is too large",
    ),
    "compressed": (
        {"instead": {TEAMS: Answer(200, b"x", {"Content-Encoding": "gzip"})}},
        "provider-failed",
        "compresses its answer, unasked",
    ),
    "redirected": (
        {"instead": {USER: Answer(301, b"", {"Location": "https://evil.example.com/user"})}},
        "provider-failed",
        "answered with status 301",
    ),
    "no list of teams": (
        {"instead": {TEAMS: Answer(200, {"teams": []})}},
        "provider-failed",
        "gave no list of teams",
    ),
    "no login": (
        {"instead": {USER: Answer(200, {"id": 1})}}, "bad-name", "cannot name a user: ''",
    ),
    "a list for a user": (
        {"instead": {USER: Answer(200, [{"login": "octocat"}])}}, "bad-name", "cannot name a user",
    ),
    "a login that is no name": (
        {"instead": {USER: Answer(200, {"login": "octo\ncat"})}}, "bad-name", r"'octo\ncat'",
    ),
    "a login that is too long": (
        {"instead": {USER: Answer(200, {"login": "o" * 256})}}, "bad-name", "1 to 255",
    ),
    "pages without end": (
        {"headers": {TEAMS: {"Link": '<{url}/api/v3/user/teams?page=2>; rel="next"'}}},
        "oversized",
        "you are in over 300 teams",
    ),
    "code used": (
        {"instead": {TOKEN: oauth_error("bad_verification_code")}}, "code-used", "log in again",
    ),
    "client unknown": (
        {"instead": {TOKEN: oauth_error("incorrect_client_credentials")}},
        "provider-refused",
        "client_id or client_secret is wrong",
    ),
    "callback of another login": (
        {"instead": {TOKEN: oauth_error("redirect_uri_mismatch")}},
        "provider-refused",
        "callback URL",
    ),
    "address not verified": (
        {"instead": {TOKEN: oauth_error("unverified_user_email")}},
        "email-not-verified",
        "verify it in GitHub's settings",
    ),
    "an error of tomorrow": (
        {"instead": {TOKEN: oauth_error("too_tall", "You are\n\x1b[31mtoo tall.")}},
        "provider-refused",
        "GitHub refused the login: too_tall (You are[31mtoo tall.)",
    ),
    "an error that is none": (
        {"instead": {TOKEN: oauth_error(["x"], {"y": 1})}}, "provider-failed", "and no token",
    ),
    "no token": ({"instead": {TOKEN: Answer(200, {})}}, "provider-failed", "and no token"),
    "a token that is no text": (
        {"instead": {TOKEN: Answer(200, {"access_token": 1, "token_type": "bearer"})}},
        "provider-failed",
        "and no token",
    ),
    "a token that would break the header": (
        {"instead": {TOKEN: Answer(200, {"access_token": "a\r\nb: c", "token_type": "bearer"})}},
        "provider-failed",
        "gave a token that is none",
    ),
    "a token beside an error": (
        {
            "instead": {
                TOKEN: Answer(
                    200, {"access_token": "a", "token_type": "bearer", "error": "access_denied"}
                )
            }
        },
        "denied",
        "declined",
    ),
    "another kind of token": (
        {"instead": {TOKEN: Answer(200, {"access_token": "a", "token_type": "mac"})}},
        "provider-failed",
        "another kind than bearer",
    ),
    "no GitHub there": (
        {"instead": {TOKEN: Answer(404, b"Not Found")}},
        "provider-failed",
        "endpoint_url or client_id may be wrong",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "reason", "words"), REFUSED.values(), ids=REFUSED)
async def test_it_is_refused_with_its_reason(
    github: Github,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    wrong: Mapping[str, Any],
    reason: str,
    words: str,
) -> None:
    monkeypatch.setattr(connector_module, "MAX_PAGES", 3)
    for name, value in wrong.items():
        setattr(github, name, value)
    for answer in github.instead.values():
        answer.headers = {k: v.format(url=github.url) for k, v in answer.headers.items()}
    github.headers = {
        path: {k: v.format(url=github.url) for k, v in headers.items()}
        for path, headers in github.headers.items()
    }

    refusal = await refused(connect())

    assert refusal.reason == reason
    said = f"{refusal.message}\n{refusal.hint}"
    assert words.format(url=github.url) in said
    assert said.replace("\n", "").isprintable()
    assert not [secret for secret in (CLIENT_SECRET, *github.dropped, "A1B2") if secret in said]


async def test_an_answer_with_another_state_is_refused(github: Github, connect: Connect) -> None:
    connector = connect()
    begun = await connector.begin(state=STATE, redirect_url=CALLBACK)
    answer = await browse(begun)

    for state in ("state-of-mallory", "", "\ud800"):
        with pytest.raises(LoginRefused) as caught:
            await connector.finish({**answer, "state": state}, begun.memory)
        assert caught.value.reason == "wrong-state"
    assert [asked for asked in github.asked if asked.path == TOKEN] == []


async def test_the_code_of_another_login_is_refused(connect: Connect) -> None:
    """PKCE: whoever slips in a code has not the verifier that it was made for."""
    connector = connect()
    mine = await connector.begin(state=STATE, redirect_url=CALLBACK)
    theirs = await connector.begin(state=STATE, redirect_url=CALLBACK)

    with pytest.raises(LoginRefused) as caught:
        await connector.finish(await browse(theirs), mine.memory)

    assert caught.value.reason == "code-used"


async def test_an_answer_is_good_once(connect: Connect) -> None:
    connector = connect()
    begun = await connector.begin(state=STATE, redirect_url=CALLBACK)
    answer = await browse(begun)
    await connector.finish(answer, begun.memory)

    with pytest.raises(LoginRefused) as caught:
        await connector.finish(answer, begun.memory)

    assert caught.value.reason == "code-used"


async def test_an_answer_that_says_nothing_is_refused(connect: Connect) -> None:
    connector = connect()
    begun = await connector.begin(state=STATE, redirect_url=CALLBACK)

    with pytest.raises(LoginRefused, match="neither a code nor an error"):
        await connector.finish({"state": STATE}, begun.memory)


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example.com/api/v3/user/teams",
        "{url}@evil.example.com/api/v3/user/teams",
        "{url}/elsewhere",
        "http://user:pw@{host}/api/v3/user/teams",
        "http://[",
        "//evil.example.com/",
    ],
)
async def test_the_token_does_not_follow_a_link_that_leads_elsewhere(
    github: Github, connect: Connect, link: str
) -> None:
    link = link.format(url=github.url, host=urlsplit(github.url).netloc)
    github.headers[TEAMS] = {"Link": f'<{link}>; rel="next"'}

    refusal = await refused(connect())

    assert (refusal.reason, "elsewhere" in refusal.message) == ("provider-failed", True)
    assert len([asked for asked in github.asked if asked.path not in (USER, TOKEN, TEAMS)]) == 2


async def test_a_github_that_is_not_there_is_said(connect: Connect) -> None:
    connector = connect(endpoint_url="http://127.0.0.1:9")
    begun = await connector.begin(state=STATE, redirect_url=CALLBACK)

    with pytest.raises(LoginRefused) as caught:
        await connector.finish({"state": STATE, "code": "c"}, begun.memory)

    assert caught.value.reason == "provider-failed"
    assert "did not answer (ConnectError)" in caught.value.message


async def test_a_browser_needs_the_client_secret(connect: Connect) -> None:
    with pytest.raises(LoginRefused) as caught:
        await connect(client_secret=None).begin(state=STATE, redirect_url=CALLBACK)

    assert (caught.value.reason, caught.value.hint) == (
        "unsupported",
        "log in with a code on another device",
    )
