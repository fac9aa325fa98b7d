"""Signs aws-chunked bodies and event streams, independently of the package.

Chunks from the specification: "Signature calculations for the authorization header:
transferring payload in multiple chunks" and "... including trailing headers", S3 API
Reference. Frames as the SDK for Go makes them: ``aws/test_eventframes`` has some of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aws_server.events import message

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


@dataclass
class EventChain:
    """Signs frames of an event stream, each after the one before."""

    secret: str
    previous: str
    """The signature of the head."""

    def frame(self, milliseconds: int, payload: bytes, *, date_first: bool = True) -> bytes:
        stamp = datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        date = b"\x05:date\x08" + struct.pack(">q", milliseconds)
        lines = (
            "AWS4-HMAC-SHA256-PAYLOAD",
            stamp,
            f"{stamp[:8]}/us-east-1/transcribe/aws4_request",
            self.previous,
            hashlib.sha256(date).hexdigest(),
            hashlib.sha256(payload).hexdigest(),
        )
        key = signing_key(self.secret, stamp[:8], "us-east-1", "transcribe")
        signed = hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).digest()
        self.previous = signed.hex()
        signature = b"\x10:chunk-signature\x06" + struct.pack(">H", 32) + signed
        return message(date + signature if date_first else signature + date, payload)
