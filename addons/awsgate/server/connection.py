"""A client connection of the lean host: ``InPlace``, with what the time-outs go by.

After a hook that fails, or ``AddonHalt``, which in mitmproxy skips the rest of the chain,
the next is called all the same. The tripwire is the rest of the chain.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Any

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events

from awsgate.addon.dispatch import Hooks
from awsgate.addon.inplace import InPlace
from awsgate.addon.tunnels import NOBODYS, TUNNELLED


class Connection(InPlace):
    """One client connection, and the server connections that it leads to."""

    def __init__(self, hooks: Hooks, *args: Any) -> None:
        super().__init__(hooks, *args)
        self.asked = False
        """A request is under way."""
        self.relayed = False
        """It is a tunnel or a WebSocket by now: nothing of it is read here."""
        self.nobodys = False
        """It is a tunnel of nobody known."""
        self.stirred = self.heard = self.since = monotonic()
        """When anything moved; when the client last sent something; since when it owes a head."""
        self.body_since, self.body_bytes = 0.0, 0
        """Not told apart here from a body that streams, which may take its time."""

    def _heard(self, event: events.Event) -> None:
        if isinstance(event, events.DataReceived):
            self.stirred = monotonic()
            if event.connection is self.client:
                self.heard = self.stirred
                self.since = self.since or self.heard
        elif isinstance(event, events.ConnectionClosed) and not self._halves(event.connection):
            event.connection.state = ConnectionState.CLOSED

    def _halves(self, of: Any) -> bool:
        """True if one direction can end before the other: not in TLS below mitmproxy's layers."""
        held = self.transports.get(of)
        writer = held.writer if held is not None else None
        return not isinstance(writer, asyncio.StreamWriter) or writer.can_write_eof()

    def _note(self, name: str, data: Any) -> None:
        """Keep what the time-outs go by."""
        if name == "requestheaders":
            self.asked, self.since = True, 0.0
        elif name in ("response", "error"):
            # Of the body, too, something was heard: no head is owed for that.
            self.asked, self.heard, self.since = False, monotonic(), 0.0
            if name == "response" and data.response is not None:
                self.relayed = data.response.status_code == 101
        elif name in ("http_connect", "tls_established_client"):
            self.since = 0.0

    def _start_hook(self, command: commands.StartHook, due: deque[events.Event]) -> None:
        (data,) = command.args()
        self._note(command.name, data)
        super()._start_hook(command, due)
        self._called(command.name, data)

    def _called(self, name: str, data: Any) -> None:
        """See ``InPlace``: whether it is a tunnel may be known only then."""
        if name == "http_connect" and data.metadata.get(TUNNELLED):
            self.relayed, self.nobodys = True, bool(data.metadata.get(NOBODYS))  # it may be silent
