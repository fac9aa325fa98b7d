"""The real control API of a gateway, for the tests of its clients, with connectors that obey.

FakeOidc   a provider that lets in whoever the test says
ThePolicy  a gateway's policy, in a file, with the address that the API got
"""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

import pytest

from awsgate.audit import AuditLog
from awsgate.ca import ensure_ca
from awsgate.connect.ways import Begun, DeviceCode, LoginRefused, Pending
from awsgate.login import LOCAL, Identity
from awsgate.metrics import Metrics
from awsgate.policy import Policy
from awsgate.policyfile import load_policy
from awsgate.requestplace import RequestPlace
from awsgate.servercert import ensure_server_certificate
from awsgate.session import OpenedSession, SessionKeys, open_session
from awsgate.state import open_state
from awsgate.tunnelclients import TunnelClients
from awsgate.web import connectors
from awsgate.web.server import ControlServer
from awsgate.web.start import Parts, start_control
from commandline import RIGHTS
from consoleway import FakeConsole

PROVIDER = "https://idp.example.com"
POLICY = f"""\
{RIGHTS}\
kind: role
version: v5
metadata: {{name: admin}}
spec: {{options: {{gateway_admin: true}}}}
---
kind: user
version: v2
metadata: {{name: bob}}
spec: {{roles: [read, power]}}
---
kind: oidc
version: v3
metadata: {{name: okta}}
spec:
  issuer_url: {PROVIDER}
  client_id: awsgate
  display: The company
  claims_to_roles: [{{claim: groups, value: '*', roles: [read, power, admin]}}]
  id_tokens: {{audiences: [awsgate]}}
---
kind: gateway
version: v1
metadata: {{name: gateway}}
spec:
  listen: '127.0.0.1:8443'
  names: [localhost]
  control: {{listen: '127.0.0.1:0'}}
"""


@dataclass
class Provider:
    """What the provider would do. Changed by tests."""

    identity: Identity = field(default_factory=lambda: Identity("alice", "oidc/okta", ("read",)))
    refusal: LoginRefused | None = None
    pending: list[bool] = field(default_factory=list)
    """Polls that come first: whether to slow down."""

    def prove(self) -> Identity:
        if self.refusal is not None:
            raise self.refusal
        return self.identity


