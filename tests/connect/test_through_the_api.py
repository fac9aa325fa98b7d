"""Logins through the real control API: a password with a code, and GitHub, as clients see them."""

from __future__ import annotations

import json
import ssl
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from awsgate.audit import AuditLog
from awsgate.ca import ensure_ca
from awsgate.cli import ways
from awsgate.cli.no import No
from awsgate.connect.local import LocalUsers
from awsgate.controlclient import ControlClient, ControlError, LoginAnswer, trusted_root
from awsgate.metrics import Metrics
from awsgate.policyfile import load_policy
from awsgate.requestplace import RequestPlace
from awsgate.servercert import ensure_server_certificate
from awsgate.session import OpenedSession, SessionKeys, open_session
from awsgate.state import open_state
from awsgate.tunnelclients import TunnelClients
from awsgate.web.start import Parts, start_control
from githubserver import CLIENT_ID, CLIENT_SECRET, Github, running_github
from localusers import PASSWORD, QUICK, Phone

READ = "arn:aws:iam::123456789012:role/ReadOnly"
TEAM = "arn:aws:iam::123456789012:role/staff"
POLICY = """\
kind: role
version: v5
metadata: {{name: read}}
spec: {{allow: {{app_labels: {{'*': '*'}}, aws_role_arns: ['{read}']}}}}
---
kind: role
version: v5
metadata: {{name: of-teams}}
spec:
  allow:
    app_labels: {{'*': '*'}}
    aws_role_arns: ['arn:aws:iam::123456789012:role/{{{{external.github_teams}}}}']
---
kind: app
version: v3
metadata: {{name: test, labels: {{aws_account_id: '123456789012'}}}}
spec: {{uri: https://console.aws.amazon.com/}}
---
kind: user
version: v2
metadata: {{name: alice}}
spec: {{roles: [read]}}
---
kind: github
version: v3
metadata: {{name: corp}}
spec:
  client_id: {client_id}
  client_secret: {client_secret}
  endpoint_url: {github}
  teams_to_roles: [{{organization: octo-org, team: staff, roles: [of-teams]}}]
---
kind: gateway
version: v1
metadata: {{name: gateway}}
spec: {{names: [localhost], control: {{listen: '127.0.0.1:0', logins_per_minute: 10000}}}}
"""


@dataclass
class Gate:
    """A control API that answers, and what is behind it."""

    client: ControlClient
    keys: SessionKeys
    users: LocalUsers
    github: Github
    audit_path: Path
    metrics: Metrics

    def session(self, login: LoginAnswer) -> OpenedSession:
        """Ask for credentials with a login, and open what was given."""
        client = ControlClient(self.client.url, self.client.root, login=login.login)
        issued = client.credentials(app="", role="", ttl_s=0, read_only=False, max_requests=0)
        return open_session(
            self.keys,
            access_key_id=issued.access_key_id,
            session_token=issued.session_token,
            now=int(time.time()),
        )

    def logins(self) -> list[tuple[str, str, str]]:
        """Give user, decision and code of each login in the audit."""
        lines = map(json.loads, self.audit_path.read_text().splitlines())
        return [(x["user"], x["decision"], x["code"]) for x in lines if x["event"] == "login"]

    def enrolled(self, user: str) -> Phone:
        invitation = self.users.add(user) or self.users.reset(user)
        assert invitation is not None
        named, uri = self.client.accept_invitation(invitation.token, PASSWORD)
        assert named == user
        return Phone(uri, time.time)


@pytest.fixture(scope="module")
def github() -> Iterator[Github]:
    with running_github() as server:
        yield server


