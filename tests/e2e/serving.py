"""The processes that serve a gateway's clients: mitmdump, or the workers of ``awsgate run``."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.processes import children

from awsgate.demo.processes import GatewayProcess


def workers_of(gateway: GatewayProcess) -> list[int]:
    """Give the process ids of the workers; none: it is a mitmdump."""
    return sorted(children(gateway.process.pid))


def serving(gateway: GatewayProcess) -> list[int]:
    """Give the process ids of those that serve clients."""
    return workers_of(gateway) or [gateway.process.pid]


def rss_mib(gateway: GatewayProcess) -> float:
    """Give the memory of all that serve."""
    return sum(_bytes(pid, "VmRSS") for pid in serving(gateway)) / 2**20


class Memory:
    """The most that a gateway held since this was made."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._pids = serving(gateway)
        self._before = sum(_mark_now(pid) for pid in self._pids)

    def growth(self) -> int:
        """Give bytes."""
        return sum(_bytes(pid, "VmHWM") for pid in self._pids) - self._before


def _mark_now(pid: int) -> int:
    """Set the high-water mark to what is held now, and give it; where only root may, as it is."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except PermissionError:  # the gateway is closed to others of its user
        return _bytes(pid, "VmHWM")
    return _bytes(pid, "VmRSS")


def _bytes(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
