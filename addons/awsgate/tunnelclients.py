"""Who is behind a tunnel to the control API: to it, all who come so come from the gateway.

Whoever dials for the tunnel knows both addresses, its own there and the client's, and says
them before the first byte goes on; the API looks up where a connection comes from. What is
not found, or not any more, is taken for the gateway itself, which is held to more.

In ``mitmdump`` both are one process. Under ``awsgate run`` the book is the parent's, and the
workers tell it (``server.broker``); what one said is gone when it has ended. Bounded: the API
takes a tenth of so many connections.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Protocol

MAX_TUNNELS = 10_000

type Address = tuple[str, int]


class TellsOfTunnels(Protocol):
    """Where it is said who is behind a tunnel."""

    def tunnel_begun(self, ours: Address, client: Address) -> None:
        """Say who is behind a connection that was dialled from ``ours``."""

    def tunnel_ended(self, ours: Address) -> None:
        """Say that it has ended."""


class TunnelClients:
    """The clients of the tunnels that are open. Any thread may ask, and tell."""

    def __init__(self) -> None:
        self._found: OrderedDict[Address, tuple[Address, object]] = OrderedDict()
        """Where a connection comes from -> its client, and who says so."""
        self._lock = threading.Lock()

    def tunnel_begun(self, ours: Address, client: Address, *, by: object = None) -> None:
        """See ``TellsOfTunnels``. ``by``: who says so, and alone may say that it has ended."""
        key = _plain(ours)
        with self._lock:
            self._found[key] = client, by
            self._found.move_to_end(key)
            if len(self._found) > MAX_TUNNELS:
                self._found.popitem(last=False)

    def tunnel_ended(self, ours: Address, *, by: object = None) -> None:
        """See ``TellsOfTunnels``. Another's of that address stays: the port has a new owner."""
        key = _plain(ours)
        with self._lock:
            if self._found.get(key, (None, by))[1] is by:
                self._found.pop(key, None)

    def forget(self, by: object) -> None:
        """Forget all that somebody said."""
        with self._lock:
            for key in [key for key, (_, said_by) in self._found.items() if said_by is by]:
                del self._found[key]

    def behind(self, peer: Address) -> Address:
        """Give the client of a connection that comes from ``peer``: itself, if of no tunnel."""
        key = _plain(peer)
        with self._lock:
            return self._found.get(key, (peer, None))[0]


def _plain(address: Address) -> Address:
    """Give an address in one form: a socket for both families shows IPv4 in IPv6's clothes."""
    host, port = address
    try:
        found = ip_address(host)
    except ValueError:
        return host, port
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    return str(found), port
