"""The control API on a socket, with connectors that believe what they are told."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from awsgate.asking import Asking
from awsgate.audit import AuditLog
from awsgate.aws.partitions import all_suffixes
from awsgate.ca import ensure_ca
from awsgate.connect.ways import Begun, DeviceCode, LoginRefused, Pending
from awsgate.listening import bind
from awsgate.locks import LockStore
from awsgate.login import LOCAL, Identity
from awsgate.metrics import Metrics
from awsgate.policy import Policy
from awsgate.policy.connectors import Connector, name_of
from awsgate.policyfile import load_policy
from awsgate.requestplace import RequestPlace
from awsgate.servercert import ensure_server_certificate
from awsgate.session import Session
from awsgate.state import State, open_state
from awsgate.tunnelpass import mint_tunnel_pass
from awsgate.web.app import build
from awsgate.web.calls import Api, Info, Insight
from awsgate.web.connectors import Connectors
from awsgate.web.desk import Desk
from awsgate.web.records import Records
from awsgate.web.revoking import Revoking
from awsgate.web.server import serve
from consoleway import FakeConsole

READ = "arn:aws:iam::111122223333:role/read"
WRITE = "arn:aws:iam::111122223333:role/write"
OTHER = "arn:aws:iam::444455556666:role/other"
PASSWORD = "correct horse battery staple"
ISSUER = "https://ci.example.com"
VERIFIER = "v" * 43

POLICY = f"""
kind: gateway
version: v1
spec:
  names: [gate.example.com]
  session: {{default_ttl: 1h, max_ttl: 4h, login_ttl: 8h}}
---
kind: role
version: v5
metadata: {{name: reader}}
spec:
  allow:
    app_labels: {{env: prod}}
    aws_role_arns: ["{READ}"]
    request: {{roles: [writer], max_duration: 2h, suggested_reviewers: [olga]}}
---
kind: role
version: v5
metadata: {{name: writer}}
spec:
  allow: {{app_labels: {{env: prod}}, aws_role_arns: ["{WRITE}"]}}
  options: {{max_session_ttl: 30m}}
---
kind: role
version: v5
metadata: {{name: teamed}}
spec:
  allow:
    app_labels: {{env: side}}
    aws_role_arns: ["arn:aws:iam::444455556666:role/{{{{external.team}}}}"]
---
kind: role
version: v5
metadata: {{name: ops}}
spec:
  allow:
    app_labels: {{env: prod}}
    aws_role_arns: ["{READ}"]
    request:
      roles: [writer, teamed, "later-*"]
      reason: {{mode: required, prompt: which ticket}}
    review_requests: {{roles: [writer]}}
  options: {{gateway_admin: true}}
---
kind: user
version: v2
metadata: {{name: lola}}
spec: {{roles: [reader]}}
---
kind: app
version: v3
metadata: {{name: main, labels: {{env: prod, aws_account_id: "111122223333"}}}}
spec: {{uri: "https://console.aws.amazon.com/"}}
---
kind: app
version: v3
metadata: {{name: side, labels: {{env: side}}}}
spec: {{uri: "https://console.aws.amazon.com/"}}
---
kind: oidc
version: v3
metadata: {{name: okta}}
spec:
  issuer_url: https://idp.example.com
  client_id: gate
  display: Okta
  claims_to_roles: [{{claim: groups, value: "*", roles: ["$1"]}}]
---
kind: oidc
version: v3
metadata: {{name: ci}}
spec:
  issuer_url: {ISSUER}
  login_ttl: 10m
  id_tokens: {{audiences: ["https://gate.example.com"]}}
  claims_to_roles: [{{claim: ref, value: "*", roles: [reader]}}]
---
kind: github
version: v3
metadata: {{name: corp}}
spec:
  client_id: gate
  teams_to_roles: [{{organization: corp, team: dev, roles: [writer]}}]
