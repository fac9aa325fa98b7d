"""GitHub: who is in which team. github.com, GHE.com and Enterprise Server.

    browser   OAuth web application flow, with PKCE and state
    device    the code is typed on another device (RFC 8628)

The scope is ``read:org`` alone. The token is asked two questions, who its user is and in
which teams, and then dropped: it is kept nowhere, and GitHub is asked to forget it.

A user is called by the login. Roles come of ``teams_to_roles``; traits are ``github_teams``
(slugs) and ``github_orgs``, of the organisations that ``teams_to_roles`` names alone:
anybody can make an organisation with a team of any name.

What GitHub does is in ``githubapi``, and where it says so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from urllib.parse import urlencode

import httpx

from awsgate.connect import oauth
from awsgate.connect.githubapi import MAX_PAGES, PER_PAGE, GithubApi, Places, Reply, failed
from awsgate.connect.secrets import secret_text
from awsgate.connect.ways import Begun, DeviceCode, LoginRefused, Pending, roles_given
from awsgate.login import Identity
from awsgate.policy.connectors import Github, name_of
from awsgate.policy.fields import is_name
from awsgate.policy.rolemapping import roles_by_teams

SCOPE = "read:org"
_USUAL_LIFE_S = 900
_AGAIN = "log in again"
_OPERATOR = "the operator of the gateway has to look"

_ERRORS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "access_denied": ("denied", "the login was declined at GitHub", _AGAIN),
        "application_suspended": (
            "provider-refused",
            "GitHub has suspended the OAuth app of this gateway",
            _OPERATOR,
        ),
        "redirect_uri_mismatch": (
            "provider-refused",
            "GitHub does not know the gateway's callback URL",
            "the OAuth app's callback URL must be the connector's redirect_url, or above it",
        ),
        "bad_verification_code": (
            "code-used",
            "GitHub does not take the code: it was used, has ended, or is of another login",
            _AGAIN,
        ),
        "incorrect_client_credentials": (
            "provider-refused",
            "GitHub does not know the gateway: client_id or client_secret is wrong",
            _OPERATOR,
        ),
        "unverified_user_email": (
            "email-not-verified",
            "GitHub wants your primary e-mail address verified first",
            "verify it in GitHub's settings, then log in again",
        ),
        "expired_token": ("expired", "the code was not typed in time", _AGAIN),
        "token_expired": ("expired", "the code was not typed in time", _AGAIN),
        "incorrect_device_code": ("code-used", "GitHub does not know the device code", _AGAIN),
        "device_flow_disabled": (
            "unsupported",
            "the OAuth app does not allow the device flow",
            "log in with a browser; or enable it in the app's settings at GitHub",
        ),
    }
)
"""GitHub's error -> reason, message, hint. Any other is told as it came."""
_text = partial(oauth.text_in, of="GitHub", most=1024)
_SSO_URL = re.compile(r"(?:^|[;\s])url=(\S+)")
_SSO_IDS = re.compile(r"organizations=([0-9,]{1,200})")


