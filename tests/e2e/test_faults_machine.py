"""The machine fails the gateway: no files, no memory, no disk, another time, a spoilt policy.

Each leaves the gateway serving, at once or as soon as the trouble is over; nothing goes out
that was not signed, and the audit is one chain.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from awsgate.auditchain import verify
from disks import full, small_disk
from e2e.faulty import RETRYABLE, WAYS, Bench, bench_with, on_path
from e2e.held import until
from e2e.recording import Recorder
from e2e.serving import serving
from rawclient import Answer, Call, metric, secure
from refused import error_of

CALL = Call("s3", "bkt.s3.us-east-1.amazonaws.com", "GET")
MIB = 1 << 20
LATER_S = 20.0
ways = pytest.mark.parametrize("way", WAYS)


def _works(bench: Bench) -> bool:
    try:
        return bench.ask(CALL, bench.keys()).status == 200
    except OSError:
        return False


def _unbroken(bench: Bench) -> bool:
    return verify(bench.gateway.state / "audit.jsonl")[1] is None


# --- files --------------------------------------------------------------------------------


@contextmanager
def _open_files(pid: int, spare: int) -> Iterator[None]:
    """Let a process open so many more files, and no further one."""
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    free = [number for number in range(max(used) + spare + 2) if number not in used]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[spare], hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@ways
def test_without_files_a_request_is_refused_or_waits(tmp_path: Path, way: str) -> None:
    call = on_path(Call("s3", "another.s3.us-east-1.amazonaws.com", "GET"), "no files")
    other = Recorder()
    spec = f"upstreams: [{{hosts: ['{call.host}'], url: '{other.url}'}}]"
    with bench_with(tmp_path, workers=WAYS[way], spec=spec) as bench:
        assert _works(bench)
        keys = bench.keys()
        (pid,) = serving(bench.gateway)
        with secure(bench.gateway, call.host) as wire:
            wire.send(CALL.wire(CALL.signed(keys)))  # TLS is set up, and a file or two with it
            wire.read_answer()
            log = bench.gateway.log.stat().st_size
            with _open_files(pid, 0):
                # A connection that is open asks for one that is not.
                wire.send(call.wire(call.signed(keys)))
                answer = wire.read_answer()
                waiting = [
                    socket.create_connection(("127.0.0.1", bench.gateway.port), 5)
                    for _ in range(50)
                ]
                time.sleep(1.2)
                logged = bench.gateway.log.stat().st_size - log
            for sock in waiting:
                sock.close()

        _may_pass(answer)
        (line,) = bench.lines(call.target)
        assert (line["code"], line["status"]) == (answer.code, answer.status)
        # mitmproxy has asyncio try, and say so, a hundred times a second.
        assert logged < (64 if way == "run" else 1024) * 1024, "it does not go in a circle"
        assert until(lambda: _works(bench), within=LATER_S)
        assert serving(bench.gateway) == [pid]
        assert _unbroken(bench)
    other.close()


def _may_pass(answer: Answer) -> None:
    assert answer.status in RETRYABLE, (answer.status, answer.body)
    assert error_of(answer, "s3")["Message"].startswith("awsgate ")


# --- memory -------------------------------------------------------------------------------


def _mapped(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[0])
    return pages * resource.getpagesize()


@ways
def test_without_memory_nothing_unsigned_goes_out_and_later_it_works(
    tmp_path: Path, way: str
) -> None:
    """Bodies that have to be held come at once, and there is no room for them."""
    call = Call("lambda", "lambda.us-east-1.amazonaws.com", "POST", "/2015-03-31/functions/f/x",
                body=b"b" * 5 * MIB)  # fmt: skip
    with bench_with(tmp_path, workers=WAYS[way]) as bench:
        assert _works(bench)
        keys = bench.keys()
        raw = call.wire([f for f in call.signed(keys) if f[0].lower() != b"x-amz-content-sha256"])
        (pid,) = serving(bench.gateway)
        soft, hard = resource.prlimit(pid, resource.RLIMIT_AS)
        resource.prlimit(pid, resource.RLIMIT_AS, (_mapped(pid) + 4 * MIB, hard))
        try:
            for _ in range(5):
                with suppress(OSError), secure(bench.gateway, call.host) as wire:
                    wire.sock.settimeout(3)
                    wire.send(raw)
                    wire.read_answer()
        finally:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_AS, (soft, hard))

        assert until(lambda: _works(bench), within=LATER_S)
        assert all(b"ASIAIOSFODNN7EXAMPLE" in head for head in bench.heads)
        assert _unbroken(bench)


# --- disk -----------------------------------------------------------------------------------


def test_a_full_folder_for_temporary_files_kills_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics of several processes are files that are mapped: a page that does not fit kills."""
    with small_disk(tmp_path / "tmp", size_kib=1024) as disk:
        monkeypatch.setenv("TMPDIR", str(disk))
        with bench_with(tmp_path, workers=1) as bench:
            assert _works(bench)
            before = serving(bench.gateway)
            with full(disk):
                for service in ("sqs", "sns", "kms", "logs", "events", "athena", "glue", "batch"):
                    for number in range(40):
                        host = f"{service}.us-east-1.amazonaws.com"
                        target = ("X-Amz-Target", f"Any.Operation{number}")
                        call = Call(service, host, headers=(target,), body=b"{}")
                        assert bench.ask(call, bench.keys()).status == 200
            assert serving(bench.gateway) == before
            assert metric(bench.gateway.metrics(), "awsgate_requests_total", code="200") >= 320


