"""How long it takes until a gateway serves, and what that costs."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.contenders import BARE, GATEWAYS, PEER, Peer, field
from benchmarks.processes import cpu_s, rss_mib
from benchmarks.requests import Figures


def start_up(scratch: Path, peer: Peer | None, *, rounds: int) -> Figures:
    """Give seconds until it serves, the CPU seconds for that, and the memory then."""
    seen: dict[str, list[tuple[float, float, float]]] = {}
    with field(scratch, peer) as compared:
        compared.certs  # noqa: B018 - made beforehand, for those that make none themselves
        for _ in range(rounds):
            for name in (BARE, *GATEWAYS, PEER):
                for one in compared.start((name,)):
                    figures = compared.served_s, cpu_s(one.pid), rss_mib(one.pid)
                    seen.setdefault(name, []).append(figures)
    return {
        name: {
            "wall_s": round(statistics.median(wall for wall, _, _ in all_of), 3),
            "cpu_s": round(statistics.median(cpu for _, cpu, _ in all_of), 3),
            "rss_mib": round(statistics.median(rss for _, _, rss in all_of), 1),
        }
        for name, all_of in seen.items()
    }
