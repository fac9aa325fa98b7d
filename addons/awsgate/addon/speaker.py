"""What outlives an instance of the script: the seat from which it speaks to the patches.

Patched classes belong to the process, and so does the seat: a script reload puts a new
speaker on it, who goes on where the one before left off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mitmproxy import http

from awsgate.addon.backlog import Backlog
from awsgate.usage import InFlight


class Speaker(Protocol):
    """What the patches ask of the addon. Must not raise."""

    max_header_bytes: int

    def upstream_failed(self, flow: http.HTTPFlow, message: str) -> bool:
        """Set ``flow.response`` for a failed upstream; False: not our flow."""

    def body_exceeds(self, flow: http.HTTPFlow, buffered: int) -> bool:
        """True if the buffered body is over the limit; ``flow.response`` is set then."""

    def owes_continue(self, flow: http.HTTPFlow) -> bool:
        """True if the client waits for a 100 that mitmproxy will not send."""

    def may_send(self, request: http.Request) -> bool:
        """True if this request was signed by the gate."""

    def body_refused(self, flow: http.HTTPFlow, exc: Exception) -> bool:
        """Set ``flow.response`` for a body that broke its promise midway."""

    def relays(self, flow: http.HTTPFlow) -> bool:
        """True if the answer made the connection a WebSocket that the gate signed."""

    def relayed(self, flow: http.HTTPFlow, size: int, *, to_client: bool) -> None:
        """Count bytes of such a connection."""


@dataclass(frozen=True, slots=True)
class Legacy:
    """What an instance of the script leaves to the next one."""

    backlog: Backlog
    current: dict[str, http.HTTPFlow]
    """The requests that are under way, by client connection."""
    in_flight: InFlight
    tunnelling: Any
    """``tunnelling.Tunnelling``, which stands above this module."""


@dataclass(slots=True)
class Seat:
    """Holds the speaker of this process, and the legacy of one that was reloaded."""

    speaker: Speaker | None = None
    legacy: Legacy | None = None


seat = Seat()


def as_patch[F: Callable[..., Any]](function: F) -> F:
    """Mark a replacement, so that it is put in place once."""
    function.awsgate_patch = True  # type: ignore[attr-defined]
    return function
