"""The gateway does not start unsafe, and a script that is gone forwards nothing.

mitmproxy loads its scripts again when they change: what cannot be loaded leaves the
chain, and a stock mitmproxy would go on as an open proxy.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import GatewayProcess, clean_env, free_port
from awsgate.state import open_state
from e2e.recording import (
    ASSUMED,
    BASE_KEYS,
    ENTRY_SCRIPT,
    Recorder,
    bob_of,
    http_answer,
    wait_until,
    write_policy,
)
from rawclient import Call, Wire, plain, secure

STS_HOST = "sts.us-east-1.amazonaws.com"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
QUERY = Call("sts", STS_HOST, headers=(FORM,), body=b"Action=GetCallerIdentity&Version=2011-06-15")

# --- start --------------------------------------------------------------------------

# What is on the command line or on disk -> what the message must name.
STARTS: dict[str, tuple[list[str], list[str]]] = {
    "upstream certificates unchecked": (["--set", "ssl_insecure=true"], ["ssl_insecure=True"]),
    "hosts that are ignored": (["--ignore-hosts", ".*"], ["ignore_hosts=['.*']"]),
    "hosts that are allowed": (["--allow-hosts", "x"], ["allow_hosts=['x']"]),
    "hosts that are raw TCP": (["--tcp-hosts", ".*"], ["tcp_hosts=['.*']"]),
    "transparent mode": (["--mode", "transparent"], ["mode='transparent'", "regular"]),
    "upstream mode": (["--mode", "upstream:http://127.0.0.1:9/"], ["mode='upstream:", "regular"]),
    "SOCKS mode": (["--mode", "socks5"], ["mode='socks5'", "regular"]),
    "reverse mode": (["--mode", "reverse:http://127.0.0.1:9/"], ["mode='reverse:", "regular"]),
    "a second, unsafe mode": (
        ["--mode", "regular", "--mode", "socks5@127.0.0.1:%P"], ["mode='socks5@"],
    ),
    "several at once": (
        ["--set", "ssl_insecure=true", "--set", "validate_inbound_headers=false",
         "--set", "body_size_limit=1m", "--set", "stream_large_bodies=1"],
        ["4 mitmproxy option", "ssl_insecure", "validate_inbound_headers", "body_size_limit",
         "stream_large_bodies"],
    ),
    # mitmproxy loses this error, and went on as an open proxy.
    "an option given twice": (
        ["--set", "awsgate_policy=a", "--set", "awsgate_policy=b"], ["awsgate_policy", "once"],
    ),
    "no policy": (["--set", "awsgate_policy=%F/absent.yaml"], ["no policy at", "absent.yaml"]),
    "a policy with a fault": (
        ["--set", "awsgate_policy=%F/bad.yaml"], ["bad.yaml", "spec.no_such_key"],
    ),
    "a session key that others can read": (
        ["--set", "awsgate_state=%F/open-state"], ["open-state", "chmod"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int | None, str]]:
    """Start all of them, two at a time; give exit code and output of each."""
    folder = tmp_path_factory.mktemp("start")
    policy = write_policy(folder / "policy.yaml")
    write_policy(folder / "bad.yaml", no_such_key=True)
    open_state(folder / "open-state")
    for file in (folder / "open-state").iterdir():
        file.chmod(0o644)

    def start(case: str) -> tuple[int | None, str]:
        options = [
            option.replace("%F", str(folder)).replace("%P", str(free_port()))
            for option in STARTS[case][0]
        ]
        settings = {
            "awsgate_policy": policy,
            "awsgate_state": folder / f"state-{len(case)}",
            "awsgate_certs": folder / f"certs-{len(case)}",
            "awsgate_metrics": "",
        }
        # Twice the same option is a fault of its own.
        settings = {k: v for k, v in settings.items() if f"{k}=" not in " ".join(options)}
        command = [
            str(Path(sys.executable).parent / "mitmdump"), "-s", str(ENTRY_SCRIPT),
            "--listen-host", "127.0.0.1", "--listen-port", str(free_port()),
            *(part for name, value in settings.items() for part in ("--set", f"{name}={value}")),
            *options,
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
                env=clean_env(folder),
            )
        except subprocess.TimeoutExpired:
            return None, "still running after 20 seconds"
        return done.returncode, done.stdout + done.stderr

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(STARTS, pool.map(start, STARTS), strict=True))


@pytest.mark.parametrize("case", STARTS)
def test_the_gateway_does_not_start_with(
    ended: dict[str, tuple[int | None, str]], case: str
) -> None:
    code, output = ended[case]

    assert code == 2, output
    assert [name for name in STARTS[case][1] if name not in output] == []
    assert "Traceback" not in output
    assert "listening" not in output


# --- the script, while running ---------------------------------------------------------

# The tripwire as it would be without the tripwire.
DISARM = """\
from awsgate.addon import answers, tripwire

