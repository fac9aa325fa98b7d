"""What takes long: an STS that never answers, and many kills."""

from __future__ import annotations

import random
import socket
import threading
import time
from pathlib import Path

from e2e.faulty import bench_with
from e2e.killed import run_and_kill, unrecorded
from killing import Kept
from loads.report import CALL, Report, watched
from rawclient import secure

LONGEST_S = 40.0


def sts(folder: Path, report: Report, share: float) -> None:  # noqa: ARG001 - as all of them
    """Ask for roles that STS never gives."""
    names = tuple(f"Never{number}" for number in range(6))
    ended = threading.Event()

    def never(_: socket.socket) -> None:
        ended.wait(LONGEST_S * 2)

    with (
        bench_with(folder, workers=1, roles=names) as bench,
        watched(bench, report, room_mib=60),
    ):
        bench.faulty.roles = dict.fromkeys(names, never)
        took: list[float] = []

        def ask(name: str) -> None:
            began = time.monotonic()
            try:
                with secure(bench.gateway, CALL.host) as wire:
                    wire.sock.settimeout(LONGEST_S * 2)
                    wire.send(CALL.wire(CALL.signed(bench.keys(name))))
                    answer = wire.read_answer()
            except OSError as exc:
                report.lose(f"an answer: {type(exc).__name__}")
                return
            took.append(time.monotonic() - began)
            told = (answer.status, answer.code) == (503, "role-unavailable")
            report.need(told, f"the words: {answer.status} {answer.code}")

        threads = [threading.Thread(target=ask, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONGEST_S * 2)
        ended.set()
        report.note(f"{len(took)} told 503 role-unavailable after {max(took, default=0):.0f} s")
        report.need(max(took, default=LONGEST_S) < LONGEST_S, "patience")


def kills(folder: Path, report: Report, share: float) -> None:
    """Kill gateways under load, and writers."""
    chance = random.Random()  # noqa: S311 - each run kills elsewhere
    rounds, answered = int(20 * share) or 1, set[str]()
    for number in range(rounds):
        after_s = chance.random() * 1.5
        answered |= run_and_kill(folder, f"r{number}", workers=number % 3, after_s=after_s)
    lost = unrecorded(folder, answered)
    report.note(f"{rounds} gateways killed, {len(answered)} answers recorded")
    report.need(not lost, f"lines of the audit: {lost[:3]}")

    many = int(40 * share) or 1
    kept = Kept(folder / "kept")
    for _ in range(many):
        kept.kill_one(chance)
    for fault in kept.faults(many):
        report.lose(fault)
    done = ", ".join(f"{count} {kind}" for kind, count in kept.said.items())
    report.note(f"{many} writers killed after {done}")

    for number in range(many):
        begun = Kept(folder / f"start{number}")
        begun.kill_start(chance.random() * 0.1)
        begun.kill_one(chance)
        for fault in begun.faults(2):
            report.lose(f"after a start that was killed: {fault}")
    report.note(f"{many} first starts killed")
