"""What the tests of the audit log share: fill one, read one, and end who writes to it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from awsgate.audit import AuditLog, AuditRecord

GENESIS = "0" * 64


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines() if line]


def fill(log: AuditLog, count: int, *, start: int = 0) -> None:
    for number in range(start, start + count):
        log.write(AuditRecord(id=str(number), event="request", path=f"/{number}", status=200))


@contextmanager
def killed_after(seconds: float, *processes: subprocess.Popen[Any]) -> Iterator[None]:
    """Kill them when that time is up, and at the end: then nothing waits for them for ever."""

    def kill() -> None:
        for process in processes:
            process.kill()

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        kill()
