"""scripts/guards: take the guards away, one at a time, and print which test misses each.

Exit 0: each is missed by a test, or waived with a reason. 1: one is missed by none, or the
table does not fit the code.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from guarding.copying import ROOT, Copy, import_others
from guarding.finding import Guard
from guarding.searching import Search
from guarding.table import Stale, Table, keep, read_table


def main() -> int:
    """Do what the command line says."""
    options = _options()
    try:
        table = read_table()
    except Stale as stale:
        print(f"the table does not fit the code: {stale}", file=sys.stderr)
        return 1
    if table.stale and not options.keep:
        for key in table.stale:
            print(f"the table has a guard that is no more: {key}", file=sys.stderr)
        return 1
    table.guards.sort(key=lambda guard: guard.file.startswith("cli/"))  # stable: these come last
    chosen = [g for g in table.guards if all(word in g.key for word in options.words)]
    if options.changed:
        changed = _changed_files()
        known = {**table.killers, **table.waived}
        chosen = [g for g in chosen if g.file in changed or g.key not in known]
    if options.list:
        for guard in chosen:
            print(_line(guard, table.killers.get(guard.key, table.waived.get(guard.key, "-"))))
        return 0
    return _try_all(table, chosen, options)


def _try_all(table: Table, chosen: list[Guard], options: argparse.Namespace) -> int:
    tried = [guard for guard in chosen if options.waived or guard.key not in table.waived]
    with tempfile.TemporaryDirectory(prefix="guards-") as folder:
        import_others()
        copies = [Copy(Path(folder) / str(number)) for number in range(options.jobs)]
        search = Search(
            copies,
            tried,
            table.killers,
            options.tests,
            all_tests=options.all_tests,
            reach=options.reach,
        )
        try:
            for guard, killer in search.run():
                print(_line(guard, killer or "SURVIVED"), flush=True)
        finally:
            if options.keep:
                _keep(table, search)
    waived = len(chosen) - len(tried)
    print(f"{len(chosen)} guards: {len(search.killers)} missed by a test, ", end="")
    print(f"{waived} waived, {len(search.survivors)} survived")
    for guard in search.survivors:
        print(f"SURVIVED addons/awsgate/{guard.file}:{guard.lines[0]} {guard.key}")
    return 1 if search.survivors else 0


def _keep(table: Table, search: Search) -> None:
    """Write down what was found, also of a run that was broken off."""
    lost = {guard.key for guard in search.survivors}
    killers = {**table.killers, **search.killers}
    keep(table, {key: test for key, test in killers.items() if key not in lost})


def _line(guard: Guard, killer: str) -> str:
    return f"{guard.file}:{guard.lines[0]}  {guard.says}\n    {guard.place}\n    -> {killer}"


def _changed_files() -> set[str]:
    """Give the package's files that differ from the last commit."""
    listing = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all", "--", "addons/awsgate"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {line[3:].removeprefix("addons/awsgate/") for line in listing.stdout.splitlines()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/guards", description=__doc__)
    add = parser.add_argument
    add("words", nargs="*", help="only guards whose file or place has each of these words")
    add("--list", action="store_true", help="print the table and try nothing")
    add("--changed", action="store_true", help="guards of changed files, and those never tried")
    add("--jobs", type=int, default=os.cpu_count(), help="how many are tried at a time")
    add("--tests", nargs="*", default=[], help="look for who misses one in these tests alone")
    add("--all-tests", action="store_true", help="look in the end-to-end tests too: long")
    add("--reach", type=Path, metavar="FILE", help="keep in FILE who comes by, or know it from it")
    add("--waived", action="store_true", help="try those that are waived, too")
    add("--keep", action="store_true", help="write down who misses which")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
