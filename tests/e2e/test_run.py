"""``awsgate run``: several processes behind one port, seen from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aws_server.server import StrictAws
from awsgate.auditchain import verify
from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE
from awsgate.demo.processes import GatewayProcess, clean_env, free_port
from e2e.forms import POLICY, gateway_before
from e2e.held import until
from e2e.serving import workers_of
from rawclient import Call, metric, mint_keys, secure

BUCKET = "run.s3.us-east-1.amazonaws.com"
OBJECT = Call("s3", BUCKET, "GET", "/generated/5")
UPLOAD = Call("s3", BUCKET, "PUT", "/upload", body=b"x" * 1000)
FIRST_REQUESTS = 200
both_cores = pytest.mark.parametrize("core", ["own", "mitmproxy"])


def server(
    folder: Path, aws: StrictAws, *, spec: str = "{}", workers: int = 2, extra: Sequence[str] = ()
) -> AbstractContextManager[GatewayProcess]:
    """Run a gateway before the strict AWS."""
    policy = POLICY.format(role=POWER_ROLE, account=ACCOUNT, spec=spec)
    return gateway_before(aws, folder, policy, workers=workers, extra=extra)


@pytest.fixture
def aws() -> Iterator[StrictAws]:
    with StrictAws() as running:
        yield running


def bob(gateway: GatewayProcess) -> SigningKeys:
    return mint_keys(gateway.state, user="bob", role=POWER_ROLE, entropy=os.urandom(32))


@dataclass
class Load:
    """Clients that send one request after the other on connections of their own."""

    gateway: GatewayProcess
    keys: SigningKeys
    clients: int = 8
    answered: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Requests that were sent whole, and got no whole answer."""
    refused: int = 0
    """Connections that could not be opened."""
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._client) for _ in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(20)

    def _client(self) -> None:
        while not self._stop.is_set():
            try:
                with secure(self.gateway, BUCKET) as wire:
                    self._requests(wire)
            except OSError:
                self.refused += 1
                time.sleep(0.05)

    def _requests(self, wire: object) -> None:
        while not self._stop.is_set():
            try:
                wire.send(OBJECT.wire(OBJECT.signed(self.keys)))  # type: ignore[attr-defined]
                answer = wire.read_answer()  # type: ignore[attr-defined]
            except OSError:
                self.broken += 1
                return
            if not answer.complete:  # its head had come when the worker was killed
                self.broken += 1
                return
            self.answered[answer.status] += 1
            if answer.headers.get("connection") == "close":
                return


