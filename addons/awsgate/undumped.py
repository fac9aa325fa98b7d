"""Keeps the memory of this process from other places: no core dump, no look from outside.

A process that holds keys calls ``forbid_dumps`` first of all. Then it leaves no core file,
whatever ``ulimit -c`` or the machine's core_pattern say, and on Linux no other process of
the same user can read its memory or its environment, or attach a debugger; root can.
What it starts inherits the first, and has to ask for the second itself: exec ends that.

What this does not do: keep memory out of swap (encrypt that), or out of the hands of root.
"""

from __future__ import annotations

import ctypes
import logging
import resource
import sys

log = logging.getLogger("awsgate")

_PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """Do it. Where the system does not let us, say so and go on: it is one guard of several."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as exc:
        log.warning("core dumps of this process cannot be turned off: %s", exc)
    if sys.platform == "linux":
        _close_to_others()


def _close_to_others() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("this process cannot be closed to others of its user")
