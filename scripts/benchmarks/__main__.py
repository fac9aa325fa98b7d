"""Compare, in one run, bare mitmdump and each way to run the gateway.

    scripts/bench [requests]     CPU of a request, on one connection
    scripts/bench latency        p50 and p99 at one client, and what is added over direct
    scripts/bench connections    CPU of a new connection with one request
    scripts/bench streaming      MB/s, CPU, memory and delay of streams
    scripts/bench memory         of idle connections; and a soak
    scripts/bench start-up       until it serves
    scripts/bench policy         how cost grows with policy, tunnels, bucket hosts
    scripts/bench renewal        one AssumeRole for all, and a renewal under load
    scripts/bench all            all of these, and which targets hold
    scripts/bench exec           what ``awsgate exec`` costs over the command itself
    scripts/bench router         what naming a call costs

Same server, same client, in turns; the median of the rounds. CPU is over all processes
of a contender. Numbers are printed, never asserted: they depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks import memory, policy, renewal, report, requests, startup, streaming
from benchmarks.contenders import GATEWAYS, Peer
from benchmarks.requests import Figures
from benchmarks.targets import Results

Measures = dict[str, Callable[[], Figures]]
OF: dict[str, tuple[str, ...]] = {
    "memory": ("memory", "soak"),
    "renewal": ("first", "renewal"),
}
"""The measures of a subcommand, where they are not the one of its name."""


def measures(asked: argparse.Namespace, scratch: Path) -> Measures:
    """Give all measures, by name, in the order of the table."""
    peer = Peer(asked.peer) if asked.peer else None
    count, rounds = asked.count, asked.rounds
    soaked = {
        "requests": int(200_000 * asked.soak),
        "connections": int(10_000 * asked.soak),
        "names": asked.soaked or tuple(GATEWAYS),
    }
    return {
        "requests": partial(
            requests.cpu, scratch, peer, count=count or 3000, rounds=rounds, keep=True
        ),
        "latency": partial(requests.latency, scratch, peer, count=count or 2000, rounds=rounds),
        "connections": partial(
            requests.cpu, scratch, peer, count=count or 300, rounds=rounds, keep=False
        ),
        "streaming": partial(streaming.streams, scratch, peer, mib=count or 512, rounds=rounds),
        "memory": partial(memory.idle, scratch, peer, tunnels=count or 400),
        "soak": partial(memory.soak, scratch, **soaked),
        "start-up": partial(startup.start_up, scratch, peer, rounds=rounds),
        "policy": partial(policy.growth, scratch, count=count or 2000, rounds=rounds),
        "first": partial(renewal.first_requests, scratch),
        "renewal": partial(renewal.renewal, scratch),
    }


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    names = ("requests", "latency", "connections", "streaming", "memory", "start-up", "policy",
             "renewal", "all")  # fmt: skip
    parser.add_argument("what", nargs="?", default="requests", choices=names)
    parser.add_argument("count", nargs="?", type=int, default=0, help="requests, MiB, connections")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--soak", type=float, default=1.0, help="share of 200,000 requests and 10,000 connections"
    )
    parser.add_argument("--soaked", nargs="*", choices=tuple(GATEWAYS), help="these alone")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too; - is stdout")
    parser.add_argument(
        "--peer", metavar="COMMAND",
        help="another proxy: its path and arguments, with {port}, {upstream} and {certs} in them",
    )  # fmt: skip
    return parser.parse_args()


def main() -> None:
    """Measure what was asked for, and print it."""
    asked = parsed()
    results: Results = {}
    with tempfile.TemporaryDirectory() as name:
        everything = measures(asked, Path(name))
        wanted = tuple(everything) if asked.what == "all" else OF.get(asked.what, (asked.what,))
        for each in wanted:
            print(f"bench: {each}", file=sys.stderr, flush=True)
            results[each] = everything[each]()
    made = {
        "python": platform.python_version(), "mitmproxy": version("mitmproxy"),
        "rounds": asked.rounds, "results": results,
    }  # fmt: skip
    text = json.dumps(made, indent=1)
    if asked.json == "-":
        print(text)
        return
    if asked.json:
        Path(asked.json).write_text(text + "\n")
    print("\n".join(report.lines(results)))


if __name__ == "__main__":
    main()
