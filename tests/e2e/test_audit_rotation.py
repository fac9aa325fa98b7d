"""The log of a running gateway: rotated under load, and its disk full. No line is lost.

The gateway is a real one, an AWS that answers at once stands behind it, and what came of
it is asked of ``awsgate audit verify``.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from awsgate.auditchain import verify_files
from awsgate.auditfile import opened_log, rotated_by_awsgate
from awsgate.auditline import parsed
from awsgate.aws.sigv4 import SigningKeys
from awsgate.demo.processes import GatewayProcess, clean_env
from e2e.recording import (
    ASSUMED,
    BASE_KEYS,
    Recorder,
    bob_of,
    http_answer,
    wait_until,
    write_policy,
)
from e2e.serving import serving
from rawclient import Call, Wire, secure

S3 = Call("s3", "bkt.s3.us-east-1.amazonaws.com", "GET", "/object")


@dataclass
class Bench:
    gateway: GatewayProcess
    keys: SigningKeys
    world: Recorder

    @property
    def log(self) -> Path:
        return self.gateway.state / "audit.jsonl"

    def send(self, wire: Wire, target: str) -> int:
        call = replace(S3, target=target)
        wire.send(call.wire(call.signed(self.keys)))
        return wire.read_answer().status

    def verified(self) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "awsgate", "audit", "verify", "--json",
             "--state", str(self.gateway.state)],
            capture_output=True, text=True, check=False, env=clean_env(self.gateway.home),
        )  # fmt: skip
        assert done.stderr == ""
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if found["unbroken"] else 1)
        return found

    def lines(self) -> list[dict[str, Any]]:
        """Give all lines of all files."""
        with opened_log(self.log) as files:
            return [r for f in files for line in f.lines() if (r := parsed(line)) is not None]


@contextmanager
def bench_in(folder: Path, **audit: object) -> Iterator[Bench]:
    with ExitStack() as stack:
        world, sts = Recorder(), Recorder(answer=http_answer(ASSUMED))
        stack.callback(world.close)
        stack.callback(sts.close)
        gateway = GatewayProcess(
            folder,
            policy=write_policy(
                folder / "policy.yaml",
                sts={"endpoint_url": sts.url},
                upstreams=[{"hosts": ["*.amazonaws.com"], "url": world.url}],
                audit=audit,
            ),
            keys=BASE_KEYS,
        )
        stack.callback(gateway.stop)
        yield Bench(gateway, bob_of(gateway), world)


def in_background(work: Callable[[], None]) -> Thread:
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_nothing_is_lost_when_the_gateway_and_logrotate_both_rotate_under_load(
    tmp_path: Path,
) -> None:
    done: list[str] = []
    with bench_in(tmp_path, rotate_bytes=64 * 1024) as bench:

        def load(name: str) -> None:
            with secure(bench.gateway, S3.host) as wire:
                for number in range(150):
                    assert bench.send(wire, f"/{name}/{number}") == 200
                    done.append(f"/{name}/{number}")

        clients = [in_background(lambda name=name: load(name)) for name in "abc"]  # type: ignore[misc]
        renamed = 0
        while any(client.is_alive() for client in clients):
            if renamed < 4 and len(done) > 80 * (renamed + 1):
                renamed += 1
                for number in range(renamed, 1, -1):
                    old = bench.log.with_name(f"audit.jsonl.{number - 1}")
                    old.rename(bench.log.with_name(f"audit.jsonl.{number}"))
                bench.log.rename(bench.log.with_name("audit.jsonl.1"))
            with opened_log(bench.log) as files:
                assert verify_files(files).fault is None, "also while all of this goes on"
        assert len(done) == 450
        assert wait_until(lambda: sum(bool(line["path"]) for line in bench.lines()) >= 450)

        found = bench.verified()
        assert (renamed, len(rotated_by_awsgate(bench.log)) >= 3) == (4, True)
        assert sorted(x["path"] for x in bench.lines() if x["event"] == "request") == sorted(done)
        assert found["unbroken"]
        assert len(found["files"]) >= 8


def test_a_gateway_that_starts_after_its_log_was_renamed_goes_on_with_the_chain(
    tmp_path: Path,
) -> None:
    with bench_in(tmp_path) as bench, secure(bench.gateway, S3.host) as wire:
        assert bench.send(wire, "/before") == 200
        assert wait_until(lambda: len(bench.lines()) == 1)
    bench.log.rename(bench.log.with_name("audit.jsonl.1"))

    with bench_in(tmp_path) as again, secure(again.gateway, S3.host) as wire:
        assert again.send(wire, "/after") == 200
        assert wait_until(lambda: len(again.lines()) == 3)
        found = again.verified()

    assert (found["unbroken"], found["lines"], len(found["files"])) == (True, 3, 2)


def test_rotation_can_be_set_while_the_gateway_runs(tmp_path: Path) -> None:
    with bench_in(tmp_path, rotate_bytes=0) as bench, secure(bench.gateway, S3.host) as wire:
        for number in range(90):
            assert bench.send(wire, f"/{number}") == 200
        assert bench.log.stat().st_size > 64 * 1024
        assert rotated_by_awsgate(bench.log) == []
        text = bench.gateway.policy.read_text("utf-8")
        bench.gateway.policy.write_text(text.replace('"rotate_bytes": 0', '"rotate_bytes": 65536'))
        assert wait_until(lambda: any(x["event"] == "policy.reload" for x in bench.lines()))
        assert bench.send(wire, "/after") == 200

        assert wait_until(lambda: len(rotated_by_awsgate(bench.log)) == 1)
        assert bench.verified()["unbroken"]


# --- a full disk ----------------------------------------------------------------------------


def fill_up_and_recover(bench: Bench, make_room: Callable[[], None]) -> None:
    """Send until nothing can be recorded, make room, and go on."""
    passed: list[str] = []
    with secure(bench.gateway, S3.host) as wire:

        def passes() -> bool:
            target = f"/{len(passed)}"
            if bench.send(wire, target) != 200:
                return False
            passed.append(target)
            return True

        deadline = time.monotonic() + 60
        while passes():
            assert time.monotonic() < deadline, "the disk is never full"
        arrived = len(bench.world.heads())
        assert not any(passes() for _ in range(20)), "nothing more is forwarded"
        assert len(bench.world.heads()) == arrived
        assert bench.log.read_bytes().endswith(b"\n"), "no half line"
        assert bench.verified()["unbroken"]

        make_room()

        assert wait_until(passes), "it recovers by itself"
    assert wait_until(
        lambda: (
            sorted(x["path"] for x in bench.lines() if x["decision"] == "allowed") == sorted(passed)
        )
    )
    found = bench.verified()
    assert found["unbroken"]
    assert b"\n\n" not in bench.log.read_bytes()
    assert not [x for x in bench.lines() if x["event"] == "audit.recovered"]


def test_a_file_that_may_not_grow_stops_the_gateway_until_it_may(tmp_path: Path) -> None:
    """The kernel lets a part of a line be written, and no more: so it is everywhere."""
    with bench_in(tmp_path) as bench:
        (process,) = serving(bench.gateway)
        limits = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (20_000, limits[1]))

        fill_up_and_recover(
            bench, lambda: resource.prlimit(process, resource.RLIMIT_FSIZE, limits) and None
        )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 KiB, at the place of the state folder."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=160k,mode=0700", "awsgate-test", str(state)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("may not mount a file system here")
    yield state
    subprocess.run(["umount", "--lazy", str(state)], check=True)


def test_a_full_disk_stops_the_gateway_until_there_is_room(
    tmp_path: Path, small_disk: Path
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 120_000)
    with bench_in(tmp_path) as bench:
        fill_up_and_recover(bench, filler.unlink)


def test_a_full_disk_while_files_are_rotated_loses_nothing(
    tmp_path: Path, small_disk: Path
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 60_000)
    with bench_in(tmp_path, rotate_bytes=64 * 1024) as bench:
        fill_up_and_recover(bench, filler.unlink)

        assert rotated_by_awsgate(bench.log)


def test_with_continue_requests_pass_and_their_lines_follow(tmp_path: Path) -> None:
    with bench_in(tmp_path, on_failure="continue") as bench:
        (process,) = serving(bench.gateway)
        limits = resource.prlimit(process, resource.RLIMIT_FSIZE)
        with secure(bench.gateway, S3.host) as wire:
            # The metrics of a worker are files, too, which the first request makes.
            assert bench.send(wire, "/first") == 200
            resource.prlimit(process, resource.RLIMIT_FSIZE, (5_000, limits[1]))
            assert {bench.send(wire, f"/{number}") for number in range(30)} == {200}
            assert len(bench.lines()) < 10
            resource.prlimit(process, resource.RLIMIT_FSIZE, limits)
            assert bench.send(wire, "/last") == 200

        assert wait_until(lambda: len(bench.lines()) == 32)
        assert bench.verified()["unbroken"]
