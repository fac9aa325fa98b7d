"""What time-outs and draining need to know of a client connection, whichever core has it."""

from __future__ import annotations

from typing import Protocol


class Held(Protocol):
    """A client connection that is open."""

    asked: bool
    """A request is under way."""
    relayed: bool
    """It is a tunnel or a WebSocket by now."""
    nobodys: bool
    """It is a tunnel, and nobody is known to have opened it."""
    heard: float
    """When the client last sent something."""
    stirred: float
    """When anything last moved on it, in either direction."""
    since: float
    """Since when it owes a head, or 0."""
    body_since: float
    """Since when it owes a stretch of a body that must be whole before it is decided on, or 0."""
    body_bytes: int
    """What there is of that stretch."""

    @property
    def ending(self) -> bool:
        """True if it has been closed, and only what is written has to go yet."""

    def end(self) -> None:
        """Close it, after what is written, and all that it leads to."""


def is_quiet(held: Held, now: float, seconds: float) -> bool:
    """True if nothing is under way, and nothing was for so long."""
    return not (held.asked or held.relayed) and now - held.heard > seconds
