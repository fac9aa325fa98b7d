"""The sockets that the parent opened, the connections that come of them, and the clock."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from time import monotonic

from awsgate.server.core.client import Client
from awsgate.server.core.site import Site
from awsgate.server.door import BACKLOG, Door

LOOK_S = 1.0


class Listener:
    """Takes connections until it is told to stop."""

    def __init__(
        self, site: Site, door: Callable[[Callable[[], asyncio.BaseProtocol]], Door] | None = None
    ) -> None:
        self._site, self._door = site, door
        self._servers: list[asyncio.Server | Door] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Take connections of these sockets, one at a time, as ``mode`` explains."""
        loop = asyncio.get_running_loop()
        if self._door is not None:
            door = self._door(lambda: Client(self._site))
            door.open(sockets)
            self._servers.append(door)
        for sock in () if self._door is not None else sockets:
            self._servers.append(
                await loop.create_server(lambda: Client(self._site), sock=sock, backlog=1)
            )
            sock.listen(BACKLOG)
        self._tick()

    def _tick(self) -> None:
        now = monotonic()
        for held in list(self._site.connections.values()):
            if isinstance(held, Client):
                held.tick(now)
        self._site.pool.sweep(now)
        asyncio.get_running_loop().call_later(LOOK_S, self._tick)

    def stop(self) -> None:
        """Take no more connections. Those that are open stay."""
        for server in self._servers:
            server.close()

    def cut(self, client_id: str) -> None:
        """End a client connection at once, with what is unsent, and all that it leads to."""
        held = self._site.connections.get(client_id)
        if isinstance(held, Client):
            held.abort()
