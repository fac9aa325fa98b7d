"""Memory stays where it is: what a process of the gateway forbids itself."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys

import pytest

from awsgate import undumped

AFTER = (
    "import ctypes, os, resource, sys\n"
    "from awsgate.undumped import forbid_dumps\n"
    "forbid_dumps()\n"
    "print(*resource.getrlimit(resource.RLIMIT_CORE))\n"
    "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) if sys.platform == 'linux' else 0)\n"
    "sys.stdout.flush()\n"
)


def test_a_process_has_no_core_and_cannot_be_dumped() -> None:
    done = subprocess.run([sys.executable, "-c", AFTER], capture_output=True, check=True, text=True)

    assert done.stdout.split() == ["0", "0", "0"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has it")
def test_a_process_that_did_not_ask_can_be_dumped() -> None:
    asked = AFTER.replace("forbid_dumps()\n", "pass\n", 1)
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True, text=True)

    assert done.stdout.split()[-1] == "1"


def test_its_children_leave_no_core_either() -> None:
    child = f"{AFTER}os.execvp('sh', ['sh', '-c', 'ulimit -c'])\n"
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, check=True, text=True)

    assert done.stdout.split()[-1] == "0"


def test_a_system_that_does_not_let_us_is_told_and_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing:
        def __init__(self, *_: object, **__: object) -> None:
            self.prctl = lambda *_: -1

    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(ctypes, "CDLL", Refusing)
    monkeypatch.setattr(undumped.log, "propagate", True)

    undumped.forbid_dumps()

    assert "cannot be turned off" in caplog.text
    assert ("closed to others" in caplog.text) == (sys.platform == "linux")
