"""The table of a run."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.contenders import BARE, DIRECT, GATEWAYS, PEER
from benchmarks.requests import Figures
from benchmarks.targets import Results, verdicts

COLUMNS = (DIRECT, BARE, *GATEWAYS, PEER)
ROWS = (
    ("requests", "cpu_ms", "CPU per request, ms"),
    ("requests", "cpu_ms_of_bare", "  of bare mitmdump"),
    ("latency", "p50_ms", "p50 at one client, ms"),
    ("latency", "p99_ms", "p99"),
    ("latency", "added_ms", "p50 added over direct, ms"),
    ("latency", "added_ms_of_bare", "  of bare mitmdump"),
    ("connections", "cpu_ms", "CPU per new connection, ms"),
    ("connections", "cpu_ms_of_bare", "  of bare mitmdump"),
    ("streaming", "put_mb_s", "upload, MB/s"),
    ("streaming", "put_cpu_s_gib", "  CPU s per GiB"),
    ("streaming", "put_peak_mib", "  memory over idle, MiB"),
    ("streaming", "get_mb_s", "download, MB/s"),
    ("streaming", "get_cpu_s_gib", "  CPU s per GiB"),
    ("streaming", "get_peak_mib", "  memory over idle, MiB"),
    ("streaming", "signed_mb_s", "chunk-signed upload, MB/s"),
    ("streaming", "signed_cpu_s_gib", "  CPU s per GiB"),
    ("streaming", "event_ms", "event, delay p50, ms"),
    ("memory", "at_start_mib", "memory at start, MiB"),
    ("memory", "idle_kb", "idle connection, KB"),
    ("soak", "requests_warm_mib", "soak, requests: warm, MiB"),
    ("soak", "requests_growth_mib", "  growth from there, MiB"),
    ("soak", "connections_warm_mib", "soak, connections: warm, MiB"),
    ("soak", "connections_growth_mib", "  growth from there, MiB"),
    ("start-up", "wall_s", "start-up, s"),
    ("start-up", "cpu_s", "  CPU s"),
    ("first", "assumed", "AssumeRole for 200 first requests"),
    ("renewal", "p99_ms", "p99 while credentials are renewed, ms"),
    ("renewal", "slowest_ms", "  slowest at the renewal, ms"),
)


def lines(results: Results) -> Iterator[str]:
    """Give the run as markdown: a table, how cost grows, and the targets."""
    asked = [row for row in ROWS if row[0] in results]
    if asked:
        seen = {name for measure, _, _ in asked for name in results[measure]}
        columns = [name for name in COLUMNS if name in seen]
        yield "| | " + " | ".join(columns) + " |"
        yield "|---|" + "---:|" * len(columns)
        for measure, figure, title in asked:
            found = [_shown(results[measure], name, figure) for name in columns]
            if any(found):
                # A leading space would be lost; the indent says what a row belongs to.
                yield f"| {title.replace('  ', '… ', 1)} | " + " | ".join(found) + " |"
        yield ""
    if "policy" in results:
        yield from _growth(results["policy"])
    found = verdicts(results)
    if found:
        yield "| target | bound | measured | |"
        yield "|---|---:|---:|---|"
        for each in found:
            held = "holds" if each.holds else "**does not hold**"
            yield f"| {each.target} | {each.bound:g} | {each.measured:g} | {held} |"


def _shown(figures: Figures, name: str, figure: str) -> str:
    value = figures.get(name, {}).get(figure)
    if not isinstance(value, float | int):
        return ""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _growth(found: Figures) -> Iterator[str]:
    yield "| how cost grows | CPU, ms | of the smallest | start, s |"
    yield "|---|---:|---:|---:|"
    for name, figures in found.items():
        cost = figures.get("cpu_ms", figures.get("connection_cpu_ms"))
        start = figures.get("start_s", "")
        yield f"| {name} | {cost} | {figures['of_smallest']} | {start} |"
    yield ""
