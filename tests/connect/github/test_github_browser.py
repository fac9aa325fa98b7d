"""Logins at GitHub through a browser: who comes out, and what GitHub was asked."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from awsgate.connect.githubapi import MAX_PAGES, PER_PAGE
from awsgate.errors import SetupError
from awsgate.login import Identity
from githublogin import CALLBACK, STATE, Connect, log_in, refused
from githubserver import API, CLIENT_ID, CLIENT_SECRET, Answer, Github

NOW = 1_800_000_000


# --- who comes out ----------------------------------------------------------------------------


async def test_a_member_of_a_team_has_its_roles(github: Github, connect: Connect) -> None:
    github.teams["octocat"] = [("Octo-Org", "Admins"), ("octo-org", "staff"), ("other", "staff")]

    identity = await log_in(connect())

    assert identity == Identity(
        user="octocat",
        connector="github/corp",
        roles=("admin", "read"),
        traits={"github_teams": ("Admins", "staff"), "github_orgs": ("Octo-Org", "octo-org")},
        ends_at=None,
    )


async def test_the_document_says_prefix_and_end(connect: Connect) -> None:
    identity = await log_in(connect(username_prefix="gh:", login_ttl="8h"))

    assert (identity.user, identity.ends_at) == ("gh:octocat", NOW + 8 * 3600)


async def test_a_team_of_that_name_in_anybodys_organisation_is_nothing(
    github: Github, connect: Connect
) -> None:
    """Whoever makes an organisation names its teams: no role and no trait comes of it."""
    github.teams["octocat"] = [("mallory-inc", "admins"), ("octo-org", "staff")]

    identity = await log_in(connect())

    assert identity.roles == ("read",)
    assert identity.traits == {"github_teams": ("staff",), "github_orgs": ("octo-org",)}


async def test_teams_are_read_over_all_pages(github: Github, connect: Connect) -> None:
    github.teams["octocat"] = [("octo-org", f"team-{n}") for n in range(250)]
    github.teams["octocat"] += [("octo-org", "staff")]

    identity = await log_in(connect())

    assert identity.roles == ("read",)
    assert len(identity.traits["github_teams"]) == 251
    pages = [asked.query for asked in github.asked if asked.path == f"{API}/user/teams"]
    assert pages == [
        {"per_page": "100"},
        {"per_page": "100", "page": "2"},
        {"per_page": "100", "page": "3"},
    ]


async def test_an_enterprise_team_and_what_is_no_team_are_passed_over(
    github: Github, connect: Connect
) -> None:
    team = {"slug": "staff", "organization": {"login": "octo-org"}}
    github.instead[f"{API}/user/teams"] = Answer(
        200, [{"slug": "admins", "organization": None}, 1, None, {}, {"slug": 3}, team]
    )

    assert (await log_in(connect())).roles == ("read",)


def test_five_thousand_teams_are_read() -> None:
    assert MAX_PAGES * PER_PAGE == 5000


# --- what GitHub is asked ---------------------------------------------------------------------


async def test_the_browser_is_sent_with_pkce_and_the_one_scope(
    github: Github, connect: Connect
) -> None:
    begun = await connect().begin(state=STATE, redirect_url=CALLBACK)

    query = dict(parse_qsl(urlsplit(begun.url).query))
    challenge = query.pop("code_challenge")
    assert begun.url.startswith(f"{github.url}/login/oauth/authorize?")
    assert query == {
        "client_id": CLIENT_ID,
        "redirect_uri": CALLBACK,
        "scope": "read:org",
        "state": STATE,
        "allow_signup": "false",
        "code_challenge_method": "S256",
    }
    assert (len(challenge), "=" in challenge) == (43, False)
    assert begun.memory["verifier"] not in begun.url
    assert begun.memory["verifier"] not in repr(begun)


async def test_no_two_logins_share_a_verifier(connect: Connect) -> None:
    begun = [await connect().begin(state=STATE, redirect_url=CALLBACK) for _ in range(2)]

    assert begun[0].memory["verifier"] != begun[1].memory["verifier"]
    assert len(begun[0].memory["verifier"]) >= 43  # RFC 7636, 4.1


async def test_the_token_is_dropped_whatever_came_of_it(github: Github, connect: Connect) -> None:
    await log_in(connect())
    github.teams["octocat"] = []
    assert (await refused(connect())).reason == "no-role"

    assert (len(github.dropped), github.tokens) == (2, {})


async def test_a_github_that_does_not_drop_the_token_stops_nobody(
    github: Github, connect: Connect
) -> None:
    github.instead[f"{API}/applications/{CLIENT_ID}/token"] = Answer(500, {})

    assert (await log_in(connect())).user == "octocat"


async def test_no_secret_is_logged_or_kept(
    github: Github, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    connector = connect()

    await log_in(connector)

    (token,) = github.dropped
    kept = repr(vars(connector)) + repr(vars(connector._api)) + repr(vars(connector._api._http))
    assert not [text for text in (caplog.text, kept) if token in text]
    assert CLIENT_SECRET not in caplog.text


async def test_cookies_of_one_login_do_not_reach_the_next(github: Github, connect: Connect) -> None:
    github.headers[f"{API}/user"] = {"Set-Cookie": "logged_in=octocat; Path=/"}

    await log_in(connect())
    await log_in(connect())

    assert [asked for asked in github.asked if "cookie" in asked.headers] == []


async def test_the_secret_may_be_in_a_file(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(CLIENT_SECRET + "\n")

    assert (await log_in(connect(client_secret=f"file://{tmp_path}/secret"))).user == "octocat"
    with pytest.raises(SetupError, match="cannot read"):
        connect(client_secret=f"file://{tmp_path}/gone")
