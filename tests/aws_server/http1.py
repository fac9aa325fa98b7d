"""HTTP/1.1 as this server reads and writes it: strictly, and streaming.

What two readers could understand differently (two lengths, a folded line, a length and
chunks) is a fault, so that no gateway in front of it gets away with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

from aws_server.model import Fault, Head, Request

MAX_LINE = 64 * 1024
PIECE = 65536
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
REASONS = {
    101: "Switching Protocols",
    200: "OK",
    201: "Created",
    204: "No Content",
    206: "Partial Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    411: "Length Required",
    413: "Content Too Large",
    501: "Not Implemented",
}


class Gone(OSError):
    """The other side has closed the connection."""


@dataclass
class Answer:
    """An answer; a body that is no ``bytes`` goes out piece by piece."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    fields: list[tuple[str, str]] = field(default_factory=list)
    length: int | None = None
    """Of an iterable body; without it the body goes out in HTTP's chunks."""
    close: bool = False


def read_head(rfile: IO[bytes]) -> Head | None:
    """Read a request line and its fields. ``None`` if the connection ended before."""
    line = rfile.readline(MAX_LINE)
    if not line:
        return None
    words = line.decode("latin-1").rstrip("\r\n").split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1" or not words[1].startswith("/"):
        raise Fault("bad-request", "the request line")
    fields: list[tuple[str, str]] = []
    while True:
        raw = rfile.readline(MAX_LINE)
        if not raw.endswith(b"\r\n"):
            raise Fault("bad-request", "a header line")
        text = raw[:-2].decode("latin-1")
        if not text:
            return Head(words[0], words[1], tuple(fields))
        name, colon, value = text.partition(":")
        if not colon or _TOKEN.fullmatch(name) is None:
            raise Fault("bad-request", "a header line")
        fields.append((name, value.strip(" \t")))


class Body:
    """The body of one request: ``read`` and ``readline`` give its bytes without HTTP's framing.

    ``begin`` is called before the first byte is read: the place of ``100 Continue``.
    """

    def __init__(
        self, rfile: IO[bytes], head: Head, record: Request, begin: Callable[[], None]
    ) -> None:
        self._rfile, self._record, self._begin = rfile, record, begin
        self._sha = hashlib.sha256()
        self._buffer = b""
        self._begun = False
        lengths, codings = head.values("content-length"), head.values("transfer-encoding")
        if len(lengths) + len(codings) > 1 or codings not in ([], ["chunked"]):
            raise Fault("framing-ambiguous")
        if lengths and re.fullmatch(r"\d{1,18}", lengths[0]) is None:
            raise Fault("framing-ambiguous", "Content-Length is no number")
        self.is_chunked = bool(codings)
        self.length = int(lengths[0]) if lengths else None
        self._pieces = self._in_chunks() if codings else self._in_full(self.length or 0)

    def read(self, size: int) -> bytes:
        """Give up to ``size`` bytes; nothing at the end."""
        self._fill()
        piece, self._buffer = self._buffer[:size], self._buffer[size:]
        return piece

    def readline(self) -> bytes:
        """Give one line with its end; what is left, if no line ends within the body."""
        line = b""
        while not line.endswith(b"\n"):
            self._fill()
            if not self._buffer or len(line) > MAX_LINE:
                break
            cut = self._buffer.find(b"\n") + 1 or len(self._buffer)
            line, self._buffer = line + self._buffer[:cut], self._buffer[cut:]
        return line

    def unread(self, data: bytes) -> None:
        """Put back what was read too far."""
        self._buffer = data + self._buffer

    def close(self) -> None:
        """Note in the record what has come over the wire."""
        self._record.wire_sha256 = self._sha.hexdigest()

    @property
    def untouched(self) -> bool:
        return not self._begun

    def _fill(self) -> None:
        while not self._buffer:
            if not self._begun:
                self._begun = True
                if self.is_chunked or self.length:
                    self._begin()
            piece = next(self._pieces, None)
            if piece is None:
                return
            self._sha.update(piece)
            self._record.wire_bytes += len(piece)
            self._buffer = piece

    def _in_full(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self._rfile.read1(min(left, PIECE))  # type: ignore[attr-defined]
            if not piece:
                raise Fault("body-truncated", f"{left} bytes are missing")
            left -= len(piece)
            yield piece

    def _in_chunks(self) -> Iterator[bytes]:
        while size := self._chunk_size():
            yield from self._in_full(size)
            if self._rfile.readline(3) != b"\r\n":
                raise Fault("bad-request", "no CRLF after an HTTP chunk")
        while (line := self._rfile.readline(MAX_LINE)) != b"\r\n":
            if not line:
                raise Fault("body-truncated", "within HTTP's trailers")

    def _chunk_size(self) -> int:
        line = self._rfile.readline(MAX_LINE)
        if not line:
            raise Fault("body-truncated", "between HTTP chunks")
        size = line.partition(b";")[0].strip()
        if re.fullmatch(rb"[0-9a-fA-F]{1,16}", size) is None:
            raise Fault("bad-request", "no HTTP chunk size")
        return int(size, 16)


def write(wfile: IO[bytes], answer: Answer, *, with_body: bool) -> None:
    """Write an answer; ``with_body`` is false for HEAD."""
    fields = list(answer.fields)
    plain = answer.body if isinstance(answer.body, bytes) else None
    length = len(plain) if plain is not None else answer.length
    named = {name.lower() for name, _ in fields}
    if answer.status not in (101, 204) and "content-length" not in named:
        framing = ("Transfer-Encoding", "chunked") if length is None else None
        fields.append(framing or ("Content-Length", str(length)))
    if answer.close:
        fields.append(("Connection", "close"))
    lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in fields]
    wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    if with_body and answer.status not in (101, 204):
        for piece in [plain] if plain is not None else answer.body:
            if piece:
                _write_piece(wfile, piece, in_chunks=length is None)  # type: ignore[arg-type]
        if length is None:
            wfile.write(b"0\r\n\r\n")
    wfile.flush()


def _write_piece(wfile: IO[bytes], piece: bytes, *, in_chunks: bool) -> None:
    wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if in_chunks else piece)
    wfile.flush()
