"""What ``awsgate exec -- true`` costs over ``python -c pass``: wall time and CPU.

    scripts/bench exec [runs]

Cold is the first command after a change of the policy; warm are those after it, which
use the session of the first. Medians; the two are run in turn, so that a busy machine
slows both. CPU is of the process itself, user and system.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from awsgate.demo.processes import clean_env
from awsgate.demo.story import POLICY

ALLOWED_MS = 150
WHO = ("--user", "alice", "--app", "awsconsole-test")


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run it once; give wall and CPU milliseconds."""
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own programs
        command, env=environment, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return wall * 1000, (used.ru_utime + used.ru_stime) * 1000


def main() -> None:
    """Measure, print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    awsgate = [str(Path(sys.executable).parent / "awsgate")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        policy = folder / "policy.yaml"
        policy.write_text(POLICY)
        places = {"POLICY": policy, "STATE": folder / "state"}
        environment = clean_env(folder, {f"AWSGATE_{n}": str(p) for n, p in places.items()})
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "exec, warm": [*awsgate, "exec", *WHO, "--", "true"],
            "exec, cold": [*awsgate, "exec", *WHO, "--", "true"],
            "exec --static": [*awsgate, "exec", "--static", *WHO, "--", "true"],
        }
        seen: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                if name == "exec, cold":
                    policy.touch()
                seen[name].append(measure(command, environment))
    base = median(wall for wall, _ in seen["python -c pass"])
    for name, found in seen.items():
        wall, cpu = median(w for w, _ in found), median(c for _, c in found)
        print(f"{name:<15} {wall:6.1f} ms, {cpu:6.1f} ms CPU, {wall / base:5.1f} times python")
    over = median(wall for wall, _ in seen["exec, warm"]) - base
    print(f"warm over python: {over:.1f} ms (the aim is at most {ALLOWED_MS})")


if __name__ == "__main__":
    main()
