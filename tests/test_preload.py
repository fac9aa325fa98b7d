"""awsgate/clients/preload.cjs: which connections of Node's go by the proxy. Needs Node.

The SDK itself with it is in ``scripts/conformance``.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import awsgate

PRELOAD = Path(awsgate.__path__[0]) / "clients/preload.cjs"
HOST = "sts.us-east-1.amazonaws.com"
ASK = """\
const https = require("node:https");
const [port, own] = JSON.parse(process.argv[1]);
// An agent of the program's own, as SDKs make one.
const agent = own ? new https.Agent({ keepAlive: true, maxSockets: 5 }) : undefined;
https.get({ host: "sts.us-east-1.amazonaws.com", port, agent }, (answer) => {
  console.log("answered", answer.statusCode);
}).on("error", (error) => console.log(error.message));
"""


def node_version() -> int:
    if shutil.which("node") is None:
        return 0
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return int(said.stdout.lstrip("v").partition(".")[0] or 0)


pytestmark = pytest.mark.skipif(node_version() < 18, reason="Node 18 or later is not here")


@dataclass
class Proxy:
    """Notes what it is asked, and refuses it."""

    port: int
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    listener = socket.create_server(("127.0.0.1", 0))
    running = Proxy(listener.getsockname()[1])

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                running.asked.append(client.recv(4096).decode())
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    yield running
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def ask(env: dict[str, str], *, port: int = 443, own_agent: bool = True) -> str:
    """Ask AWS from Node; gives what the program printed."""
    done = subprocess.run(
        ["node", f"--require={PRELOAD}", "-e", ASK, json.dumps([port, own_agent])],
        env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, check=False,
        timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("own_agent", [True, False])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_every_agent_asks_the_proxy_for_a_tunnel(proxy: Proxy, name: str, own_agent: bool) -> None:
    said = ask({name: f"http://127.0.0.1:{proxy.port}"}, own_agent=own_agent)

    assert said == f"127.0.0.1:{proxy.port} refused a tunnel to {HOST}:443: 403\n"
    (asked,) = proxy.asked
    assert asked.startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n")


def test_a_proxy_without_a_scheme_and_with_a_password_is_understood(proxy: Proxy) -> None:
    ask({"HTTPS_PROXY": f"us%40r:p%3Aw@127.0.0.1:{proxy.port}"})

    (asked,) = proxy.asked
    assert "\r\nProxy-Authorization: Basic dXNAcjpwOnc=\r\n" in asked


@pytest.mark.parametrize(
    ("no_proxy", "port", "goes_by_it"),
    [
        ("localhost,127.0.0.1", 443, True),
        (HOST, 443, False),
        ("x, .amazonaws.com", 443, False),
        ("amazonaws.com", 443, False),
        ("mazonaws.com", 443, True),
        (f"{HOST}:8443", 443, True),
        (f"{HOST}:8443", 8443, False),
        ("*", 443, False),
        ("::1,fd00:ec2::254", 443, True),
    ],
)
def test_no_proxy_is_obeyed(proxy: Proxy, no_proxy: str, port: int, goes_by_it: bool) -> None:
    ask({"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": no_proxy}, port=port)

    assert len(proxy.asked) == goes_by_it


def test_without_a_proxy_nothing_is_changed() -> None:
    text = 'console.log(require("node:https").Agent.prototype.createConnection.name)'
    said = subprocess.run(
        ["node", f"--require={PRELOAD}", "-e", text],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    stock = subprocess.run(["node", "-e", text], capture_output=True, text=True, check=False)

    assert said.stdout == stock.stdout
