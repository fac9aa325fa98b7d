"""Where a browser lands after a login: a page that keeps what it was asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


class Landing:
    """What came, in order; each the query of a request to ``/callback``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.came: list[dict[str, str]] = []


@contextmanager
def landing() -> Iterator[Landing]:
    """Serve one on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/callback":
                page.came.append(dict(parse_qsl(parts.query)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<!DOCTYPE html><title>landed</title><p>landed")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    page = Landing(f"http://127.0.0.1:{server.server_port}/callback")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield page
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
