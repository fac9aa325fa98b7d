"""Tunnels that the gateway does not look into: SSM's data channel, and the operator's.

The upstream is a WebSocket server with a certificate of its own. That the client sees
that certificate is the proof that nobody stands in between.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from awsgate.demo.processes import GatewayProcess
from e2e.recording import BASE_KEYS, Recorder, throwaway_certificate, wait_until, write_policy
from rawclient import metric, plain

SSM = "ssmmessages.us-east-1.amazonaws.com"
OPERATORS = "vault.corp.example"
LOCAL = "localhost"
MIB = 1024 * 1024


@dataclass
class Bench:
    """A gateway, an echoing WebSocket server behind it, and a plain recorder."""

    gateway: GatewayProcess
    trusted: ssl.SSLContext
    certificate: bytes
    recorder: Recorder

    def events(self, host: str) -> list[dict[str, Any]]:
        """Give the audit lines about tunnels to ``host:port``."""
        return [line for line in self.gateway.audit() if line["host"] == host]

    def status(self, target: str) -> tuple[int, str, bytes]:
        """Give status, code and text of a CONNECT."""
        with plain(self.gateway) as wire:
            wire.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            head = wire._until(b"\r\n\r\n")
            status = int(head.split(b" ")[1])
            if status == 200:
                return status, "", b""
            fields = dict(
                line.lower().split(": ", 1) for line in head.decode().strip().split("\r\n")[1:]
            )
            body = wire._exactly(int(fields["content-length"]))
            return status, fields.get("x-awsgate-code", ""), body

    @contextmanager
    def websocket(self, host: str) -> Iterator[ClientConnection]:
        """Open a WebSocket through the gateway, trusting the upstream's certificate alone."""
        with connect(
            f"wss://{host}/", proxy=self.gateway.proxy, ssl=self.trusted, max_size=2 * MIB
        ) as client:
            yield client


def echo(server: ServerConnection) -> None:
    for message in server:
        server.send(message)


@pytest.fixture(scope="module", params=["refuse", "tunnel"])
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """A gateway for each setting of ``non_aws``; what both must do is tested on both."""
    folder = tmp_path_factory.mktemp("tunnel")
    context, trusted = throwaway_certificate(folder, [SSM, OPERATORS, "other.example"])
    recorder = Recorder()
    with serve(echo, "127.0.0.1", 0, ssl=context, max_size=2 * MIB) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        policy = write_policy(
            folder / "policy.yaml",
            non_aws=request.param,
            bypass=[{"hosts": [OPERATORS, f"{LOCAL}:{recorder.port}"], "reason": "the operator's"}],
            upstreams=[
                {"hosts": [SSM, OPERATORS, "other.example"], "url": f"https://127.0.0.1:{port}"}
            ],
        )
        gateway = GatewayProcess(folder, policy=policy, keys=BASE_KEYS)
        der = ssl.PEM_cert_to_DER_cert(trusted.read_text("ascii"))
        yield Bench(gateway, ssl.create_default_context(cafile=str(trusted)), der, recorder)
        gateway.stop()
    recorder.close()


@pytest.fixture
def non_aws(bench: Bench) -> str:
    """The setting that ``bench`` runs with."""
    text = bench.gateway.policy.read_text("utf-8")
    spec = next(d["spec"] for d in map(json.loads, text.split("\n---\n")) if d["kind"] == "gateway")
    return str(spec["non_aws"])


@pytest.mark.parametrize(
    ("host", "rule"),
    [(SSM, "ssm"), (OPERATORS, "the operator's")],
    ids=["SSM", "the operator's host"],
)
def test_a_websocket_goes_through_a_bypass_untouched(bench: Bench, host: str, rule: str) -> None:
    binary = os.urandom(MIB)
    with bench.websocket(host) as client:
        assert isinstance(client.socket, ssl.SSLSocket)
        assert client.socket.getpeercert(binary_form=True) == bench.certificate
        client.send("a text")
        assert client.recv(10) == "a text"
        client.send(binary)
        assert client.recv(10) == binary
        assert [e["event"] for e in bench.events(f"{host}:443")] == ["tunnel.open"]
        assert metric(bench.gateway.metrics(), "awsgate_tunnels_total", reason=rule) == 1

    assert wait_until(lambda: len(bench.events(f"{host}:443")) == 2)
    opened, closed = bench.events(f"{host}:443")
    assert (opened["rule"], closed["event"], closed["rule"]) == (rule, "tunnel.close", rule)
    assert (opened["method"], opened["decision"]) == ("CONNECT", "allowed")
    assert closed["ms"] > 0


