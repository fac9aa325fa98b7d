"""Put each load on a gateway while one client goes on asking; count what is lost.

    scripts/load                 all of them
    scripts/load flood tunnels   some

    flood        connections that come and go without a word, as fast as they can
    silent       more connections than there are places, that say nothing
    slow-heads   heads that come a byte at a time
    slow-bodies  bodies that come a byte at a time, of requests that were refused and not
    tunnels      idle tunnels
    users        a policy of 1,000 users with 50 roles each, asked by many of them
    greedy       one user with more requests under way than a user may have
    sts          an STS that takes calls and never answers
    kills        gateways, and whoever writes what they keep, killed at points of chance

Lost is: a request of the client beside it that failed, a line of the audit that is not
there, a file that is not whole, memory or connections that stay. Exits with 1 then.
"""

from __future__ import annotations

import argparse
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from awsgate.server.parent import default_workers
from loads import crowds, faults, floods
from loads.report import Report

LOADS: dict[str, Callable[[Path, Report, float], None]] = {
    "flood": floods.flood,
    "silent": floods.silent,
    "slow-heads": floods.slow_heads,
    "slow-bodies": floods.slow_bodies,
    "tunnels": crowds.tunnels,
    "users": crowds.users,
    "greedy": crowds.greedy,
    "sts": faults.sts,
    "kills": faults.kills,
}


def main() -> int:
    """Give 1 if something was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="load")
    parser.add_argument("--share", type=float, default=1.0, help="of the size of each")
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(LOADS))
    if unknown:
        parser.error(f"no such load: {', '.join(unknown)}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    lost = 0
    print(
        f"{platform.machine()}, {default_workers()} processors, Python {platform.python_version()}"
    )
    for name in asked.names or LOADS:
        report = Report(name)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="awsgate-load-") as folder:
            LOADS[name](Path(folder), report, asked.share)
        report.show(time.monotonic() - began)
        lost += len(report.lost)
    print("lost: nothing" if not lost else f"lost: {lost} things")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
