"""What all connections of a worker share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from mitmproxy import connection

from awsgate.addon.ahead import Ahead
from awsgate.addon.answers import Answers
from awsgate.addon.dispatch import Hooks
from awsgate.addon.tunnels import Routes
from awsgate.server.core.pool import Asker, Pool
from awsgate.server.core.through import open_through
from awsgate.server.core.tls import Leaves
from awsgate.server.core.upstream import Upstream
from awsgate.server.held import Held


@dataclass(slots=True)
class Site:
    """The hooks, and what the gate says beside them."""

    hooks: Hooks
    answers: Answers
    routes: Routes
    leaves: Leaves
    pool: Pool
    ahead: Ahead
    connections: dict[str, Held] = field(default_factory=dict)
    """By mitmproxy's id of the client connection."""

    async def tunnel(
        self, client: connection.Client, asker: Asker, host: str, port: int
    ) -> Upstream:
        """Open the way of a tunnel: straight, or by the gateway ahead.

        Raises ``OSError`` and ``NotApproved``.
        """
        ahead = self.ahead.through(self.routes.get(client.id))
        if ahead is None:
            return await self.pool.dial(asker.ask_for("tunnel", host, port), client)
        said = self.ahead.authorization(time.time())
        return await open_through(self.pool, asker, client, ahead, (host, port), said)
