"""What a load came to, and the client that goes on asking while it is there."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from awsgate.auditchain import verify_files
from awsgate.auditfile import opened_log
from e2e.faulty import Bench, on_path
from e2e.held import until
from e2e.serving import rss_mib, serving
from rawclient import Call

CALL = Call("s3", "bkt.s3.us-east-1.amazonaws.com", "GET")
PAUSE_S = 0.05


class Report:
    """Figures of one load, and what was lost."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.figures: list[str] = []
        self.lost: list[str] = []

    def note(self, figure: str) -> None:
        """Add a figure."""
        self.figures.append(figure)

    def lose(self, what: str) -> None:
        """Add what was lost."""
        self.lost.append(what)

    def need(self, holds: bool, what: str) -> None:
        """Take it for lost unless it holds."""
        if not holds:
            self.lose(what)

    def show(self, took_s: float) -> None:
        """Print it, in a line."""
        lost = "; ".join(self.lost) or "nothing"
        print(f"{self.name}: {'; '.join(self.figures)}; lost: {lost} ({took_s:.0f} s)", flush=True)


class Beside:
    """One client, bob: a request every so often, each on a connection of its own."""

    def __init__(self, bench: Bench, report: Report) -> None:
        self._bench, self._report = bench, report
        self._took: list[float] = []
        self._paths: list[str] = []
        self._stop = threading.Event()

    def _run(self) -> None:
        keys = self._bench.keys(who="bob")
        while not self._stop.is_set():
            call = on_path(CALL, f"beside/{len(self._paths)}")
            began = time.monotonic()
            try:
                status = self._bench.ask(call, keys).status
            except OSError as exc:
                self._report.lose(f"a request of the client beside it: {type(exc).__name__}")
            else:
                self._report.need(status == 200, f"the client beside it got {status}")
            self._took.append(time.monotonic() - began)
            self._paths.append(call.target)
            self._stop.wait(PAUSE_S)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Have it ask; afterwards note how long it waited."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(30)
            p50, slowest = statistics.median(self._took) * 1000, max(self._took) * 1000
            self._report.note(
                f"beside it {len(self._took)} requests, p50 {p50:.0f} ms, slowest {slowest:.0f} ms"
            )

    def check_audit(self) -> None:
        """Have every request of it in an unbroken log, once."""
        path = self._bench.gateway.state / "audit.jsonl"

        def missing() -> list[str]:
            with opened_log(path) as files:
                text = b"".join(line for each in files for line in each.lines())
            return [p for p in self._paths if text.count(f'"path":"{p}"'.encode()) != 1]

        until(lambda: not missing(), within=10)
        self._report.need(not missing(), f"{len(missing())} lines of the audit")
        with opened_log(path) as files:
            fault = verify_files(files).fault
        self._report.need(fault is None, f"the chain: {fault}")


@contextmanager
def watched(bench: Bench, report: Report, *, room_mib: float) -> Iterator[Beside]:
    """Ask beside a load; afterwards the same processes serve, with the memory they had."""
    if bench.ask(CALL, bench.keys(who="bob")).status != 200:
        report.lose("the first request")
    pids, before = serving(bench.gateway), rss_mib(bench.gateway)
    beside = Beside(bench, report)
    with beside.asking():
        yield beside
    beside.check_audit()
    report.need(serving(bench.gateway) == pids, "a process")
    until(lambda: rss_mib(bench.gateway) - before < room_mib, within=20)
    grown = rss_mib(bench.gateway) - before
    report.note(f"memory afterwards {grown:+.0f} MiB")
    report.need(grown < room_mib, f"memory: {grown:.0f} MiB stay")


def files_of(pid: int) -> int:
    """Give how many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
