"""Which of the targets hold, by the figures of one run. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.contenders import RUN, SCRIPT
from benchmarks.requests import Figures

Results = dict[str, Figures]
"""By measure."""
FLAT_MIB = 8.0
"""What memory may grow by after warm-up and still be called flat."""


@dataclass(frozen=True)
class Verdict:
    """A target, what was measured, and whether it holds."""

    target: str
    measured: float
    bound: float

    @property
    def holds(self) -> bool:
        """True if what was measured is within the bound."""
        return self.measured <= self.bound


def verdicts(results: Results) -> list[Verdict]:
    """Give those that the run had figures for."""
    return [Verdict(*row) for row in _rows(results)]


def _rows(results: Results) -> Iterator[tuple[str, float, float]]:
    bounds = (
        ("requests", "cpu_ms_of_bare", (RUN,), 0.45, "CPU per request, of bare mitmdump"),
        ("requests", "cpu_ms_of_bare", (SCRIPT,), 0.8, "CPU per request, of bare mitmdump"),
        ("latency", "added_ms_of_bare", (RUN,), 0.55, "p50 added over direct, of bare mitmdump"),
        ("connections", "cpu_ms_of_bare", (RUN,), 0.65, "new connection, CPU of bare mitmdump"),
        ("memory", "idle_kb", (RUN, SCRIPT), 160.0, "idle tunnel, KB"),
        ("soak", "requests_growth_mib", (RUN, SCRIPT), FLAT_MIB, "growth by requests, MiB"),
        ("soak", "connections_growth_mib", (RUN, SCRIPT), FLAT_MIB, "growth by connections, MiB"),
        ("first", "assumed", (RUN, SCRIPT), 1.0, "AssumeRole for 200 first requests"),
        ("renewal", "of_p99", (RUN, SCRIPT), 2.0, "slowest request at a renewal, of p99"),
    )  # fmt: skip
    for measure, figure, names, bound, text in bounds:
        for name in names:
            value = results.get(measure, {}).get(name, {}).get(figure)
            if isinstance(value, float | int):
                yield f"{text}: {name}", float(value), bound
    for name, figures in results.get("policy", {}).items():
        value = figures.get("of_smallest")
        if name.startswith("10,000 rules") and isinstance(value, float):
            yield f"cost of 10 rules: {name}", value, 1.2
