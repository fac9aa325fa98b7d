"""Nothing leaves ``awsgate run`` without the gate's stamp, with mitmproxy's layers.

The rows of ``test_fail_closed``, at a worker with the same saboteur in it. Here an addon
that halts the chain halts nothing: the gate itself refuses, with the tripwire or without.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.test_fail_closed import (
    NETS,
    ROWS,
    Bench,
    assert_a_signed_request_arrives,
    assert_held_as_said,
    assert_nothing_arrives,
    assert_nothing_rides_along,
    run,
    sabotaged_worker,
)

HALTING = [row for row in ROWS if "halts the chain" in row]
OTHERS = [row for row in ROWS if row not in HALTING]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("lean")
    with sabotaged_worker(folder, core="mitmproxy", saboteur="saboteur_run") as running:
        yield running


def test_without_sabotage_a_signed_request_arrives(bench: Bench) -> None:
    assert_a_signed_request_arrives(bench)


@pytest.mark.parametrize("row", ROWS)
def test_nothing_arrives_without_a_stamp(bench: Bench, row: str) -> None:
    assert_nothing_arrives(bench, row)


@pytest.mark.parametrize("row", OTHERS)
def test_each_net_holds_what_it_is_said_to_hold(bench: Bench, row: str) -> None:
    assert_held_as_said(bench, row)


@pytest.mark.parametrize("row", OTHERS)
def test_with_the_tripwire_removed_the_bytes_arrive(bench: Bench, row: str) -> None:
    """The twin: without it, a row could be held by something else, or by nothing."""
    run(bench, row, off=NETS)

    assert bench.arrived() != b""


@pytest.mark.parametrize("row", HALTING)
def test_a_chain_that_is_halted_goes_on_to_the_gate(bench: Bench, row: str) -> None:
    answer = run(bench, row, off=NETS)

    assert bench.arrived() == b""
    assert answer is not None
    assert answer.code == "not-signed"


@pytest.mark.parametrize(
    ("off", "arrived"), [((), 1), (NETS, 2)], ids=["tripwire", "tripwire removed"]
)
def test_a_pipelined_request_that_the_gate_missed_does_not_ride_along(
    bench: Bench, off: tuple[str, ...], arrived: int
) -> None:
    assert_nothing_rides_along(bench, off, arrived)
