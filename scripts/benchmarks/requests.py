"""CPU of a request, of a new connection with one, and the time that a client waits."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.client import send_all
from benchmarks.contenders import BARE, DIRECT, GATEWAYS, PEER, Contender, Peer, field, in_rounds
from benchmarks.processes import cpu_s

Figures = dict[str, dict[str, float | list[float]]]
"""By contender, by what was measured."""
EVERYONE = (DIRECT, BARE, *GATEWAYS, PEER)


def of_bare(found: Figures, name: str) -> None:
    """Add what each figure is of that of bare mitmdump."""
    base = found[BARE][name]
    for figures in found.values():
        value = figures[name]
        if isinstance(value, float) and isinstance(base, float):
            figures[f"{name}_of_bare"] = round(value / base, 3)


def cpu(scratch: Path, peer: Peer | None, *, count: int, rounds: int, keep: bool) -> Figures:
    """Give the CPU milliseconds of one request, on one connection or each on its own."""
    seen: dict[str, list[float]] = {}

    def measure(one: Contender) -> None:
        send_all(one.way, one.keys.gets(max(10, count // 20)), keep=keep)
        requests = one.keys.gets(count)
        before = cpu_s(one.pid)
        send_all(one.way, requests, keep=keep)
        seen.setdefault(one.name, []).append((cpu_s(one.pid) - before) / count * 1000)

    with field(scratch, peer) as compared:
        in_rounds(compared.start(EVERYONE), rounds, measure)
    found: Figures = {
        name: {"cpu_ms": round(statistics.median(all_of), 4), "rounds": _rounded(all_of)}
        for name, all_of in seen.items()
    }
    of_bare(found, "cpu_ms")
    return found


def latency(scratch: Path, peer: Peer | None, *, count: int, rounds: int) -> Figures:
    """Give the milliseconds from a request to the end of its answer, at one client."""
    p50: dict[str, list[float]] = {}
    p99: dict[str, list[float]] = {}

    def measure(one: Contender) -> None:
        send_all(one.way, one.keys.gets(50), keep=True)
        took = send_all(one.way, one.keys.gets(count), keep=True)[1:]  # the first one connects
        cuts = statistics.quantiles(took, n=100)
        p50.setdefault(one.name, []).append(cuts[49] * 1000)
        p99.setdefault(one.name, []).append(cuts[98] * 1000)

    with field(scratch, peer) as compared:
        in_rounds(compared.start(EVERYONE), rounds, measure)
    base = statistics.median(p50[DIRECT])
    found: Figures = {
        name: {
            "p50_ms": round(statistics.median(p50[name]), 3),
            "p99_ms": round(statistics.median(p99[name]), 3),
            "added_ms": round(statistics.median(p50[name]) - base, 3),
        }
        for name in p50
    }
    of_bare(found, "added_ms")
    return found


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]
