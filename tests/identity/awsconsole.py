"""AWS's console as a browser sees it: the sign-in host sends who has a token to their page.

Before the sign-in endpoint of ``e2e.signin_server``, which checks the keys at the embedded
STS: TLS with a certificate of the test's, and a page that says as whom one has come.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from e2e.recording import throwaway_certificate
from e2e.signin_server import SigninServer
from httpserving import QuietHandler, http_server
from identity.gateway import key_digest

NAMES = ("*.signin.aws.amazon.com", "*.console.aws.amazon.com", "console.aws.amazon.com")


@dataclass
class AwsConsole:
    """A console that answers."""

    signin: SigninServer
    port: int
    trusted: str
    """Its certificate's key, as a browser is told to trust it."""
    headers: list[str] = field(default_factory=list)
    """Of all requests, but for the request lines."""
    pages: list[str] = field(default_factory=list)
    """The pages that were asked for."""

    @property
    def rules(self) -> str:
        """Give the rules by which a browser finds it."""
        return ", ".join(f"MAP {name} 127.0.0.1:{self.port}" for name in NAMES)


@contextmanager
def aws_console(signin: SigninServer, folder: Path) -> Iterator[AwsConsole]:
    """Serve it."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            console.headers.append(str(self.headers))
            parts = urlsplit(self.path)
            if ".signin." in self.headers["Host"] and parts.path == "/federation":
                page = signin.login(self.headers["Host"], parse_qs(parts.query))
                self.send_response(302 if page else 403)
                if page:
                    self.send_header("Location", page)
                self.end_headers()
                return
            console.pages.append(f"https://{self.headers['Host']}{self.path}")
            arn = signin.landed[-1][1] if signin.landed else "nobody"
            page = f"<!DOCTYPE html><title>console</title><p>You are {arn}"
            self.answer(200, page, "text/html; charset=utf-8")

    context, certificate = throwaway_certificate(folder, NAMES)
    with http_server(Handler, context) as url:
        trusted = base64.b64encode(key_digest(certificate)).decode()
        console = AwsConsole(signin, urlsplit(url).port or 0, trusted)
        yield console
