"""A tunnel by the gateway ahead: a connection to it that has been answered to CONNECT.

What ``addon.chained`` does with mitmproxy's layers, for the core of our own.
"""

from __future__ import annotations

import asyncio
import logging

from mitmproxy import connection

from awsgate.address import joined
from awsgate.nextgateway import NextGateway
from awsgate.server.core.head import AnswerHead
from awsgate.server.core.pool import Asker, Pool
from awsgate.server.core.upstream import Upstream

log = logging.getLogger("awsgate.server")

TIMEOUT_S = 30.0
_OK = range(200, 300)


class _Asked:
    """Waits for the answer to CONNECT. See ``upstream.Taker``."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.answer: asyncio.Future[AnswerHead] = asyncio.get_running_loop().create_future()

    def on_answer(self, head: AnswerHead) -> None:
        # What follows is the tunnel's, whose taker comes in a moment.
        self._upstream.pause_reading()
        if not self.answer.done():
            self.answer.set_result(head)

    def on_failure(self, message: str, *, silent: bool) -> None:  # noqa: ARG002 - as any taker
        self._end(message)

    def on_end(self) -> None:
        # A refusal, and whole: the connection went back to the pool, where a request of
        # somebody else's could take it before it is closed.
        self._upstream.abort()
        self._end("no tunnel")

    def on_crash(self) -> None:
        self._end("failed")

    def on_sent_eof(self) -> None:
        self._end("server closed connection")

    def _end(self, why: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(OSError(why))

    def on_body(self, piece: bytes) -> None: ...
    def on_full(self) -> None: ...
    def on_room(self) -> None: ...
    def on_pause(self) -> None: ...


async def open_through(
    pool: Pool,
    asker: Asker,
    client: connection.Client,
    ahead: NextGateway,
    where: tuple[str, int],
    authorization: bytes,
) -> Upstream:
    """Give a connection that leads to ``where``. Raises ``OSError`` and ``NotApproved``."""
    key = asker.ask_for(ahead.scheme, ahead.host, ahead.port)
    upstream = await pool.dial(key, client)
    asked = _Asked(upstream)
    authority = joined(*where).encode("ascii")
    lines = [b"CONNECT %s HTTP/1.1" % authority, b"Host: " + authority]
    if authorization:
        lines.append(b"Proxy-Authorization: " + authorization)
    try:
        upstream.take(asked, b"CONNECT")
        upstream.send(b"\r\n".join(lines) + b"\r\n\r\n")
        upstream.sent_all()
        async with asyncio.timeout(TIMEOUT_S):
            head = await asked.answer
    except BaseException as exc:
        upstream.abort()
        if isinstance(exc, TimeoutError):
            raise OSError("no answer to CONNECT") from None
        raise
    if head.status in _OK:
        return upstream
    upstream.abort()
    log.warning("the gateway ahead refused a tunnel to %s: %d", where[0], head.status)
    raise OSError("the gateway ahead refused the tunnel")
