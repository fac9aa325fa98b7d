"""An AWS that breaks in each way in turn, and a gateway before it in either way to run.

A fault is played to one host, or to one role at STS, until it is mended; everything else
is answered well. So one gateway serves all of a table, and each row shows too that the
next request works.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import GatewayProcess
from e2e.held import ACCOUNT, app, gateway, role, user
from e2e.recording import ASSUMED, BASE_KEYS, http_answer
from e2e.scripted import Scripted
from rawclient import Answer, Call, ask, mint_keys

WAYS = {"run": 1, "script": 0}
"""Workers: ``awsgate run`` with its own core, or mitmdump with the script."""
RETRYABLE = frozenset({500, 502, 503, 504})
"""Every SDK repeats a request that is answered so."""

Fault = Callable[[socket.socket], bytes | None]
"""Says something on a connection, or breaks it; gives the rest of the answer, if any."""


def arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def reset(sock: socket.socket) -> None:
    """End a connection with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@dataclass
class Faulty:
    """What breaks, and how: by host, and by the role that STS is asked for."""

    hosts: dict[str, Fault] = field(default_factory=dict)
    roles: dict[str, Fault] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """The roles that STS was asked for."""

    def script(self) -> Scripted:
        return Scripted(answer=self._aws, sts=self._sts)

    def _aws(self, head: bytes, sock: socket.socket) -> bytes | None:
        host = head.lower().partition(b"\r\nhost:")[2].split(b"\r\n")[0].strip().decode()
        fault = self.hosts.get(host)
        return http_answer(b"ok") if fault is None else fault(sock)

    def _sts(self, body: bytes, sock: socket.socket) -> bytes | None:
        name = parse_qs(body.decode())["RoleArn"][0].rpartition("/")[2]
        self.asked.append(name)
        fault = self.roles.get(name)
        return http_answer(ASSUMED) if fault is None else fault(sock)


@dataclass
class Bench:
    """The gateway and what it faces."""

    gateway: GatewayProcess
    faulty: Faulty
    heads: list[bytes]
    """Of the requests that arrived."""

    def keys(self, name: str = "Good", who: str = "alice") -> SigningKeys:
        return mint_keys(
            self.gateway.state, user=who, role=arn(name), app="main", entropy=os.urandom(32)
        )

    def ask(self, call: Call, keys: SigningKeys) -> Answer:
        """Ask on a connection of its own."""
        return ask(self.gateway, call.host, call.wire(call.signed(keys)), method=call.method)

    def lines(self, path: str) -> list[dict[str, Any]]:
        """Give the audit lines of a path, once there is one."""
        found: list[dict[str, Any]] = []
        for count in range(1, 10_000):
            lines = self.gateway.audit(at_least=count)
            found = [line for line in lines if line["path"] == path]
            if found or len(lines) < count:
                break
        return found


def on_path(call: Call, name: str) -> Call:
    """Give the call with a path of its own, by which its audit line is found."""
    return replace(call, target=f"/{name.replace(' ', '-')}")


@contextmanager
def bench_with(
    folder: Path,
    *,
    workers: int,
    roles: tuple[str, ...] = (),
    spec: str = "",
    keys: dict[str, str] | None = None,
) -> Iterator[Bench]:
    """Start both. ``spec`` is more of ``kind: gateway``."""
    faulty = Faulty()
    script = faulty.script()
    server = script.start()
    policy = folder / "policy"
    policy.mkdir(exist_ok=True)
    settings = f"{{sts: {{endpoint_url: '{script.url}'}}{spec and ', ' + spec}}}"
    documents = [
        role("all", arn("Good"), *map(arn, roles)),
        user("alice", "all"),
        user("bob", "all"),
        app("main"),
        gateway(settings),
    ]
    (policy / "policy.yaml").write_text("---\n".join(documents), "utf-8")
    (folder / "gateway.log").unlink(missing_ok=True)  # of a start before: it says "listening"
    running = None
    try:
        running = GatewayProcess(
            folder,
            policy=policy,
            keys={**BASE_KEYS, **(keys or {})},
            upstream=script.url,
            workers=workers,
        )
        yield Bench(running, faulty, script.heads)
    finally:
        if running is not None:
            running.stop()
        with suppress(OSError):
            server.shutdown()
            server.server_close()
