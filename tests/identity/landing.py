"""Where a browser lands after a login: a page that keeps what it was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlsplit

from httpserving import QuietHandler, http_server


class Landing:
    """What came, in order; each the query of a request to ``/callback``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.came: list[dict[str, str]] = []


@contextmanager
def landing() -> Iterator[Landing]:
    """Serve one on loopback."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/callback":
                page.came.append(dict(parse_qsl(parts.query)))
            self.answer(200, "<!DOCTYPE html><title>landed</title><p>landed", "text/html")

    with http_server(Handler) as url:
        page = Landing(f"{url}/callback")
        yield page