class FakeOidc:
    """``connect.oidc.OidcConnector`` without a provider."""

    provider: ClassVar[Provider] = Provider()

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take what a connector is given."""

    async def begin(self, *, state: str, redirect_url: str) -> Begun:
        return Begun(f"{PROVIDER}/authorize?state={state}&to={redirect_url}", {"m": "1"})

    async def finish(self, answer: Mapping[str, str], memory: Mapping[str, str]) -> Identity:
        assert dict(memory) == {"m": "1"}
        assert answer["code"] == "of-the-provider"
        return self.provider.prove()

    async def start_device(self) -> DeviceCode:
        where = f"{PROVIDER}/device"
        return DeviceCode("WDJB-MJHT", where, f"{where}?user_code=WDJB-MJHT", 1, 600, {})

    async def poll_device(self, memory: Mapping[str, str]) -> Identity:
        assert dict(memory) == {}
        if self.provider.pending:
            raise Pending(slow_down=self.provider.pending.pop(0))
        return self.provider.prove()

    async def prove_id_token(self, token: str) -> Identity:
        assert token.count(".") == 2
        return self.provider.prove()


class FakeLocal:
    """``connect.local`` with one user."""

    async def prove(self, user: str, password: str, totp: str) -> Identity:
        await asyncio.sleep(0)
        if (user, password, totp) != ("bob", "correct horse", "123456"):
            raise LoginRefused("wrong-password", "user, password or code is wrong")
        return Identity("bob", LOCAL)

    async def accept(self, token: str, password: str) -> tuple[str, str]:
        await asyncio.sleep(0)
        if token != "invited" or password != "correct horse":
            raise LoginRefused("unknown-invitation", "the invitation is not known")
        return "bob", "otpauth://totp/awsgate:bob?secret=JBSWY3DPEHPK3PXP"


@dataclass
class Serving:
    """A gateway's control API that answers."""

    url: str
    pin: str
    keys: SessionKeys
    folder: Path
    server: ControlServer
    provider: Provider
    rules: list[Policy]
    """The one in force."""

    def reset(self) -> None:
        """Forget what a test told the provider, or changed of the policy."""
        self.provider.__init__()  # type: ignore[misc]
        FakeOidc.provider = self.provider
        self.change("", "")

    def change(self, old: str, new: str) -> None:
        """Change the policy."""
        path = self.folder / "policy.yaml"
        path.write_text(POLICY.replace(old, new) if old else POLICY)
        self.rules[:] = [load_policy(path)]

    def opened(self, key_id: str, token: str) -> OpenedSession:
        """Open a session as the gateway does."""
        now = int(datetime.now(UTC).timestamp())
        return open_session(self.keys, access_key_id=key_id, session_token=token, now=now)

    def audit(self) -> list[dict[str, Any]]:
        """Give the lines of the audit."""
        path = self.folder / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def serving(folder: Path, more: str = "") -> Iterator[Serving]:
    """Serve the API of a gateway whose files are in ``folder``; ``more`` of its settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connectors, "_CLASSES", {"oidc": ("controlserving", "FakeOidc")})
        yield from _serving(folder, more)


def _serving(folder: Path, more: str) -> Iterator[Serving]:
    provider = FakeOidc.provider = Provider()
    (folder / "policy.yaml").write_text(POLICY.replace("'127.0.0.1:0'", f"'127.0.0.1:0'{more}"))
    rules = [load_policy(folder / "policy.yaml")]
    state = open_state(folder / "state")
    state.locks_folder.mkdir(mode=0o700)
    certs = folder / "certs"
    pin = ensure_server_certificate(certs, ["localhost"], None, now=datetime.now(UTC)).pin
    audit = AuditLog(folder / "audit.jsonl")
    server = start_control(
        Parts(
            policy=lambda: rules[0],
            keys=state.session_keys,
            locks_folder=state.locks_folder,
            audit=audit,
            metrics=Metrics(version="test", known_users=()),
            ca=ensure_ca(certs, suffixes=["amazonaws.com"], now=datetime.now(UTC)),
            certs=certs,
            proxy_port=lambda: 8443,
            requests=RequestPlace(state.folder, rules[0].gateway.requests),
            tunnel_clients=TunnelClients(),
            local=FakeLocal(),
            console=FakeConsole(),
        )
    )
    port = server.address.rpartition(":")[2]
    try:
        yield Serving(
            *(f"https://localhost:{port}", pin, state.session_keys),
            *(folder, server, provider, rules),
        )
    finally:
        server.close()
        audit.close()


def at(gateway: Serving) -> tuple[str, ...]:
    """Give the words that log in there."""
    return "login", "--gateway", gateway.url, "--ca-pin", gateway.pin


def jwt_of(**claims: str) -> str:
    """Give something of the form of an ID token; nobody has signed it."""
    import base64

    parts = [json.dumps({"alg": "RS256"}), json.dumps({"iss": PROVIDER, "aud": "awsgate"} | claims)]
    encoded = [base64.urlsafe_b64encode(p.encode()).rstrip(b"=").decode() for p in parts]
    return ".".join([*encoded, "c2ln"])


def visit(callback: str, answer: Mapping[str, str], gateway: Serving) -> tuple[int, str]:
    """Be the browser that the provider sends back: give status and page of where it ends."""
    context = ssl.create_default_context(cadata=(gateway.folder / "certs/ca-cert.pem").read_text())
    url = gateway.url + urlsplit(callback).path + "?" + urlencode(answer)
    with urllib.request.urlopen(url, context=context) as page:
        return page.status, page.read().decode()
