"""What faces the clients in a worker: mitmproxy's layers, or the core of our own.

Both have the same hooks called. A front may bring addons of its own along.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from mitmproxy import ctx
from mitmproxy.addons import disable_h2c, next_layer, proxyserver

from awsgate.addon.dispatch import Hooks
from awsgate.addon.hooks import Hooks as GateHooks
from awsgate.addon.tunnels import cut_client
from awsgate.server.certificates import Certificates
from awsgate.server.core.listener import Listener
from awsgate.server.core.pool import Pool
from awsgate.server.core.site import Site
from awsgate.server.core.tls import Leaves, Trust
from awsgate.server.door import Door
from awsgate.server.held import Held
from awsgate.server.mode import Listening

type MakeDoor = Callable[[Callable[[], asyncio.BaseProtocol]], Door]
"""Makes what lets TLS begin before a front sees anything."""


class Front(Protocol):
    """What a worker asks of it."""

    connections: dict[Any, Held]

    @property
    def before(self) -> Sequence[object]:
        """Addons that come before the gate."""

    @property
    def after(self) -> Sequence[object]:
        """Addons that come after it."""

    async def start(self, gate: GateHooks, hooks: Hooks) -> None:
        """Take connections."""

    async def stop(self) -> None:
        """Take no more of them."""

    def cut(self, client_id: str) -> None:
        """End one of them at once, with what is unsent, and all that it leads to."""


class MitmproxyFront:
    """mitmproxy's own server and layers. It starts by itself, with the master."""

    def __init__(self, sockets: Sequence[socket.socket], door: MakeDoor | None = None) -> None:
        Listening.sockets, Listening.door = sockets, door
        self._server = proxyserver.Proxyserver()
        self.connections: dict[Any, Any] = self._server.connections
        self.before = (disable_h2c.DisableH2C(), self._server, next_layer.NextLayer())
        self.after = (Certificates(),)

    async def start(self, gate: GateHooks, hooks: Hooks) -> None:
        """See ``Front``."""

    async def stop(self) -> None:
        """See ``Front``."""
        await self._server.servers.update([])

    def cut(self, client_id: str) -> None:
        """See ``Front``."""
        cut_client(self._server, client_id)


class OwnFront:
    """The core of ``server.core``."""

    before: Sequence[object] = ()
    after: Sequence[object] = ()

    def __init__(self, sockets: Sequence[socket.socket], door: MakeDoor | None = None) -> None:
        self._sockets, self._door = sockets, door
        self.connections: dict[Any, Held] = {}
        self._listener: Listener | None = None

    async def start(self, gate: GateHooks, hooks: Hooks) -> None:
        """See ``Front``."""
        trust = Trust(lambda: ctx.options.ssl_verify_upstream_trusted_ca)
        limits = gate.gateway

        def connect_timeout_s() -> float:
            return limits.policy.gateway.limits.connect_timeout_s

        site = Site(
            hooks,
            gate.answers,
            gate.routes,
            Leaves(gate.gateway.ca.folder),
            Pool(hooks, trust, connect_timeout_s),
            gate.ahead,
            self.connections,
        )
        self._listener = Listener(site, self._door)
        await self._listener.start(self._sockets)

    async def stop(self) -> None:
        """See ``Front``."""
        if self._listener is not None:
            self._listener.stop()

    def cut(self, client_id: str) -> None:
        """See ``Front``."""
        if self._listener is not None:
            self._listener.cut(client_id)
