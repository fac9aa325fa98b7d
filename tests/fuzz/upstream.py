"""AWS as the fuzzer has it: reads strictly, keeps every request, says which one it answers.

On one port it is STS, which gives out ``strictaws.KEYS``, and everything else. What arrives
is kept in the order in which it was complete; what did not parse, and what broke off, too.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Lock, Thread

from fuzz.reading import NoReadingError, Read, Unfinished, read_strictly
from strictaws import assumed_answer

MARK = re.compile(rb"z([0-9]+)-[0-9]+")
"""The number of the case; then that of the request in it."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as it arrived, or what is wrong with the bytes that did."""

    mark: str
    request: Read | None = field(repr=False)
    whole: bool = True
    fault: str = ""
    """The bytes have no strict reading."""
    raw: bytes = field(default=b"", repr=False)


def mark_in(data: bytes) -> str:
    found = MARK.search(data)
    return found[0].decode() if found else ""


class Upstream:
    """The server, on a port of its own, in threads of this process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._arrived: list[Arrival] = []
        upstream = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                upstream._serve(self.request)

        class Server(ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self) -> list[Arrival]:
        """Give what arrived since the last time."""
        with self._lock:
            taken, self._arrived = self._arrived, []
        return taken

    def _keep(self, arrival: Arrival) -> None:
        with self._lock:
            self._arrived.append(arrival)

    def _serve(self, sock) -> None:  # type: ignore[no-untyped-def]
        data = b""
        with suppress(OSError):
            while more := sock.recv(65536):
                data += more
                try:
                    data = self._requests(sock, data)
                except NoReadingError as exc:
                    self._keep(Arrival(mark_in(data), None, fault=str(exc), raw=data))
                    return
        if data:
            self._keep(_broken_off(data))

    def _requests(self, sock, data: bytes) -> bytes:  # type: ignore[no-untyped-def]
        while data:
            try:
                request = read_strictly(data)
            except Unfinished:
                return data
            if request.body.startswith(b"Action=AssumeRole&"):
                sock.sendall(assumed_answer())
            else:
                mark = mark_in(request.target)
                self._keep(Arrival(mark, request))
                sock.sendall(answer_to(request, mark))
            data = data[request.end :]
        return data


def _broken_off(data: bytes) -> Arrival:
    try:
        read_strictly(data)
    except Unfinished as exc:
        if exc.head is not None:
            return Arrival(mark_in(exc.head.target), exc.head, whole=False, raw=data)
    except NoReadingError:
        pass
    return Arrival(mark_in(data), None, fault="a head that breaks off", raw=data)


def answer_to(request: Read, mark: str) -> bytes:
    """Say which request it was, where answers to HEAD can say it too."""
    body = b"" if request.method == b"HEAD" else b"ok"
    head = f"HTTP/1.1 200 OK\r\nETag: <{mark}>\r\nContent-Length: 2\r\n\r\n"
    return head.encode() + body
