"""Bodies of HTTP/1.1 messages: where one ends, and what of it is content. Pure.

A reader takes the bytes as they come, in any pieces, and gives content and rest. Once it
is ``done``, all that follows is rest: the next message.
"""

from __future__ import annotations

import re
from typing import Protocol

from awsgate.server.core.head import CHUNKED, TO_THE_END

MAX_SIZE_LINE_BYTES = 4096
MAX_EXTENSION_BYTES = 64 * 1024
"""Of all chunks of a body. AWS's clients send none."""
MAX_TRAILER_BYTES = 16 * 1024

# An extension has the blanks at its end: two patterns that both take them would share them out
# in every way before they give up.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:(;[\t -~\x80-\xff]*)|[ \t]*)")


class Broken(Exception):
    """The body breaks the rules of its framing. The text quotes nothing of it."""


class Reader(Protocol):
    """Takes a body apart."""

    done: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what came; give its content, and what is after the body."""


class Length:
    """A body whose length was announced."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left, self.done = length, length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See ``Reader``."""
        size = len(data)
        if size < self._left:
            self._left -= size
            return data, b""
        left, self._left, self.done = self._left, 0, True
        return (data, b"") if size == left else (data[:left], data[left:])


class ToTheEnd:
    """A body that ends with its connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See ``Reader``."""
        return data, b""


class Chunks:
    """A chunked body. Trailers are an error, or are dropped.

    Raises ``Broken``. After that nothing of it may be used.
    """

    __slots__ = ("_drop", "_extensions", "_held", "_left", "_step", "_trailers", "done")

    def __init__(self, *, drop_trailers: bool) -> None:
        self.done = False
        self._drop = drop_trailers
        self._held = b""  # of a line, or of the CRLF after a chunk
        self._left = 0
        self._step = self._size
        self._extensions = self._trailers = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See ``Reader``."""
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at = 0
        while not self.done:
            if self._left:
                piece = data[at : at + self._left]
                if not piece:
                    return b"".join(pieces), b""
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._step = self._after
                continue
            next_at = self._step(data, at)
            if next_at < 0:
                self._held = data[at:]
                return b"".join(pieces), b""
            at = next_at
        return b"".join(pieces), data[at:]

    def _line(self, data: bytes, at: int, bound: int) -> bytes | None:
        end = data.find(b"\r\n", at, at + bound + 2)
        if end >= 0:
            return data[at:end]
        if len(data) - at > bound or b"\n" in data[at : at + bound]:
            raise Broken("a line of the framing that does not end")
        return None

    def _size(self, data: bytes, at: int) -> int:
        """Read the line before a chunk; give where it ends, or -1: more is needed."""
        line = self._line(data, at, MAX_SIZE_LINE_BYTES)
        if line is None:
            return -1
        matched = _SIZE_LINE.fullmatch(line)
        if matched is None:
            raise Broken("a chunk without a size")
        self._extensions += len(matched[2] or b"")
        if self._extensions > MAX_EXTENSION_BYTES:
            raise Broken("more chunk extensions than are read")
        self._left = int(matched[1], 16)
        if not self._left:
            self._step = self._trailer
        return at + len(line) + 2

    def _after(self, data: bytes, at: int) -> int:
        """Read what parts two chunks."""
        if not b"\r\n".startswith(data[at : at + 2]):
            raise Broken("a chunk that is longer than its size")
        if len(data) < at + 2:
            return -1
        self._step = self._size
        return at + 2

    def _trailer(self, data: bytes, at: int) -> int:
        """Read a line after the last chunk; an empty one is the end."""
        line = self._line(data, at, MAX_TRAILER_BYTES)
        if line is None:
            return -1
        if not line:
            self.done = True
        elif not self._drop:
            raise Broken("trailers are not supported")
        self._trailers += len(line)
        if self._trailers > MAX_TRAILER_BYTES:
            raise Broken("more trailers than are read")
        return at + len(line) + 2


def reader_of(length: int, *, drop_trailers: bool = False) -> Reader:
    """Give the reader of a body of this length, as a head has it."""
    if length == CHUNKED:
        return Chunks(drop_trailers=drop_trailers)
    return ToTheEnd() if length == TO_THE_END else Length(length)


def chunk(data: bytes) -> bytes:
    """Give a piece of content as a chunk; nothing for nothing, which would be the end."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK = b"0\r\n\r\n"
