"""What all connections of a worker share."""

from __future__ import annotations

from dataclasses import dataclass, field

from awsgate.addon.answers import Answers
from awsgate.addon.dispatch import Hooks
from awsgate.addon.tunnels import Routes
from awsgate.server.core.pool import Pool
from awsgate.server.core.tls import Leaves
from awsgate.server.held import Held


@dataclass(slots=True)
class Site:
    """The hooks, and what the gate says beside them."""

    hooks: Hooks
    answers: Answers
    routes: Routes
    leaves: Leaves
    pool: Pool
    connections: dict[str, Held] = field(default_factory=dict)
    """By mitmproxy's id of the client connection."""
