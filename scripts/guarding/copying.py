"""Copies of the tree in which a guard can be taken away, and the processes that test them.

Nothing is ever changed in the working tree. A test process is forked from one that has
imported what awsgate imports of others, which is most of what a start costs.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
import py_compile
import select
import shutil
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from guarding.warm import Warm
from guarding.watching import FirstFailure, Reach, kill_all_of, stands_still

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from guarding.finding import Guard

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("addons") / "awsgate"
LEFT_OUT = shutil.ignore_patterns(
    ".*", "__pycache__", "node_modules", "state", "*.pem", "build", "dist"
)
OPTIONS = ["-q", "--tb=no", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # imported before the fork
PATIENCE = 60.0
"""Seconds after which a test is taken to hang; that counts as failed."""


@dataclass
class Run:
    """A test process that is under way, or the order to one that waits for them."""

    pid: int
    result: Path
    answers: IO[str] | None = None


class Copy:
    """One copy of the tree; the tests of one guard at a time run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._warm: tuple[IO[str], IO[str]] | None = None
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT, symlinks=True)
        # By hash, not by time: a module may be changed and restored within a second.
        for module in folder.glob("addons/**/*.py"):
            mode = py_compile.PycInvalidationMode.CHECKED_HASH
            py_compile.compile(str(module), invalidation_mode=mode)

    @contextlib.contextmanager
    def without(self, guard: Guard) -> Iterator[None]:
        """Take a guard away, and put it back."""
        module = self.folder / PACKAGE / guard.file
        whole = module.read_bytes()
        module.write_bytes(whole[: guard.start] + guard.becomes.encode() + whole[guard.end :])
        try:
            yield
        finally:
            module.write_bytes(whole)

    def start(self, tests: Iterable[str], wanted: dict[str, set[int]] | None = None) -> Run:
        """Start tests: until the first that fails, or all, noting who comes by ``wanted``."""
        result = self.folder / "result.json"
        for old in (result, result.with_name("current")):
            old.unlink(missing_ok=True)
        pid = self._fork(lambda: _run_tests(self.folder, list(tests), result, wanted))
        return Run(pid, result)

    def warm_up(self, files: Iterable[str]) -> None:
        """Have a process that has collected these files, for ``start_warm``."""
        orders, answers = os.pipe(), os.pipe()

        def be_warm() -> None:
            os.close(orders[1])
            with os.fdopen(orders[0]) as told, os.fdopen(answers[1], "w") as said:
                plugin = Warm(self.folder / PACKAGE, told, said, PATIENCE)
                pytest.main([*OPTIONS, "--continue-on-collection-errors", *files], [plugin])

        self._fork(be_warm)
        os.close(orders[0])
        os.close(answers[1])
        self._warm = os.fdopen(orders[1], "w"), os.fdopen(answers[0])

    def wait_until_warm(self) -> None:
        """Wait until all is imported: nothing may be taken away before."""
        if self._warm is not None:
            self._warm[1].readline()

    def start_warm(self, guard: Guard, tests: list[str]) -> Run:
        """As ``start``, of one guard; its end may be that it needs ``start``."""
        if self._warm is None or any("::" not in test for test in tests):
            return self.start(tests)
        orders, answers = self._warm
        whole = (ROOT / PACKAGE / guard.file).read_text()
        order = {"file": guard.file, "whole": whole, "tests": tests}
        orders.write(json.dumps(order) + "\n")
        orders.flush()
        return Run(0, self.folder / "log", answers)

    def _fork(self, be: Callable[[], None]) -> int:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _be(self.folder, be)
        # Both sides, or a kill that comes early would miss.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return pid


def ended(run: Run) -> dict[str, object] | None:
    """Give what a run found, or nothing while it is under way."""
    if run.answers is not None:
        if not select.select([run.answers], [], [], 0)[0]:
            return None
        line = run.answers.readline()
        if not line:
            raise SystemExit(f"the tests end: {run.result.read_text()[-2000:]}")
        answer: dict[str, object] = json.loads(line)
        return answer
    pid, _ = os.waitpid(run.pid, os.WNOHANG)
    if pid == 0:
        test = stands_still(run.result.with_name("current"), PATIENCE)
        if not test:
            return None
        kill_all_of(run.pid)
        return {"failed": test, "code": -1}
    if not run.result.is_file():
        log = (run.result.parent / "log").read_text()[-2000:]
        return {"failed": "the test process ends", "code": -1, "log": log}
    found: dict[str, object] = json.loads(run.result.read_text())
    return found


def _be(folder: Path, be: Callable[[], None]) -> None:
    """Become a process of pytest in ``folder``. Does not return."""
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        with Path(os.devnull).open("r+b") as nothing, (folder / "log").open("ab") as log:
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        sys.path.insert(0, str(folder / "addons"))
        os.environ["PYTHONPATH"] = str(folder / "addons")
        be()
    except BaseException:  # noqa: BLE001 - nobody above would hear of it
        traceback.print_exc()
    finally:
        os._exit(0)


def _run_tests(
    folder: Path, tests: list[str], result: Path, wanted: dict[str, set[int]] | None
) -> None:
    if wanted is None:
        failure = FirstFailure(result.with_name("current"))
        code = pytest.main([*OPTIONS, "-x", *tests], plugins=[failure])
        found: dict[str, object] = {"failed": failure.test, "code": int(code)}
    else:
        reach = Reach(folder / PACKAGE, wanted)
        code = pytest.main([*OPTIONS, *tests], plugins=[reach])
        found = {"code": int(code), "tests": reach.tests}
    result.write_text(json.dumps(found))


def import_others() -> None:
    """Import what the package and its tests import of others, before anything is forked."""
    names = {"hypothesis", "pytest_asyncio"}
    for module in [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "tests").glob("*.py")]:
        for node in ast.parse(module.read_text()).body:
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    ours = {"awsgate", *(path.stem for path in (ROOT / "tests").iterdir())}
    for name in sorted(names):
        if name.partition(".")[0] not in ours:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
