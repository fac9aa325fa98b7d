"""An echo over WebSocket (RFC 6455), for sockets whose handshake was verified.

Frames go back as they came (opcode, FIN, payload); a ping gets its pong; a close is
answered and ends it. No extension is negotiated.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import time
from typing import IO

from aws_server.http1 import Answer
from aws_server.model import Fault, Head, Request

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE, _PING, _PONG = 8, 9, 10
MAX_FRAME = 16 * 1024 * 1024


def is_upgrade(head: Head) -> bool:
    """True if the request asks for a WebSocket."""
    return (head.get("upgrade") or "").lower() == "websocket"


def handshake(head: Head) -> Answer:
    """Give the 101; raises ``Fault``."""
    key, connection = head.get("sec-websocket-key"), (head.get("connection") or "").lower()
    if head.method != "GET" or key is None or "upgrade" not in connection:
        raise Fault("websocket-malformed", "no handshake")
    if head.get("sec-websocket-version") != "13":
        raise Fault("websocket-malformed", "another version than 13")
    accept = base64.b64encode(hashlib.sha1((key + _MAGIC).encode()).digest())  # noqa: S324 - RFC 6455
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept.decode()),
    ]
    if offered := head.get("sec-websocket-protocol"):
        fields.append(("Sec-WebSocket-Protocol", offered.split(",")[0].strip()))
    return Answer(101, fields=fields)


def echo(rfile: IO[bytes], wfile: IO[bytes], record: Request) -> None:
    """Send every frame back until the other side closes."""
    while True:
        frame = _read(rfile)
        if frame is None:
            return
        first, payload = frame
        record.arrivals.append(time.time())
        opcode = first & 0x0F
        if opcode == _PONG:
            continue
        if opcode == _PING:
            first = 0x80 | _PONG
        elif opcode != _CLOSE:
            record.body_bytes += len(payload)
        wfile.write(_frame(first, payload))
        wfile.flush()
        if opcode == _CLOSE:
            return


def _read(rfile: IO[bytes]) -> tuple[int, bytes] | None:
    start = rfile.read(2)
    if len(start) < 2:
        return None
    first, second = start
    # "a server MUST close the connection upon receiving a frame that is not masked"
    if first & 0x70 or not second & 0x80:
        return None
    size = second & 0x7F
    if size == 126:
        size = struct.unpack("!H", rfile.read(2))[0]
    elif size == 127:
        size = struct.unpack("!Q", rfile.read(8))[0]
    if size > MAX_FRAME:
        return None
    mask, data = rfile.read(4), rfile.read(size)
    long_mask = (mask * (size // 4 + 1))[:size]
    unmasked = int.from_bytes(data, "big") ^ int.from_bytes(long_mask, "big")
    return first, unmasked.to_bytes(size, "big")


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 126, size)
    else:
        head = struct.pack("!BBQ", first, 127, size)
    return head + payload
