"""A clock that a test sets: the seconds in a file are added to it. For gateways alone."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from pathlib import Path
from typing import Any

_FILE = os.environ.get("AWSGATE_TEST_CLOCK", "")
_time = time.time


def _ahead_s() -> float:
    return float(Path(_FILE).read_text("ascii") or "0")


class _Shifted(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return dt.datetime.now(tz) + dt.timedelta(seconds=_ahead_s())


if _FILE:
    time.time = lambda: _time() + _ahead_s()
    if "awsgate.server.worker" in sys.orig_argv or any("mitmdump" in w for w in sys.orig_argv):
        from awsgate.addon import hooks

        hooks.datetime = _Shifted  # type: ignore[misc]
