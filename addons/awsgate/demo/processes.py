"""Processes: the gateway through mitmdump, and clients with a clean environment."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from awsgate.address import split
from awsgate.errors import SetupError

START_TIMEOUT_S = 60.0

# What a client's environment keeps of ours. No AWS_*, no *_PROXY, no CA variable:
# what is left over from the caller's shell must not decide what the demo shows.
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TERM", "SYSTEMROOT")


def free_port() -> int:
    """Give a TCP port on loopback that is free now, for a server that starts in a moment.

    Below those that systems give to outgoing connections: one of these could take it before.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise SetupError("no port is free on 127.0.0.1")


class Running:
    """A process that was started and answers on its port."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def stop(self, timeout_s: float = 10) -> None:
        """End it: politely, then not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start(command: Sequence[str], *, log: Path, env: Mapping[str, str], port: int) -> Running:
    """Start a process, and wait until it accepts connections on ``port``.

    Raises ``SetupError`` with the end of its log if it ends or stays silent.
    """
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=dict(env)
        )
    running = Running(process, log)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return running
    running.stop()
    raise SetupError(f"{Path(command[0]).name} did not start", faults=end_of(log))


def end_of(log: Path) -> tuple[str, ...]:
    """Give the last lines of a log."""
    return tuple(log.read_text("utf-8", "replace").splitlines()[-12:])


def mitmdump(script: Path, listen: str, settings: Iterable[str]) -> list[str]:
    """Give the command of a gateway; ``settings`` of the addon are ``name=value``.

    Without ``listen`` it opens what its policy says, and before the script is loaded,
    all interfaces.
    """
    command = [str(Path(sys.executable).parent / "mitmdump"), "-s", str(script)]
    if listen:
        host, port = split(listen)
        command += ["--listen-host", host or "127.0.0.1", "--listen-port", str(port)]
    return [*command, *(word for setting in settings for word in ("--set", setting))]


def clean_env(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give an environment for a client that knows nothing but ``extra``."""
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    scripts = str(Path(sys.executable).parent)
    env["PATH"] = os.pathsep.join([scripts, env.get("PATH", os.defpath)])
    return {**env, "HOME": str(home), "AWS_DEFAULT_REGION": "us-east-1", **(extra or {})}


HOST_VARIABLE = "AWSGATE_TEST_HOST"
"""``run``: gateways are started with ``awsgate run`` instead, as tests of it want."""
CORE_VARIABLE = "AWSGATE_TEST_CORE"
"""``own``: ``awsgate run`` is started with its own core."""
SITE_VARIABLE = "AWSGATE_TEST_SITE"
"""A folder whose ``sitecustomize`` gateways import before all else."""


class GatewayProcess:
    """A gateway as users run it: ``mitmdump -s addons/awsgate.py``."""

    def __init__(
        self,
        folder: Path,
        *,
        policy: Path,
        keys: Mapping[str, str],
        upstream: str = "",
        script: Path | None = None,
        options: Sequence[str] = (),
        workers: int = 0,
        extra: Sequence[str] = (),
    ) -> None:
        """Start it. ``workers``: with ``awsgate run``, and ``extra`` options of that."""
        self.folder, self.policy = folder, policy
        self.state, self.certs = folder / "state", folder / "certs"
        self.port, self.metrics_port = free_port(), free_port()
        self.proxy = f"http://127.0.0.1:{self.port}"
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)
        if not workers and os.environ.get(HOST_VARIABLE) == "run" and not (script or options):
            workers = 1
        if workers:
            command = [*self._server(upstream, workers), *extra]
        else:
            command = [*self._mitmdump(upstream, script or entry_script(folder)), *options]
        self.log = folder / "gateway.log"
        # One that ran here before it has said in it that it listens.
        self._log_begins = self.log.stat().st_size if self.log.exists() else 0
        # The metrics port opens last but one: when it answers, the addon is set up.
        self._running = start(
            command,
            log=self.log,
            env=clean_env(self.home, {**_site(), **keys}),
            port=self.metrics_port,
        )
        try:
            self._wait_for_announcement()
        except BaseException:
            self._running.stop()
            raise

    def _mitmdump(self, upstream: str, script: Path) -> list[str]:
        settings = (
            f"awsgate_policy={self.policy}",
            f"awsgate_state={self.state}",
            f"awsgate_certs={self.certs}",
            f"awsgate_metrics=127.0.0.1:{self.metrics_port}",
            f"awsgate_upstream={upstream}",
        )
        return mitmdump(script, f"127.0.0.1:{self.port}", settings)

    def _server(self, upstream: str, workers: int) -> list[str]:
        return [
            sys.executable, "-m", "awsgate", "run", "--workers", str(workers), "--drain", "5",
            "--listen", f"127.0.0.1:{self.port}", "--upstream", upstream,
            "--metrics", f"127.0.0.1:{self.metrics_port}", "--policy", str(self.policy),
            "--state", str(self.state), "--certs", str(self.certs),
            *(["--core", core] if (core := os.environ.get(CORE_VARIABLE)) else []),
        ]  # fmt: skip

    def stop(self) -> None:
        """End the gateway."""
        self._running.stop()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The mitmdump process."""
        return self._running.process

    def audit(self, *, at_least: int = 0) -> list[dict[str, Any]]:
        """Give all audit lines so far, once there are ``at_least`` so many.

        The line of a forwarded request follows the last byte of its answer: whoever
        has just read that waits, for five seconds at most.
        """
        deadline = time.monotonic() + 5
        while True:
            text = (self.state / "audit.jsonl").read_text("utf-8")
            whole = text.rpartition("\n")[0]  # the last line may be half there
            lines = [json.loads(line) for line in whole.splitlines()]
            if len(lines) >= at_least or time.monotonic() > deadline:
                return lines
            time.sleep(0.02)

    def metrics(self) -> str:
        """Give /metrics as text."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def env(self, *, user: str, app: str, role: str, ttl: str = "") -> dict[str, str]:
        """Give the variables of ``awsgate env``, by running it."""
        command = [
            sys.executable, "-m", "awsgate", "env", "--format", "json",
            "--user", user, "--app", app, "--role", role, "--proxy", self.proxy,
            "--policy", str(self.policy), "--state", str(self.state), "--certs", str(self.certs),
            *(("--ttl", ttl) if ttl else ()),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise SetupError("awsgate env failed", faults=tuple(done.stderr.splitlines()))
        variables: dict[str, str] = json.loads(done.stdout)
        return variables

    def _wait_for_announcement(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._running.process.poll() is None:
            if b"awsgate: listening on" in self.log.read_bytes()[self._log_begins :]:
                return
            time.sleep(0.05)
        raise SetupError("the gateway did not come up", hint=f"see {self.log}")


def _site() -> dict[str, str]:
    folder = os.environ.get(SITE_VARIABLE)
    return {"PYTHONPATH": folder} if folder else {}


def entry_script(folder: Path) -> Path:
    """Give the entry script: beside the package in a checkout, else a copy of it."""
    script = Path(__file__).parents[2] / "awsgate.py"
    if script.exists():
        return script
    copy = folder / "awsgate_entry.py"
    copy.write_text(
        "from awsgate.addon.entry import load_addons\n\naddons = load_addons()\n", "utf-8"
    )
    return copy
