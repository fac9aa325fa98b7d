"""Whether something listens, asked of real sockets."""

from __future__ import annotations

import socket

import pytest

from awsgate.listening import listens


def test_something_listens_until_it_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        assert listens(f"127.0.0.1:{port}")
        assert listens(f":{port}"), "no host: this machine"

    assert not listens(f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x"])
def test_nothing_listens_at_what_is_no_address(address: str) -> None:
    assert not listens(address)
