"""``scripts/fuzz``: the gateway under hostile bytes, for as long as one likes."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from fuzz import throwing
from fuzz.campaign import fire, replay
from fuzz.parsers import TARGETS
from fuzz.running import WAYS

KEEP = Path(__file__).resolve().parents[2] / ".fuzz"


def main() -> int:
    """Do what the arguments say: 0 all held, 1 something did not, 2 used wrongly."""
    options = _options()
    if options.replay:
        return 0 if replay(options.replay, options.way or "") else 1
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    if options.parsers:
        return 0 if throwing.fire(seed, options.minutes or 1.0, options.target, KEEP) else 1
    cases = options.cases or (0 if options.minutes else 20_000)
    held = [
        fire(way, seed=seed, cases=cases, minutes=options.minutes, first=options.first, keep=KEEP)
        for way in ([options.way] if options.way else WAYS)
    ]
    return 0 if all(held) else 1


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Send hostile bytes to real gateways, and judge what reaches AWS.",
        epilog="example: scripts/fuzz --cases 200000 --way own",
    )
    made.add_argument("--cases", type=int, default=0, help="for each way (default: 20,000)")
    made.add_argument("--minutes", type=float, default=0.0, help="for each way, or each parser")
    made.add_argument("--seed", type=int, help="(default: a new one, which is printed)")
    made.add_argument("--first", type=int, default=0, help="number of the first case")
    made.add_argument("--way", choices=WAYS, help="(default: all of them)")
    made.add_argument("--replay", type=Path, metavar="FILE", help="send a kept case again")
    made.add_argument("--parsers", action="store_true", help="the parsers, without a gateway")
    made.add_argument("--target", choices=sorted(TARGETS), help="one parser alone")
    return made.parse_args()


if __name__ == "__main__":
    sys.exit(main())
