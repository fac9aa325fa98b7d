"""Tunnels of the near gateway: those to AWS go by the jump host, which is told whose they are."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e.hops import Hops, hops_before_strict_aws
from rawclient import Call, ask, tunnel

SSM = "ssmmessages.us-east-1.amazonaws.com"
WHO = Call(
    "sts", "sts.us-east-1.amazonaws.com", body=b"Action=GetCallerIdentity&Version=2011-06-15",
    headers=(("Content-Type", "application/x-www-form-urlencoded"),),
)  # fmt: skip


@dataclass
class Echo:
    """Stands for SSM, and for the rest of the world: says back what it hears."""

    listener: socket.socket
    heard: int = 0

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def serve(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(sock,), daemon=True).start()

    def _echo(self, sock: socket.socket) -> None:
        with sock:
            while data := sock.recv(65536):
                self.heard += len(data)
                sock.sendall(data)


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Echo(listener)
        threading.Thread(target=made.serve, daemon=True).start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(
    scope="module",
    params=[(0, ()), (1, ()), (1, ("--core", "mitmproxy"))],
    ids=["near by mitmdump", "near by awsgate run", "near by awsgate run, mitmproxy's core"],
)
def hops(
    request: pytest.FixtureRequest, echo: Echo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hops]:
    workers, extra = request.param
    stand_in = f"{{hosts: ['{SSM}'], url: 'http://127.0.0.1:{echo.port}'}}"
    with hops_before_strict_aws(
        tmp_path_factory.mktemp("tunnels"),
        workers=workers,
        extra=extra,
        jump_spec=f", tunnels: {{callers: known}}, upstreams: [{stand_in}]",
    ) as made:
        yield made


def events(hops: Hops, name: str) -> list[dict[str, object]]:
    return [line for line in hops.jump.audit() if line["event"] == name]


def test_the_jump_host_refuses_a_tunnel_of_nobodys_and_opens_one_of_the_caller(
    hops: Hops, echo: Echo
) -> None:
    """Nobody has called yet, so nobody can be named; after a call it is the caller's."""
    before = echo.heard
    with tunnel(hops.gateway, SSM) as wire:
        wire.send(b"anybody?")
        assert wire.at_end()
    assert echo.heard == before
    assert [line["status"] for line in events(hops, "tunnel.refuse")] == [407]

    raw = WHO.wire(WHO.signed(hops.keys))
    assert ask(hops.gateway, WHO.host, raw, method="POST").status == 200
    data = bytes(range(256)) * 4096
    with tunnel(hops.gateway, SSM) as wire:
        threading.Thread(target=wire.send, args=(data,), daemon=True).start()
        assert wire._exactly(len(data)) == data

    deadline = time.monotonic() + 5
    while not events(hops, "tunnel.close") and time.monotonic() < deadline:
        time.sleep(0.05)
    opened = events(hops, "tunnel.open")[-1]
    assert (opened["user"], opened["host"]) == ("bob", f"{SSM}:443")
    assert events(hops, "tunnel.close")
    near = [line for line in hops.gateway.audit() if line["event"] == "tunnel.open"]
    assert near[-1]["host"] == f"{SSM}:443"


def test_what_is_not_aws_goes_straight(hops: Hops) -> None:
    before = len(hops.jump.audit())

    with tunnel(hops.gateway, "nobody.invalid"):
        pass

    assert len(hops.jump.audit()) == before
    opened = [line for line in hops.gateway.audit() if line["event"] == "tunnel.open"]
    assert (opened[-1]["host"], opened[-1]["rule"]) == ("nobody.invalid:443", "non-aws")