class GithubConnector:
    """One ``kind: github`` document at work. A ``BrowserWay`` and a ``DeviceWay``.

    Raises ``SetupError`` if the client secret cannot be read.
    """

    def __init__(
        self, document: Github, *, http: httpx.AsyncClient, clock: Callable[[], float] = time.time
    ) -> None:
        self._document = document
        self._spec = document.spec
        self._secret = secret_text(document.spec.client_secret)
        self._clock = clock
        self._places = Places.of(document.spec)
        self._api = GithubApi(http, self._places)

    async def begin(self, *, state: str, redirect_url: str) -> Begun:
        """Give where the browser goes, and what ``finish`` needs."""
        if not self._secret:
            raise LoginRefused(
                "unsupported",
                "this connector has no client_secret, and GitHub wants one for browsers",
                hint="log in with a code on another device",
            )
        verifier = oauth.new_verifier()
        query = {
            "client_id": self._spec.client_id,
            "redirect_uri": redirect_url,
            "scope": SCOPE,
            "state": state,
            "allow_signup": "false",
            **oauth.challenge_of(verifier),
        }
        memory = {"state": state, "verifier": verifier, "redirect_url": redirect_url}
        return Begun(f"{self._places.authorize}?{urlencode(query)}", memory)

    async def finish(self, answer: Mapping[str, str], memory: Mapping[str, str]) -> Identity:
        """Give who came back from GitHub. Raises ``LoginRefused``."""
        oauth.check_state(answer, memory)
        if "error" in answer:
            raise _refusal_of(answer)
        if not answer.get("code"):
            raise LoginRefused("provider-failed", "GitHub sent neither a code nor an error")
        form = {
            "client_id": self._spec.client_id,
            "client_secret": self._secret,
            "code": answer["code"],
            "redirect_uri": memory["redirect_url"],
            "code_verifier": memory["verifier"],
        }
        return await self._identity(_token_in(await self._api.post(self._places.token, form)))

    async def start_device(self) -> DeviceCode:
        """Ask for a code to be typed elsewhere. Raises ``LoginRefused``."""
        if not self._spec.device:
            raise LoginRefused(
                "unsupported", "this connector has no device login", hint="log in with a browser"
            )
        form = {"client_id": self._spec.client_id, "scope": SCOPE}
        reply = await self._api.post(self._places.device_code, form)
        if reply.status != 200 or "error" in reply.said:
            raise _oauth_refusal(reply, self._places.device_code)
        said = reply.said
        where = _text(said, "verification_uri")
        # Somebody is sent there, and told to type a code.
        if not where.lower().startswith(f"{self._places.web.lower()}/"):
            raise failed(self._places.device_code, "sends whoever logs in elsewhere")
        return DeviceCode(
            user_code=_text(said, "user_code"),
            verification_uri=where,
            verification_uri_complete="",
            interval_s=oauth.seconds(said.get("interval"), oauth.USUAL_INTERVAL_S, most=60),
            expires_in_s=oauth.seconds(said.get("expires_in"), _USUAL_LIFE_S, most=1800),
            memory={"device_code": _text(said, "device_code")},
        )

    async def poll_device(self, memory: Mapping[str, str]) -> Identity:
        """Give who typed the code. Raises ``Pending`` or ``LoginRefused``."""
        form = {
            "client_id": self._spec.client_id,
            "device_code": memory["device_code"],
            "grant_type": oauth.DEVICE_GRANT,
        }
        reply = await self._api.post(self._places.token, form)
        error = reply.said.get("error")
        if error in ("authorization_pending", "slow_down"):
            raise Pending(slow_down=error == "slow_down")
        return await self._identity(_token_in(reply))

    async def _identity(self, token: str) -> Identity:
        try:
            user = await self._user(token)
            teams, hidden = await self._teams(token)
        finally:
            if self._secret:
                await self._api.drop(token, self._spec.client_id, self._secret)
        roles = roles_given(lambda: roles_by_teams(self._spec.teams_to_roles, teams))
        if not roles:
            raise self._no_role(user, teams, hidden)
        known = self._known(teams)
        traits = {
            "github_teams": tuple(dict.fromkeys(team for _, team in known)),
            "github_orgs": tuple(dict.fromkeys(organization for organization, _ in known)),
        }
        ttl_s = self._spec.login_ttl_s
        ends_at = None if ttl_s is None else int(self._clock()) + ttl_s
        return Identity(user, name_of(self._document), roles, MappingProxyType(traits), ends_at)

    async def _user(self, token: str) -> str:
        reply = await self._api.get("/user", token)
        if reply.status != 200:
            raise self._api_refusal(reply, "/user")
        if reply.said.get("suspended_at"):
            raise _suspended()
        login = reply.said.get("login")
        name = f"{self._spec.username_prefix}{login}" if isinstance(login, str) and login else ""
        if not is_name(name):
            raise LoginRefused(
                "bad-name",
                f"the login at GitHub cannot name a user: {name[:80]!r}",
                hint="a name is 1 to 255 printable characters",
            )
        return name

    async def _teams(self, token: str) -> tuple[list[tuple[str, str]], str]:
        """Give organisation and slug of each team, and which organisations GitHub hid."""
        teams: list[tuple[str, str]] = []
        hidden = ""
        place = f"/user/teams?per_page={PER_PAGE}"
        for _ in range(MAX_PAGES):
            reply = await self._api.get(place, token)
            if reply.status != 200:
                raise self._api_refusal(reply, "/user/teams")
            if not isinstance(reply.content, list):
                raise failed(f"{self._places.api}/user/teams", "gave no list of teams")
            teams.extend(_named(reply.content))
            hidden = hidden or _hidden_in(reply)
            place = self._api.next_page(reply)
            if not place:
                return teams, hidden
        # Not cut off instead: which roles somebody has may not depend on GitHub's order.
        raise LoginRefused(
            "oversized",
            f"you are in over {MAX_PAGES * PER_PAGE} teams at GitHub",
            hint="log in with another connector",
        )

    def _known(self, teams: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Give the teams of the organisations that the connector names."""
        ours = {row.organization.lower() for row in self._spec.teams_to_roles}
        return [(org, team) for org, team in teams if org.lower() in ours]

    def _no_role(self, user: str, teams: list[tuple[str, str]], hidden: str) -> LoginRefused:
        seen = [f"{organization}/{team}" for organization, team in self._known(teams)]
        hint = "ask the operator of the gateway for a row in teams_to_roles"
        if hidden:
            hint += f"; {hidden}"
        elif not seen:
            hint += (
                "; or an owner of the organisation has to approve the gateway's OAuth app "
                "(Settings, Third-party access): until then GitHub hides its teams"
            )
        what = f"teams seen: {', '.join(seen[:10])}" if seen else "no team of its organisations"
        return LoginRefused("no-role", f"{user} of GitHub has no role here ({what})", hint=hint)

    def _api_refusal(self, reply: Reply, path: str) -> LoginRefused:
        """Give the refusal for an answer of the API that is none."""
        url, said = self._places.api + path, oauth.printable(reply.said.get("message"))
        sso = reply.headers.get("x-github-sso", "")
        if reply.status == 403 and sso:
            return LoginRefused(
                "sso-required",
                "an organisation at GitHub wants you to sign in to it first (single sign-on)",
                hint=f"sign in at {self._sso_url(sso)}, then log in again",
            )
        if reply.status in (403, 429) and _is_limited(reply):
            return failed(url, "wants to be asked less often", hint="try again in some minutes")
        if reply.status == 403 and "suspended" in said.lower():
            return _suspended()
        if reply.status in (403, 404) and path == "/user/teams":
            return LoginRefused(
                "missing-scope",
                "GitHub does not let the gateway see your teams" + (f" ({said})" if said else ""),
                hint="grant it read:org when GitHub asks; a GitHub App needs Members: read",
            )
        return failed(url, f"answered with status {reply.status}" + (f" ({said})" if said else ""))

    def _sso_url(self, header: str) -> str:
        """Give where to sign in. Without its query, which is for the token we drop."""
        found = _SSO_URL.search(header)
        place = found[1].partition("?")[0] if found else ""
        if not place.startswith(f"{self._places.web}/orgs/"):
            return f"{self._places.web}/orgs/ORGANISATION/sso"
        return oauth.printable(place)


def _token_in(reply: Reply) -> str:
    """Give the token of an answer. GitHub says errors with status 200. Raises ``LoginRefused``."""
    token = reply.said.get("access_token")
    if reply.status != 200 or not isinstance(token, str) or "error" in reply.said:
        raise _oauth_refusal(reply, "")
    if str(reply.said.get("token_type", "")).lower() != "bearer":
        raise LoginRefused("provider-failed", "GitHub gave a token of another kind than bearer")
    return token


def _oauth_refusal(reply: Reply, url: str) -> LoginRefused:
    if isinstance(reply.said.get("error"), str) and reply.said["error"] != "Not Found":
        return _refusal_of(reply.said)
    return failed(
        url,
        f"answered with status {reply.status} and no token",
        hint="endpoint_url or client_id may be wrong" if reply.status == 404 else "",
    )


def _refusal_of(said: Mapping[str, object]) -> LoginRefused:
    slug = oauth.error_in(said)
    if slug in _ERRORS:
        reason, message, hint = _ERRORS[slug]
        return LoginRefused(reason, message, hint=hint)
    about = oauth.printable(said.get("error_description"))
    words = f"GitHub refused the login: {slug}" + (f" ({about})" if about else "")
    return LoginRefused("provider-refused", words, hint=_AGAIN)


def _is_limited(reply: Reply) -> bool:
    """True if it is about the rate of all who log in ("Rate limits for the REST API")."""
    used_up = reply.headers.get("x-ratelimit-remaining") == "0"
    return reply.status == 429 or used_up or "retry-after" in reply.headers


def _suspended() -> LoginRefused:
    return LoginRefused(
        "suspended", "your account at GitHub is suspended", hint="ask who runs that GitHub"
    )


def _named(content: list[object]) -> list[tuple[str, str]]:
    """Give (organisation, slug) of each team that has both; enterprise teams have none."""
    found: list[tuple[str, str]] = []
    for team in content:
        organization = team.get("organization") if isinstance(team, dict) else None
        if not isinstance(team, dict) or not isinstance(organization, dict):
            continue
        login, slug = organization.get("login"), team.get("slug")
        if isinstance(login, str) and isinstance(slug, str) and is_name(login) and is_name(slug):
            found.append((login, slug))
    return found


def _hidden_in(reply: Reply) -> str:
    """Say which organisations are left out for want of a single sign-on."""
    header = reply.headers.get("x-github-sso", "")
    if not header.startswith("partial-results"):
        return ""
    ids = _SSO_IDS.search(header)
    which = f" (organisations {ids[1]})" if ids else ""
    return f"or sign in to your organisation at GitHub first: without, its teams are hidden{which}"
