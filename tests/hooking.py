"""A gateway in one process, for the tests of the hooks: real but for clock, STS and network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mitmproxy import http
from mitmproxy.test import tflow

from awsgate.addon.hooks import Hooks
from awsgate.addon.tripwire import Tripwire
from awsgate.addon.tunnels import Route, Way
from awsgate.credentials import AwsCredentials, CredentialCache, RoleRequest
from awsgate.errors import Refusal
from awsgate.gate import Gate
from awsgate.session import SessionOpener
from awsgate.wiring import Settings, assemble
from calls import KEYS, LAMBDA, POLICY, ROLE_KEYS, Call, minted
from signers import WHEN

EMPTY = "kind: gateway\nversion: v1\nmetadata: {name: gateway}\nspec: {non_aws: refuse}\n"
SECRETS = ("canary", minted().secret_access_key, minted().session_token, "Signature=")
PUT = Call(headers=(("Content-Length", "5"),))
STREAMED = replace(PUT, service="s3")
INVOKE = Call(
    method="POST",
    host=LAMBDA,
    target="/2015-03-31/functions/f/invocations",
    headers=(("Content-Length", "2"),),
    body=b"{}",
    service="lambda",
)


class FakeSts:
    """The role's credentials, or a refusal."""

    def __init__(self) -> None:
        self.calls: list[RoleRequest] = []
        self.refusal: Refusal | None = None

    def assume(self, request: RoleRequest) -> AwsCredentials:
        self.calls.append(request)
        if self.refusal is not None:
            raise self.refusal
        k = ROLE_KEYS
        return AwsCredentials(
            k.access_key_id, k.secret_access_key, k.session_token, WHEN.timestamp() + 3600
        )


class Rig:
    """A gateway as ``assemble`` builds it, with the clock and STS faked."""

    def __init__(self, folder: Path) -> None:
        (folder / "policy.yaml").write_text(EMPTY)
        self.gateway = assemble(
            Settings(folder / "policy.yaml", folder / "state", folder / "certs", metrics="")
        )
        self.sts = FakeSts()
        self.gateway.credentials.close()
        self.gateway.credentials = CredentialCache(self.sts, clock=WHEN.timestamp)
        self.gateway.gate = Gate(POLICY, SessionOpener(KEYS))
        self.wire = Tripwire()
        self.hooks = Hooks(self.gateway, self.wire, clock=lambda: WHEN)

    def flow(self, call: Call, *, port: int = 443) -> http.HTTPFlow:
        """Give the flow of a call, its CONNECT behind it."""
        facts = call.facts()
        flow = tflow.tflow()
        data = flow.request.data
        data.method, data.path, data.authority = facts.method, facts.target, facts.authority
        data.headers = http.Headers(facts.headers)
        data.content = call.body
        data.scheme, data.host, data.port = b"https", call.host, port
        client = flow.client_conn
        client.peername = ("127.0.0.1", 50000)
        client.tls, client.timestamp_tls_setup, client.sni = facts.tls, 1.0, facts.sni
        if not call.origin:
            self.hooks.routes.put(client.id, Route(Way.INTERCEPT, call.host, port, "aws"))
        return flow

    async def pass_through(self, flow: http.HTTPFlow) -> None:
        """Call the hooks of a request in mitmproxy's order."""
        for hook in (self.hooks.requestheaders, self.hooks.request):
            pending = hook(flow)
            if pending is not None:
                await pending

    def records(self) -> list[dict[str, Any]]:
        lines = self.gateway.audit_path.read_text().splitlines()
        return [json.loads(line) for line in lines]


def refusal_of(flow: http.HTTPFlow) -> tuple[int, str]:
    assert flow.response is not None
    return flow.response.status_code, flow.response.headers.get("x-awsgate-code", "")
