"""What the core says by itself, before there is a request that the gate could answer."""

from __future__ import annotations

TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"x-awsgate-code: unsupported\r\nContent-Length: 0\r\n\r\n"
)
BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"x-awsgate-code: unsupported\r\nContent-Length: 46\r\n\r\n"
    b"awsgate: unsupported: this is no HTTP request\n"
)
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
