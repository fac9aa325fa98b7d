"""Which connections are overdue: those that owe something and do not give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from awsgate.policy.settings import Limits
from awsgate.server.bounds import is_overdue

LIMITS = Limits(head_timeout_s=30.0, idle_timeout_s=600.0)


@dataclass
class Held:
    """What a connection knows of its time."""

    since: float = 0.0
    heard: float = 0.0
    asked: bool = False
    relayed: bool = False


CASES = {
    "within the time for a head": (Held(since=1000 - 29.0), False),
    "a head for too long": (Held(since=1000 - 31.0, heard=999.9), True),
    "idle, within its time": (Held(heard=1000 - 599.0), False),
    "idle for too long": (Held(heard=1000 - 601.0), True),
    "a request under way may be silent": (Held(heard=1.0, asked=True), False),
    "a tunnel may be silent": (Held(heard=1.0, relayed=True), False),
}


@pytest.mark.parametrize(("held", "overdue"), CASES.values(), ids=CASES)
def test_is_overdue(held: Held, overdue: bool) -> None:
    assert is_overdue(cast("Any", held), 1000.0, LIMITS) is overdue
