"""Event-stream frames: their encoding, and the signatures of a signed stream of them.

Source: "Event stream encoding" and "Signing event stream messages", Amazon Transcribe
Developer Guide.
"""

from __future__ import annotations

import struct
import time
import zlib

from aws_server.canonical import hmac_check, hmac_key, sha256
from aws_server.chunks import Payload, Wire
from aws_server.model import KEPT_BYTES, Fault
from aws_server.verify import Signed

EVENTS = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # value type -> size


def message(headers: bytes, payload: bytes) -> bytes:
    """Encode one frame."""
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    start = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return start + struct.pack("!I", zlib.crc32(start))


def text_header(name: str, value: str) -> bytes:
    """Encode one header whose value is a string."""
    raw = value.encode()
    return bytes([len(name)]) + name.encode() + b"\7" + struct.pack("!H", len(raw)) + raw


def read_events(wire: Wire, payload: Payload, signed: Signed) -> None:
    """Read signed frames up to the empty one that ends them; ``payload`` takes what is inside."""
    previous = signed.claim.signature
    while True:
        frame = _read_frame(wire)
        if frame is None:
            raise Fault("body-truncated", "no closing frame")
        headers, inside = frame
        previous = _check(headers, inside, previous, signed)
        payload.record.arrivals.append(time.time())
        payload.add(inside)
        if not inside:
            break
    if wire.read(1):
        raise Fault("frame-malformed", "bytes after the closing frame")


def _read_frame(wire: Wire) -> tuple[bytes, bytes] | None:
    prelude = _read(wire, 12)
    if not prelude:
        return None
    if len(prelude) < 12:
        raise Fault("body-truncated", "within a frame")
    total, headers, crc = struct.unpack("!III", prelude)
    if crc != zlib.crc32(prelude[:8]):
        raise Fault("frame-malformed", "the checksum of the prelude")
    if not headers + 16 <= total <= KEPT_BYTES:
        raise Fault("frame-malformed", f"a length of {total}")
    rest = _read(wire, total - 12)
    if len(rest) < total - 12:
        raise Fault("body-truncated", "within a frame")
    if int.from_bytes(rest[-4:], "big") != zlib.crc32(prelude + rest[:-4]):
        raise Fault("frame-malformed", "the checksum of the message")
    return rest[:headers], rest[headers:-4]


def _read(wire: Wire, size: int) -> bytes:
    got = bytearray()
    while len(got) < size and (piece := wire.read(size - len(got))):
        got += piece
    return bytes(got)


def parse_headers(raw: bytes) -> dict[str, tuple[int, bytes]]:
    """Give name -> (type, raw value) of a frame's headers."""
    found, at = {}, 0
    try:
        while at < len(raw):
            name = raw[at + 1 : at + 1 + raw[at]].decode()
            at += 1 + raw[at]
            kind = raw[at]
            at += 1
            size = _FIXED.get(kind)
            if size is None:
                size = int.from_bytes(raw[at : at + 2], "big")
                at += 2
            found[name] = (kind, raw[at : at + size])
            at += size
    except (IndexError, UnicodeDecodeError):
        raise Fault("frame-malformed", "its headers") from None
    if at != len(raw):
        raise Fault("frame-malformed", "its headers")
    return found


def _check(raw: bytes, inside: bytes, previous: str, signed: Signed) -> str:
    """Check the signature of one frame; gives it."""
    headers = parse_headers(raw)
    kind, dated = headers.get(":date", (0, b""))
    signature = headers.get(":chunk-signature", (0, b""))[1].hex()
    if kind != 8 or len(dated) != 8 or len(headers) != 2 or not signature:
        raise Fault("frame-signature-missing")
    milliseconds = int.from_bytes(dated, "big")
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(milliseconds // 1000))
    claim, day = signed.claim, when[:8]
    date_header = b"\x05:date\x08" + dated
    lines = [
        "AWS4-HMAC-SHA256-PAYLOAD",
        when,
        f"{day}/{claim.region}/{claim.service}/aws4_request",
        previous,
        sha256(date_header),
        sha256(inside),
    ]
    key = hmac_key(signed.identity.secret, day, claim.region, claim.service)
    if not hmac_check(key)("\n".join(lines), signature):
        raise Fault("frame-signature-wrong")
    return signature