@pytest.fixture(scope="module")
def gate(github: Github, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("gate")
    (folder / "policy.yaml").write_text(
        POLICY.format(
            read=READ, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, github=github.url
        )
    )
    policy, now = load_policy(folder / "policy.yaml"), datetime.now(UTC)
    state = open_state(folder / "state")
    state.locks_folder.mkdir(mode=0o700)
    users = LocalUsers(state.users_folder, hasher=QUICK)
    pin = ensure_server_certificate(folder / "certs", ["localhost"], None, now=now).pin
    metrics, audit = Metrics(version="test", known_users=()), AuditLog(state.audit_path)
    server = start_control(
        Parts(
            policy=lambda: policy,
            keys=state.session_keys,
            locks_folder=state.locks_folder,
            audit=audit,
            metrics=metrics,
            ca=ensure_ca(folder / "certs", suffixes=["amazonaws.com"], now=now),
            certs=folder / "certs",
            proxy_port=lambda: 8443,
            requests=RequestPlace(state.folder, policy.gateway.requests),
            tunnel_clients=TunnelClients(),
            local=users,
            users_folder=state.users_folder,
        )
    )
    url = f"https://localhost:{server.address.rpartition(':')[2]}"
    github.callback = f"{url}/v1/callback"
    try:
        client = ControlClient(url, trusted_root(url, pin))
        yield Gate(client, state.session_keys, users, github, state.audit_path, metrics)
    finally:
        server.close()
        audit.close()


@pytest.fixture(autouse=True)
def _as_before(gate: Gate) -> None:
    fresh = Github()
    for name in ("teams", "signed_in", "declines", "interval_s", "instead", "headers"):
        setattr(gate.github, name, getattr(fresh, name))
    gate.github.teams["octocat"] = [("octo-org", "staff")]


# --- password and code ------------------------------------------------------------------------


def test_an_invitation_ends_in_credentials_of_its_user(gate: Gate) -> None:
    phone = gate.enrolled("alice")

    login = gate.client.login_by_password("alice", PASSWORD, phone.code())

    assert (login.user, login.connector, login.roles) == ("alice", "local", ("read",))
    session = gate.session(login).session
    assert (session.user, session.role_arn) == ("alice", READ)
    assert session.login is not None
    assert (session.login.id, session.login.connector) == (login.id, "local")
    assert gate.logins()[-1] == ("alice", "allowed", "")


def test_whoever_fails_is_answered_the_same_to_the_byte(gate: Gate) -> None:
    phone = gate.enrolled("alice")
    used = phone.code()
    gate.client.login_by_password("alice", PASSWORD, used)
    gate.enrolled("bob")  # who is not in the policy
    tries = {
        "unknown-user": ("mallory", PASSWORD, used),
        "wrong-password": ("alice", "wrong", used),
        "replayed": ("alice", PASSWORD, used),
        "wrong-code": ("alice", PASSWORD, phone.wrong()),
    }
    answers = []
    before = len(gate.logins())

    with httpx.Client(base_url=gate.client.url, verify=_trust(gate), trust_env=False) as http:

        def attempt(user: str, password: str, totp: str) -> tuple[int, bytes, list[str]]:
            body = {"user": user, "password": password, "totp": totp}
            answer = http.post("/v1/login/password", json=body)
            return answer.status_code, answer.content, sorted(answer.headers)

        answers += [attempt(*one) for one in tries.values()]
        answers += [attempt("alice", "wrong", "") for _ in range(2)]
        answers += [attempt("alice", PASSWORD, phone.code(30))]  # right, and shut out

    assert len(set(map(repr, answers))) == 1
    assert answers[0][0] == 401
    reasons = [code for _, _, code in gate.logins()[before:]]
    assert reasons == [*tries, "wrong-password", "wrong-password", "locked-out"]


def _trust(gate: Gate) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=gate.client.root.pem)


def test_who_is_not_in_the_policy_is_not_let_in_by_a_password(gate: Gate) -> None:
    phone = gate.enrolled("bob")

    with pytest.raises(ControlError) as caught:
        gate.client.login_by_password("bob", PASSWORD, phone.code())

    assert caught.value.status == 401
    assert gate.logins()[-1][1:] == ("refused", "unknown-user")


def test_what_is_wrong_with_an_invitation_or_a_password_is_said(gate: Gate) -> None:
    invitation = gate.users.add("carol", wants_totp=False)
    assert invitation is not None

    def refused(token: str, password: str) -> tuple[int, str]:
        with pytest.raises(ControlError) as caught:
            gate.client.accept_invitation(token, password)
        return caught.value.status, caught.value.code

    assert refused("gateinvite.AAAA", PASSWORD) == (401, "bad-invitation")
    assert refused(invitation.token, "short") == (400, "weak-password")
    assert gate.client.accept_invitation(invitation.token, PASSWORD) == ("carol", "")
    assert refused(invitation.token, PASSWORD) == (401, "bad-invitation")


def test_an_invitation_of_a_long_name_fits(gate: Gate) -> None:
    invitation = gate.users.add("ł" * 255)
    assert invitation is not None

    assert gate.client.accept_invitation(invitation.token, PASSWORD)[0] == "ł" * 255


