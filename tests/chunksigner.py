"""Signs aws-chunked bodies from the specification, independently of the package.

Source: "Signature calculations for the authorization header: transferring payload in
multiple chunks" and "... including trailing headers", S3 API Reference.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

EMPTY = hashlib.sha256(b"").hexdigest()


def signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


@dataclass
class Chain:
    """A chain of chunk signatures under one key."""

    secret: str
    timestamp: str
    region: str
    previous: str
    """The signature of the head."""
    service: str = "s3"

    @property
    def scope(self) -> str:
        return f"{self.timestamp[:8]}/{self.region}/{self.service}/aws4_request"

    def _sign(self, *lines: str) -> str:
        key = signing_key(self.secret, self.timestamp[:8], self.region, self.service)
        text = "\n".join((lines[0], self.timestamp, self.scope, self.previous, *lines[1:]))
        self.previous = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return self.previous

    def chunk(self, data: bytes) -> bytes:
        digest = hashlib.sha256(data).hexdigest()
        signature = self._sign("AWS4-HMAC-SHA256-PAYLOAD", EMPTY, digest)
        head = f"{len(data):x};chunk-signature={signature}\r\n".encode()
        return head + data + (b"\r\n" if data else b"")

    def trailer(self, fields: Sequence[tuple[str, str]]) -> bytes:
        canonical = "".join(f"{name}:{value}\n" for name, value in sorted(fields))
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = self._sign("AWS4-HMAC-SHA256-TRAILER", digest)
        lines = [f"{name}:{value}\r\n" for name, value in fields]
        return "".join([*lines, f"x-amz-trailer-signature:{signature}\r\n"]).encode()

    def body(self, chunks: Sequence[bytes], trailer: Sequence[tuple[str, str]] = ()) -> bytes:
        """Give a whole body, its last chunk included."""
        out = [self.chunk(data) for data in [*chunks, b""]]
        if trailer:
            out.append(self.trailer(trailer))
        return b"".join([*out, b"\r\n"])
