"""Does anything listen at an address? Asked by a connection that says nothing."""

from __future__ import annotations

import socket

from awsgate.address import split


def listens(address: str, timeout_s: float = 2.0) -> bool:
    """True if something takes a connection there. No host before the port is this machine.

    A gateway writes no audit line of it.
    """
    try:
        host, port = split(address)
        socket.create_connection((host or "127.0.0.1", port), timeout_s).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True
