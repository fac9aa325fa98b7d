"""The end of a client connection: what is written may be read, but not for ever."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from awsgate.server.core.near import CLOSING_BYTES, CLOSING_S, Near


def ended_after(*left: int) -> float:
    """Give when a connection ends of which so many bytes are unread, a look each second."""
    near = Near()
    transport = near._transport = Mock()
    now = near._deadline = 1000.0
    for now, unread in enumerate(left, 1000):
        transport.get_write_buffer_size.return_value = unread
        near.end_in_time(float(now))
        if transport.abort.called:
            return now - 1000.0
    return float("inf")


READERS = {
    "of nothing": ([200_000] * 100, CLOSING_S + 1),
    "of a byte a second": (range(200_000, 199_000, -1), CLOSING_S + 1),
    "of a little": (range(200_000, 0, -2 * CLOSING_BYTES // int(CLOSING_S)), float("inf")),
}


@pytest.mark.parametrize(("left", "ends"), READERS.values(), ids=READERS)
def test_who_reads_next_to_nothing_of_an_end_is_not_waited_for(
    left: list[int], ends: float
) -> None:
    assert ended_after(*left) == ends


def test_what_is_closed_is_ending_until_it_is_gone() -> None:
    """So nobody else gives way for the place that it leaves."""
    near = Near()
    near._transport = Mock()
    assert not near.ending

    near.close()

    assert near.ending
