"""Listening at an address, and whether anything does: asked by a connection that says nothing."""

from __future__ import annotations

import re
import socket

from awsgate.address import split
from awsgate.errors import SetupError


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


def bind(address: str, *, setting: str = "--listen") -> socket.socket:
    """Listen on ``host:port`` or ``[v6]:port``, which ``setting`` names. Raises ``SetupError``."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and re.fullmatch("[0-9]{1,5}", port) and int(port) < 65536):
        raise SetupError(f"{address!r} is not host:port", hint=f"like {setting} 127.0.0.1:8080")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, int(port)))
        sock.listen(4096)
    except (OSError, ValueError) as exc:
        sock.close()
        raise SetupError(
            f"cannot listen on {address}: {getattr(exc, 'strerror', '') or exc}",
            hint=f"choose another address with {setting}, or stop what listens there",
        ) from exc
    sock.set_inheritable(True)
    return sock
