"""Where the browser comes back to after a login: a page on 127.0.0.1, once.

The gateway sends the browser here with a code, or with why not. The code is worth nothing
to others: it is exchanged with a verifier that never leaves this process. Whatever else
comes (another path, another name in Host, a second time) is answered 404.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from threading import Event, Lock, Thread
from urllib.parse import parse_qs, urlsplit

PATH = "/callback"
ASKING_S = 10.0
"""How long a connection may take to ask: browsers open some that they never use."""
ANSWERING_S = 90.0
WRITING_S = 2.0
MAX_QUERY = 4096


@dataclass(slots=True)
class Visit:
    """The browser that came back, and what it is shown."""

    query: Mapping[str, str] = field(repr=False)
    _page: bytes = b""
    _told: Event = field(default_factory=Event)
    _written: Event = field(default_factory=Event)

    def show(self, title: str, text: str) -> None:
        """Show a page; it is on its way to the browser then."""
        self._page = page(title, text)
        self._told.set()
        self._written.wait(WRITING_S)

    def answer(self, write: Callable[[bytes], None]) -> None:
        """Wait for what is shown, and write it."""
        self._told.wait(ANSWERING_S)
        try:
            write(self._page or page("Not logged in", "awsgate has ended: see its terminal."))
        finally:
            self._written.set()


class Loopback:
    """Waits for one browser."""

    def __init__(self) -> None:
        self._visits: Queue[Visit] = Queue()
        self._server = _server(self._visits)

    @property
    def port(self) -> int:
        """Give the port that it listens on."""
        return self._server.server_port

    @contextmanager
    def open(self) -> Iterator[None]:
        """Listen."""
        thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def wait(self, seconds: float) -> Visit | None:
        """Give the browser that came back; None: none did in that time."""
        deadline = time.monotonic() + seconds
        # In short steps: a signal must be able to end this.
        while time.monotonic() < deadline:
            try:
                return self._visits.get(timeout=0.2)
            except Empty:
                continue
        return None


def _server(visits: Queue[Visit]) -> ThreadingHTTPServer:
    taken = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = ASKING_S

        def do_GET(self) -> None:
            self.close_connection = True
            parts = urlsplit(self.path)
            host = self.headers.get("Host", "")
            port = server.server_port
            ours = parts.path == PATH and host in (f"127.0.0.1:{port}", f"localhost:{port}")
            if not ours or len(parts.query) > MAX_QUERY or not taken.acquire(blocking=False):
                self._say(404, page("Nothing here", "This page belongs to a login of awsgate."))
                return
            visit = Visit({name: values[0] for name, values in parse_qs(parts.query).items()})
            visits.put(visit)
            visit.answer(lambda content: self._say(200, content))

        def _say(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header(
                "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"
            )
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing: a code is in the path."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing of a browser that went away."""

    server = Server(("127.0.0.1", 0), Handler)
    return server


def page(title: str, text: str) -> bytes:
    """Give a page. Both are text, not HTML."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)} - awsgate</title>
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; padding: 0 1rem }}
h1 {{ font-size: 1.4rem; font-weight: 600 }}
</style></head>
<body><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p></body></html>
""".encode()  # noqa: E501 - a line of CSS