@both_cores
def test_sts_is_asked_once_for_all_workers(aws: StrictAws, tmp_path: Path, core: str) -> None:
    with server(tmp_path, aws, extra=("--core", core)) as gateway:
        keys, statuses = bob(gateway), Counter[int]()

        def first() -> None:
            with secure(gateway, BUCKET) as wire:
                wire.send(OBJECT.wire(OBJECT.signed(keys)))
                statuses[wire.read_answer().status] += 1

        threads = [threading.Thread(target=first) for _ in range(FIRST_REQUESTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        own = aws.base_keys.access_key_id
        assert statuses == {200: FIRST_REQUESTS}
        assert len([r for r in aws.requests if r.access_key_id == own]) == 1


@both_cores
def test_a_worker_that_is_killed_takes_only_its_own_requests_along(
    aws: StrictAws, tmp_path: Path, core: str
) -> None:
    with server(tmp_path, aws, extra=("--core", core)) as gateway:
        load = Load(gateway, bob(gateway))
        with load.running():
            time.sleep(1.5)
            victim, other = workers_of(gateway)
            os.kill(victim, signal.SIGKILL)
            assert until(lambda: len(workers_of(gateway)) == 2, within=10)
            time.sleep(4)
        lines = gateway.audit()
        counted = metric(gateway.metrics(), "awsgate_requests_total")

        assert other in workers_of(gateway)
        assert load.answered.keys() == {200}
        assert load.answered.total() > 200
        assert load.refused == 0, "the port was closed for a moment"
        assert load.broken <= load.clients, "more than what was in flight was lost"
    recorded = [line["id"] for line in lines if line["status"] == 200]
    assert len(set(recorded)) == len(recorded)
    # One that was in flight may have been recorded, though its client was not answered.
    assert load.answered.total() <= len(recorded) <= load.answered.total() + load.broken
    # A worker does one thing at a time: killed between line and counter, it is one request.
    assert counted in (len(lines) - 1, len(lines)), "what the dead worker counted is counted"
    assert verify(gateway.state / "audit.jsonl") == (len(lines), None)


@both_cores
def test_nothing_that_was_accepted_fails_when_it_is_stopped(
    aws: StrictAws, tmp_path: Path, core: str
) -> None:
    with server(tmp_path, aws, extra=("--core", core)) as gateway:
        load = Load(gateway, bob(gateway))
        with load.running():
            time.sleep(1.5)
            gateway.process.terminate()
            code = gateway.process.wait(15)
            load._stop.set()

        assert load.answered.keys() == {200}
        assert load.answered.total() > 50
        assert load.broken == 0
        assert code == 0
        recorded = [line["id"] for line in gateway.audit() if line["status"] == 200]
        assert len(set(recorded)) == len(recorded) == load.answered.total()
    assert verify(gateway.state / "audit.jsonl")[1] is None


@both_cores
def test_a_slow_answer_is_waited_for_when_it_is_stopped(
    aws: StrictAws, tmp_path: Path, core: str
) -> None:
    with server(tmp_path, aws, extra=("--core", core)) as gateway:
        keys = bob(gateway)
        upload = Call("s3", BUCKET, "PUT", "/slow", body=b"x" * 1000)
        with secure(gateway, BUCKET) as wire:
            raw = upload.wire(upload.signed(keys))
            wire.send(raw[:-500])
            time.sleep(0.5)
            gateway.process.terminate()
            time.sleep(1)
            wire.send(raw[-500:])
            answer = wire.read_answer()

        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert gateway.process.wait(10) == 0


def test_workers_end_with_their_parent(aws: StrictAws, tmp_path: Path) -> None:
    with server(tmp_path, aws) as gateway:
        workers = workers_of(gateway)
        gateway.process.kill()
        gateway.process.wait()

        assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), within=10)


def test_a_changed_policy_is_in_force_in_all_workers_and_told_once(
    aws: StrictAws, tmp_path: Path
) -> None:
    with server(tmp_path, aws) as gateway:
        keys = bob(gateway)
        assert {status_of(gateway, keys) for _ in range(8)} == {200}

        text = gateway.policy.read_text("utf-8")
        gateway.policy.write_text(text.replace("roles: [power]", "roles: []"), "utf-8")
        gateway.process.send_signal(signal.SIGHUP)

        assert until(lambda: {status_of(gateway, keys) for _ in range(12)} == {403}, within=5)
        assert gateway.log.read_text("utf-8").count("policy read again") == 1
        reloads = [line for line in gateway.audit() if line["event"] == "policy.reload"]
        assert len(reloads) == 1


def status_of(gateway: GatewayProcess, keys: SigningKeys) -> int:
    """Ask once, on a connection of its own; 0: it was turned away."""
    try:
        with secure(gateway, BUCKET) as wire:
            wire.send(OBJECT.wire(OBJECT.signed(keys)))
            return wire.read_answer().status
    except OSError:
        return 0


def test_a_head_that_comes_slowly_is_not_waited_for(aws: StrictAws, tmp_path: Path) -> None:
    with server(tmp_path, aws, spec="{limits: {head_timeout_s: 1.0}}", workers=1) as gateway:
        keys = bob(gateway)
        with secure(gateway, BUCKET) as slow, secure(gateway, BUCKET) as idle:
            idle.send(OBJECT.wire(OBJECT.signed(keys)))
            assert idle.read_answer().status == 200
            raw = OBJECT.wire(OBJECT.signed(keys))
            began, sent = time.monotonic(), 0
            slow.sock.settimeout(0.2)
            while not slow.at_end() and time.monotonic() - began < 8:
                slow.send(raw[sent : sent + 1])
                sent += 1
            took = time.monotonic() - began
            idle.send(raw)

            assert 1.0 <= took < 4.0
            assert idle.read_answer().status == 200  # it owed nothing


