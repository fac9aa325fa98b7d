"""Where the browser comes back to after a login: a page on 127.0.0.1, once.

The gateway sends the browser here with a code, or with why not. The code is worth nothing
to others: it is exchanged with a verifier that never leaves this process. Whatever else
comes (another path, another name in Host, neither a code nor an error, a second time) is
answered 404, and waited on.
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
        with self._server.serving():
            yield

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


class LocalServer(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1, and logs nothing."""

    def __init__(self, handler: type[LocalHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer, in a thread of its own."""
        thread = Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            self.server_close()
            thread.join()

    def is_named(self, host: str) -> bool:
        """True for a Host of this server: another name could lead here from any web page."""
        return host in (f"127.0.0.1:{self.server_port}", f"localhost:{self.server_port}")

    def handle_error(self, *_: object) -> None:
        """Say nothing of a browser that went away."""


class LocalHandler(BaseHTTPRequestHandler):
    """Answers one request of a connection, with what nobody keeps."""

    protocol_version = "HTTP/1.1"
    timeout = ASKING_S

    def say(self, status: int, content: bytes, location: str = "") -> None:
        """Answer with a page, or send the browser on."""
        self.close_connection = True
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing: a secret is in the path."""


def _server(visits: Queue[Visit]) -> LocalServer:
    taken = Lock()

    class Handler(LocalHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            ours = parts.path == PATH and server.is_named(self.headers.get("Host", ""))
            query = parse_qs(parts.query) if ours and len(parts.query) <= MAX_QUERY else {}
            # The gateway sends one of the two: what brings neither is not of the login, and
            # must not use up its one visit.
            says = "code" in query or "error" in query
            if not says or not taken.acquire(blocking=False):
                self.say(404, page("Nothing here", "This page belongs to a login of awsgate."))
                return
            visit = Visit({name: values[0] for name, values in query.items()})
            visits.put(visit)
            visit.answer(lambda content: self.say(200, content))

    server = LocalServer(Handler)
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
