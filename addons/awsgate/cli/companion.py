"""A process beside a command, which ends when the command does.

``awsgate exec`` becomes its command: the command has the pid that the shell started, so
exit codes, signals and job control are its own, with nothing in between. What must go on
meanwhile (the endpoint, a local gateway) is done by a companion. It is nobody's child, so
a command that waits for all its children does not wait for it; it is in a session of its
own, so Ctrl-C does not reach it; and it keeps no file of the command open.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Collection

from awsgate.errors import SetupError
from awsgate.undumped import forbid_dumps

_READY = b"ready"
_POLL_S = 0.5


class Watch:
    """Knows when a process has ended."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._fd = _pidfd(pid)

    def wait(self) -> None:
        """Wait until it has ended."""
        if self._fd >= 0:
            select.select([self._fd], [], [])
            return
        while self._is_there():
            time.sleep(_POLL_S)

    def _is_there(self) -> bool:
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def _pidfd(pid: int) -> int:
    """Give a descriptor of the process, or -1: a number alone could be another's later."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # no Linux, or one that does not let us
        return -1


def accompany(
    work: Callable[[Watch, Callable[[], None]], None], *, keep: Collection[int] = ()
) -> None:
    """Start a companion of this process, and wait until it is ready.

    ``work`` gets a watch on this process and a function that says it is ready. It runs in
    the companion, which ends with it. ``keep`` are the file descriptors that it needs.

    Raises ``SetupError`` if that is what ``work`` raised before it was ready.
    """
    pid = os.getpid()
    reading, writing = os.pipe()
    # What is in these now would be written twice.
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _leave_behind(work, pid, writing, keep)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    if said != _READY:
        raise _failure(said)


def _leave_behind(
    work: Callable[[Watch, Callable[[], None]], None],
    pid: int,
    writing: int,
    keep: Collection[int],
) -> None:
    """Fork once more, and never return: the first process ends, the second works."""
    try:
        forbid_dumps()  # only here: the command's own core dumps are its user's matter
        os.setsid()
        if os.fork() == 0:
            _detach({writing, *keep})
            _work(work, pid, writing)
    finally:
        os._exit(0)


def _work(work: Callable[[Watch, Callable[[], None]], None], pid: int, writing: int) -> None:
    told = False

    def say(what: bytes) -> None:
        nonlocal told
        if not told:
            told = True
            os.write(writing, what)
            os.close(writing)

    try:
        work(Watch(pid), lambda: say(_READY))
    except SetupError as exc:
        say(json.dumps([exc.message, exc.hint, *exc.faults]).encode())
    except Exception as exc:  # noqa: BLE001 - nobody else is there to see it
        say(json.dumps([f"the companion process failed: {type(exc).__name__}", ""]).encode())


def _failure(said: bytes) -> SetupError:
    if not said:
        return SetupError("the companion process ended before it was ready")
    message, hint, *faults = json.loads(said)
    return SetupError(message, hint=hint, faults=tuple(faults))


def _detach(keep: Collection[int]) -> None:
    # SIGTERM ends it as sys.exit does: a local gateway is stopped then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    limit = min(os.sysconf("SC_OPEN_MAX"), 65536)
    start = 3
    for kept in (*sorted(keep), limit):
        os.closerange(start, kept)
        start = kept + 1
