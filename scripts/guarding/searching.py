"""Which test misses a guard: first the one that did so last time, then all that come by.

Who comes by is found by running the tests once with every guard in its place; only a test
that passes there can be said to miss anything.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guarding.copying import ROOT, Copy, Run, ended
from guarding.warm import COLD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guarding.finding import Guard

# Their gateways are processes of their own, in which nobody sees who comes by.
APART = ("tests/e2e", "tests/clients", "tests/identity", "tests/conformance", "tests/demo")
USUAL = 0
SUITE_FAILED = 1
MANY = 100
"""Of the tests that come by a guard, the quickest: one that all of them pass is seldom missed."""
WORTH_WARMING = 10
"""Guards a copy: with fewer, to collect all tests costs more than it saves."""


class Search:
    """The search for who misses each of some guards."""

    def __init__(
        self,
        copies: list[Copy],
        guards: list[Guard],
        remembered: dict[str, str],
        tests: list[str],
        *,
        all_tests: bool,
        reach: Path | None = None,
    ) -> None:
        self.killers: dict[str, str] = {}
        self.survivors: list[Guard] = []
        self._copies = copies
        self._guards = guards
        self._remembered = {} if tests else remembered
        self._tests = tests
        self._all_tests = all_tests
        self._reach_file = reach

    def run(self) -> Iterator[tuple[Guard, str]]:
        """Give each guard with who misses it, or nothing, as they are found."""
        left = []
        known = self._still_good({self._killer(guard) for guard in self._guards})
        again = [(g, [known_by]) for g in self._guards if (known_by := self._killer(g)) in known]
        tried = {guard.key for guard, _ in again}
        for guard, killer in self._try(again):
            if killer:
                yield guard, self._note(guard, killer)
            else:
                left.append(guard)
        left += [guard for guard in self._guards if guard.key not in tried]
        if left:
            yield from self._look_everywhere(left)

    def _look_everywhere(self, guards: list[Guard]) -> Iterator[tuple[Guard, str]]:
        seen = self._reach(guards)
        there = {guard.key: _who_comes_by(guard, seen) for guard in guards}
        most = None if self._all_tests else MANY
        # Who is seldom met is quickly tried.
        guards = sorted(guards, key=lambda guard: len(there[guard.key]))
        jobs = [(guard, there[guard.key][:most]) for guard in guards if there[guard.key]]
        left = [guard for guard in guards if not there[guard.key]]
        for guard, killer in self._try(jobs):
            if killer:
                yield guard, self._note(guard, killer)
            else:
                left.append(guard)
        for guard, killer in self._try(self._apart(left)):
            if killer:
                left.remove(guard)
                yield guard, self._note(guard, killer)
        for guard in left:
            self.survivors.append(guard)
            yield guard, ""

    def _apart(self, guards: list[Guard]) -> list[tuple[Guard, list[str]]]:
        """Give the tests that the table names; none, if it was said which."""
        return [(g, list(g.tests)) for g in guards if g.tests and not self._tests]

    def _killer(self, guard: Guard) -> str:
        return self._remembered.get(guard.key, "")

    def _note(self, guard: Guard, killer: str) -> str:
        self.killers[guard.key] = killer
        return killer

    def _try(self, jobs: list[tuple[Guard, list[str]]]) -> Iterator[tuple[Guard, str]]:
        """Take each guard away and run its tests, in all copies at once."""
        waiting = list(jobs)
        if all("::" in test for _, tests in jobs for test in tests) and (
            len(jobs) >= WORTH_WARMING * len(self._copies)
        ):
            files = sorted({test.partition("::")[0] for _, tests in jobs for test in tests})
            for copy in self._copies:
                copy.warm_up(files)
            for copy in self._copies:
                copy.wait_until_warm()
        busy: dict[int, tuple[Guard, list[str], Run, contextlib.ExitStack]] = {}
        while waiting or busy:
            for place, copy in enumerate(self._copies):
                if place not in busy and waiting:
                    guard, tests = waiting.pop(0)
                    stack = contextlib.ExitStack()
                    stack.enter_context(copy.without(guard))
                    busy[place] = (guard, tests, copy.start_warm(guard, tests), stack)
            time.sleep(0.01)
            for place, (guard, tests, run, stack) in list(busy.items()):
                found = ended(run)
                if found is None:
                    continue
                if found["failed"] == COLD:
                    busy[place] = (guard, tests, self._copies[place].start(tests), stack)
                    continue
                stack.close()
                del busy[place]
                yield guard, str(found["failed"])

    def _still_good(self, tests: set[str]) -> set[str]:
        """Say which of the tests pass with every guard in place."""
        seen = self._run_all(sorted(tests - {""}), {})
        return {test for test, found in seen.items() if found["passed"]}

    def _reach(self, guards: list[Guard]) -> dict[str, dict[str, Any]]:
        """Find who comes by; or know it from before."""
        if self._reach_file is not None and self._reach_file.is_file():
            known: dict[str, dict[str, Any]] = json.loads(self._reach_file.read_text())
            return known
        wanted: dict[str, set[int]] = {}
        for guard in guards:
            first, last = guard.lines
            wanted.setdefault(guard.file, set()).update(range(first, last + 1))
        seen = self._run_all(self._tests or self._test_files(), wanted)
        good = {test: found for test, found in seen.items() if found["passed"]}
        if self._reach_file is not None:
            self._reach_file.write_text(json.dumps(good))
        return good

    def _test_files(self) -> list[str]:
        files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/**/test_*.py"))
        return [file for file in files if self._all_tests or not file.startswith(APART)]

    def _run_all(self, tests: list[str], wanted: dict[str, set[int]]) -> dict[str, Any]:
        """Run tests in all copies, each its share."""
        shares = [tests[place :: len(self._copies)] for place in range(len(self._copies))]
        runs = [
            copy.start(share, wanted)
            for copy, share in zip(self._copies, shares, strict=True)
            if share
        ]
        seen: dict[str, Any] = {}
        for run in runs:
            while (found := ended(run)) is None:
                time.sleep(0.05)
            if found["code"] not in (USUAL, SUITE_FAILED):
                raise SystemExit(f"the tests could not be run: {found.get('log', found['code'])}")
            seen.update(found["tests"])  # type: ignore[call-overload]
        return seen


def _who_comes_by(guard: Guard, seen: dict[str, dict[str, Any]]) -> list[str]:
    """Give the tests that run a guard's lines: those of its module first, then the quickest.

    One of each test function before the second of any: its cases are much alike.
    """
    first, last = guard.lines
    there = {
        test: found["seconds"]
        for test, found in seen.items()
        if any(file == guard.file and first <= line <= last for file, line in found["lines"])
    }
    nth: Counter[str] = Counter()
    turn = {}
    for test in sorted(there, key=lambda test: there[test]):
        function = test.partition("[")[0]
        nth[function] += 1
        turn[test] = nth[function]
    own = f"test_{Path(guard.file).stem}"
    return sorted(there, key=lambda test: (own not in test, turn[test], there[test]))
