"""The load generator: raw sockets, and requests that are signed before the clock starts."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

HOST = "bench.s3.us-east-1.amazonaws.com"
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


@lru_cache(maxsize=8)
def trusting(ca: Path) -> ssl.SSLContext:
    """Give a context that trusts this CA. Its tickets are not used: each handshake is whole."""
    return ssl.create_default_context(cafile=str(ca))


@dataclass(frozen=True)
class Keys:
    """Gateway credentials."""

    access_key_id: str
    secret_access_key: str
    session_token: str

    def sign(
        self, method: str, target: str, *, host: str = HOST, payload: str = "", length: int = 0
    ) -> bytes:
        """Give a request head, signed by botocore as boto3 does it."""
        request = AWSRequest(method, f"https://{host}{target}")
        request.headers["Host"] = host
        request.headers["User-Agent"] = (
            "Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux lang/python"
        )
        if method == "PUT":
            request.headers["Content-Length"] = str(length)
        own = Credentials(self.access_key_id, self.secret_access_key, self.session_token)
        signer = S3SigV4Auth(own, "s3", "us-east-1")
        if payload:
            signer.payload = lambda _: payload
        signer.add_auth(request)
        if payload:
            request.headers.replace_header("X-Amz-Content-SHA256", payload)
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode()

    def gets(self, count: int, *, host: str = HOST) -> list[bytes]:
        """Give the heads of GETs for ``/0``, ``/1`` and so on."""
        return [self.sign("GET", f"/{number}", host=host) for number in range(count)]


@dataclass(frozen=True)
class Way:
    """How to get to AWS: through a proxy, or direct."""

    port: int
    ca: Path
    proxy: bool = True

    def connect(self, host: str = HOST) -> Wire:
        """Open a connection with TLS in it."""
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.proxy:
            sock.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
            answer = sock.recv(65536)
            if b" 200 " not in answer[:20]:
                raise SystemExit(f"CONNECT was refused: {answer[:100]!r}")
        return Wire(trusting(self.ca).wrap_socket(sock, server_hostname=host))


class Wire:
    """An open connection."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        self.sock.close()

    def ask(self, request: bytes) -> None:
        """Send a request, and read its answer to the end."""
        self.sock.sendall(request)
        data = self.sock.recv(65536)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        if not data.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"refused: {data[:2000]!r}")
        found = _LENGTH.search(data, 0, end + 2)
        left = (int(found[1]) if found else 0) - (len(data) - end - 4)
        while left > 0:
            left -= len(self._more())

    def head(self) -> bytes:
        """Read the head of an answer; give what came after it."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        if not data.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"refused: {data[:2000]!r}")
        return data.partition(b"\r\n\r\n")[2]

    def _more(self) -> bytes:
        data = self.sock.recv(1 << 20)
        if not data:
            raise SystemExit("the connection was closed before the answer was whole")
        return data


def send_all(way: Way, requests: Sequence[bytes], *, keep: bool) -> list[float]:
    """Send the requests one after the other; give the seconds of each.

    Not ``keep``: each on a connection of its own, whose opening counts.
    """
    took = []
    wire: Wire | None = None
    for request in requests:
        began = time.perf_counter()
        if wire is None:
            wire = way.connect()
        wire.ask(request)
        if not keep:
            wire.sock.close()
            wire = None
        took.append(time.perf_counter() - began)
    if wire is not None:
        wire.sock.close()
    return took
