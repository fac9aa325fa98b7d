"""What a test process is watched for: its first failure, or who comes by which guard."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import CodeType

TOOL = 4  # of sys.monitoring; 0 to 3 and 5 are debuggers', coverage's and the like


class FirstFailure:
    """Keeps the name of the first test that failed, and in a file that of the one under way."""

    def __init__(self, current: Path) -> None:
        self.test = ""
        self._current = current

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note where it is, for who waits for its end."""
        self._current.write_text(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure, in set-up and teardown too."""
        if report.failed:
            self.test = self.test or report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A test file that cannot be read any more misses what was taken away."""
        if report.failed:
            self.test = self.test or report.nodeid


def stands_still(current: Path, seconds: float) -> str:
    """Give the test that has been under way for so long; empty: it goes on."""
    try:
        if time.time() - current.stat().st_mtime < seconds:
            return ""
        return current.read_text() or "it hangs"
    except FileNotFoundError:
        return ""


def kill_all_of(pid: int) -> None:
    """End a test process, and what its tests started."""
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class Reach:
    """Notes which of the wanted lines each test ran, how long it took, and how it ended."""

    def __init__(self, package: Path, wanted: dict[str, set[int]]) -> None:
        self.tests: dict[str, dict[str, Any]] = {}
        self._wanted = {str(package / file): lines for file, lines in wanted.items()}
        self._start = len(str(package)) + 1
        self._met: set[tuple[str, int]] = set()

    def pytest_sessionstart(self) -> None:
        """Ask the interpreter for each line that is run; once a test is enough."""
        sys.monitoring.use_tool_id(TOOL, "guards")
        sys.monitoring.register_callback(TOOL, sys.monitoring.events.LINE, self._line)
        sys.monitoring.set_events(TOOL, sys.monitoring.events.LINE)

    def _line(self, code: CodeType, line: int) -> object:
        lines = self._wanted.get(code.co_filename)
        if lines is not None and line in lines:
            self._met.add((code.co_filename, line))
        return sys.monitoring.DISABLE

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Begin anew with each test."""
        self._met.clear()
        sys.monitoring.restart_events()
        seen = self.tests.setdefault(item.nodeid, {"seconds": 0.0, "passed": True, "lines": []})
        result = yield
        seen["lines"] = [(name[self._start :], line) for name, line in sorted(self._met)]
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how long it took, and whether it is of any use."""
        seen = self.tests.get(report.nodeid)
        if seen is not None:
            seen["seconds"] += report.duration
            seen["passed"] = seen["passed"] and not report.failed
