"""How many tunnels each may have open: a known user, or else an address.

Where nobody is asked who opens a tunnel, an address has as many as a user would: who takes
all of them keeps none from others. For one thread: the event loop's.
"""

from __future__ import annotations

from collections.abc import Iterator

from awsgate.addon.tunnel import Tunnel
from awsgate.errors import Code, Refusal
from awsgate.usage import InFlight
from awsgate.web.attempts import shares_of, whose

MAX_TO_CONTROL = 20
"""Tunnels of one address to the control API, in one process: a command has one, for a moment."""


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
        elif tunnel.to_control:
            # Its connections are counted where all that come this way are this machine's.
            whom, _ = whose(tunnel.address)
            yield self._to_control, whom, MAX_TO_CONTROL, "this address to the control API"
        else:
            for whom, factor in shares_of(tunnel.address):
                said = "nobody known at this address"
                yield self._addresses, whom, limit * factor, said


def _hint(tunnel: Tunnel) -> str:
    if tunnel.caller is not None or tunnel.to_control:
        return "close some of them, and try again"
    return (
        "close some of them; or say who you are, for a share of your own: HTTPS_PROXY with user "
        "and password, as awsgate env gives it"
    )
