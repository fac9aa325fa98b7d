"""One tunnel: whose it is, where it leads, and how it ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mitmproxy import connection

from awsgate.addon.tunnels import CONTROL, Route
from awsgate.errors import Refusal
from awsgate.tunnelclients import Address
from awsgate.tunnelpass import TunnelCaller


@dataclass(slots=True)
class Tunnel:
    """One that is open, or about to be."""

    client: connection.Client
    route: Route
    caller: TunnelCaller | None
    opened: float = 0.0
    """``perf_counter``; 0: its server has not answered yet."""
    label: str = ""
    end: asyncio.TimerHandle | None = None
    refusal: Refusal | None = None
    """Why it was cut."""
    dialled_from: Address | None = None
    """The gateway's own end of the connection to its control API; None: there is none."""

    @property
    def user(self) -> str:
        """Give whose it is; empty: nobody's."""
        return self.caller.user if self.caller is not None else ""

    @property
    def to_control(self) -> bool:
        """True if it leads to the gateway's own control API."""
        return self.route.reason == CONTROL

    @property
    def address(self) -> str:
        """Give where it comes from."""
        return str(self.client.peername[0])
