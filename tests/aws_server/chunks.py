"""Bodies: their hash, their checksums, and the framing of aws-chunked with its signatures.

Everything streams: a piece is hashed and forgotten. Source: "Signature calculations for
the Authorization header: transferring payload in multiple chunks" and "... including
trailing headers", S3 API Reference.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from awscrt import checksums

from aws_server.canonical import ECDSA, sha256
from aws_server.model import KEPT_BYTES, Fault, Head, Request
from aws_server.verify import HEX, UNSIGNED, Signed

EMPTY = sha256(b"")
LEAST_CHUNK = 8192  # S3: "Only the last chunk is allowed to have a size less than 8192 bytes"
PIECE = 65536

# Payload mode -> (chunks are signed, trailers follow)
STREAMING = {
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": (False, True),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": (True, False),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": (True, True),
}


class Wire(Protocol):
    """An HTTP body: ``readline`` and ``read`` give less than asked at its end only."""

    def readline(self) -> bytes: ...
    def read(self, size: int) -> bytes: ...
    def unread(self, data: bytes) -> None: ...


class _Rolling:
    """A checksum of awscrt with the interface of hashlib."""

    def __init__(self, step: Callable[[bytes, int], int], width: int) -> None:
        self._step, self._width, self._value = step, width, 0

    def update(self, data: bytes) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


_ALGORITHMS: dict[str, Callable[[], object]] = {
    "x-amz-checksum-crc32": lambda: _Rolling(zlib.crc32, 4),
    "x-amz-checksum-crc32c": lambda: _Rolling(checksums.crc32c, 4),
    "x-amz-checksum-crc64nvme": lambda: _Rolling(checksums.crc64nvme, 8),
    "x-amz-checksum-sha1": hashlib.sha1,
    "x-amz-checksum-sha256": hashlib.sha256,
    "content-md5": hashlib.md5,
}
_NO_CHECKSUM = {"x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"}


class Payload:
    """What has come of the payload: hash, size, checksums, and itself while it is small."""

    def __init__(self, head: Head, record: Request, *, keep: bool = False) -> None:
        self.record = record
        self.trailers = [
            name.strip().lower()
            for value in head.values("x-amz-trailer")
            for name in value.split(",")
        ]
        self._expected = {
            name: value
            for name in {n.lower() for n, _ in head.fields}
            if name == "content-md5"
            or (name.startswith("x-amz-checksum-") and name not in _NO_CHECKSUM)
            if (value := head.get(name)) is not None
        }
        self._sums = {name: _algorithm(name) for name in {*self._expected, *self.trailers}}
        self._sha = hashlib.sha256()
        self._limit = None if keep else KEPT_BYTES
        self._kept: bytearray | None = bytearray()
        self.spool: Callable[[bytes], object] | None = None

    def add(self, piece: bytes) -> None:
        """Take one piece of the payload."""
        self._sha.update(piece)
        self.record.body_bytes += len(piece)
        for rolling in self._sums.values():
            rolling.update(piece)
        if self._kept is not None:
            self._kept += piece
            if self._limit is not None and len(self._kept) > self._limit:
                self._kept = None
        if self.spool is not None:
            self.spool(piece)

    def close(self) -> None:
        """Note in the record what has come, whole or not."""
        self.record.body_sha256 = self._sha.hexdigest()
        self.record.body = None if self._kept is None else bytes(self._kept)

    def check_checksums(self, more: dict[str, str]) -> None:
        """Compare with the checksums of the head and, in ``more``, of the trailers."""
        for name, value in {**self._expected, **more}.items():
            if base64.b64encode(self._sums[name].digest()).decode() != value:
                raise Fault(
                    "content-md5-wrong" if name == "content-md5" else "checksum-wrong", name
                )


class _Sum(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def digest(self) -> bytes: ...


def _algorithm(name: str) -> _Sum:
    if name not in _ALGORITHMS:
        raise Fault("checksum-unknown", name)
    made: _Sum = _ALGORITHMS[name]()  # type: ignore[assignment]
    return made


class Chain:
    """The chain of chunk signatures that starts at the signature of the head."""

    def __init__(self, signed: Signed) -> None:
        self._signed = signed
        self.previous = signed.claim.signature

    def accepts(self, kind: str, signature: str, *parts: str) -> bool:
        """True if ``signature`` is the next one; then it is the one to go on from."""
        claim = self._signed.claim
        lines = [f"AWS4-HMAC-SHA256-{kind}", claim.timestamp, claim.scope, self.previous, *parts]
        if not self._signed.check("\n".join(lines), signature):
            return False
        self.previous = signature
        return True


def read_plain(wire: Wire, payload: Payload) -> None:
    """Read a body that is the payload itself."""
    while piece := wire.read(PIECE):
        payload.add(piece)


def check_plain(head: Head, payload: Payload, signed: Signed | None) -> None:
    """Check a plain body that has come whole against what the head says of it."""
    digest = payload.record.body_sha256
    declared = signed.declared if signed else head.get("x-amz-content-sha256")
    if declared is not None and declared != UNSIGNED:
        if HEX.fullmatch(declared) is None:
            raise Fault("content-sha256-unknown", declared[:64])
        if declared != digest:
            raise Fault("content-sha256-wrong")
    if signed is not None and signed.declared is None:
        signed.finish(digest)
    payload.check_checksums({})


def read_chunked(head: Head, mode: str, wire: Wire, payload: Payload, signed: Signed) -> None:
    """Decode an aws-chunked body, and check all that it says of itself."""
    signs, has_trailers = STREAMING[mode]
    if signs and signed.claim.algorithm == ECDSA:
        raise Fault("content-sha256-unknown", "of another algorithm")
    length = head.get("x-amz-decoded-content-length") or ""
    if not length.isdigit():
        raise Fault("decoded-length-missing")
    if has_trailers and not payload.trailers:
        raise Fault("trailer-missing", "no x-amz-trailer")
    chain = Chain(signed) if signs else None
    _read_chunks(wire, payload, chain)
    trailers, seal = _read_trailers(wire, payload)
    if chain is not None and has_trailers:
        lines = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        if not chain.accepts("TRAILER", seal, sha256(lines.encode("latin-1"))):
            raise Fault("trailer-signature-wrong")
    if payload.record.body_bytes != int(length):
        raise Fault("decoded-length-wrong", f"{payload.record.body_bytes}, not {length}")
    payload.check_checksums(trailers)


def _read_chunks(wire: Wire, payload: Payload, chain: Chain | None) -> None:
    last = LEAST_CHUNK
    while True:
        size, signature = _chunk_head(wire, signed=chain is not None)
        if size and last < LEAST_CHUNK:
            raise Fault("chunk-too-small", f"{last} bytes, and not the last")
        digest = hashlib.sha256()
        for piece in _exactly(wire, size):
            digest.update(piece)
            payload.add(piece)
        if chain is not None and not chain.accepts("PAYLOAD", signature, EMPTY, digest.hexdigest()):
            raise Fault("chunk-signature-wrong", f"after {payload.record.body_bytes} bytes")
        payload.record.arrivals.append(time.time())
        if not size:
            return
        if wire.readline() != b"\r\n":
            raise Fault("chunk-malformed", "no CRLF after a chunk")
        last = size


def _chunk_head(wire: Wire, *, signed: bool) -> tuple[int, str]:
    line = wire.readline()
    if not line.endswith(b"\n"):
        raise Fault("body-truncated", "within aws-chunked")
    size, _, extension = (
        line.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1").partition(";")
    )
    name, _, signature = extension.partition("=")
    if re.fullmatch(r"[0-9a-fA-F]{1,16}", size) is None:
        raise Fault("chunk-malformed", "no size")
    if signed and (name != "chunk-signature" or not signature):
        raise Fault("chunk-signature-missing")
    if not signed and extension:
        raise Fault("chunk-malformed", "an extension of an unsigned chunk")
    return int(size, 16), signature


def _exactly(wire: Wire, size: int) -> Iterator[bytes]:
    while size:
        piece = wire.read(min(size, PIECE))
        if not piece:
            raise Fault("body-truncated", "within a chunk")
        size -= len(piece)
        yield piece


def _read_trailers(wire: Wire, payload: Payload) -> tuple[dict[str, str], str]:
    """Give the trailers, and the signature over them; reads up to the end of the body."""
    found: dict[str, str] = {}
    while (line := wire.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").strip("\r\n").partition(":")
        if name.lower() in found:
            raise Fault("trailer-unannounced", f"{name[:64]} twice")
        if name:  # AWS's own example ends a trailer with \n\r\n
            found[name.lower()] = value.strip()
    if line == b"":
        raise Fault("body-truncated", "within the trailers")
    if wire.read(1):
        raise Fault("chunk-malformed", "bytes after the last chunk")
    seal = found.pop("x-amz-trailer-signature", "")
    unannounced = sorted(set(found) - set(payload.trailers))
    if unannounced:
        raise Fault("trailer-unannounced", str(unannounced))
    if set(payload.trailers) - set(found):
        raise Fault("trailer-missing", str(sorted(set(payload.trailers) - set(found))))
    return found, seal
