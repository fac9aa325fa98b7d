"""Processes that write all that a gateway keeps, and are killed in the middle of it.

``python -m killing FOLDER`` writes and writes, and says after each thing that it is done:
what was said must be there afterwards, whole, and beyond it one thing at most.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from awsgate.audit import AuditLog, AuditRecord, Rotation
from awsgate.auditchain import verify_files
from awsgate.auditfile import opened_log
from awsgate.ca import ensure_ca, rotate_ca
from awsgate.locks import LockStore
from awsgate.policy.accessrequest import asked
from awsgate.policy.requests import Terms
from awsgate.requestdb import sqlite_url
from awsgate.requeststore import RequestStore
from awsgate.state import open_state, rotate_session_key
from awsgate.tally import Tally

SESSION = "a" * 32
SUFFIXES = ("amazonaws.com",)
TERMS = Terms(((1, 1),), 7200, reason_required=False, reviewers=("bob",))
KINDS = ("audit", "tally", "lock", "request", "key", "ca")


def _lock(name: str) -> dict[str, object]:
    spec = {"target": {"user": "alice"}, "message": "m" * 500}
    return {"kind": "lock", "version": "v1", "metadata": {"name": name}, "spec": spec}


def write_on(folder: Path, first: int) -> None:
    """Write for ever; each thing has a number, from ``first`` on."""
    print("starting", flush=True)
    folder.mkdir(exist_ok=True)
    state = open_state(folder / "state")
    log = AuditLog(state.audit_path, Rotation(bytes=64 * 1024))
    tally, locks = Tally(folder / "state" / "tally"), LockStore(state.locks_folder)
    locks.open()
    store = RequestStore(sqlite_url(folder / "state" / "requests.db"))
    now = datetime.now(UTC)

    def request(number: int) -> None:
        made = asked(f"ar-{number}", "alice", "local", "dba", terms=TERMS, reason="r",
                     duration_s=600, now=1_800_000_000)  # fmt: skip
        store.add(made, lambda _: None, lambda _: None)

    does: dict[str, Callable[[int], object]] = {
        "audit": lambda n: log.write(AuditRecord(time="2026-01-01T00:00:00.000Z", id=str(n))),
        "tally": lambda _: tally(SESSION),
        "lock": lambda n: locks.add(_lock(f"l{n}")),
        "request": request,
        "key": lambda _: rotate_session_key(folder / "state"),
        "ca": lambda _: rotate_ca(folder / "certs", suffixes=SUFFIXES, now=now),
    }
    ensure_ca(folder / "certs", suffixes=SUFFIXES, now=now)
    print("begun", flush=True)
    for number in range(first, 1_000_000):
        for kind in KINDS:
            does[kind](number)
            print(kind, number, flush=True)


class Kept:
    """A folder that is written to by one process after the other, each of them killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = dict.fromkeys(KINDS, 0)
        self._next = 1

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "killing", str(self.folder), str(self._next)]
        path = os.pathsep.join(entry for entry in sys.path if entry)
        env = {**os.environ, "PYTHONPATH": path}
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "starting\n"
        return writer

    def kill_start(self, after_s: float) -> None:
        """Kill one while it makes what is not there yet."""
        writer = self._start()
        time.sleep(after_s)
        self._kill(writer)

    def kill_one(self, chance: random.Random) -> None:
        """Start one, let it write for a while, kill it."""
        writer = self._start()
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begun\n"
        time.sleep(chance.random() * 0.4)
        self._kill(writer)

    def _kill(self, writer: subprocess.Popen[str]) -> None:
        """Kill it, and note what it had said by then."""
        writer.send_signal(signal.SIGKILL)
        assert writer.stdout is not None
        with writer.stdout:  # not communicate(): what was read ahead would be lost
            said = writer.stdout.read()
        writer.wait()
        for line in said.splitlines():
            kind, _, number = line.partition(" ")
            if number:
                self.said[kind] += 1
                self._next = max(self._next, int(number))
        # The last thing may be done and not said: nobody takes its number.
        self._next += 2

    def faults(self, kills: int) -> list[str]:
        """Say what is lost or half there after so many kills."""
        found = {
            "audit": self._audit(), "tally": self._tally(), "lock": self._locks(),
            "request": self._requests(),
        }  # fmt: skip
        faults = [
            f"{kind}: {there} are there, {self.said[kind]} were done"
            for kind, there in found.items()
            if not self.said[kind] <= there <= self.said[kind] + kills
        ]
        open_state(self.folder / "state")
        ensure_ca(self.folder / "certs", suffixes=SUFFIXES, now=datetime.now(UTC))
        return faults

    def _audit(self) -> int:
        path = self.folder / "state" / "audit.jsonl"
        log = AuditLog(path)
        log.write(AuditRecord(time="2026-01-01T00:00:00.000Z", event="after"))
        log.close()
        with opened_log(path) as files:
            chain = verify_files(files)
            assert chain.fault is None, chain.fault
            whole = [
                json.loads(line) for each in files for line in each.lines() if line[:1] == b"{"
            ]
        return sum(bool(line["id"]) for line in whole)

    def _tally(self) -> int:
        return Tally(self.folder / "state" / "tally")(SESSION) - 1

    def _locks(self) -> int:
        found = LockStore(self.folder / "state" / "locks").read()
        assert not found.faults, found.faults
        return len(found.locks)

    def _requests(self) -> int:
        with closing(sqlite3.connect(self.folder / "state" / "requests.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            (count,) = connection.execute("SELECT count(*) FROM awsgate_requests").fetchone()
        return int(count)


if __name__ == "__main__":
    write_on(Path(sys.argv[1]), int(sys.argv[2]))