for name in ("server_connect", "http_connect", "requestheaders", "request"):
    setattr(tripwire.Tripwire, name, lambda self, data: None)
answers.Answers.may_send = lambda self, request: True
"""


@dataclass
class Bench:
    """A gateway with a script of its own to break."""

    gateway: GatewayProcess
    world: Recorder
    script: Path
    keys: SigningKeys

    def signed(self) -> bytes:
        return QUERY.wire(QUERY.signed(self.keys))

    def is_loaded(self) -> bool:
        """True while the addon is in the chain: its metrics port is open."""
        try:
            socket.create_connection(("127.0.0.1", self.gateway.metrics_port), 1).close()
        except OSError:
            return False
        return True

    def edit(self, text: str) -> None:
        self.script.write_text(text, "utf-8")
        # Some file systems round times to what two edits in a row share.
        later = self.script.stat().st_mtime + 2
        os.utime(self.script, (later, later))

    def answers(self) -> bool:
        """True if a signed request is forwarded."""
        with (
            suppress(AssertionError, OSError),
            secure(self.gateway, STS_HOST) as wire,
        ):
            wire.send(self.signed())
            return wire.read_answer().status == 200
        return False


Start = Callable[[str], Bench]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a gateway with a copy of the entry script, after ``prelude``."""
    started: list[GatewayProcess] = []
    world, sts = Recorder(), Recorder(answer=http_answer(ASSUMED))

    def launch(prelude: str) -> Bench:
        script = tmp_path / "entry.py"
        script.write_text(prelude + ENTRY_SCRIPT.read_text("utf-8"), "utf-8")
        gateway = GatewayProcess(
            tmp_path,
            policy=write_policy(tmp_path / "policy.yaml", sts={"endpoint_url": sts.url}),
            keys=BASE_KEYS,
            upstream=world.url,
            script=script,
        )
        started.append(gateway)
        return Bench(gateway, world, script, bob_of(gateway))

    yield launch
    for gateway in started:
        gateway.stop()
    world.close()
    sts.close()


def status_of(wire: Wire, raw: bytes) -> int:
    """Give the status, or 0 if the connection ends without an answer."""
    with suppress(OSError):
        wire.send(raw)
        return wire.read_answer().status
    return 0


BREAKS: dict[str, Callable[[Bench], object]] = {
    "edited to a syntax error": lambda bench: bench.edit("addons = ["),
    "edited to one that raises": lambda bench: bench.edit("raise RuntimeError"),
    "emptied": lambda bench: bench.edit(""),
    "edited to have no addons": lambda bench: bench.edit("addons = []"),
    "deleted": lambda bench: bench.script.unlink(),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_script_that_is_gone_forwards_nothing(start: Start, broken: str) -> None:
    bench = start("")
    absolute = f"GET {bench.world.url}/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    with secure(bench.gateway, STS_HOST) as before:
        before.send(bench.signed())
        assert before.read_answer().status == 200
        BREAKS[broken](bench)
        assert wait_until(lambda: not bench.is_loaded())
        bench.world.reset()
        in_use = status_of(before, bench.signed())
    with plain(bench.gateway) as wire:
        connect = status_of(wire, f"CONNECT {STS_HOST}:443 HTTP/1.1\r\n\r\n".encode())
    with plain(bench.gateway) as wire:
        direct = status_of(wire, absolute)

    assert bench.gateway.process.poll() is None
    assert [in_use, connect, direct] == [500, 500, 500]
    assert bench.world.received() == b""
    assert bench.world.connections == 0


@pytest.mark.parametrize("broken", ["edited to a syntax error", "deleted"])
def test_without_the_tripwire_it_would_be_an_open_proxy(start: Start, broken: str) -> None:
    """The twin of the test above."""
    bench = start(DISARM)
    absolute = f"GET {bench.world.url}/open HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    BREAKS[broken](bench)
    assert wait_until(lambda: not bench.is_loaded())
    with plain(bench.gateway) as wire:
        status = status_of(wire, absolute)

    assert status == 200
    assert re.match(rb"GET /open HTTP/1\.1", bench.world.received())


def test_a_script_can_be_broken_and_mended_again_and_again(start: Start) -> None:
    bench = start("")
    good = bench.script.read_text("utf-8")

    for _ in range(2):
        assert bench.answers()
        bench.edit("addons = [")
        assert wait_until(lambda: not bench.is_loaded())
        assert not bench.answers()
        bench.edit(good)
        assert wait_until(bench.is_loaded)
    assert wait_until(bench.answers)

    log = bench.gateway.log.read_text("utf-8")
    assert log.count("awsgate: listening on") == 3
    assert "AddonManagerError" not in log
