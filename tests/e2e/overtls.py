"""TLS to the proxy itself, for tests that send their own bytes in it."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import CORE_VARIABLE, GatewayProcess
from awsgate.session import open_session
from awsgate.state import open_state
from awsgate.tunnelpass import mint_tunnel_pass
from rawclient import Answer, Call, Wire

CORES = ("mitmproxy", "own")
NAME = "gate.example.com"


@contextmanager
def with_core(core: str) -> Iterator[str]:
    """Start gateways with this core meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CORE_VARIABLE, core)
        yield core


def trusting(gateway: GatewayProcess) -> ssl.SSLContext:
    """Trust the gateway's own certificate, and no other."""
    return ssl.create_default_context(cafile=str(gateway.certs / "gateway-root.pem"))


@contextmanager
def secured(
    gateway: GatewayProcess, name: str = NAME, *, address: str = "127.0.0.1"
) -> Iterator[Wire]:
    """Open a connection with TLS to the proxy itself, and nothing in it yet."""
    with (
        socket.create_connection(("127.0.0.1", gateway.port), 10, (address, 0)) as sock,
        trusting(gateway).wrap_socket(sock, server_hostname=name) as tls,
    ):
        yield Wire(tls)


def in_origin_form(
    gateway: GatewayProcess,
    call: Call,
    keys: SigningKeys,
    *more: bytes,
    address: str = "127.0.0.1",
) -> Answer:
    """Send a signed call with no CONNECT, as a second hop does."""
    fields = [*call.signed(keys), (b"X-Forwarded-Host", call.host.encode())]
    head, end, body = call.wire(fields).partition(b"\r\n\r\n")
    with secured(gateway, address=address) as wire:
        wire.send(b"\r\n".join([head, *more]) + end + body)
        return wire.read_answer(method=call.method)


def ask_connect(wire: Wire, target: str, *values: str) -> Answer:
    """Send a CONNECT, with these values of Proxy-Authorization; give the answer."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    lines += [f"Proxy-Authorization: {value}" for value in values]
    wire.send("\r\n".join([*lines, "", ""]).encode())
    head = wire._until(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    pairs = [line.partition(": ") for line in head.decode().split("\r\n")[1:-2]]
    headers = {name.lower(): value for name, _, value in pairs}
    body = wire._exactly(int(headers["content-length"])) if status != 200 else b""
    return Answer(status, headers, body)


def basic(key_id: str, password: str) -> str:
    """Give a value of Proxy-Authorization."""
    return "Basic " + base64.b64encode(f"{key_id}:{password}".encode()).decode()


def password_of(state: Path, keys: SigningKeys) -> str:
    """Give the password for tunnels of the session that has these keys."""
    known = open_state(state).session_keys
    opened = open_session(
        known,
        access_key_id=keys.access_key_id,
        session_token=keys.session_token,
        now=int(time.time()),
    )
    return mint_tunnel_pass(known, opened.session, entropy=os.urandom(32))
