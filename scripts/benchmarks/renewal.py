"""Role credentials: one AssumeRole for many first requests, and a renewal under load."""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path

from benchmarks.client import send_all
from benchmarks.contenders import GATEWAYS, RUN, field
from benchmarks.requests import Figures

FIRST = 200
LIFE_S = 165.0
"""Of the role's credentials. They are renewed when a fifth to three tenths of that is left,
and the last 30 s are not used: long enough to be renewed ahead, as AWS's 900 s are."""
LOADED_S = (105.0, 140.0)
"""When requests are sent: around the renewal, and beyond the end of the old ones."""
DELAY_S = 0.5
"""What STS takes: whoever waited for it would be seen."""
PAUSE_S = 0.005


def first_requests(scratch: Path) -> Figures:
    """Give how often STS was asked by 200 first requests at once."""
    found: Figures = {}
    for name in GATEWAYS:
        with field(scratch, delay_s=DELAY_S) as compared:
            (one,) = compared.start((name,))
            requests = one.keys.gets(FIRST)
            threads = [
                threading.Thread(target=send_all, args=(one.way, [request]), kwargs={"keep": True})
                for request in requests
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            found[name] = {
                "requests": float(FIRST),
                "assumed": float(compared.world.roles_assumed()),
            }
    return found


def renewal(scratch: Path, name: str = RUN) -> Figures:
    """Send requests while credentials are renewed and end; give how long they took.

    ``slowest_ms`` is the slowest in the seconds around the renewal.
    """
    took: list[tuple[float, float]] = []
    with field(scratch, life_s=LIFE_S, delay_s=DELAY_S) as compared:
        (one,) = compared.start((name,))
        one.way.connect().ask(one.keys.gets(1)[0])
        began, renewed = time.monotonic(), 0.0
        time.sleep(LOADED_S[0])
        while time.monotonic() - began < LOADED_S[1]:
            requests = one.keys.gets(100)
            with one.way.connect() as wire:
                wire.ask(requests[0])  # its TLS and its connection to the server are not meant
                for request in requests[1:]:
                    started = time.perf_counter()
                    wire.ask(request)
                    took.append((time.monotonic() - began, (time.perf_counter() - started) * 1e3))
                    time.sleep(PAUSE_S)
            if not renewed and compared.world.roles_assumed() > 1:
                renewed = time.monotonic() - began
        assumed = compared.world.roles_assumed()
    everything = [ms for _, ms in took]
    around = [ms for at, ms in took if renewed - 2 < at < renewed + 2]
    p99 = statistics.quantiles(everything, n=100)[98]
    return {
        name: {
            "assumed": float(assumed),
            "p50_ms": round(statistics.median(everything), 3),
            "p99_ms": round(p99, 3),
            "slowest_ms": round(max(around), 3),
            "of_p99": round(max(around) / p99, 2),
            "slowest_ever_ms": round(max(everything), 3),
        }
    }
