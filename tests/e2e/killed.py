"""A gateway under load that is killed, all its processes at once, and started again."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from awsgate.auditchain import verify_files
from awsgate.auditfile import opened_log
from awsgate.demo.processes import GatewayProcess
from e2e.faulty import Bench, bench_with, on_path
from e2e.serving import workers_of
from rawclient import Call, secure

CALL = Call("s3", "bkt.s3.us-east-1.amazonaws.com", "GET")


def kill(gateway: GatewayProcess) -> None:
    """Leave nobody the time to finish anything."""
    for pid in (*workers_of(gateway), gateway.process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    gateway.process.wait()


class Clients:
    """Clients that ask for one path after the other, and keep those they got whole."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench, self._name = bench, name
        self.answered: set[str] = set()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(4)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        keys = self._bench.keys()
        with suppress(OSError), secure(self._bench.gateway, CALL.host) as wire:
            for count in range(100_000):
                call = on_path(CALL, f"{self._name}/{number}/{count}")
                wire.send(call.wire(call.signed(keys)))
                answer = wire.read_answer()
                if answer.status == 200 and answer.complete:
                    self.answered.add(call.target)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(20)


def run_and_kill(folder: Path, name: str, *, workers: int, after_s: float) -> set[str]:
    """Start a gateway, let clients use it, kill it; give the paths that were answered."""
    with bench_with(folder, workers=workers) as bench:
        assert bench.ask(CALL, bench.keys()).status == 200
        clients = Clients(bench, name)
        time.sleep(after_s)
        kill(bench.gateway)
        clients.join()
    return clients.answered


def unrecorded(folder: Path, answered: set[str]) -> list[str]:
    """Say what of this is not in the audit; and what is wrong with that."""
    with opened_log(folder / "state" / "audit.jsonl") as files:
        fault = verify_files(files).fault
        text = b"".join(line for each in files for line in each.lines())
    lost = [path for path in sorted(answered) if f'"path":"{path}"'.encode() not in text]
    return [*lost, *([str(fault)] if fault is not None else [])]
