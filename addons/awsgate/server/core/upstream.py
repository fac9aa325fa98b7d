"""One connection to a server: it carries one request after the other, or raw bytes.

Whoever has taken it is told what comes. It is given back to the pool by itself once an
answer is complete, if the server lets it live.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Protocol, cast

from mitmproxy import connection

from awsgate.addon.dispatch import place_of
from awsgate.addon.patched_bounds import MAX_ANSWER_HEAD_BYTES, MAX_INTERIM
from awsgate.server.core.framing import Broken, Reader, reader_of
from awsgate.server.core.head import TO_THE_END, AnswerHead, Unreadable, end_of_head, read_answer
from awsgate.server.core.tls import Tls

log = logging.getLogger("awsgate.server")

WRITE_BUFFER_BYTES = 256 * 1024

Key = tuple[str, str, int, str]
"""Scheme, host, port, and the name that TLS must prove. Nobody else's is ever used."""


class Taker(Protocol):
    """Who has taken a connection."""

    def on_answer(self, head: AnswerHead) -> None:
        """The head of the answer is there."""

    def on_body(self, piece: bytes) -> None:
        """Some of its body is there; of a raw connection, whatever came."""

    def on_end(self) -> None:
        """It is complete; the connection is not the taker's any more."""

    def on_failure(self, message: str, *, silent: bool) -> None:
        """The connection is gone. ``silent``: not a byte of an answer came."""

    def on_sent_eof(self) -> None:
        """Nothing more comes on a raw connection."""

    def on_full(self) -> None:
        """The server does not read: send no more for now."""

    def on_room(self) -> None:
        """It does again."""

    def on_pause(self) -> None:
        """All that came is told: send on what was collected."""

    def on_crash(self) -> None:
        """The taker itself has failed on what it was told: end everything."""


