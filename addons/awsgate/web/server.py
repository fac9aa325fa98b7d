"""The server of the API: TLS, bounds on connections, a thread with a loop of its own.

uvicorn speaks HTTP. What it leaves open is bounded here: how many connections there are,
in all and of one address, how long one may take for TLS, for the head of a request, and to
read an answer. Connections are counted from their first moment: one that never begins with
TLS holds a file descriptor too. Nothing is logged of a request.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from awsgate.errors import SetupError
from awsgate.tlsmemory import keep_small
from awsgate.web.app import CERTIFICATE
from awsgate.web.attempts import whose

MAX_CONNECTIONS = 1_000
MAX_OF_ONE_ADDRESS = 200
MAX_OF_OWN_ADDRESSES = 500
"""Of this machine's: all who come through the proxy share them, and leave others their part."""
MAX_HEAD_BYTES = 32 * 1024  # a login's token has 4 KiB at most
HANDSHAKE_TIMEOUT_S = 10.0
HEAD_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 15
log = logging.getLogger("awsgate")

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ControlServer:
    """A server that answers until it is closed."""

    address: str
    """``host:port``, with the real port."""
    _server: uvicorn.Server = field(repr=False)
    _thread: threading.Thread = field(repr=False)

    def close(self) -> None:
        """Stop answering, and free the port."""
        self._server.should_exit = True
        self._thread.join(STOP_TIMEOUT_S)


def serve(
    app: ASGIApp,
    sock: socket.socket,
    address: str,
    context: ssl.SSLContext,
    *,
    at_end: Callable[[], Awaitable[None]],
) -> ControlServer:
    """Answer on a listening socket, in a thread. ``at_end`` is awaited in its loop."""
    config = uvicorn.Config(
        app,
        interface="asgi3",
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    config.load()
    server = _Server(config, context)
    door = _Door.of(sock)

    async def run() -> None:
        try:
            await server.serve(sockets=[door])
        except Exception as exc:  # noqa: BLE001 - the thread ends, and says so
            log.error("control API: %s", exc)  # noqa: TRY400 - the cause is in the text
        finally:
            server.begun.set()
            if not server.should_exit:
                log.error("the control API has ended: nobody can log in until a restart")
            await at_end()

    thread = threading.Thread(
        target=asyncio.run, args=(run(),), name="awsgate-control", daemon=True
    )
    thread.start()
    if not server.begun.wait(START_TIMEOUT_S) or not server.started:
        door.close()
        raise SetupError(f"the control API does not start on {address}")
    return ControlServer(address, server, thread)


class _Door(socket.socket):
    """A listening socket that lets in as many as there is room for."""

    @classmethod
    def of(cls, sock: socket.socket) -> Self:
        """Take over a listening socket."""
        door = cls(sock.family, sock.type, sock.proto, fileno=sock.detach())
        door._inside = Counter[str]()
        door._turn = threading.RLock()  # a guest can also leave in a garbage collection
        return door

    _inside: Counter[str]
    """By address, as attempts are; those of IPv6 by network."""
    _turn: threading.RLock

    def accept(self) -> tuple[socket.socket, Any]:
        """Give the next connection. asyncio asks again later where this says that none is there."""
        came, address = super().accept()
        whom, own = whose(str(address[0]))
        most = MAX_OF_OWN_ADDRESSES if own else MAX_OF_ONE_ADDRESS
        with self._turn:
            if self._inside.total() >= MAX_CONNECTIONS or self._inside[whom] >= most:
                came.close()
                raise BlockingIOError
            self._inside[whom] += 1
        with suppress(OSError):
            # asyncio does it for sockets that name their protocol; without, an answer in two
            # pieces waits 40 ms for the client's delayed ACK.
            came.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Guest(came, lambda: self._left(whom)), address

    def _left(self, whom: str) -> None:
        with self._turn:
            self._inside[whom] -= 1
            if self._inside[whom] <= 0:
                del self._inside[whom]


class _Guest(socket.socket):
    """A connection that says when it is closed, or forgotten."""

    def __init__(self, came: socket.socket, left: Callable[[], None]) -> None:
        super().__init__(came.family, came.type, came.proto, fileno=came.detach())
        self._leave = weakref.finalize(self, left)
        self._leave.atexit = False

    def close(self) -> None:
        super().close()
        self._leave()


class _Server(uvicorn.Server):
    """uvicorn's, with a time-out for TLS handshakes, and word of its start."""

    def __init__(self, config: uvicorn.Config, context: ssl.SSLContext) -> None:
        super().__init__(config)
        self._context = context
        self.begun = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections of the sockets."""
        keep_small()
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            return _Connection(
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        self.servers = [
            await loop.create_server(
                connection,
                sock=sock,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                ssl_shutdown_timeout=HANDSHAKE_TIMEOUT_S,
            )
            for sock in sockets or ()
        ]
        self.started = True
        self.begun.set()


class _Connection(H11Protocol):
    """uvicorn's, which may not idle for ever, and knows the client's certificate."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        found: Any = transport.get_extra_info("ssl_object")
        certificate = found.getpeercert(binary_form=True) if found is not None else None
        if certificate:
            self.app_state = {**self.app_state, CERTIFICATE: certificate}
        self._limit(HEAD_TIMEOUT_S)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._answers():
            self._unlimit()  # the body has its own time, and so has the answer
        elif self._deadline is None:
            self._limit(HEAD_TIMEOUT_S)

    def _answers(self) -> bool:
        """True from the end of a request's head to the end of its answer."""
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def pause_writing(self) -> None:
        super().pause_writing()
        self._limit(WRITE_TIMEOUT_S)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unlimit()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unlimit()
        super().connection_lost(exc)

    def _limit(self, seconds: float) -> None:
        self._unlimit()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _unlimit(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
