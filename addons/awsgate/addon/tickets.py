"""Calls of lately that lead to a tunnel: whoever made one may open it without a password.

    ssm:StartSession, ssm:ResumeSession, ecs:ExecuteCommand

answer with the address of a data channel, and the client opens it next, from the same
address. A client that cannot say who it is at CONNECT is known by that.

A ticket says whose call it was (``tunnelpass``), and how often it has served: of two
users behind one address, the one whose call is still waiting for its tunnel is meant. If
that is not clear, nobody is.

The address is that of the connection; no header counts. Bounded; ``TicketBook`` is pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from time import time
from typing import Protocol

CALLS = frozenset({"ssm:StartSession", "ssm:ResumeSession", "ecs:ExecuteCommand"})
REASON = "ssm"
"""Tickets open tunnels of this rule alone: the data channels of Session Manager."""
MAX_ADDRESSES = 4096
MAX_OF_ONE = 32
"""Tickets of an address: the newest."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One call. ``at`` in epoch seconds."""

    number: int
    key_id: str
    password: str = field(repr=False)
    """Made of its session: see ``tunnelpass``."""
    at: float
    uses: int = 0


class Tickets(Protocol):
    """Where tickets are kept: in this process, or in the parent of all workers."""

    def put(self, address: str, key_id: str, password: str) -> None:
        """Keep one more."""

    async def of(self, address: str) -> Sequence[Ticket]:
        """Give those of an address, the newest last."""

    def used(self, address: str, number: int) -> None:
        """Note that one has served."""


class TicketBook:
    """The tickets of all addresses. For one thread."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, list[Ticket]] = OrderedDict()
        self._next = 0

    def put(self, address: str, key_id: str, password: str, *, now: float) -> None:
        """Keep one more; what is too many goes, the oldest first."""
        self._next += 1
        kept = self._by_address.pop(address, [])
        self._by_address[address] = [
            *kept[1 - MAX_OF_ONE :],
            Ticket(self._next, key_id, password, now),
        ]
        if len(self._by_address) > MAX_ADDRESSES:
            self._by_address.popitem(last=False)

    def of(self, address: str) -> Sequence[Ticket]:
        """Give those of an address, the newest last."""
        return tuple(self._by_address.get(address, ()))

    def used(self, address: str, number: int) -> None:
        """Note that one has served."""
        kept = self._by_address.get(address, [])
        for place, ticket in enumerate(kept):
            if ticket.number == number:
                kept[place] = replace(ticket, uses=ticket.uses + 1)


class LocalTickets:
    """Tickets of a gateway that is one process."""

    def __init__(self) -> None:
        self._book = TicketBook()

    def put(self, address: str, key_id: str, password: str) -> None:
        """See ``Tickets``."""
        self._book.put(address, key_id, password, now=time())

    async def of(self, address: str) -> Sequence[Ticket]:
        """See ``Tickets``."""
        return self._book.of(address)

    def used(self, address: str, number: int) -> None:
        """See ``Tickets``."""
        self._book.used(address, number)


def waiting(tickets: Iterable[Ticket]) -> Sequence[Ticket]:
    """Give those that have served least: one of them is meant. The newest first."""
    found = sorted(tickets, key=lambda ticket: (ticket.uses, -ticket.number))
    return [ticket for ticket in found if ticket.uses == found[0].uses]
