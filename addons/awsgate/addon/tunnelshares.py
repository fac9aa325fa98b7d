"""How many tunnels each may have open: a known user, or else an address.

Where nobody is asked who opens a tunnel, an address has as many as a user would: who takes
all of them keeps none from others. For one thread: the event loop's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from mitmproxy import connection

from awsgate.addon.tunnels import CONTROL, Route
from awsgate.errors import Code, Refusal
from awsgate.tunnelpass import TunnelCaller
from awsgate.usage import InFlight
from awsgate.web.attempts import shares_of, whose

MAX_TO_CONTROL = 20
"""Tunnels of one address to the control API, in one process: a command has one, for a moment."""


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

    @property
    def user(self) -> str:
        """Give whose it is; empty: nobody's."""
        return self.caller.user if self.caller is not None else ""

    @property
    def address(self) -> str:
        """Give where it comes from."""
        return str(self.client.peername[0])


class Shares:
    """Counts tunnels. What was taken is given back once, however the tunnel ends."""

    def __init__(self) -> None:
        self._users, self._addresses, self._to_control = InFlight(), InFlight(), InFlight()

    def take(self, tunnel: Tunnel, *, limit: int) -> None:
        """Count one more. Raises ``Refusal`` if there are as many as there may be."""
        taken: list[tuple[InFlight, str]] = []
        for count, whom, most, said in self._of(tunnel, limit):
            if not count.enter(whom, limit=most):
                for earlier, who in taken:
                    earlier.leave(who)
                raise Refusal(
                    Code.THROTTLED, f"{most} tunnels of {said} are open already", hint=_hint(tunnel)
                )
            taken.append((count, whom))

    def give_back(self, tunnel: Tunnel) -> None:
        """Count one less."""
        for count, whom, *_ in self._of(tunnel, 0):
            count.leave(whom)

    def _of(self, tunnel: Tunnel, limit: int) -> Iterator[tuple[InFlight, str, int, str]]:
        """Give where it counts, as whose, how many there may be, and how that is said."""
        if tunnel.caller is not None:
            yield self._users, tunnel.user, limit, tunnel.user
        elif tunnel.route.reason == CONTROL:
            # The control API cannot tell who comes this way: to it, all are this machine.
            whom, _ = whose(tunnel.address)
            yield self._to_control, whom, MAX_TO_CONTROL, "this address to the control API"
        else:
            for whom, factor in shares_of(tunnel.address):
                said = "nobody known at this address"
                yield self._addresses, whom, limit * factor, said


def _hint(tunnel: Tunnel) -> str:
    if tunnel.caller is not None or tunnel.route.reason == CONTROL:
        return "close some of them, and try again"
    return (
        "close some of them; or say who you are, for a share of your own: HTTPS_PROXY with user "
        "and password, as awsgate env gives it"
    )