def test_a_connection_that_never_says_anything_is_closed(aws: StrictAws, tmp_path: Path) -> None:
    spec = "{limits: {head_timeout_s: 1.0, idle_timeout_s: 2.0}}"
    with server(tmp_path, aws, spec=spec, workers=1) as gateway:
        keys = bob(gateway)
        with (
            socket.create_connection(("127.0.0.1", gateway.port), 10) as silent,
            secure(gateway, BUCKET) as idle,
        ):
            idle.send(OBJECT.wire(OBJECT.signed(keys)))
            assert idle.read_answer().status == 200
            assert silent.recv(1) == b""
            assert idle.at_end()


@both_cores
def test_of_connections_over_the_limit_those_give_way_that_do_nothing(
    aws: StrictAws, tmp_path: Path, core: str
) -> None:
    spec = "{limits: {max_connections: 3}}"
    with server(tmp_path, aws, spec=spec, workers=1, extra=("--core", core)) as gateway:
        keys = bob(gateway)
        silent = [socket.create_connection(("127.0.0.1", gateway.port), 10) for _ in range(3)]

        assert status_of(gateway, keys) == 200
        assert silent[0].recv(1) == b""

        with ExitStack() as opened:
            for _ in range(3):
                wire = opened.enter_context(secure(gateway, BUCKET))
                wire.send(UPLOAD.wire(UPLOAD.signed(keys))[:-1])
            assert until(lambda: len(aws.requests) > 4, within=5), "all of them do something"
            with socket.create_connection(("127.0.0.1", gateway.port), 10) as one_too_many:
                assert one_too_many.recv(1) == b""
        for sock in silent:
            sock.close()

        assert until(lambda: status_of(gateway, keys) == 200, within=5)


def test_systemd_hands_down_the_socket_and_is_told(aws: StrictAws, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.format(role=POWER_ROLE, account=ACCOUNT, spec="{}"), "utf-8")
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(30)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    # The shell becomes the gateway, so its process id is the one that systemd would name.
    command = (
        f'export LISTEN_PID=$$; exec "$0" -m awsgate run --workers 1 --metrics "" '
        f'--upstream {aws.url} --policy "{policy}" --state "{tmp_path}/s" --certs "{tmp_path}/c"'
    )
    process = subprocess.Popen(
        ["bash", "-c", f"exec 3<&{listening.fileno()}; {command}", sys.executable],
        pass_fds=[listening.fileno()],
        env=clean_env(tmp_path, {"LISTEN_FDS": "1", "NOTIFY_SOCKET": str(tmp_path / "notify")}),
        stderr=subprocess.DEVNULL,
    )
    try:
        assert told.recv(1000).startswith(b"READY=1\n")
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"CONNECT sts.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        process.terminate()
        assert told.recv(1000).startswith(b"STOPPING=1\n")
        assert process.wait(15) == 0
    finally:
        process.kill()
        told.close()
        listening.close()


def test_what_is_wrong_is_said_and_nothing_starts(tmp_path: Path) -> None:
    bad = tmp_path / "policy.yaml"
    bad.write_text("kind: role\nversion: v5\nmetadata: {name: x}\nspec: {alow: {}}\n", "utf-8")
    taken = socket.create_server(("127.0.0.1", 0))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        places = ["--state", str(tmp_path / "s"), "--certs", str(tmp_path / "c")]
        return subprocess.run(
            [sys.executable, "-m", "awsgate", "run", *places, *arguments],
            capture_output=True, text=True, check=False, timeout=60,
            env=clean_env(tmp_path),
        )  # fmt: skip

    with_fault = run("--policy", str(bad), "--listen", f"127.0.0.1:{free_port()}")
    bad.write_text(POLICY.format(role=POWER_ROLE, account=ACCOUNT, spec="{}"), "utf-8")
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    on_a_taken_port = run("--policy", str(bad), "--listen", address)
    taken.close()

    assert (with_fault.returncode, on_a_taken_port.returncode) == (2, 2)
    assert "spec.alow" in with_fault.stderr
    assert f"awsgate: error: cannot listen on {address}" in on_a_taken_port.stderr
