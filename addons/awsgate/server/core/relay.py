"""Bytes both ways, as they come: a tunnel, or a WebSocket that the gate signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from awsgate.server.core.head import AnswerHead
from awsgate.server.core.upstream import Upstream


class Near(Protocol):
    """The client's end."""

    source: Upstream | None

    def write(self, data: bytes) -> None:
        """Collect what is to be written."""

    def flush(self) -> None:
        """Write it."""

    def pause(self, why: int) -> None:
        """Read no more for now."""

    def resume(self, why: int) -> None:
        """Read on."""

    def send_eof(self) -> None:
        """Say that no more comes."""

    def end(self) -> None:
        """Close, after what is written."""


FULL = 1
"""Why a client is not read: the server does not take more."""
WAITING = 2
"""A hook or a connection is waited for, or the client does not read; enough is collected."""
LATER = 4
"""The others have their turn."""


class Relay:
    """Joins a client's connection and a server's. Counts, if somebody wants to know."""

    def __init__(
        self, near: Near, far: Upstream, counted: Callable[[int, bool], None] | None = None
    ) -> None:
        self._near, self._far, self._counted = near, far, counted
        self._half = False

    def begin(self) -> None:
        """Pass what came already, and all that comes."""
        self._near.source = self._far
        self._far.relay(self)

    # --- from the client -------------------------------------------------------------

    def on_client(self, data: bytes) -> None:
        """Pass on what the client sent."""
        if self._counted is not None:
            self._counted(len(data), False)
        self._far.send(data)

    def on_client_eof(self) -> bool:
        """The client sends no more; False: then neither does the server."""
        if self._half:
            return False
        self._half = True
        self._far.send_eof()
        return self._far.usable

    def on_client_gone(self) -> None:
        """The client's connection is gone."""
        self._far.close()

    # --- from the server -------------------------------------------------------------

    def on_answer(self, head: AnswerHead) -> None:
        """See ``Taker``: there are no answers here."""

    def on_body(self, piece: bytes) -> None:
        """Pass on what the server sent."""
        if self._counted is not None:
            self._counted(len(piece), True)
        self._near.write(piece)

    def on_end(self) -> None:
        """See ``Taker``."""

    def on_failure(self, message: str, *, silent: bool) -> None:  # noqa: ARG002 - as any taker
        """The server's connection is gone."""
        self._near.end()

    def on_sent_eof(self) -> None:
        """The server sends no more."""
        if self._half:
            self._near.end()
            self._far.close()
            return
        self._half = True
        self._near.send_eof()

    def on_full(self) -> None:
        """See ``Taker``."""
        self._near.pause(FULL)

    def on_room(self) -> None:
        """See ``Taker``."""
        self._near.resume(FULL)

    def on_pause(self) -> None:
        """See ``Taker``."""
        self._near.flush()

    def on_crash(self) -> None:
        """See ``Taker``."""
        self._near.end()
