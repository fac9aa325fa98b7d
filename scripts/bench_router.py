"""What naming a call costs: microseconds a request, and what the tables take.

    scripts/bench router

All operations of all services, as botocore sends them, with action, level and ARNs.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from awsgate.aws.call import Call, call_of
from awsgate.aws.operations import levels_of, services_signing_as
from serialised import Wire, serialised, service_names

ROUNDS = 3
LARGEST = 8


def main() -> None:
    """Print one line a figure."""
    wires = [wire for service in service_names() for wire in serialised(service)]
    names = sorted({wire.signing_name.lower() for wire in wires})
    load(names)
    for wire in wires:  # everything is read that will be
        ask(wire)
    gc.collect()
    times: dict[str, list[float]] = {}
    for wire in wires * ROUNDS:
        began = time.perf_counter_ns()
        ask(wire)
        times.setdefault(wire.protocol, []).append((time.perf_counter_ns() - began) / 1000)
    print(f"{len(wires)} requests of {len(service_names())} services, {ROUNDS} rounds")
    for protocol, found in sorted(times.items()):
        report(protocol, found)
    report("all", [value for found in times.values() for value in found])
    print(dict(Counter("ARN" if ask(wire).resources else "no ARN" for wire in wires)))


def load(names: list[str]) -> None:
    """Time the reading of each service's table, then measure what they all take."""
    cost: dict[str, float] = {}
    for name in names:
        began = time.perf_counter()
        services_signing_as(name)
        cost[name] = (time.perf_counter() - began) * 1000
    sizes = {name: memory_of(name) for name in names}
    print("first request of a service: median", end=" ")
    print(f"{statistics.median(cost.values()):.1f} ms, all {sum(cost.values()):.0f} ms; largest:")
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[:LARGEST]:
        print(f"  {name:16} {cost[name]:5.1f} ms {sizes[name]:7.0f} KiB")
    services_signing_as.cache_clear()
    levels_of.cache_clear()
    tracemalloc.start()
    for name in names:
        services_signing_as(name)
    print(f"all services in memory: {tracemalloc.get_traced_memory()[0] / 1024**2:.1f} MiB")
    tracemalloc.stop()


def memory_of(name: str) -> float:
    """Give the KiB that a service's table takes."""
    services_signing_as.cache_clear()
    tracemalloc.start()
    services_signing_as(name)
    size = tracemalloc.get_traced_memory()[0] / 1024
    tracemalloc.stop()
    return size


def ask(wire: Wire) -> Call:
    """Name one call."""
    return call_of(
        wire.endpoint, signing_name=wire.signing_name, method=wire.method, target=wire.target,
        headers=wire.headers, body=wire.body, account="123456789012",
    )  # fmt: skip


def report(name: str, times: list[float]) -> None:
    """Print the quantiles of one protocol."""
    cuts = statistics.quantiles(times, n=100)
    print(f"  {name:22} median {cuts[49]:5.1f} us, p90 {cuts[89]:5.1f} us, p99 {cuts[98]:5.1f} us")


if __name__ == "__main__":
    main()
