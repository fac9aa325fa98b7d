"""``awsgate run``: tunnels beyond the bounds, and workers that start in bad times."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aws_server.server import StrictAws
from awsgate.demo.processes import CORE_VARIABLE
from e2e.held import until
from e2e.test_run import aws as aws
from e2e.test_run import bob, server, status_of, workers_of
from rawclient import tunnel

DATABASE = "db.internal.example"


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that says back what it hears; its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                conn, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=say_back, args=(conn,), daemon=True).start()

    def say_back(conn: socket.socket) -> None:
        with conn:
            while data := conn.recv(65536):
                conn.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    listening.close()


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "silent"])
def test_a_tunnel_is_not_bound_by_the_limits_of_requests(
    aws: StrictAws, tmp_path: Path, echo: int, busy: bool
) -> None:
    spec = (
        "{limits: {head_timeout_s: 1.0, idle_timeout_s: 1.0}, "
        f"bypass: [{{hosts: [{DATABASE}], reason: a database}}], "
        f"upstreams: [{{hosts: [{DATABASE}], url: 'http://127.0.0.1:{echo}'}}]}}"
    )
    with (
        server(tmp_path, aws, spec=spec, workers=1) as gateway,
        tunnel(gateway, DATABASE, 5432) as wire,
    ):
        for _ in range(8):
            if busy:
                wire.send(b"ping")
                assert wire.sock.recv(4) == b"ping"
            time.sleep(0.5)
        wire.send(b"still there")
        assert wire.sock.recv(11) == b"still there"


def test_a_worker_that_starts_while_the_policy_is_broken_serves_by_the_last_good_one(
    aws: StrictAws, tmp_path: Path
) -> None:
    with server(tmp_path, aws, workers=1) as gateway:
        keys = bob(gateway)
        assert status_of(gateway, keys) == 200
        good = gateway.policy.read_text("utf-8")
        gateway.policy.write_text(good + "\n---\nkind: nonsense\n", "utf-8")
        assert until(
            lambda: any(line["event"] == "policy.reload" for line in gateway.audit()), within=10
        )

        (victim,) = workers_of(gateway)
        os.kill(victim, signal.SIGKILL)
        assert until(lambda: workers_of(gateway) not in ([], [victim]), within=10)
        assert until(lambda: status_of(gateway, keys) == 200, within=15)

        # And it follows the file as any other does.
        gateway.policy.write_text(good.replace("roles: [power]", "roles: []"), "utf-8")
        assert until(lambda: status_of(gateway, keys) == 403, within=10)


def test_a_reload_does_not_kill_a_worker_that_starts(aws: StrictAws, tmp_path: Path) -> None:
    with server(tmp_path, aws, workers=1) as gateway:
        keys = bob(gateway)
        (victim,) = workers_of(gateway)
        os.kill(victim, signal.SIGKILL)
        assert until(lambda: workers_of(gateway) not in ([], [victim]), within=10)
        (starting,) = workers_of(gateway)
        for _ in range(10):
            gateway.process.send_signal(signal.SIGHUP)
            time.sleep(0.05)

        assert until(lambda: status_of(gateway, keys) == 200, within=15)
        assert workers_of(gateway) == [starting]


def test_workers_have_the_own_core_unless_another_is_asked_for(
    aws: StrictAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CORE_VARIABLE, raising=False)
    for number, (extra, core) in enumerate(
        {(): "own", ("--core", "mitmproxy"): "mitmproxy"}.items()
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        with server(folder, aws, workers=1, extra=extra) as gateway:
            (worker,) = workers_of(gateway)
            orders = Path(f"/proc/{worker}/cmdline").read_text().split("\0")
            assert f'"core": "{core}"' in " ".join(orders)
            assert status_of(gateway, bob(gateway)) == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="a gateway is closed to others of its user")
def test_workers_do_not_have_the_gateways_own_credentials(aws: StrictAws, tmp_path: Path) -> None:
    with server(tmp_path, aws, workers=1) as gateway:
        environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in workers_of(gateway)]

        assert (
            aws.base_keys.secret_access_key.encode()
            in Path(f"/proc/{gateway.process.pid}/environ").read_bytes()
        )
        assert [b"AWS_" in environment for environment in environments] == [False]
