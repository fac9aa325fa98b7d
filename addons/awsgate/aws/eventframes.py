r"""Signed event streams (STREAMING-AWS4-HMAC-SHA256-EVENTS): verified, signed again in flight.

Transcribe, Lex and their like send a body of event-stream messages:

    total length u32 | headers length u32 | CRC-32 of these 8 bytes
    headers          :date (timestamp), :chunk-signature (32 bytes)
    payload          the event itself, a message of its own; empty: the end
    CRC-32 of all before

Each signature covers the one before it, the headers but for itself, and the payload.
The new one is as long, so only it and the last CRC change. A frame is held until it is
proved. Its day may be another than the request's: a talk may last past midnight.

Pure. Source: "Signing event stream messages" (Amazon Transcribe, HTTP/2 streaming) and
the signer of the AWS SDK for Go v2 (``aws/signer/v4/stream.go``).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from awsgate.aws.chunked import ChunkError
from awsgate.aws.sigv4 import TERMINATOR, amz_date, signing_key

MAX_FRAME_BYTES = 16 * 1024 * 1024 + 128 * 1024
"""Smithy allows 16 MiB of payload and 128 KiB of headers."""

_PRELUDE = struct.Struct(">III")
_OVERHEAD = _PRELUDE.size + 4
_DATE = b"\x05:date\x08"
_SIGNATURE = b"\x10:chunk-signature\x06\x00\x20"
_DATE_BYTES = len(_DATE) + 8
_SIGNATURE_BYTES = len(_SIGNATURE) + 32


@dataclass(frozen=True, slots=True)
class EventSigner:
    """One party's end of the chain."""

    secret: str = field(repr=False)
    region: str
    service: str
    seed: str = field(repr=False)
    """The signature of the request's head, hex."""

    def sign(self, previous: str, when: datetime, headers: bytes, payload_hash: str) -> bytes:
        """Give the 32-byte signature of one frame."""
        timestamp = amz_date(when)
        day = timestamp[:8]
        text = (
            f"AWS4-HMAC-SHA256-PAYLOAD\n{timestamp}\n"
            f"{day}/{self.region}/{self.service}/{TERMINATOR}\n"
            f"{previous}\n{hashlib.sha256(headers).hexdigest()}\n{payload_hash}"
        )
        key = signing_key(self.secret, day, self.region, self.service)
        return hmac.digest(key, text.encode(), "sha256")


class EventResigner:
    """Verifies each frame by ``client``, and replaces its signature by that of ``ours``.

    Both calls raise ``ChunkError``, and from then on always do.
    """

    def __init__(self, client: EventSigner, ours: EventSigner) -> None:
        self._client, self._ours = client, ours
        self._theirs_last, self._ours_last = client.seed, ours.seed
        self._pending = bytearray()
        self._ended = False
        self._broken = ""

    def feed(self, data: bytes) -> bytes:
        """Give what may go on now that ``data`` is here."""
        self._check()
        self._pending += data
        out = []
        try:
            while (frame := self._take_frame()) is not None:
                out.append(self._resigned(frame))
        except ChunkError as exc:
            self._broken = str(exc)
            self._pending.clear()
            raise
        return b"".join(out)

    @property
    def held(self) -> int:
        """Give how many bytes are kept that are not proved yet."""
        return len(self._pending)

    def finish(self) -> bytes:
        """Say that the body is over. Gives nothing: all of it went on already.

        A stream may be broken off between two frames, as a caller who hangs up does.
        """
        self._check()
        if self._pending:
            self._broken = "the body ends within a frame"
            raise ChunkError(self._broken)
        return b""

    def _check(self) -> None:
        if self._broken:
            raise ChunkError(self._broken)

    def _take_frame(self) -> bytes | None:
        """Take one whole frame, its lengths and checksums checked."""
        if self._ended and self._pending:
            raise ChunkError("there is more after the last frame")
        if len(self._pending) < _PRELUDE.size:
            return None
        total, headers, crc = _PRELUDE.unpack_from(self._pending)
        # First of all: lengths are believed only under their checksum.
        if zlib.crc32(memoryview(self._pending)[:8]) != crc:
            raise ChunkError("prelude checksum of a frame does not match")
        if total > MAX_FRAME_BYTES:
            raise ChunkError(f"frame is over {MAX_FRAME_BYTES} bytes")
        if total < _OVERHEAD + headers:
            raise ChunkError("frame is shorter than its own headers")
        if len(self._pending) < total:
            return None
        frame = bytes(memoryview(self._pending)[:total])
        del self._pending[:total]
        if zlib.crc32(memoryview(frame)[:-4]) != int.from_bytes(frame[-4:], "big"):
            raise ChunkError("checksum of a frame does not match")
        return frame

    def _resigned(self, frame: bytes) -> bytes:
        size = int.from_bytes(frame[4:8], "big")
        headers = frame[_PRELUDE.size : _PRELUDE.size + size]
        payload = frame[_PRELUDE.size + size : -4]
        when, signed, at = _read_headers(headers)
        digest = hashlib.sha256(payload).hexdigest()
        expected = self._client.sign(self._theirs_last, when, signed, digest)
        if not hmac.compare_digest(expected, headers[at : at + 32]):
            raise ChunkError("the signature of a frame does not match")
        ours = self._ours.sign(self._ours_last, when, signed, digest)
        self._theirs_last, self._ours_last = expected.hex(), ours.hex()
        self._ended = not payload
        at += _PRELUDE.size
        body = frame[:at] + ours + frame[at + 32 : -4]
        return body + zlib.crc32(body).to_bytes(4, "big")


def _read_headers(headers: bytes) -> tuple[datetime, bytes, int]:
    """Give the date, what is signed of the headers, and where the 32 bytes of signature are.

    Exactly the two headers of a signed frame, so :date is all that is signed. It is
    the first for every SDK but that for C++, which sorts them by name.
    """
    date_at = 0 if headers.startswith(_DATE) else _SIGNATURE_BYTES
    date = headers[date_at : date_at + _DATE_BYTES]
    rest = headers[:date_at] + headers[date_at + _DATE_BYTES :]
    if (
        len(headers) != _DATE_BYTES + _SIGNATURE_BYTES
        or not date.startswith(_DATE)
        or not rest.startswith(_SIGNATURE)
    ):
        raise ChunkError("frame has not exactly the headers :date and :chunk-signature")
    try:
        when = datetime.fromtimestamp(int.from_bytes(date[len(_DATE) :], "big") / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise ChunkError(":date of a frame is no date") from None
    return when, date, len(_SIGNATURE) + (_DATE_BYTES if date_at == 0 else 0)