"""

PEOPLE: Mapping[str, dict[str, Any]] = {
    # what a provider says of somebody; the fakes take a name for its proof
    "alice": {"roles": ("reader",)},
    "bob": {"roles": ("reader", "writer")},
    "carol": {"roles": ("teamed",), "traits": {"team": ("other",), "secret": ("unwanted",)}},
    "olga": {"roles": ("ops",)},
    "lola": {"roles": ("writer",)},
    "Lola": {"roles": ("writer",)},
    "nora": {"roles": ("nothing-of-that-name",)},
    "huge": {"roles": tuple(f"reader-{'x' * 80}-{n}" for n in range(64))},
    "bad\x1bname": {"roles": ("reader",)},
    "gone": {"roles": ("reader",), "ends_at": 1},
    "brief": {"roles": ("reader",), "ends_in_s": 120},
    "impostor": {"roles": ("reader",), "connector": "local"},
}
TROUBLE = {
    # an answer of the provider's -> the connector's reason
    "wrong-nonce": "replayed",
    "access_denied": "provider-refused",
    "down": "provider-failed",
}


class FakeConnector:
    """Takes the name of somebody for the proof that it is they."""

    def __init__(self, document: Connector, clock: Clock) -> None:
        self.name, self._clock = name_of(document), clock
        self.answers: list[str] = []
        """What polls bring: pending, slow, or a name."""
        self.polls = 0
        self.begun: list[tuple[str, str]] = []

    async def begin(self, *, state: str, redirect_url: str) -> Begun:
        self.begun.append((state, redirect_url))
        return Begun(f"https://idp.example.com/authorize?state={state}", {"nonce": f"n-{state}"})

    async def finish(self, answer: Mapping[str, str], memory: Mapping[str, str]) -> Identity:
        state = answer.get("state") or answer.get("RelayState")
        if memory != {"nonce": f"n-{state}"}:
            raise AssertionError("another login's memory")
        return self.identity(answer["code"])

    async def start_device(self) -> DeviceCode:
        uri = "https://idp.example.com/device"
        return DeviceCode("WDJB-MJHT", uri, f"{uri}?c=WDJB-MJHT", 5, 900, {"device": "d"})

    async def poll_device(self, memory: Mapping[str, str]) -> Identity:
        assert memory == {"device": "d"}
        self.polls += 1
        answer = self.answers.pop(0)
        if answer in ("pending", "slow"):
            raise Pending(slow_down=answer == "slow")
        return self.identity(answer)

    async def prove_id_token(self, token: str) -> Identity:
        return self.identity(claims_of(token)["sub"])

    def identity(self, who: str) -> Identity:
        if who in TROUBLE:
            raise LoginRefused(TROUBLE[who], f"the provider said {who}")
        if who == "explode":
            raise RuntimeError("canary-secret-in-an-exception")
        says = dict(PEOPLE[who])
        ends_in_s = says.pop("ends_in_s", None)
        if ends_in_s is not None:
            says["ends_at"] = int(self._clock()) + ends_in_s
        return Identity(user=who, **{"connector": self.name, **says})


class FakeLocal:
    """Two users with a password."""

    async def prove(self, user: str, password: str, totp: str) -> Identity:
        if user == "busy":
            raise LoginRefused("busy", "too many log in at once")
        if user == "shut-out":
            raise LoginRefused("locked-out", "user, password or code is wrong")
        known = user in ("lola", "ghost")  # one of them is not in the policy
        if not known or password != PASSWORD or totp not in ("", "123456"):
            raise LoginRefused("wrong-password", "user, password or code are wrong")
        return Identity(user=user, connector=LOCAL)

    async def accept(self, token: str, password: str) -> tuple[str, str]:
        if token != "invited":
            raise LoginRefused("bad-invitation", "this invitation is not known")
        if len(password) < 12:
            raise LoginRefused("weak-password", "the password is not good enough")
        return "lola", "otpauth://totp/awsgate:lola?secret=GEZDGNBV"


def id_token(sub: str, *, iss: str = ISSUER, aud: str = "https://gate.example.com") -> str:
    """Give what looks like a JWT; the fakes check no signature."""
    claims = json.dumps({"iss": iss, "aud": aud, "sub": sub}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.c2ln"


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


def challenge(verifier: str = VERIFIER) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Clock:
    """The time, which tests can put forward."""

    def __init__(self, base: float) -> None:
        self._began, self._base, self.ahead_s = time.monotonic(), base, 0.0

    def __call__(self) -> float:
        return self._base + time.monotonic() - self._began + self.ahead_s


@dataclass
class Served:
    """An API that answers, and all that is behind it."""

    stage: Stage
    state: State
    audit_path: Path
    metrics: Metrics
    api: Api
    clock: Clock
    ticks: Clock
    policy: list[Policy]
    """The one in force."""
    fakes: dict[str, FakeConnector]
    folder: Path
    console: FakeConsole
    told: list[str]
    """What the webhook was told."""
    store: LockStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = LockStore(self.state.locks_folder)

    def client(self, token: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(
            base_url=f"https://{self.stage.address}",
            verify=self.stage.trust,
            headers=headers,
            trust_env=False,
            timeout=10,
        )

    def lines(self, **wanted: str) -> list[dict[str, Any]]:
        """Give the audit lines whose fields are these."""
        lines = [json.loads(line) for line in self.audit_path.read_text().splitlines()]
        return [line for line in lines if all(line[k] == v for k, v in wanted.items())]

    def count(self, connector: str, result: str) -> float:
        labels = {"connector": connector, "result": result}
        return self.metrics.registry.get_sample_value("awsgate_logins_total", labels) or 0.0

    def log_in(self, who: str, connector: str = "oidc/okta") -> dict[str, Any]:
        """Give a login, as if by a browser: its token, and what the API says of it."""
        self.api.connectors.take(self.policy[0])
        login = self.api.desk.admit(self.fakes[connector].identity(who))
        return {
            "login": self.api.desk.token(login),
            "id": login.id,
            "user": login.user,
            "connector": connector,
            "roles": list(login.facts.roles),
            "issued_at": login.issued_at,
            "expires_at": login.expires_at,
        }

    def log_in_by_browser(self, http: httpx.Client, who: str) -> dict[str, Any]:
        """Log in step by step."""
        asked = {"connector": "oidc/okta", "challenge": challenge(), "port": 4321}
        url = httpx.URL(http.post("/v1/login/browser", json=asked).json()["url"])
        query = {"state": url.params["state"], "code": who}
        back = http.get("/v1/callback", params=query).headers["location"]
        code = httpx.URL(back).params["code"]
        answer = http.post("/v1/login/code", json={"code": code, "verifier": VERIFIER})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def lock(self, name: str, **target: str) -> None:
        self.store.add(
            {
                "kind": "lock",
                "version": "v1",
                "metadata": {"name": name},
                "spec": {"target": target, "message": "talk to security"},
            }
        )

    def take_policy(self, text: str) -> None:
        """Put another policy in force."""
        file = self.folder / "policy.yaml"
        file.write_text(text)
        self.policy[0] = load_policy(file)


class Stage:
    """One server for many APIs, one after the other: starting one takes a third of a second."""

    def __init__(self, folder: Path) -> None:
        names = ["gate.example.com"]
        certificate = ensure_server_certificate(folder, names, None, now=datetime.now(UTC))
        self.ca = ensure_ca(folder, suffixes=all_suffixes(), now=datetime.now(UTC))
        self.root = folder / "root.pem"
        self.root.write_bytes(certificate.root)
        self.trust = ssl.create_default_context(cafile=str(self.root))
        self.app: ASGIApp | None = None
        sock = bind("127.0.0.1:0")
        self.address = f"127.0.0.1:{sock.getsockname()[1]}"
        self._server = serve(
            self._answer, sock, self.address, certificate.context(), at_end=_nothing
        )
        self.http = httpx.Client(
            base_url=f"https://{self.address}",
            verify=self.trust,
            trust_env=False,
            timeout=10,
            limits=httpx.Limits(max_keepalive_connections=0),  # other tests count connections
        )
        """For whoever sends all that a request says; it keeps neither connections nor cookies."""

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)

    def close(self) -> None:
        self.http.close()
        self._server.close()


async def _nothing() -> None:
    pass


@contextmanager
def served_on(
    stage: Stage,
    folder: Path,
    *,
    logins_per_minute: int = 100_000,
    local: bool = True,
    policy: str = POLICY,
) -> Iterator[Served]:
    """Serve an API that keeps its state in ``folder``."""
    file = folder / "policy.yaml"
    file.write_text(policy)
    current = [load_policy(file)]
    clock, ticks = Clock(time.time()), Clock(1000.0)
    state = open_state(folder / "state")
    LockStore(state.locks_folder).open()
    metrics = Metrics(version="test", known_users=())
    audit = AuditLog(state.audit_path)
    fakes: dict[str, FakeConnector] = {}

    def make(document: Connector) -> FakeConnector:
        fakes[name_of(document)] = FakeConnector(document, clock)
        return fakes[name_of(document)]

    def tunnel_pass(session: Session) -> str:
        return mint_tunnel_pass(state.session_keys, session, entropy=secrets.token_bytes(32))

    revoking = Revoking(LockStore(state.locks_folder))
    console = FakeConsole()
    place = RequestPlace(state.folder, current[0].gateway.requests)
    records, told = Records(audit, metrics, lambda: current[0], clock), list[str]()
    api = Api(
        desk=Desk(
            state.session_keys,
            lambda: current[0],
            revoking,
            tunnel_pass,
            clock,
            granted=lambda: place.book,
        ),
        revoking=revoking,
        connectors=Connectors(make),
        records=records,
        asking=Asking(
            place,
            record=records.write_now,
            count=metrics.access_request,
            tell=told.append,
            clock=clock,
        ),
        info=Info(
            url="https://gate.example.com:8444",
            started_at=int(clock()),
            proxy=lambda: "https://gate.example.com:8443",
            has_local=lambda: True,
            bundles=lambda: (stage.ca.bundle.read_bytes(), stage.ca.root_cert.read_bytes()),
        ),
        local=FakeLocal() if local else None,
        console=console,
        insight=Insight(
            audit=state.audit_path,
            pin="sha256:" + "ab" * 32,
            certificates=lambda: [("the CA", stage.ca.not_after)],
            figures=metrics.registry.collect,
            faults=lambda: (),
        ),
        logins_per_minute=logins_per_minute,
        ticks=ticks,
        clock=clock,
    )
    before, stage.app = stage.app, build(api)
    try:
        yield Served(
            stage,
            state,
            state.audit_path,
            metrics,
            api,
            clock,
            ticks,
            current,
            fakes,
            folder,
            console,
            told,
        )
    finally:
        stage.app = before
        place.forget()
        audit.close()
