"""A long run: cases of one seed through one way to run the gateway, until there are enough."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.asks import Case
from fuzz.generate import case_of
from fuzz.running import WAYS, Figures, World, world
from fuzz.shrinking import shrunk

TELL_EVERY_S = 60.0


def fire(way: str, *, seed: int, cases: int, minutes: float, first: int, keep: Path) -> bool:
    """Run one way, print its figures, keep the first case that fails. False if one did."""
    print(f"{way}: seed {seed}, cases {first} to {first + cases - 1}", flush=True)
    began = time.monotonic()
    ends = began + minutes * 60 if minutes else float("inf")
    bad = 0
    with TemporaryDirectory() as folder, world(Path(folder), way) as running:
        for number, case, words in running.judge(_cases(running, seed, first, cases, ends)):
            bad += 1
            print(f"{way}: case {number}: {'; '.join(words)}", flush=True)
            if bad == 1:
                print(f"{way}: kept in {_keep(running, way, seed, number, case, keep)}")
        _tell(way, running.figures, time.monotonic() - began, bad)
    return bad == 0


def _cases(
    running: World, seed: int, first: int, cases: int, ends: float
) -> Iterator[tuple[int, Case]]:
    began = told = time.monotonic()
    for number in range(first, first + cases) if cases else count(first):
        now = time.monotonic()
        if now > ends:
            return
        if now - told > TELL_EVERY_S:
            told = now
            _tell(f"{running.way} so far", running.figures, now - began, 0)
        yield number, case_of(seed, number)


def _tell(way: str, figures: Figures, seconds: float, bad: int) -> None:
    each = ", ".join(f"{value} {_WORDS[name]}" for name, value in asdict(figures).items())
    rate = figures.cases / seconds if seconds else 0
    failed = f"; {bad} FAILED" if bad else ""
    print(f"{way}: {each}; {seconds:.0f} s, {rate:.0f}/s{failed}", flush=True)


_WORDS = {
    "cases": "cases",
    "clean": "of them good streams",
    "requests": "signed requests sent",
    "arrived": "reached AWS whole",
    "cut": "broke off on the way",
    "foiled": "of another body than was signed, for AWS to refuse",
    "refused": "refused",
    "closed": "closed without an answer",
}


def _keep(running: World, way: str, seed: int, number: int, case: Case, keep: Path) -> Path:
    """Write the case, as small as it gets. There is no key in it, and no token."""
    figures, running.figures = running.figures, Figures()
    small = shrunk(case, lambda smaller: bool(running.one(smaller)))
    running.figures = figures
    keep.mkdir(parents=True, exist_ok=True)
    file = keep / f"fuzz-{way}-{seed}-{number}.json"
    file.write_text(json.dumps({"way": way, "case": json.loads(small.to_json())}, indent=1))
    return file


def replay(file: Path, way: str = "") -> bool:
    """Send a kept case again, under fresh keys. False if it still fails."""
    kept = json.loads(file.read_text("utf-8"))
    way = way or kept["way"]
    if way not in WAYS:
        sys.exit(f"fuzz: {way} is no way to run the gateway")
    with TemporaryDirectory() as folder, world(Path(folder), way) as running:
        words = running.one(Case.from_json(json.dumps(kept["case"])))
    print(f"{way}: " + ("; ".join(words) or "nothing is wrong with it any more"))
    return not words
