"""Nothing leaves the own core of ``awsgate run`` without the gate's stamp.

The rows of ``test_fail_closed``, at a worker with that core and the same saboteur in it.
Here no addon can halt the chain and no layer can be put in, so those rows are left out;
and a CONNECT that no hook decided is refused by the core itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from awsgate.server.core.pool import FRESH_S
from e2e.test_fail_closed import (
    NETS,
    QUERY,
    ROWS,
    STS_HOST,
    UNSIGNED,
    Bench,
    assert_a_signed_request_arrives,
    assert_nothing_rides_along,
    run,
    sabotaged_worker,
)
from rawclient import secure

NO_CHAIN = {row for row in ROWS if "halts the chain" in row or "relays the tunnel" in row}
UNDECIDED = {row for row, (does, _, _) in ROWS.items() if "raise in http_connect" in does} - {
    row for row in ROWS if "plain HTTP to" in row
}  # those come without a CONNECT
OPENING = {row for row in ROWS if "when the connection opens" in row}
HELD_BY_THE_STAMP = [row for row in ROWS if row not in NO_CHAIN | UNDECIDED]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("own")
    with sabotaged_worker(folder, core="own", saboteur="saboteur_own") as running:
        yield running


def tried(bench: Bench, row: str, off: tuple[str, ...]) -> bool:
    """Give whether anything arrived; what is to open a connection finds none that is idle."""
    if row in OPENING:
        time.sleep(FRESH_S)
    answer = run(bench, row, off=off)
    arrived = bench.arrived() != b""
    assert arrived or answer is None or answer.status >= 400
    return arrived


def test_without_sabotage_a_signed_request_arrives(bench: Bench) -> None:
    assert_a_signed_request_arrives(bench)


@pytest.mark.parametrize("row", [row for row in ROWS if row not in NO_CHAIN])
def test_nothing_arrives_without_a_stamp(bench: Bench, row: str) -> None:
    assert not tried(bench, row, off=())


@pytest.mark.parametrize("row", HELD_BY_THE_STAMP)
def test_the_last_net_alone_holds_every_row(bench: Bench, row: str) -> None:
    assert not tried(bench, row, off=("connect", "hooks"))


@pytest.mark.parametrize("row", HELD_BY_THE_STAMP)
def test_with_the_tripwire_removed_the_bytes_arrive(bench: Bench, row: str) -> None:
    """The twin: without it, a row could be held by something else, or by nothing."""
    assert tried(bench, row, off=NETS)


@pytest.mark.parametrize("row", sorted(UNDECIDED))
def test_a_connect_that_nobody_decided_leads_nowhere_even_then(bench: Bench, row: str) -> None:
    assert not tried(bench, row, off=NETS)


@pytest.mark.parametrize(
    ("off", "arrived"), [((), 1), (NETS, 2)], ids=["tripwire", "tripwire removed"]
)
def test_a_pipelined_request_that_the_gate_missed_does_not_ride_along(
    bench: Bench, off: tuple[str, ...], arrived: int
) -> None:
    assert_nothing_rides_along(bench, off, arrived)


def test_one_client_does_not_ride_on_what_another_opened(bench: Bench) -> None:
    """A connection to the world is idle; a client whose request was not signed gets none."""
    bench.set()
    with secure(bench.gateway, STS_HOST) as wire:
        wire.send(bench.signed(QUERY))
        assert wire.read_answer().status == 200
    bench.world.reset()
    bench.does, bench.off = ("raise in requestheaders", "raise in request"), ("hooks", "head")
    bench.begin()

    with secure(bench.gateway, STS_HOST) as wire:
        wire.send(UNSIGNED)
        answer = wire.read_answer()

    assert answer.status == 502, "held by the net on connections alone"
    assert bench.arrived() == b""
