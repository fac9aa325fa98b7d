"""CPU and memory of a process and of all that it started, from /proc."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def children(pid: int) -> Iterator[int]:
    """Give the processes that a process started and that still run."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:  # it has ended
                continue
            if int(fields[1]) == pid:
                yield int(entry.name)


def family(pid: int) -> Iterator[int]:
    """Give a process and all that it started and that still run, and that these did."""
    yield pid
    for child in children(pid):
        yield from family(child)


def cpu_s(pid: int) -> float:
    """Give the CPU seconds, user and system, of a family so far."""
    total = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(") ")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def rss_mib(pid: int, field: str = "VmRSS") -> float:
    """Give the memory of a family, or with ``VmHWM`` the most that it was."""
    total = 0
    for each in family(pid):
        found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{each}/status").read_text())
        total += int(found[1]) if found else 0
    return total / 1024


def forget_peak(pid: int) -> None:
    """Have the peaks of a family count from here."""
    for each in family(pid):
        Path(f"/proc/{each}/clear_refs").write_text("5")


def wait_until_idle(pid: int, within_s: float = 300.0) -> None:
    """Wait until a family does nothing: what it began at its start would be counted."""
    deadline, before = time.monotonic() + within_s, cpu_s(pid)
    while time.monotonic() < deadline:
        time.sleep(2.0)  # a policy must rest for one before it is read again
        now = cpu_s(pid)
        if now - before < IDLE_SHARE * 2.0:
            return
        before = now


IDLE_SHARE = 0.05
