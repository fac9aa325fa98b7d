"""Patched functions of mitmproxy that had no bound; ``patches`` puts them in place.

None of this needs credentials to be abused: a ClientHello in records of one byte, a
chunk header without end, requests sent ahead while an answer is awaited.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

from h11 import _readers
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import _http1 as h1
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.tls import TLSLayer
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.tls import ClientHello

from awsgate.addon.patched import Commands, Method
from awsgate.addon.speaker import as_patch

MAX_HELLO_BYTES = 32 * 1024
"""Real ones are under 2 KiB; post-quantum key shares add one or two more."""
MAX_HELLO_RECORDS = 8
MAX_UNREAD_BYTES = 128 * 1024
"""Of a body: what was received and is no data, such as a chunk header without end."""
MAX_INTERIM = 16
MAX_ANSWER_HEAD_BYTES = 256 * 1024
"""Of a server; S3 allows 2 KiB of metadata, and other heads are smaller."""
MAX_AHEAD_BYTES = 1024 * 1024
"""Of the next requests, sent before the answer to this one."""

MAX_CODING_CHARS = 256
"""Of a transfer-encoding; the longest that is known has 16."""

Parse = Callable[[bytes], ClientHello | None]


def bound_client_hello(stock: Parse) -> Parse:
    """Give up on a ClientHello that is too long, or in too many pieces.

    The stock one reads it anew with every packet, from its first byte.
    """

    def parse_client_hello(data: bytes) -> ClientHello | None:
        if _records_at_start(data) > MAX_HELLO_RECORDS:
            found = stock(bytes(data[: _end_of_records(data, MAX_HELLO_RECORDS)]))
        else:
            found = stock(bytes(data[:MAX_HELLO_BYTES]))
            if len(data) < MAX_HELLO_BYTES:
                return found
        if found is None:
            raise ValueError("ClientHello is too long, or in too many records")
        return found

    return as_patch(parse_client_hello)


def _records_at_start(data: bytes) -> int:
    """Count the whole records at the start, up to one over the bound."""
    count = offset = 0
    while count <= MAX_HELLO_RECORDS and len(data) >= offset + 5:
        offset += 5 + int(struct.unpack_from("!H", data, offset + 3)[0])
        count += len(data) >= offset
    return count


def _end_of_records(data: bytes, count: int) -> int:
    offset = 0
    for _ in range(count):
        offset += 5 + int(struct.unpack_from("!H", data, offset + 3)[0])
    return offset


def bound_unread_body(stock: Method) -> Method:
    """Close on a body whose framing never turns into data."""

    def read_body(self: h1.Http1Connection, event: events.Event) -> Commands:
        try:
            yield from stock(self, event)
        except NotImplementedError:  # trailers: the stock one crashes, and stays open
            yield from _close(self, "trailers are not supported")
            return
        if len(self.buf) > MAX_UNREAD_BYTES and self.state == self.read_body:
            yield from _close(self, "framing of a body is over its bound")

    return as_patch(read_body)


def bound_coding(stock: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Read no transfer-encoding that is far too long.

    The stock one takes a minute for one of 100 KB of blanks, and whoever else waits with it.
    """

    def parse_transfer_encoding(value: str | bytes) -> Any:
        if len(value) > MAX_CODING_CHARS:
            raise ValueError("unknown transfer-encoding header")
        return stock(value)

    return as_patch(parse_transfer_encoding)


# h11's own, but for the blanks at the end of an extension, which two of its parts take, and
# for a CR in it, where another server could end the line.
_CHUNK_HEADER = re.compile(
    rb"(?P<chunk_size>[0-9A-Fa-f]{1,20})(?:(?P<chunk_ext>;[^\r\n]*)|[ \t]*)\r\n"
)


def bound_chunk_header(stock: Callable[..., Any]) -> Callable[..., Any]:
    """Read the line before a chunk once: h11 looks at blanks in it anew from each of them.

    RFC 9112, 2.2: a bare CR is invalid, or a space; h11 takes it for neither.
    """

    def validate(regex: Any, data: Any, *words: Any) -> Any:
        return stock(_CHUNK_HEADER if regex is _readers.chunk_header_re else regex, data, *words)

    return as_patch(validate)


def skip_interim(stock: Method) -> Method:
    """Read over what a server says before its answer, and bound the answer's head.

    The stock one takes a 100 or a 103 for the answer, and the answer for that to the next
    request. A 101 is an answer.
    """

    def read_headers(self: h1.Http1Client, event: events.Event) -> Commands:
        if isinstance(event, events.DataReceived) and self.request:
            for _ in range(MAX_INTERIM):
                end = _interim_end(bytes(self.buf))
                if end == 0:
                    break
                self.buf.maybe_extract_at_most(end)
            else:
                yield from _close(self, "too many interim answers")
                return
            if len(self.buf) > MAX_ANSWER_HEAD_BYTES and not _HEAD_END.search(bytes(self.buf)):
                yield from _close(self, "the head of an answer is over its bound")
                return
        yield from stock(self, event)

    return as_patch(read_headers)


def _interim_end(data: bytes) -> int:
    """Give the length of a whole interim answer at the start; 0: there is none."""
    if _INTERIM.match(data) is None:
        return 0
    found = _HEAD_END.search(data)
    return found.end() if found is not None else 0


_INTERIM = re.compile(rb"(?:\r?\n)*HTTP/1\.[01] 1(?!01)[0-9][0-9](?![0-9])")
_HEAD_END = re.compile(rb"\n\r?\n")


def bound_sent_ahead(stock: Method) -> Method:
    """Close on a peer that sends on and on while the other side is not done."""

    def wait(self: h1.Http1Connection, event: events.Event) -> Commands:
        if isinstance(event, events.DataReceived) and len(self.buf) > MAX_AHEAD_BYTES:
            yield from _close(self, "too much was sent ahead")
            return
        yield from stock(self, event)

    return as_patch(wait)


def close_after_failure(stock: Method) -> Method:
    """Close where TLS never began: stock mitmproxy crashes on what still comes, and holds on."""

    def receive_data(self: TLSLayer, data: bytes) -> Commands:
        if self.tls is None:
            yield commands.CloseConnection(self.conn)
            return
        yield from stock(self, data)

    return as_patch(receive_data)


def close_for_certain(stock: Callable[..., None]) -> Callable[..., None]:
    """Close the socket as well.

    A handler that is cancelled while it waits for its turn ends without doing so, and the
    connection stays open for good.
    """

    def close_connection(
        self: ConnectionHandler, connection: Connection, half_close: bool = False
    ) -> None:
        stock(self, connection, half_close)
        held = self.transports.get(connection)
        if not half_close and held is not None and held.writer is not None:
            held.writer.close()  # what was written before is sent first

    return as_patch(close_connection)


def _close(conn: Any, why: str) -> Commands:
    conn.buf.maybe_extract_at_most(len(conn.buf))  # given back at once
    conn.state = conn.done
    yield commands.CloseConnection(conn.conn)
    error = conn.ReceiveProtocolError
    yield ReceiveHttp(error(conn.stream_id, f"awsgate: {why}", code=error.code))