# --- policy ---------------------------------------------------------------------------------

GARBAGE = {
    "random": bytes(range(256)) * 50,
    "zeros": bytes(4096),
    "half a document": b"kind: user\nversion: v2\nmetadata: {name: al",
    "deep": b"[" * 200_000,
    "deep blocks": b"".join(b" " * i + b"a:\n" for i in range(1500)),
    "aliases": b"a: &a [x]\n" + b"".join(b"b%d: &b%d [*a, *a]\n" % (i, i) for i in range(40)),
    "too large": b"# " + b"x" * (2 * MIB),
    "a huge number": b"kind: user\nversion: " + b"9" * 100_000,
    "another format": b'{"kind": ["user"], "metadata": 5}',
    "a list": b"- 1\n- 2\n",
    "tags": b"!!python/object/apply:os.system ['true']\n",
}


def test_a_policy_of_garbage_leaves_the_good_one_in_force(tmp_path: Path) -> None:
    with bench_with(tmp_path, workers=1) as bench:
        file = bench.gateway.policy / "policy.yaml"
        good = file.read_bytes()
        assert _works(bench)
        before = serving(bench.gateway)

        for name, garbage in GARBAGE.items():
            file.write_bytes(garbage)
            _read_again(bench, "refused")
            assert _works(bench), name
        file.write_bytes(b"")  # which is a policy, of nobody
        _read_again(bench, "allowed")

        assert bench.ask(CALL, bench.keys()).code == "denied"
        file.write_bytes(good)
        _read_again(bench, "allowed")
        assert _works(bench)
        assert serving(bench.gateway) == before


def _read_again(bench: Bench, decision: str) -> None:
    """Have the policy read, and wait for what comes of it."""

    def lines() -> list[str]:
        return [x["decision"] for x in bench.gateway.audit() if x["event"] == "policy.reload"]

    count = len(lines())
    bench.gateway.process.send_signal(signal.SIGHUP)
    assert until(lambda: len(lines()) > count, within=LATER_S)
    assert lines()[-1] == decision


# --- time -----------------------------------------------------------------------------------

CLOCKS = Path(__file__).parents[1] / "clocks"
HOUR = 3600


@ways
def test_a_clock_that_jumps_refuses_in_words_and_is_forgiven(tmp_path: Path, way: str) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    site = os.pathsep.join([str(CLOCKS), os.environ.get("AWSGATE_TEST_SITE", "")]).strip(":")
    keys = {"AWSGATE_TEST_CLOCK": str(clock), "PYTHONPATH": site}
    with bench_with(tmp_path, workers=WAYS[way], roles=("Later",), keys=keys) as bench:
        assert _works(bench)
        held, later = bench.keys(), bench.keys("Later")

        for hours in (3, -3):
            clock.write_text(str(hours * HOUR))
            call = on_path(CALL, f"{hours} hours")
            answer = bench.ask(call, held)
            assert answer.status == 403
            # Behind, the session is of the future; ahead, it has ended.
            assert answer.code in ("clock-skew", "session-expired", "unknown-key")
            assert [x["code"] for x in bench.lines(call.target)] == [answer.code]
            clock.write_text("0")
            assert bench.ask(CALL, held).status == 200, "the next one works"
        assert bench.ask(CALL, later).status == 200
        assert _unbroken(bench)
