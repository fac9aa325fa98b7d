"""Parsers under inputs without end: with atheris, or at random.

Atheris follows the code that an input reaches, and so finds more; it is not for every Python.
"""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

from fuzz.corpora import corpus, mutated
from fuzz.parsers import TARGETS


def fire(seed: int, minutes: float, only: str | None, keep: Path) -> bool:
    """Run the targets one after the other, each for so long. False if one found something."""
    followed = importlib.util.find_spec("atheris") is not None
    print(f"parsers: seed {seed}, {'atheris' if followed else 'at random'}, {minutes} min each")
    keep.mkdir(parents=True, exist_ok=True)
    held = True
    for name in [only] if only else TARGETS:
        if followed:
            held &= _follow(name, seed, minutes, keep)
        else:
            held &= _throw(name, seed, minutes, keep)
    return held


def _follow(name: str, seed: int, minutes: float, keep: Path) -> bool:
    """Run atheris in a process of its own: it ends the one that it runs in."""
    inputs = Path(mkdtemp(prefix="awsgate-fuzz-"))
    for number, data in enumerate(corpus(name)):
        (inputs / str(number)).write_bytes(data)
    words = [f"-max_total_time={max(1, int(minutes * 60))}", f"-seed={seed % (1 << 31) or 1}",
             f"-artifact_prefix={keep}/{name}-", "-max_len=8192", "-verbosity=0",
             "-print_final_stats=1", str(inputs)]  # fmt: skip
    command = [sys.executable, "-m", "fuzz.following", name, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    runs = [line.split()[-1] for line in done.stderr.splitlines() if "executed_units" in line]
    print(
        f"{name}: {runs[-1] if runs else '?'} inputs" + ("" if done.returncode == 0 else ", FAILED")
    )
    if done.returncode:
        print("\n".join(done.stderr.splitlines()[-25:]))
    return done.returncode == 0


def _throw(name: str, seed: int, minutes: float, keep: Path) -> bool:
    ends, count = time.monotonic() + minutes * 60, 0
    for data in _inputs(name, seed):
        count += 1
        try:
            TARGETS[name](data)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is a find
            (keep / f"{name}-{seed}").write_bytes(data)
            print(f"{name}: FAILED with {type(exc).__name__}; kept in {keep / f'{name}-{seed}'}")
            return False
        if time.monotonic() > ends:
            break
    print(f"{name}: {count} inputs")
    return True


def _inputs(name: str, seed: int) -> Iterator[bytes]:
    chance = random.Random(f"{seed}:{name}")  # noqa: S311 - no secret
    pool = list(corpus(name))
    yield from pool
    while True:
        made = mutated(chance, chance.choice(pool))
        if chance.random() < 0.02 and len(pool) < 500:
            pool.append(made)
        yield made