class Upstream(asyncio.Protocol):
    """A connection to a server.

    ``on_first`` is told of the first answer, ``on_idle`` takes the connection back after one.
    """

    def __init__(
        self,
        key: Key,
        server: connection.Server,
        tls: Tls | None,
        on_idle: Callable[[], None],
        on_first: Callable[[], None],
    ) -> None:
        self.key, self.server, self.tls = key, server, tls
        self.taker: Taker | None = None
        self.carried = 0
        """Answers so far."""
        self.idle_since = 0.0
        self.lost = False
        self.ready: asyncio.Future[None] | None = None
        """Of the handshake, while somebody waits for it."""
        self._on_idle, self._on_first = on_idle, on_first
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._method = b""
        self._upgrade = self._raw = self._heard = False
        self._head: AnswerHead | None = None
        self._reader: Reader | None = None
        self._looked = self._interim = 0
        self._sent_all = True

    # --- for the taker ------------------------------------------------------------

    def take(self, taker: Taker, method: bytes, *, upgrade: bool = False) -> None:
        """Begin a request: what comes from now on is its answer."""
        self.taker, self._method, self._upgrade = taker, method, upgrade
        self._head = self._reader = None
        self._heard = self._sent_all = False
        self._looked = self._interim = 0

    def relay(self, taker: Taker) -> None:
        """Pass raw bytes from now on."""
        self.taker, self._raw = taker, True
        if self._buffer:
            rest = bytes(self._buffer)
            self._buffer.clear()
            taker.on_body(rest)
            taker.on_pause()

    def send(self, data: bytes) -> None:
        """Write. The caller has checked that it may."""
        if self._transport is not None and data:
            self._transport.write(self.tls.send(data) if self.tls is not None else data)

    def sent_all(self) -> None:
        """The request is complete."""
        self._sent_all = True

    def send_eof(self) -> None:
        """Say that no more comes, on a raw connection."""
        if self._transport is None or self._transport.is_closing():
            return
        if self.tls is None and self._transport.can_write_eof():
            with suppress(OSError):  # the server has reset it: connection_lost follows
                self._transport.write_eof()
        else:
            self.close()

    def close(self) -> None:
        """Close, after what is written; the taker hears no more of it."""
        self.taker, self.lost = None, True
        if self._transport is not None and not self._transport.is_closing():
            if self.tls is not None and self._sent_all:
                self._transport.write(self.tls.goodbye())
            self._transport.close()

    def abort(self) -> None:
        """Close at once: the server must not take what it got for the whole."""
        self.taker, self.lost = None, True
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Take nothing more from the server for now."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    @property
    def usable(self) -> bool:
        """True if it may carry another request."""
        return not self.lost and self._transport is not None and not self._transport.is_closing()

    # --- asyncio's ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin TLS, if there is to be any."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        self.server.peername = transport.get_extra_info("peername")
        self.server.sockname = transport.get_extra_info("sockname")
        self.server.state = connection.ConnectionState.OPEN
        if self.tls is not None:
            self.tls.handshake()
            self._transport.write(self.tls.unsent())

    def data_received(self, data: bytes) -> None:
        """Take what came, and tell the taker."""
        taker = self.taker
        try:
            if self.tls is not None:
                data = self._deciphered(self.tls, data)
            if data:
                self._received(data)
            if self.tls is not None and self.tls.ended and not self.lost:
                self._ended(clean=True)
        except ssl.SSLError as exc:
            self._fail(_reason(exc))
        except (Unreadable, Broken) as exc:
            self._fail(f"malformed answer: {exc}")
        except Exception as exc:  # noqa: BLE001 - of its taker: the client must not wait
            self._crashed(taker, exc)

    def _crashed(self, taker: Taker | None, exc: Exception) -> None:
        log.error("an answer failed: %s", place_of(exc))
        self.abort()
        if taker is not None:
            taker.on_crash()

    def _deciphered(self, tls: Tls, data: bytes) -> bytes:
        established = tls.established
        plain = tls.receive(data)
        unsent = tls.unsent()
        if unsent and self._transport is not None:
            self._transport.write(unsent)
        if not established and tls.established and self.ready and not self.ready.done():
            self.ready.set_result(None)
        return plain

    def eof_received(self) -> bool:
        """The server sends no more."""
        if self._raw and self.tls is None and self.taker is not None:
            self.taker.on_sent_eof()
            return not self.lost
        self._ended(clean=self.tls is None or self.tls.ended)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.server.state = connection.ConnectionState.CLOSED
        self._ended(clean=exc is None and (self.tls is None or self.tls.ended))
        self.lost = True

    def pause_writing(self) -> None:
        """More is written than the server reads."""
        if self.taker is not None:
            self.taker.on_full()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.taker is not None:
            self.taker.on_room()

    # --- answers --------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        taker = self.taker
        if taker is None:  # nobody asked
            self.abort()
            return
        self._heard = True
        if self._raw:
            taker.on_body(data)
        elif self._reader is not None:
            self._body(self._reader, data)
        else:
            self._buffer += data
            while self._read_head(taker):  # after an interim answer
                pass
        taker.on_pause()

    def _read_head(self, taker: Taker) -> bool:
        """Read a head, if it is all there; False if it is not."""
        end = end_of_head(self._buffer, self._looked)
        if end < 0:
            self._looked = len(self._buffer)
            if self._looked > MAX_ANSWER_HEAD_BYTES:
                raise Unreadable("its head is too long")
            return False
        head = read_answer(bytes(self._buffer[:end]), self._method)
        rest = bytes(self._buffer[end + 4 :])
        self._buffer.clear()
        self._looked = 0
        if head.status < 200 and not (head.status == 101 and self._upgrade):
            self._interim += 1
            if head.status == 101 or self._interim > MAX_INTERIM:
                raise Unreadable("an interim answer that nobody asked for")
            self._buffer += rest
            return bool(rest)
        self._head = head
        if head.status == 101 or (self._method == b"CONNECT" and head.status < 300):
            self._buffer += rest  # ``relay`` takes it
            self._reader = reader_of(0)
            taker.on_answer(head)
            return False
        self._reader = reader_of(head.body, drop_trailers=True)
        taker.on_answer(head)
        if self.taker is taker:
            self._body(self._reader, rest)
        return False

    def _body(self, reader: Reader, data: bytes) -> None:
        taker = self.taker
        if not reader.done and data:
            content, data = reader.feed(data)
            if content and taker is not None:
                taker.on_body(content)
        if reader.done and self.taker is taker and taker is not None:
            self._complete(taker, clean=not data)

    def _complete(self, taker: Taker, *, clean: bool) -> None:
        """The answer is whole. What follows it unasked ends the connection."""
        head = self._head
        live = clean and self._sent_all and head is not None and not (head.close or head.fault)
        self.taker = self._head = self._reader = None
        self.carried += 1
        if self.carried == 1:
            self._on_first()
        if live and self.usable:
            self.idle_since = monotonic()
            self.resume_reading()  # or its end would go unnoticed
            self._on_idle()
        else:
            self.close() if self._sent_all else self.abort()
        taker.on_end()

    def _ended(self, *, clean: bool) -> None:
        """Nothing more comes."""
        if self.ready is not None and not self.ready.done():
            self.ready.set_exception(OSError("server closed connection"))
        taker, head = self.taker, self._head
        if taker is None or self.lost:
            self.lost = True
            return
        if self._raw:
            self.lost = True
            self._fail("server closed connection")
        elif head is not None and head.body == TO_THE_END and clean:
            self.lost = True
            try:
                self._complete(taker, clean=True)
                taker.on_pause()
            except Exception as exc:  # noqa: BLE001 - as above
                self._crashed(taker, exc)
        else:
            self._fail("server closed connection")

    def _fail(self, message: str) -> None:
        if self.ready is not None and not self.ready.done():
            self.ready.set_exception(OSError(message))
        taker, silent = self.taker, not self._heard
        self.abort()
        if taker is None:
            return
        try:
            taker.on_failure(message, silent=silent)
        except Exception as exc:  # noqa: BLE001 - as above
            self._crashed(taker, exc)


def _reason(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {exc.verify_message}"
    return f"TLS failed: {exc.reason or 'protocol error'}"
