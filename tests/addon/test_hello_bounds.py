"""A ClientHello is read until its bound, and no packet more makes it be read anew."""

from __future__ import annotations

import struct

import pytest

from awsgate.addon.patched_bounds import MAX_HELLO_BYTES, MAX_HELLO_RECORDS, bound_client_hello


def records(count: int, size: int = 1) -> bytes:
    return (b"\x16\x03\x01" + struct.pack("!H", size) + b"x" * size) * count


@pytest.mark.parametrize(
    "data", [records(MAX_HELLO_RECORDS + 1), records(3, 16_000)], ids=["records", "bytes"]
)
def test_one_that_is_not_whole_within_the_bound_is_given_up(data: bytes) -> None:
    read = []
    parse = bound_client_hello(read.append)  # as the stock one: None, it is not whole

    with pytest.raises(ValueError, match="too long, or in too many records"):
        parse(data)

    assert len(read[0]) <= MAX_HELLO_BYTES


def test_one_that_is_not_whole_yet_is_waited_for() -> None:
    assert bound_client_hello(lambda _: None)(records(2)) is None
