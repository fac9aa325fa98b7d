"""A test process that has imported and collected everything, and is forked for each guard.

A guard within a function is taken away by giving the function the code that it has
without. What stands outside of functions cannot be: that needs a process that begins anew.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import time
import traceback
from collections import defaultdict
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FunctionType
from typing import IO, TYPE_CHECKING, Any

import pytest

from guarding.watching import FirstFailure, kill_all_of, stands_still

if TYPE_CHECKING:
    from collections.abc import Iterator

COLD = "cold"
"""The answer for a guard that cannot be taken away here."""


class Warm:
    """The plugin: in place of running the tests, it does what it is told, line by line."""

    def __init__(self, package: Path, orders: IO[str], answers: IO[str], patience: float) -> None:
        self._package, self._patience = package, patience
        self._orders, self._answers = orders, answers
        self._current = package.parent / "current"
        self._failure = FirstFailure(self._current)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try guards until there are no more."""
        items = {item.nodeid: item for item in session.items}
        functions = _functions_below(str(self._package))
        session.config.pluginmanager.register(self._failure)
        gc.collect()
        gc.freeze()
        self._answers.write("warm\n")
        self._answers.flush()
        for line in self._orders:
            order = json.loads(line)
            result = self._package.parent / "warm.json"
            result.unlink(missing_ok=True)
            self._current.unlink(missing_ok=True)
            pid = os.fork()
            if pid == 0:
                self._be_one(session, items, functions, order, result)
            self._answers.write(json.dumps(self._wait_for(pid, result)) + "\n")
            self._answers.flush()
        return True

    def _wait_for(self, pid: int, result: Path) -> dict[str, Any]:
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if test := stands_still(self._current, self._patience):
                kill_all_of(pid)
                return {"failed": test}
            time.sleep(0.005)
        found: dict[str, Any] = {"failed": "the test process ends"}
        return json.loads(result.read_text()) if result.is_file() else found

    def _be_one(
        self,
        session: pytest.Session,
        items: dict[str, pytest.Item],
        functions: dict[str, list[FunctionType]],
        order: dict[str, Any],
        result: Path,
    ) -> None:
        """Take a guard away and run its tests, until one fails. Does not return."""
        try:
            os.setpgid(0, 0)
            module = self._package / order["file"]
            known = items.keys() >= set(order["tests"])
            if not (known and swap(module, order["whole"], functions.get(str(module), []))):
                result.write_text(json.dumps({"failed": COLD}))
                return
            chosen = [items[test] for test in order["tests"]]
            for item, after in zip(chosen, [*chosen[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
                if self._failure.test:
                    break
            result.write_text(json.dumps({"failed": self._failure.test}))
            session._setupstate.teardown_exact(None)  # noqa: SLF001 - what a fixture started ends
        except BaseException:  # noqa: BLE001 - nobody above would hear of it
            traceback.print_exc()
        finally:
            os._exit(0)


def swap(module: Path, whole: str, functions: list[FunctionType]) -> bool:
    """Give functions the code that they have in the module as it is now, on the disk.

    False: what differs from ``whole`` is not in functions alone, or there are none.
    """
    before = _codes(compile(whole, str(module), "exec", dont_inherit=True))
    after = _codes(compile(module.read_text(), str(module), "exec", dont_inherit=True))
    if not functions or not _only_functions_differ(before, after):
        return False
    for function in functions:
        name, line = function.__code__.co_qualname, function.__code__.co_firstlineno
        old, new = before[name], after[name]
        place = next((n for n, code in enumerate(old) if code.co_firstlineno == line), None)
        if place is None or len(old) != len(new):
            continue
        with contextlib.suppress(ValueError):  # of other free variables
            function.__code__ = new[place]
            continue
        return False
    return True


def _only_functions_differ(before: dict[str, list[CodeType]], after: dict[str, Any]) -> bool:
    for name, codes in before.items():
        for old, new in zip(codes, after.get(name, ()), strict=False):
            if not old.co_flags & CO_OPTIMIZED and _outside(old) != _outside(new):
                return False
    return True


def _outside(code: CodeType) -> tuple[object, ...]:
    """Give what a module or a class does itself, without its functions."""
    own = [repr(const) for const in code.co_consts if not isinstance(const, CodeType)]
    return code.co_code, code.co_names, own


def _codes(code: CodeType) -> dict[str, list[CodeType]]:
    found: dict[str, list[CodeType]] = defaultdict(list)
    for each in _walk(code):
        found[each.co_qualname].append(each)
    return found


def _walk(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _walk(const)


def _functions_below(folder: str) -> dict[str, list[FunctionType]]:
    found: dict[str, list[FunctionType]] = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename.startswith(folder):
            found[each.__code__.co_filename].append(each)
    return found
