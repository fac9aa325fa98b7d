"""Bodies in aws-chunked: how a client makes one, what is done to it, and how AWS reads it.

Below the framing of HTTP, which stays as it is to be: these edits reach the reader of the
signed chunks. ``AT`` is a part of the whole, from 0 to 1.

    aws swap AT          a chunk and the one after it change places
    aws drop AT          a chunk is left out
    aws twice AT         a chunk is there twice
    aws size AT TEXT     the size of a chunk is written as told; {x} stands for it
    aws more AT TEXT     follows the size line's signature
    aws text AT CUT TEXT bytes are taken out of the whole and put in
    aws end TEXT         follows the whole
    aws cut AT           the rest is missing
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from awsgate.aws.sigv4 import SigningKeys
from chunksigner import Chain
from fuzz.reading import NoReadingError, Read

Edit = list[Any]
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
MODES = (SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER)
CHECKSUM = "x-amz-checksum-crc32"

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
# AWS's own example ends the field with the LF that is signed, and minio-go does too.
_TRAILER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~]*)\n?")
_AUTHORIZATION = re.compile(rb"/([a-z0-9-]+)/s3/aws4_request.*Signature=([0-9a-f]{64})")


def headers(mode: str, content: bytes) -> list[tuple[str, str]]:
    """Give what a request with such a body says of it."""
    said = [
        ("Content-Encoding", "aws-chunked"),
        ("X-Amz-Decoded-Content-Length", str(len(content))),
    ]
    return said if mode == SIGNED else [*said, ("X-Amz-Trailer", CHECKSUM)]


def encoded(mode: str, parts: Sequence[bytes], edits: Sequence[Edit], chain: Chain) -> bytes:
    """Give a body of as many chunks as there are parts, after its edits."""
    bare = mode == UNSIGNED_TRAILER
    chunks = [b"%x\r\n%b\r\n" % (len(p), p) if bare else chain.chunk(p) for p in parts]
    last = b"0\r\n" if bare else chain.chunk(b"")
    if mode != SIGNED:
        sum_ = base64.b64encode(zlib.crc32(b"".join(parts)).to_bytes(4, "big")).decode()
        trailer = f"{CHECKSUM}:{sum_}\r\n".encode()
        last += trailer if bare else chain.trailer([(CHECKSUM, sum_)])
    mine = [words[1:] for words in edits if words[0] == "aws"]
    for kind, *words in mine:
        _edit_chunks(chunks, kind, words)
    body = b"".join([*chunks, last, b"\r\n"])
    for kind, *words in mine:
        if kind == "text":
            at = int(words[0] * (len(body) + 1))
            body = body[:at] + words[2].encode("latin-1") + body[at + words[1] :]
        elif kind == "end":
            body += words[0].encode("latin-1")
        elif kind == "cut":
            body = body[: int(words[0] * len(body))]
    return body


def _edit_chunks(chunks: list[bytes], kind: str, words: Edit) -> None:
    if not chunks or kind in ("text", "end", "cut"):
        return
    at = min(len(chunks) - 1, int(words[0] * len(chunks)))
    line, _, rest = chunks[at].partition(b"\r\n")
    size, semicolon, signature = line.partition(b";")
    if kind == "swap":
        chunks[at : at + 2] = chunks[at : at + 2][::-1]
    elif kind == "drop":
        del chunks[at]
    elif kind == "twice":
        chunks.insert(at, chunks[at])
    elif kind == "size":
        size = words[1].replace("{x}", size.decode()).encode("latin-1")
        chunks[at] = size + semicolon + signature + b"\r\n" + rest
    else:
        chunks[at] = line + words[1].encode("latin-1") + b"\r\n" + rest


@dataclass(frozen=True, slots=True)
class Opened:
    """A body as AWS reads it."""

    chunks: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    """Data and signature; the last is empty."""
    trailers: tuple[tuple[str, str], ...]
    seal: str = field(repr=False)
    """The signature of the trailers."""

    @property
    def content(self) -> bytes:
        return b"".join(data for data, _ in self.chunks)

    def is_signed_by(self, keys: SigningKeys, request: Read) -> bool:
        """True if each chunk, and the trailers, are; the chain starts at the head."""
        said = b"".join(request.values(b"authorization"))
        matched = _AUTHORIZATION.search(said)
        if matched is None:
            return False
        stamp = request.values(b"x-amz-date")[0].decode()
        chain = Chain(keys.secret_access_key, stamp, matched[1].decode(), matched[2].decode())
        for data, signature in self.chunks:
            chain.chunk(data)
            if chain.previous.encode() != signature:
                return False
        if self.trailers:
            chain.trailer(self.trailers)
        return not self.trailers or chain.previous == self.seal


def mode_of(request: Read) -> str:
    """Give how the body is chunked for AWS; empty: it is not."""
    said = b"".join(request.values(b"x-amz-content-sha256")).decode("latin-1")
    return said if said in MODES else ""


def opened(request: Read) -> Opened:
    """Read a body as AWS would. Raises ``NoReadingError``."""
    mode, data, at = mode_of(request), request.body, 0
    chunks: list[tuple[bytes, bytes]] = []
    while not chunks or chunks[-1][0]:
        line, at = _line(data, at)
        matched = _SIZE_LINE.fullmatch(line)
        if matched is None or (matched[2] is None) != (mode == UNSIGNED_TRAILER):
            raise NoReadingError("an aws-chunked size line that is none")
        size = int(matched[1], 16)
        if size and data[at + size : at + size + 2] != b"\r\n":
            raise NoReadingError("an aws-chunked chunk that is not as long as it says")
        chunks.append((data[at : at + size], matched[2] or b""))
        at += size + 2 if size else 0
    trailers: list[tuple[str, str]] = []
    while True:
        line, at = _line(data, at)
        if not line:
            break
        field_ = _TRAILER.fullmatch(line)
        if field_ is None or mode == SIGNED:
            raise NoReadingError("a trailer that is none")
        trailers.append((field_[1].decode().lower(), field_[2].decode().strip(" \t")))
    if at != len(data):
        raise NoReadingError("bytes after the end of aws-chunked")
    seal = "".join(value for name, value in trailers if name == "x-amz-trailer-signature")
    kept = tuple((n, v) for n, v in trailers if n != "x-amz-trailer-signature")
    return Opened(tuple(chunks), kept, seal)


def _line(data: bytes, at: int) -> tuple[bytes, int]:
    end = data.find(b"\r\n", at)
    if end < 0:
        raise NoReadingError("aws-chunked that ends within a line")
    return data[at:end], end + 2
