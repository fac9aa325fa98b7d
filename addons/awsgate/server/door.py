"""TLS to the proxy itself: whoever connects speaks TLS first, with the gateway's own certificate.

    sockets -> first byte -> TLS handshake -> the front, which sees what is inside

A connection counts from its first moment: one in the middle of its handshake holds a place
like any other, and has ``limits.head_timeout_s`` for it. What is no TLS goes no further;
plain HTTP is told in words, since ``HTTPS_PROXY=http://...`` is an easy mistake.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from time import monotonic

from mitmproxy.utils import asyncio_utils

from awsgate.policy.settings import Limits
from awsgate.server.nameless import nameless, path_of
from awsgate.servercert import ServerCertificate, context_of
from awsgate.tlsmemory import keep_small, let_go

BACKLOG = 4096
SHUTDOWN_S = 2.0
"""How long a client may take to say that it has heard the end."""
_LINGER_S = 1.0
_LINGER_BYTES = 256 * 1024
_PAUSE_S = 1.0  # asyncio's own, when there are no files left
_MOMENT_S = 0.01  # a client that has gone again; never in a circle without a breath
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TLS_RECORD = 0x16
_WORDS = b"awsgate: this port speaks TLS: the proxy's URL begins with https://\n"
_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_WORDS), _WORDS)
)

PLAIN_HTTP, NOT_TLS, TIMEOUT, CLOSED, HANDSHAKE = (
    "plain-http",
    "not-tls",
    "timeout",
    "closed",
    "handshake",
)
"""Why a connection did not come to TLS. Labels of a metric."""


class Door:
    """Takes connections until it is closed, and gives those with TLS to a protocol each.

    ``limits`` gives those in force, ``held`` how many connections the front holds, and
    ``make_room`` closes some that do nothing, if there are any.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        front: Callable[[], asyncio.BaseProtocol],
        *,
        limits: Callable[[], Limits],
        held: Callable[[], int],
        make_room: Callable[[], bool],
        on_failure: Callable[[str], None],
    ) -> None:
        self._context, self._front = context, front
        self._limits, self._held, self._on_failure = limits, held, on_failure
        self._make_room = make_room
        keep_small()
        self.sockets: Sequence[socket.socket] = ()
        self._taking: list[asyncio.Task[None]] = []
        self._greeting: dict[asyncio.Task[None], None] = {}
        """In the order in which they came."""

    def open(self, sockets: Sequence[socket.socket]) -> None:
        """Take connections of these sockets, one at a time: other workers share them."""
        self.sockets = sockets
        for sock in sockets:
            sock.setblocking(False)
            sock.listen(BACKLOG)
            self._taking.append(
                asyncio_utils.create_task(self._take(sock), name="awsgate door", keep_ref=True)
            )

    def close(self) -> None:
        """Take no more connections. Those that have come stay."""
        for task in self._taking:
            task.cancel()

    async def _take(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as exc:
                await asyncio.sleep(_PAUSE_S if exc.errno in _NO_FILES else _MOMENT_S)
                continue
            limits = self._limits()
            many = len(self._greeting) + self._held() >= limits.max_connections
            if many and not self._has_room():
                sock.close()
                await asyncio.sleep(0)
                continue
            task = asyncio_utils.create_task(
                self._greet(sock, limits.head_timeout_s), name="awsgate TLS", keep_ref=False
            )
            self._greeting[task] = None
            task.add_done_callback(lambda done: self._greeting.pop(done, None))
            # Else what waits would be taken without a breath: by one worker, all of it.
            await asyncio.sleep(0)

    def _has_room(self) -> bool:
        """Have one give way that does nothing, or has not come to TLS for longest."""
        if self._greeting and len(self._greeting) >= self._held():
            next(iter(self._greeting)).cancel()
            return True
        return self._make_room()

    async def _greet(self, sock: socket.socket, timeout_s: float) -> None:
        end = monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                why = await _look(sock)
        except TimeoutError:
            why = TIMEOUT
        except OSError:
            why = CLOSED
        except asyncio.CancelledError:  # it gives way
            sock.close()
            raise
        if not why:
            # From here on it is the transport's, and closed by that.
            why = await self._hand_over(sock, max(end - monotonic(), 0.1))
        else:
            sock.close()
        if why:
            self._on_failure(why)

    async def _hand_over(self, sock: socket.socket, timeout_s: float) -> str:
        """Give it to the front, with TLS; or why that cannot be."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._front,
                sock,
                ssl=self._context,
                ssl_handshake_timeout=timeout_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except OSError as exc:
            let_go(exc)
            if isinstance(exc, ssl.SSLError):
                return HANDSHAKE
            # asyncio's word for a handshake that takes too long
            return TIMEOUT if isinstance(exc, ConnectionAbortedError) else CLOSED
        return ""


async def _look(sock: socket.socket) -> str:
    """Wait for what comes first; give why it is no TLS, or nothing."""
    first = await _first_byte(sock)
    if not first:
        return CLOSED
    if first[0] == _TLS_RECORD:
        return ""
    if not first.isalpha():
        return NOT_TLS
    await _tell(sock)
    return PLAIN_HTTP


async def _first_byte(sock: socket.socket) -> bytes:
    """Wait for the first byte, and leave it where it is."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(sock, came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(sock)
    return sock.recv(1, socket.MSG_PEEK)


async def _tell(sock: socket.socket) -> None:
    """Answer plain HTTP, and read what it still sends: else the answer would be lost."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, _ANSWER)
    sock.shutdown(socket.SHUT_WR)
    left = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER_S):
            while left > 0 and (data := await loop.sock_recv(sock, 64 * 1024)):
                left -= len(data)
    except TimeoutError:
        return


# --- from the parent to its workers ------------------------------------------------------


def certificate_file(certificate: ServerCertificate) -> int:
    """Give a file descriptor of chain and key, for workers. It has no name.

    A worker that starts later must serve the certificate that the others serve, whatever
    stands in the folder by then.
    """
    key, chain = certificate.key.read_bytes(), certificate.cert.read_bytes()
    return nameless(key.rstrip(b"\n") + b"\n" + chain)


def handed_context(handle: int) -> ssl.SSLContext:
    """Give the server's side of TLS with what ``certificate_file`` made."""
    path = path_of(handle)
    return context_of(path, path)
