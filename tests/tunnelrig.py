"""A gateway in one process whose tunnels are asked for, and the sessions that ask."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

from mitmproxy import http
from mitmproxy.test import tflow

from awsgate.gate import Gate
from awsgate.policy import parse_policy
from awsgate.policy.locks import LockBook
from awsgate.policy.settings import GatewaySpec
from awsgate.session import Session, SessionKeys, SessionOpener, open_session
from awsgate.tunnelpass import mint_tunnel_pass
from calls import KEYS, NOW_S, POLICY, minted
from hooking import Rig

SSM = "ssmmessages.eu-west-1.amazonaws.com"
ENTROPY = bytes(range(32))
KNOWN = "known"


class TunnelRig(Rig):
    """Its tunnels are for known callers; ``cut`` has the connections that were ended."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gateway.session_keys = KEYS
        self.gateway.metrics.know_users({"alice", "bob"})
        set_spec(self, tunnels={"callers": KNOWN})
        self.cut: list[str] = []
        self.hooks.cut = self.cut.append


def set_spec(rig: Rig, **spec: Any) -> None:
    gateway = GatewaySpec.model_validate({"non_aws": "tunnel", **spec})
    policy = replace(POLICY, gateway=gateway, users=users("alice", "bob"))
    rig.gateway.policy, rig.gateway.gate = policy, Gate(policy, SessionOpener(KEYS))


def users(*names: str) -> Any:
    return dict.fromkeys(names, POLICY.users["alice"])


def session(user: str = "alice", *, age_s: int = 0) -> Session:
    made = minted(user=user, age_s=age_s)
    return open_session(
        KEYS,
        access_key_id=made.access_key_id,
        session_token=made.session_token,
        now=NOW_S - age_s,
    ).session


def password(of: Session, keys: SessionKeys = KEYS) -> str:
    return mint_tunnel_pass(keys, of, entropy=ENTROPY)


def basic(of: Session, keys: SessionKeys = KEYS) -> str:
    return "Basic " + base64.b64encode(f"{of.key_id}:{password(of, keys)}".encode()).decode()


def connect(host: str = SSM, *values: str, address: str = "192.0.2.7") -> http.HTTPFlow:
    flow = tflow.tflow()
    data = flow.request.data
    data.method, data.host, data.port = b"CONNECT", host, 443
    data.headers = http.Headers([(b"Proxy-Authorization", v.encode()) for v in values])
    flow.client_conn.peername = (address, 50000)
    return flow


async def asked(rig: Rig, flow: http.HTTPFlow) -> http.HTTPFlow:
    """Call what mitmproxy calls, in its order."""
    pending = rig.hooks.http_connect(flow)
    if pending is not None:
        await pending
    if flow.response is None:
        rig.hooks.http_connected(flow)
    return flow


def lock(name: str = "l", **target: str) -> LockBook:
    document = {
        "kind": "lock",
        "version": "v2",
        "metadata": {"name": name},
        "spec": {"target": target, "message": "gone"},
    }
    return LockBook(parse_policy([("l", document)], complete=False).locks.values())


def metric(rig: Rig, name: str, **labels: str) -> float | None:
    return rig.gateway.metrics.registry.get_sample_value(name, labels)