# --- GitHub -----------------------------------------------------------------------------------


class Browser:
    """Goes where it is sent, by way of GitHub and the gateway, to the CLI's own page."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.pages: list[str] = []
        self.hosts: list[str] = []
        self._thread = threading.Thread()

    def open(self, url: str) -> bool:
        self._thread = threading.Thread(target=self._go, args=(url,))
        self._thread.start()
        return True

    def _go(self, url: str) -> None:
        with httpx.Client(verify=_trust(self._gate), trust_env=False) as http:
            answer = http.get(url, follow_redirects=True)
        self.hosts = [urlsplit(str(step.url)).netloc for step in (*answer.history, answer)]
        self.pages.append(answer.text)

    def page(self) -> str:
        self._thread.join(10)
        return self.pages[0]


@pytest.fixture
def browser(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Browser:
    made = Browser(gate)
    monkeypatch.setattr(webbrowser, "open", made.open)
    return made


def test_a_browser_logs_in_at_github(gate: Gate, browser: Browser) -> None:
    login = ways.by_browser(gate.client, "github/corp", show_only=False, wait_s=10)

    assert (login.user, login.connector, login.roles) == ("octocat", "github/corp", ("of-teams",))
    assert "You are octocat now" in browser.page()
    assert [host.partition(":")[0] for host in browser.hosts] == [
        "127.0.0.1", "localhost", "127.0.0.1",
    ]  # fmt: skip
    session = gate.session(login).session
    assert (session.user, session.role_arn) == ("octocat", TEAM)  # the team is in the ARN
    assert gate.logins()[-1] == ("octocat", "allowed", "")
    assert gate.github.tokens == {}


def test_a_code_typed_at_github_logs_in(gate: Gate, capsys: pytest.CaptureFixture[str]) -> None:
    gate.github.interval_s = 1
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        time.sleep(seconds)
        if len(waited) == 1:
            shown = capsys.readouterr().err
            assert f"{gate.github.url}/login/device" in shown
            gate.github.type_code(shown.split("type the code")[1].split()[0])

    login = ways.by_device(gate.client, "github/corp", sleep=sleep)

    assert (login.user, login.connector) == ("octocat", "github/corp")
    assert gate.session(login).session.role_arn == TEAM
    assert waited[0] == 1


REFUSED: dict[str, tuple[Callable[[Github], object], str, str]] = {
    "declined": (lambda g: setattr(g, "declines", True), "denied", "declined at GitHub"),
    "no team": (lambda g: g.teams.clear(), "no-role", "octocat of GitHub has no role here"),
    "suspended": (lambda g: g.suspended.add("octocat"), "suspended", "is suspended"),
}


@pytest.mark.parametrize(("change", "reason", "words"), REFUSED.values(), ids=REFUSED)
def test_who_is_refused_at_github_reads_why(
    gate: Gate, browser: Browser, change: Callable[[Github], object], reason: str, words: str
) -> None:
    change(gate.github)
    try:
        with pytest.raises(No) as caught:
            ways.by_browser(gate.client, "github/corp", show_only=False, wait_s=10)
    finally:
        gate.github.suspended.clear()

    assert words in caught.value.text
    assert f"[{reason}]" in caught.value.text
    assert "Not logged in" in browser.page()
    assert gate.logins()[-1][1:] == ("refused", reason)
    labels = {"connector": "github/corp", "result": reason}
    counted = gate.metrics.registry.get_sample_value("awsgate_logins_total", labels)
    assert counted is not None
    assert counted >= 1


def test_both_are_offered(gate: Gate) -> None:
    offered = {one["name"]: one["ways"] for one in gate.client.ping()["connectors"]}

    assert offered == {"github/corp": ["browser", "device"], "local": ["password"]}


def test_no_secret_of_a_login_is_in_the_audit(gate: Gate, browser: Browser) -> None:
    ways.by_browser(gate.client, "github/corp", show_only=False, wait_s=10)
    browser.page()
    phone = gate.enrolled("alice")
    gate.client.login_by_password("alice", PASSWORD, phone.code())

    text = gate.audit_path.read_text()
    assert len(gate.github.dropped) >= 1
    secrets = (CLIENT_SECRET, PASSWORD, *gate.github.dropped)
    assert [secret for secret in secrets if secret in text] == []
