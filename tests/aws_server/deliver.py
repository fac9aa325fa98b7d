"""Send to the server what was signed for a real AWS host: the test's end of the wire.

``deliver`` writes one request byte for byte as given; ``through`` lets a boto3 client,
with its own endpoints and signers, talk to the server in place of AWS.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Self
from urllib.parse import urlsplit

import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

PIECE = 65536


@dataclass(frozen=True)
class Call:
    """A request as it goes over the wire; without Content-Length it goes in HTTP's chunks."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes = field(default=b"", repr=False)

    def without(self, name: str) -> Self:
        kept = tuple((n, v) for n, v in self.fields if n.lower() != name.lower())
        return replace(self, fields=kept)

    def plus(self, name: str, value: str) -> Self:
        return replace(self, fields=(*self.fields, (name, value)))

    def having(self, name: str, value: str) -> Self:
        return self.without(name).plus(name, value)

    def get(self, name: str) -> str:
        (value,) = [v for n, v in self.fields if n.lower() == name.lower()]
        return value

    def rewritten(self, old: str, new: str) -> Self:
        """Replace a text wherever it stands in the target or in a field."""
        fields = tuple((n, v.replace(old, new)) for n, v in self.fields)
        assert (self.target.replace(old, new), fields) != (self.target, self.fields), "no change"
        return replace(self, target=self.target.replace(old, new), fields=fields)


@dataclass(frozen=True)
class Answered:
    """What came back."""

    status: int
    body: bytes = field(repr=False)
    fields: tuple[tuple[str, str], ...] = field(repr=False)


def deliver(port: int, call: Call) -> Answered:
    """Send one request on a connection of its own; gives the whole answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        send(connection, call)
        response: HTTPResponse = connection.getresponse()
        return Answered(response.status, response.read(), tuple(response.getheaders()))
    finally:
        connection.close()


def send(connection: HTTPConnection, call: Call) -> None:
    """Send one request; half-closes if there is less body than its Content-Length says."""
    names = {name.lower() for name, _ in call.fields}
    connection.putrequest(call.method, call.target, skip_host=True, skip_accept_encoding=True)
    for name, value in call.fields:
        connection.putheader(name, value.encode("utf-8"))
    in_chunks = "transfer-encoding" in names
    if not in_chunks and "content-length" not in names and (call.body or call.method != "GET"):
        connection.putheader("Content-Length", str(len(call.body)))
    connection.endheaders()
    connection.send(_chunked(call.body) if in_chunks else call.body)
    promised = [int(value) for name, value in call.fields if name.lower() == "content-length"]
    if promised and len(call.body) < promised[0]:
        connection.sock.shutdown(socket.SHUT_WR)  # cut off on the way


def _chunked(body: bytes) -> bytes:
    pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
    framed: Iterable[bytes] = (b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"".join([*framed, b"0\r\n\r\n"])


def call_of(prepared: AWSPreparedRequest) -> Call:
    """Give what botocore would send for a request that it has signed."""
    parts = urlsplit(prepared.url)
    target = parts.path or "/"
    target += f"?{parts.query}" if parts.query else ""
    body: Any = prepared.body
    if hasattr(body, "read"):
        body = body.read()
    items: list[tuple[str, Any]] = list(prepared.headers.items())
    fields = [
        (n, v.decode() if isinstance(v, bytes) else str(v))
        for n, v in items
        if n.lower() != "expect"
    ]
    if "host" not in {n.lower() for n, _ in fields}:
        fields.insert(0, ("Host", parts.netloc))
    data = body.encode() if isinstance(body, str) else bytes(body or b"")
    return Call(prepared.method, target, tuple(fields), data)


def through(port: int, client: Any) -> Any:
    """Make a boto3 client send to the server what it signs for AWS; gives the client."""

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        answered = deliver(port, call_of(request))
        raw: Any = urllib3.HTTPResponse(
            io.BytesIO(answered.body),
            headers=dict(answered.fields),
            status=answered.status,
            preload_content=False,
        )
        return AWSResponse(request.url, answered.status, raw.headers, raw)

    client.meta.events.register("before-send", answer)
    return client
