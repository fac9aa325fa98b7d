"""The socket of a client connection: what is written and when, and the ways to end it."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from enum import Enum
from time import monotonic

from awsgate.server.core.tls import Tls
from awsgate.server.core.upstream import Upstream

LINGER_S = 2.0
CLOSING_S = 30.0


class Step(Enum):
    """What a client connection is at; ``client`` says what each means."""

    HEAD, BODY, WAIT, FIRST, RELAY, LINGER, OVER = range(7)


class Near(asyncio.Protocol):
    """Writes to a client, with TLS or without, and no faster than it reads."""

    def __init__(self) -> None:
        self.stirred = monotonic()
        """When anything moved, in either direction."""
        self.source: Upstream | None = None
        """What fills the client's write buffer."""
        self.full = False
        """The client does not read."""
        self.step = Step.HEAD
        self.tls: Tls | None = None
        self._transport: asyncio.Transport | None = None
        self._left = 0
        """Bytes that were not written yet when the clock last looked."""
        self._said_all = False
        """Our end is closed."""
        self._deadline = 0.0
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._paused = 0

    def pause_writing(self) -> None:
        """The client does not read: nor is what would be sent to it."""
        self.full = True
        if self.source is not None:
            self.source.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.full = False
        if self.source is not None:
            self.source.resume_reading()

    def write(self, data: bytes) -> None:
        """Collect what is to be written: a system call an event, not one a piece."""
        self._out.append(data)

    def flush(self) -> None:
        """Write what was collected."""
        if not self._out:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        if data and not self._said_all:
            self.stirred = monotonic()
            self.put(self.tls.send(data) if self.tls is not None else data)

    def put(self, data: bytes) -> None:
        """Write bytes as they are on the wire, unless our end is closed."""
        if data and self._transport is not None and not self._said_all:
            self._transport.write(data)

    def pause(self, why: int) -> None:
        """Read no more for now."""
        if not self._paused and self._transport is not None:
            self._transport.pause_reading()
        self._paused |= why

    def resume(self, why: int) -> None:
        """Read on, if there is no other reason not to."""
        if self._paused:
            self._paused &= ~why
            if not self._paused and self._transport is not None:
                self._transport.resume_reading()

    @property
    def halves(self) -> bool:
        """True if one direction can end before the other: not in TLS, of ours or below it."""
        return self.tls is None and self._transport is not None and self._transport.can_write_eof()

    def send_eof(self) -> None:
        """Say that no more comes."""
        self.flush()
        if self._transport is not None and not self._transport.is_closing():
            if not self.halves:
                self.close()
            else:
                self._say_all()

    def _say_all(self) -> None:
        if self._transport is not None and not self._said_all:
            self._said_all = True
            if self._transport.can_write_eof():
                with suppress(OSError):  # the client has reset it: connection_lost follows
                    self._transport.write_eof()

    def linger(self) -> None:
        """Close our end. A client that is still sending would lose our answer to a reset."""
        if self._transport is None or self.step in (Step.LINGER, Step.OVER):
            return
        self.flush()
        if self.step is not Step.BODY and not self._transport.can_write_eof():
            # TLS below: our end cannot be closed alone. And there is nothing more to come.
            self.close()
            return
        self.step, self._deadline = Step.LINGER, monotonic() + LINGER_S
        self._buffer.clear()
        self.resume(self._paused)
        if self._transport.is_closing():
            return
        if self.tls is not None:
            self.put(self.tls.goodbye())
        self._say_all()

    def close(self, *, whole: bool = True) -> None:
        """Close, after what is written. Not ``whole``: without TLS's word that it is all."""
        self.flush()
        self.step, self._deadline = Step.OVER, monotonic() + CLOSING_S
        self._buffer.clear()
        if self._transport is not None and not self._transport.is_closing():
            if self.tls is not None and whole:
                self.put(self.tls.goodbye())
            self._transport.close()

    def end_in_time(self, now: float) -> None:
        """End for good what is over, once its client had time to read what was written."""
        left = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if left != self._left:  # it reads, if slowly
            self._left = left
            self._deadline = now + (CLOSING_S if left else LINGER_S)
        elif now > self._deadline:
            self.abort()

    def reset(self) -> None:
        """Close so that the client cannot take it for a proper end, TLS or not."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def abort(self) -> None:
        """Close at once, with what is unsent."""
        self.step = Step.OVER
        self._out.clear()
        self._buffer.clear()
        if self._transport is not None:
            self._transport.abort()