def test_another_host_follows_the_setting(bench: Bench, non_aws: str) -> None:
    if non_aws == "tunnel":
        with bench.websocket("other.example") as client:
            client.send("hello")
            assert client.recv(10) == "hello"
        assert bench.events("other.example:443")[0]["rule"] == "non-aws"
    else:
        status, code, body = bench.status("other.example:443")
        (line,) = bench.events("other.example:443")
        assert (status, code) == (403, "not-an-aws-endpoint")
        assert b"non-aws" in body
        assert (line["event"], line["decision"], line["rule"]) == (
            "tunnel.refuse", "refused", "non-aws",
        )  # fmt: skip
        assert (line["code"], line["status"]) == ("not-an-aws-endpoint", 403)


ADDRESSES = [
    "127.0.0.1:443",
    "127.0.0.1:%PORT%",
    "169.254.169.254:80",
    "10.0.0.1:443",
    "[::1]:443",
    "[fd00:ec2::254]:80",
    "[::ffff:169.254.169.254]:80",
]


@pytest.mark.parametrize("target", ADDRESSES)
def test_a_bare_address_is_refused_whatever_the_setting(bench: Bench, target: str) -> None:
    target = target.replace("%PORT%", str(bench.recorder.port))

    status, code, body = bench.status(target)

    assert (status, code) == (403, "not-an-aws-endpoint")
    assert b"ip-literal" in body
    assert bench.gateway.audit()[-1]["event"] == "tunnel.refuse"
    assert bench.gateway.audit()[-1]["rule"] == "ip-literal"


# To addresses that another notation hides: libc's resolver knows them, and they are
# names to us. The dialler looks at what they resolve to.
@pytest.mark.parametrize("target", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1"])
def test_a_disguised_address_is_never_dialled(bench: Bench, target: str) -> None:
    bench.recorder.reset()

    with plain(bench.gateway) as wire:
        port = bench.recorder.port
        wire.send(f"CONNECT {target}:{port} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = wire.sock.recv(65536)

    assert not answer.startswith(b"HTTP/1.1 200") or wire.at_end()
    assert bench.recorder.connections == 0


@pytest.mark.parametrize("port", [22, 80, 8443])
def test_an_aws_host_on_another_port_is_not_tunnelled(bench: Bench, port: int) -> None:
    """It is intercepted, and the gate refuses what comes through it."""
    with plain(bench.gateway) as wire:
        target = f"sts.us-east-1.amazonaws.com:{port}"
        wire.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert wire._until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        wire.send(b"GET / HTTP/1.1\r\nHost: sts.us-east-1.amazonaws.com\r\n\r\n")
        answer = wire.read_answer()

    assert (answer.status, answer.code) == (421, "unsupported")
    assert "tunnel.open" not in {e["event"] for e in bench.events(target)}


def test_the_ssm_bypass_is_for_one_port(bench: Bench) -> None:
    """On any other the name is an AWS host like the rest."""
    bench.status(f"{SSM}:22")

    assert "ssm" not in {line["rule"] for line in bench.events(f"{SSM}:22")}


def test_a_permitted_name_that_leads_to_this_machine_is_not_dialled(bench: Bench) -> None:
    """The bypass names the recorder's very host and port; the address decides."""
    if socket.gethostbyname(LOCAL) != "127.0.0.1":
        pytest.skip("localhost is elsewhere")
    bench.recorder.reset()

    with plain(bench.gateway) as wire:
        target = f"{LOCAL}:{bench.recorder.port}"
        wire.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        wire.sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        ended = wire.sock.recv(65536)
        if ended.startswith(b"HTTP/1.1 200"):
            assert wire.at_end()

    assert bench.recorder.connections == 0
