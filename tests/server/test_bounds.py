"""Which connections are overdue: those that owe something and do not give it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from awsgate.policy.settings import Limits
from awsgate.server.bounds import AT_ONCE_SHARE, Bounds, is_overdue

LIMITS = Limits(head_timeout_s=30.0, idle_timeout_s=600.0)


@dataclass
class Held:
    """What a connection knows of its time."""

    since: float = 0.0
    heard: float = 0.0
    asked: bool = False
    relayed: bool = False
    nobodys: bool = False
    stirred: float = 0.0
    body_since: float = 0.0
    body_bytes: int = 0
    ended: bool = False
    ending: bool = False

    def end(self) -> None:
        self.ended = True


CASES = {
    "within the time for a head": (Held(since=1000 - 29.0), False),
    "a head for too long": (Held(since=1000 - 31.0, heard=999.9), True),
    "idle, within its time": (Held(heard=1000 - 599.0), False),
    "idle for too long": (Held(heard=1000 - 601.0), True),
    "a request under way may be silent": (Held(heard=1.0, asked=True), False),
    "a body within the time for a head": (Held(body_since=1000 - 29.0, asked=True), False),
    "a body that does not come": (Held(body_since=1000 - 31.0, asked=True), True),
    "a body that comes a byte at a time": (
        Held(body_since=1000 - 31.0, heard=999.9, asked=True, body_bytes=900), True,
    ),
    "a large body on a slow line": (
        Held(body_since=1000 - 530.0, asked=True, body_bytes=501_000), False,
    ),
    "a tunnel may be silent": (Held(heard=1.0, relayed=True), False),
}  # fmt: skip


@pytest.mark.parametrize(("held", "overdue"), CASES.values(), ids=CASES)
def test_is_overdue(held: Held, overdue: bool) -> None:
    assert is_overdue(cast("Any", held), 1000.0, LIMITS) is overdue


BUSY = {
    "a request is under way": Held(heard=1.0, asked=True),
    "it is a tunnel": Held(heard=1.0, relayed=True),
}
QUIET = {
    "idle": Held(heard=5.0),
    "a head that does not end": Held(since=5.0, heard=1000.0),
    "a body that does not end": Held(body_since=5.0, heard=1000.0, asked=True),
    "a tunnel of nobody known": Held(stirred=5.0, relayed=True, nobodys=True),
}


def bounds_of(*held: Held, limit: int) -> Bounds:
    limits = LIMITS.model_copy(update={"max_connections": limit})
    return Bounds(cast("Any", dict(enumerate(held))), lambda: limits)


def comes(bounds: Bounds) -> str | None:
    """Let the last of the connections come; give why it is refused."""
    client: Any = SimpleNamespace(error=None)
    bounds.client_connected(client)
    error: str | None = client.error
    return error


@pytest.mark.parametrize("name", QUIET)
def test_who_does_nothing_gives_way(name: str) -> None:
    quiet, new = replace(QUIET[name]), Held(heard=2000.0)
    others = [replace(held) for held in BUSY.values()] + [Held(heard=10.0)]

    assert comes(bounds_of(*others, quiet, new, limit=4)) is None
    assert quiet.ended
    assert not any(held.ended for held in (*others, new))


def test_where_all_do_something_the_new_one_goes() -> None:
    held = [replace(each) for each in BUSY.values()]

    assert comes(bounds_of(*held, Held(), limit=2)) == "awsgate: too many connections"
    assert not any(each.ended for each in held)


def test_of_tunnels_of_strangers_those_give_way_on_which_nothing_moved_for_longest() -> None:
    """Either way: a download says nothing to its server."""
    known = [Held(heard=1.0, stirred=1.0, relayed=True) for _ in range(3)]
    strangers = [
        Held(heard=1.0, stirred=100.0 - number, relayed=True, nobodys=True) for number in range(3)
    ]

    assert comes(bounds_of(*known, *strangers, Held(), limit=6)) is None
    assert [each.ended for each in strangers] == [False, False, True]
    assert not any(each.ended for each in known)


def test_a_tunnel_of_a_stranger_may_be_silent_while_there_is_room() -> None:
    held = Held(heard=1.0, stirred=1.0, relayed=True, nobodys=True)

    assert not is_overdue(cast("Any", held), 1000.0, LIMITS)
    assert comes(bounds_of(held, Held(), limit=2)) is None
    assert not held.ended


def test_within_the_limit_nobody_gives_way() -> None:
    held = [replace(each) for each in QUIET.values()]

    assert comes(bounds_of(*held, limit=len(held))) is None
    assert not any(each.ended for each in held)


def test_a_few_of_many_give_way_at_once() -> None:
    """Those that were quiet for longest: to look at all is not done for each that comes."""
    held = [Held(heard=float(number)) for number in range(1000)]

    assert comes(bounds_of(*held, Held(), limit=1000)) is None
    assert [each.ended for each in held] == [
        number <= AT_ONCE_SHARE // 10 for number in range(1000)
    ]


def test_for_the_place_of_one_that_is_ending_nobody_else_gives_way() -> None:
    """It takes a moment where there is TLS: else each that comes would cut more of the others."""
    held = [Held(heard=float(number), ending=number < 20) for number in range(1000)]

    assert comes(bounds_of(*held, Held(), limit=1000)) is None
    assert not any(each.ended for each in held)


def test_those_that_are_ending_are_not_closed_again() -> None:
    held = [Held(heard=1.0, ending=True), *(Held(heard=10.0 + number) for number in range(4))]

    assert comes(bounds_of(*held, Held(), limit=4)) is None
    assert [each.ended for each in held] == [False, True, False, False, False]


def test_there_are_not_any_number_of_connections_that_are_ending() -> None:
    held = [Held(ending=True) for _ in range(14)]

    assert comes(bounds_of(*held, Held(), limit=10)) is None
    assert comes(bounds_of(*held, Held(ending=True), Held(), limit=10)) is not None


def test_handshakes_under_way_take_places_as_well() -> None:
    held = [Held(heard=float(number)) for number in range(6)]
    bounds = bounds_of(*held, limit=8)

    assert bounds.make_room(2)
    assert not any(each.ended for each in held)
    assert bounds.make_room(3)
    assert [each.ended for each in held] == [True, *[False] * 5]
