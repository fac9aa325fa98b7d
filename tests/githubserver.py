"""A GitHub of the tests' own, over real HTTP, that follows GitHub's documentation.

Written from the pages at docs.github.com, each part naming its own:

    A  apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
    B  apps/oauth-apps/maintaining-oauth-apps/troubleshooting-authorization-request-errors
    C  apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors
    D  rest/teams/teams#list-teams-for-the-authenticated-user, rest/users/users
    E  rest/using-the-rest-api/using-pagination-in-the-rest-api
    F  rest/using-the-rest-api/troubleshooting-the-rest-api, .../rate-limits-for-the-rest-api
    G  rest/authentication/authenticating-to-the-rest-api (X-GitHub-SSO)
    H  rest/apps/oauth-applications#delete-an-app-token

PKCE is of the changelog, github.blog/changelog/2025-07-14: S256 alone, and enforced once a
challenge was sent. The layout is that of Enterprise Server: the API is at ``/api/v3``. It is
as strict as the pages: a code is good once, and whoever polls too early is slowed down.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from httpserving import QuietHandler, http_server

CLIENT_ID = "Iv1.0123456789abcdef"
CLIENT_SECRET = "secret-of-the-oauth-app-5f0c2d"
INTERVAL_S = 5
DEVICE_LIFE_S = 900
CODE_LIFE_S = 600
API = "/api/v3"
TEAMS_SCOPES = {"read:org", "write:org", "admin:org", "user", "repo"}


@dataclass
class Grant:
    """A code that somebody has approved, or will."""

    login: str = ""
    scope: str = ""
    redirect_uri: str = ""
    challenge: str = ""
    made_at: float = 0.0
    device_code: str = ""
    declined: bool = False
    interval_s: int = INTERVAL_S
    polled_at: float = 0.0


@dataclass
class Answer:
    """What is sent back."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Asked:
    """What arrived."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Github:
    """People, teams and one OAuth app."""

    def __init__(self) -> None:
        self.url = ""
        self.now: Callable[[], float] = time.time
        self.teams: dict[str, list[tuple[str, str]]] = {"octocat": [("octo-org", "admins")]}
        """Login -> organisation and slug of each team."""
        self.suspended: set[str] = set()
        self.signed_in = "octocat"
        """Who sits at the browser."""
        self.declines = False
        self.callback = "http://127.0.0.1"
        """The app's callback URL; with loopback, any port will do (A, "Loopback redirect urls")."""
        self.device_flow = True
        self.interval_s = INTERVAL_S
        self.scope_granted = ""
        """Empty: what was asked for."""
        self.instead: dict[str, Answer] = {}
        """Path -> an answer that stands in for the right one."""
        self.headers: dict[str, dict[str, str]] = {}
        """Path -> headers that are added."""
        self.asked: list[Asked] = []
        self.tokens: dict[str, tuple[str, set[str]]] = {}
        self.dropped: list[str] = []
        self._codes: dict[str, Grant] = {}
        self._devices: dict[str, Grant] = {}
        self._lock = threading.Lock()

    # --- what a person does -----------------------------------------------------------------

    def type_code(self, user_code: str, login: str = "octocat", *, decline: bool = False) -> None:
        """Type a device's code at /login/device."""
        grant = self._devices[user_code]
        grant.login, grant.declined = login, decline

    # --- what the server answers --------------------------------------------------------------

    def answer(self, asked: Asked) -> Answer:
        with self._lock:
            self.asked.append(asked)
            given = self.instead.get(asked.path) or self._answer(asked)
            given.headers.update(self.headers.get(asked.path, {}))
            return given

    def _answer(self, asked: Asked) -> Answer:
        routes: dict[tuple[str, str], Callable[[Asked], Answer]] = {
            ("GET", "/login/oauth/authorize"): self._authorize,
            ("POST", "/login/oauth/access_token"): self._token,
            ("POST", "/login/device/code"): self._device,
            ("GET", f"{API}/user"): self._user,
            ("GET", f"{API}/user/teams"): self._teams,
            ("DELETE", f"{API}/applications/{CLIENT_ID}/token"): self._drop,
        }
        found = routes.get((asked.method, asked.path))
        if found is None:
            return Answer(404, {"message": "Not Found"})
        if not asked.headers.get("user-agent"):
            return Answer(403, {"message": "Request forbidden by administrative rules."})  # F
        return found(asked)

    def _authorize(self, asked: Asked) -> Answer:
        query = asked.query
        if query.get("client_id") != CLIENT_ID:
            return Answer(404, {"message": "Not Found"})
        state = {"state": query["state"]} if "state" in query else {}
        if not self._fits(query.get("redirect_uri", "")):
            return self._back(self.callback, _AUTHORIZE_ERRORS["redirect_uri_mismatch"] | state)
        if self.declines:
            declined = _AUTHORIZE_ERRORS["access_denied"] | state
            return self._back(query["redirect_uri"], declined)
        if "code_challenge" in query and query.get("code_challenge_method") != "S256":
            return Answer(400, b"only S256")
        code = secrets.token_hex(10)
        self._codes[code] = Grant(
            login=self.signed_in,
            scope=query.get("scope", ""),
            redirect_uri=query["redirect_uri"],
            challenge=query.get("code_challenge", ""),
            made_at=self.now(),
        )
        return self._back(query["redirect_uri"], {"code": code} | state)

    def _fits(self, redirect_uri: str) -> bool:
        """A, "Redirect URLs"."""
        given, ours = urlsplit(redirect_uri), urlsplit(self.callback)
        loopback = ours.hostname == "127.0.0.1"
        return (
            given.hostname == ours.hostname
            and (loopback or given.port == ours.port)
            and given.path.startswith(ours.path)
        )

    def _back(self, url: str, query: dict[str, str]) -> Answer:
        return Answer(302, b"", {"Location": f"{url}?{urlencode(query)}"})

    def _token(self, asked: Asked) -> Answer:
        form = asked.form
        if form.get("client_id") != CLIENT_ID:
            return self._error("incorrect_client_credentials")
        if "device_code" in form or "grant_type" in form:
            return self._device_token(form)
        if form.get("client_secret") != CLIENT_SECRET:
            return self._error("incorrect_client_credentials")
        grant = self._codes.pop(form.get("code", ""), None)
        if grant is None or self.now() - grant.made_at > CODE_LIFE_S:
            return self._error("bad_verification_code")
        if form.get("redirect_uri", grant.redirect_uri) != grant.redirect_uri:
            return self._error("redirect_uri_mismatch")
        hashed = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if grant.challenge and base64.urlsafe_b64encode(hashed).decode() != grant.challenge + "=":
            return self._error("bad_verification_code")
        return self._granted(grant)

    def _granted(self, grant: Grant) -> Answer:
        token = f"gho_{secrets.token_hex(18)}"
        scope = self.scope_granted or grant.scope
        self.tokens[token] = grant.login, set(scope.replace(",", " ").split())
        return Answer(
            200,
            {"access_token": token, "scope": scope.replace(" ", ","), "token_type": "bearer"},
        )

    def _device(self, asked: Asked) -> Answer:
        if asked.form.get("client_id") != CLIENT_ID:
            return Answer(404, {"error": "Not Found"})
        if not self.device_flow:
            return self._error("device_flow_disabled")
        user_code = f"{secrets.token_hex(2)}-{secrets.token_hex(2)}".upper()
        grant = Grant(
            scope=asked.form.get("scope", ""),
            device_code=secrets.token_hex(20),
            made_at=self.now(),
            interval_s=self.interval_s,
        )
        self._devices[user_code] = grant
        return Answer(
            200,
            {
                "device_code": grant.device_code,
                "user_code": user_code,
                "verification_uri": f"{self.url}/login/device",
                "expires_in": DEVICE_LIFE_S,
                "interval": self.interval_s,
            },
        )

    def _device_token(self, form: dict[str, str]) -> Answer:
        """A, "Error codes for the device flow"."""
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:device_code":
            return self._error("unsupported_grant_type")
        named = [
            (user_code, grant)
            for user_code, grant in self._devices.items()
            if grant.device_code == form.get("device_code")
        ]
        if not named:
            return self._error("incorrect_device_code")
        user_code, grant = named[0]
        if self.now() - grant.made_at > DEVICE_LIFE_S:
            return self._error("expired_token")
        if grant.declined:
            return self._error("access_denied")
        early = self.now() - grant.polled_at < grant.interval_s
        grant.polled_at = self.now()
        if early:
            grant.interval_s += 5
            return self._error("slow_down", interval=grant.interval_s)
        if not grant.login:
            return self._error("authorization_pending")
        del self._devices[user_code]
        return self._granted(grant)

    def _error(self, error: str, **more: Any) -> Answer:
        """C: errors, too, come with status 200."""
        about = {"error": error, "error_description": f"About {error}.", "error_uri": "https://x"}
        return Answer(200, about | more)

    def _caller(self, asked: Asked) -> tuple[str, set[str]] | Answer:
        kind, _, token = asked.headers.get("authorization", "").partition(" ")
        if kind.lower() not in ("bearer", "token"):
            return Answer(401, {"message": "Requires authentication"})
        if token not in self.tokens:
            return Answer(401, {"message": "Bad credentials"})
        login, scopes = self.tokens[token]
        if login in self.suspended:
            return Answer(403, {"message": "Sorry. Your account was suspended."})
        return login, scopes

    def _user(self, asked: Asked) -> Answer:
        caller = self._caller(asked)
        if isinstance(caller, Answer):
            return caller
        number = int(hashlib.sha256(caller[0].encode()).hexdigest()[:8], 16)
        about = {"login": caller[0], "id": number, "type": "User", "site_admin": False}
        return Answer(
            200, {**about, "suspended_at": None}, {"X-OAuth-Scopes": ", ".join(caller[1])}
        )

    def _teams(self, asked: Asked) -> Answer:
        caller = self._caller(asked)
        if isinstance(caller, Answer):
            return caller
        login, scopes = caller
        if not scopes & TEAMS_SCOPES:
            message = "You need at least read:org scope or user scope to list your teams."
            return Answer(403, {"message": message})
        size = min(int(asked.query.get("per_page", "30")), 100)
        page = int(asked.query.get("page", "1"))
        teams = self.teams.get(login, [])
        last = max(1, -(-len(teams) // size))
        shown = teams[(page - 1) * size : page * size]
        return Answer(200, [_team(*team) for team in shown], self._links(page, last, size))

    def _links(self, page: int, last: int, size: int) -> dict[str, str]:
        """E: ``prev``, ``next``, ``first`` and ``last``, those that there are."""
        places = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        if page == 1:
            del places["prev"], places["first"]
        if page >= last:
            del places["next"], places["last"]
        links = [
            f'<{self.url}{API}/user/teams?per_page={size}&page={n}>; rel="{rel}"'
            for rel, n in places.items()
        ]
        return {"Link": ", ".join(links)} if links else {}

    def _drop(self, asked: Asked) -> Answer:
        """H: basic authentication as the app, and the token in the body."""
        pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        token = json.loads(asked.body or b"{}").get("access_token")
        if asked.headers.get("authorization") != f"Basic {pair}":
            return Answer(401, {"message": "Requires authentication"})
        if token not in self.tokens:
            return Answer(422, {"message": "Validation Failed"})
        del self.tokens[token]
        self.dropped.append(token)
        return Answer(204, b"")


_AUTHORIZE_ERRORS = {
    error: {"error": error, "error_description": about, "error_uri": f"/apps/#{error}"}
    for error, about in {
        "access_denied": "The user has denied your application access.",
        "redirect_uri_mismatch": "The redirect_uri MUST match the registered callback URL for "
        "this application.",
    }.items()
}
"""B."""


def _team(organization: str, slug: str) -> dict[str, Any]:
    """D: the fields of a team that matter here, and some more."""
    number = int(hashlib.sha256(f"{organization}/{slug}".encode()).hexdigest()[:8], 16)
    return {
        "id": number,
        "name": slug.replace("-", " ").title(),
        "slug": slug,
        "description": "A great team.",
        "privacy": "closed",
        "permission": "pull",
        "parent": None,
        "members_count": 3,
        "organization": {"login": organization, "id": number % 1000, "type": "Organization"},
    }


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    github: Github

    def _do(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        is_form = "x-www-form-urlencoded" in self.headers.get("Content-Type", "")
        answer = self.github.answer(
            Asked(
                method=self.command,
                path=parts.path,
                query={k: v[0] for k, v in parse_qs(parts.query).items()},
                form=dict(parse_qsl(body.decode())) if is_form else {},
                headers={name.lower(): value for name, value in self.headers.items()},
                body=body,
            )
        )
        content = answer.encoded()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if answer.status != 204:
            self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _do


@contextmanager
def running_github(kind: type[Github] = Github) -> Iterator[Github]:
    """Run one on a free port of this machine."""
    github = kind()
    handler = type("Handler", (_Handler,), {"github": github})
    with http_server(handler) as github.url:
        yield github
