"""An upstream that answers as a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

from awsgate.demo.processes import GatewayProcess
from e2e.recording import ASSUMED, BASE_KEYS, http_answer

SECRET, TOKEN = b"made-up-too", b"made-up-token"
"""Of the role: what STS answers the gateway."""

Answer = Callable[[bytes, socket.socket], bytes | None]
"""Gets the head of a request; gives the answer, or None if it has sent one itself."""


def say_ok(_head: bytes, _sock: socket.socket) -> bytes:
    return http_answer(b"ok")


def say_assumed(_body: bytes, _sock: socket.socket) -> bytes:
    return http_answer(ASSUMED)


@dataclass
class Scripted:
    """The server. STS's AssumeRole for the gateway itself it answers by itself."""

    answer: Answer = say_ok
    sts: Answer = say_assumed
    """Gets the body of a request to STS."""
    before_sts: Callable[[], object] = lambda: None
    heads: list[bytes] = field(default_factory=list)
    """Of the requests of clients, in the order in which they came."""
    url: str = ""

    def start(self) -> ThreadingTCPServer:
        upstream = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    while upstream._one(self.request):
                        pass

        class Server(ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 1024

        server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def _one(self, sock: socket.socket) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        while length is not None and len(body) < int(length[1]):
            more = sock.recv(65536)
            if not more:
                return False
            body += more
        if BASE_KEYS["AWS_ACCESS_KEY_ID"].encode() in head:
            self.before_sts()
            said = self.sts(body, sock)
            if said:
                sock.sendall(said)
            return True
        self.heads.append(head)
        out = self.answer(head, sock)
        if out:
            sock.sendall(out)
        return True


@contextmanager
def scripted(folder: Path, policy: Path, script: Scripted) -> Iterator[GatewayProcess]:
    """Run the upstream, and a gateway in front of it."""
    server = script.start()
    gateway = GatewayProcess(folder, policy=policy, keys=BASE_KEYS, upstream=script.url)
    try:
        yield gateway
    finally:
        gateway.stop()
        server.shutdown()
        server.server_close()
