"""The control API on a socket, with the connectors of ``believing``."""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
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
from awsgate.listening import bind
from awsgate.locks import LockStore
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
from web.believing import POLICY, VERIFIER, Clock, FakeConnector, FakeLocal, challenge


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

    def info(self, started_at: int) -> Info:
        """Give what an API of this server says of itself."""
        return Info(
            url="https://gate.example.com:8444",
            started_at=started_at,
            proxy=lambda: "https://gate.example.com:8443",
            has_local=lambda: True,
            bundles=lambda: (self.ca.bundle.read_bytes(), self.ca.root_cert.read_bytes()),
        )

    def insight(self, state: State, metrics: Metrics) -> Insight:
        """Give what it shows of itself to those who may see it."""
        return Insight(
            audit=state.audit_path,
            pin="sha256:" + "ab" * 32,
            certificates=lambda: [("the CA", self.ca.not_after)],
            figures=metrics.registry.collect,
            faults=lambda: (),
        )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)

    def close(self) -> None:
        self.http.close()
        self._server.close()


def _passes(state: State) -> Callable[[Session], str]:
    return lambda session: mint_tunnel_pass(
        state.session_keys, session, entropy=secrets.token_bytes(32)
    )


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

    revoking, console = Revoking(LockStore(state.locks_folder)), FakeConsole()
    place = RequestPlace(state.folder, current[0].gateway.requests)
    records, told = Records(audit, metrics, lambda: current[0], clock), list[str]()
    api = Api(
        desk=Desk(
            *(state.session_keys, lambda: current[0], revoking, _passes(state), clock),
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
        info=stage.info(int(clock())),
        local=FakeLocal() if local else None,
        console=console,
        insight=stage.insight(state, metrics),
        logins_per_minute=logins_per_minute,
        ticks=ticks,
        clock=clock,
    )
    before, stage.app = stage.app, build(api)
    try:
        yield Served(
            *(stage, state, state.audit_path, metrics, api, clock, ticks),
            *(current, fakes, folder, console, told),
        )
    finally:
        stage.app = before
        place.forget()
        audit.close()
