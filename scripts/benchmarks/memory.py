"""Memory: of idle connections, and after many requests and connections."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.client import send_all
from benchmarks.contenders import BARE, GATEWAYS, PEER, Contender, Peer, field
from benchmarks.processes import rss_mib
from benchmarks.requests import Figures

CLIENTS = 8
BATCH = 2000
WARM_UP = 0.25
"""Share of the work after which memory should grow no more."""


def idle(scratch: Path, peer: Peer | None, *, tunnels: int) -> Figures:
    """Give the KB that one idle connection takes, with a request behind it.

    The world is plain HTTP, so of the server's side TLS is not in it.
    """
    found: Figures = {}
    with field(scratch, peer) as compared:
        for one in compared.start((BARE, *GATEWAYS, PEER)):
            at_start = rss_mib(one.pid)
            with ExitStack() as opened:
                request = one.keys.gets(1)[0]

                def open_some(
                    count: int, one: Contender = one, request: bytes = request,
                    opened: ExitStack = opened,
                ) -> None:  # fmt: skip
                    for _ in range(count):
                        opened.enter_context(one.way.connect()).ask(request)

                open_some(50)  # what is made once is made by now
                before = rss_mib(one.pid)
                open_some(tunnels)
                time.sleep(0.5)
                grown = rss_mib(one.pid) - before
            found[one.name] = {
                "at_start_mib": round(at_start, 1),
                "idle_kb": round(grown * 1024 / tunnels, 1),
            }
    return found


def soak(
    scratch: Path, *, requests: int, connections: int, names: Sequence[str] = tuple(GATEWAYS)
) -> Figures:
    """Send many requests, then open many connections; give memory along the way."""
    found: Figures = {}
    for name in names:
        with field(scratch) as compared:
            (one,) = compared.start((name,))
            by_requests = _sampled(one, requests, keep=True)
            by_connections = _sampled(one, connections, keep=False)
        found[name] = {
            **_growth("requests", by_requests),
            **_growth("connections", by_connections),
        }
    return found


def _sampled(one: Contender, count: int, *, keep: bool) -> list[float]:
    """Give the memory after each batch, by several clients at a time."""
    batch = max(CLIENTS, min(BATCH, count // 20) // (1 if keep else 5))
    samples, done = [rss_mib(one.pid)], 0
    while done < count:
        # Signed anew each time: signatures are good for five minutes.
        requests = one.keys.gets(batch // CLIENTS)
        threads = [
            threading.Thread(target=send_all, args=(one.way, requests), kwargs={"keep": keep})
            for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done += len(requests) * CLIENTS
        samples.append(rss_mib(one.pid))
    return samples


def _growth(what: str, samples: list[float]) -> dict[str, float | list[float]]:
    warm = samples[int(len(samples) * WARM_UP)]
    last = statistics.median(samples[-3:])
    return {
        f"{what}_warm_mib": round(warm, 1),
        f"{what}_end_mib": round(last, 1),
        f"{what}_growth_mib": round(last - warm, 1),
        f"{what}_samples": [round(each, 1) for each in samples[:: max(1, len(samples) // 20)]],
    }
