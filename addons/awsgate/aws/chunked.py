r"""aws-chunked bodies with signed chunks: verified and signed again in flight.

    <hex size>;chunk-signature=<64 hex>\r\n<data>\r\n     any number of them
    0;chunk-signature=<64 hex>\r\n                         the last
    [<name>:<value>\r\n ... x-amz-trailer-signature:<64 hex>\r\n]
    \r\n

A signature covers the one before it, so the chain starts at the signature of the
request's head and cannot be cut or re-ordered. The new signatures are as long as the
old ones: framing and Content-Length stay. Nothing of a chunk or of the trailing headers
goes on before it is proved, so one chunk is held at a time.

Pure. Source: "Signature calculations for the authorization header: transferring
payload in multiple chunks" and "... including trailing headers", S3 API Reference.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from awsgate.aws.sigv4 import EMPTY_SHA256

MAX_CHUNK_BYTES = 16 * 1024 * 1024
"""SDKs sign chunks of 64 KiB to 1 MiB; one is held in memory."""
MAX_LINE_BYTES = 256
MAX_TRAILER_BYTES = 16 * 1024
MAX_TRAILERS = 16

_LINE = re.compile(rb"([0-9a-fA-F]{1,8});chunk-signature=([0-9a-f]{64})")
_SIZE = re.compile(rb"([0-9a-fA-F]+)(;|$)")
# minio-go ends the field with the LF that is signed, and then sends the CRLF.
_TRAILER = re.compile(rb"([!#$%&'*+.^_`|~0-9a-z-]{1,128}):([\t -~]*)\n?")
_TRAILER_SIGNATURE = b"x-amz-trailer-signature"
_HEX_SIGNATURE = re.compile(rb"[0-9a-f]{64}")


class ChunkError(ValueError):
    """The signatures or the framing of a body do not hold. Names what, never a value."""


@dataclass(frozen=True, slots=True)
class ChunkSigner:
    """One party's end of the chain."""

    key: bytes = field(repr=False)
    """The signing key of day, region and service."""
    timestamp: str
    """``YYYYMMDDTHHMMSSZ`` of the request."""
    scope: str
    """``day/region/service/aws4_request``."""
    seed: str = field(repr=False)
    """The signature of the request's head."""

    def chunk(self, previous: str, digest: str) -> str:
        """Give the signature of a chunk whose data has the SHA-256 ``digest``."""
        head = f"AWS4-HMAC-SHA256-PAYLOAD\n{self.timestamp}\n{self.scope}\n{previous}"
        return self._sign(f"{head}\n{EMPTY_SHA256}\n{digest}")

    def trailer(self, previous: str, digest: str) -> str:
        """Give the signature of trailing headers whose canonical form has ``digest``."""
        head = f"AWS4-HMAC-SHA256-TRAILER\n{self.timestamp}\n{self.scope}\n{previous}"
        return self._sign(f"{head}\n{digest}")

    def _sign(self, to_sign: str) -> str:
        return hmac.digest(self.key, to_sign.encode(), "sha256").hex()


class ChunkResigner:
    """Verifies each chunk by ``client``, and replaces its signature by that of ``ours``.

    ``decoded_length`` is x-amz-decoded-content-length, bytes of data in all; None: it
    was not said. ``length`` is Content-Length; None: the end of the body is told in another
    way. Of a body that is over too early the last bytes are not given: at AWS it would be a
    whole one. Both calls raise ``ChunkError``, and from then on always do.
    """

    def __init__(
        self,
        client: ChunkSigner,
        ours: ChunkSigner,
        *,
        trailer: bool,
        decoded_length: int | None,
        length: int | None,
    ) -> None:
        self._client, self._ours = client, ours
        self._theirs_last, self._ours_last = client.seed, ours.seed
        self._trailer = trailer
        self._left = decoded_length
        self._to_come = length
        self._pending = bytearray()
        """What was received and not yet understood: less than a line."""
        # Not a bound method: a cycle would keep what is held until the next collection.
        self._state: Callable[[ChunkResigner], bool] = ChunkResigner._read_line
        self._out: list[bytes | bytearray] = []
        self._size = 0
        """Bytes of data that the chunk at hand still lacks."""
        self._signature = b""
        self._size_text = b""
        self._held = bytearray()
        """Data or trailing headers not yet proved. One buffer: pieces may be one byte long."""
        self._digest = hashlib.sha256()
        self._trailers: dict[bytes, bytes] = {}
        self._broken = ""

    def feed(self, data: bytes) -> bytes:
        """Give what may go on now that ``data`` is here."""
        self._check()
        if self._to_come is not None:
            self._to_come -= len(data)
        if len(data) < self._size:  # all of it is data, and nothing waits: the usual piece
            self._digest.update(data)
            self._held += data
            self._size -= len(data)
            return b""
        self._pending += data
        try:
            while self._state(self):
                pass
            if self._to_come == 0:
                self._check_end()
        except ChunkError as exc:
            self._broken = str(exc)
            self._held.clear()
            self._pending.clear()
            self._out.clear()
            raise
        out = b"".join(self._out)
        self._out.clear()
        return out

    @property
    def held(self) -> int:
        """Give how many bytes are kept that are not proved yet."""
        return len(self._held) + len(self._pending)

    def finish(self) -> bytes:
        """Say that the body is over. Gives nothing: all of it went on already."""
        self._check()
        self._check_end()
        return b""

    def _check_end(self) -> None:
        if self._state is not ChunkResigner._at_end:
            self._broken = "the body ends before its last chunk"
            raise ChunkError(self._broken)

    def _check(self) -> None:
        if self._broken:
            raise ChunkError(self._broken)

    # --- states: True if there is more to understand ---------------------------------

    def _read_line(self) -> bool:
        line = self._take_line(MAX_LINE_BYTES, "chunk header")
        if line is None:
            # A size that cannot be is refused before its line is over.
            self._check_size(_SIZE.match(self._pending))
            return False
        matched = _LINE.fullmatch(line)
        self._check_size(_SIZE.match(line))
        if matched is None:
            raise ChunkError("chunk header is not <hex size>;chunk-signature=<64 hex>")
        self._size_text, self._signature = matched[1], matched[2]
        self._size = int(matched[1], 16)
        if self._left is not None:
            if self._size > self._left:
                raise ChunkError("chunks hold more than x-amz-decoded-content-length")
            self._left -= self._size
        self._digest = hashlib.sha256()
        if self._size:
            self._state = ChunkResigner._read_data
            return True
        if self._left:
            raise ChunkError("chunks hold less than x-amz-decoded-content-length")
        self._prove_chunk()
        self._state = (
            ChunkResigner._read_trailer if self._trailer else ChunkResigner._read_last_break
        )
        return True

    def _check_size(self, matched: re.Match[bytes] | None) -> None:
        if matched is not None and int(matched[1], 16) > MAX_CHUNK_BYTES:
            raise ChunkError(f"chunk is over {MAX_CHUNK_BYTES} bytes")

    def _read_data(self) -> bool:
        with memoryview(self._pending) as view, view[: self._size] as piece:
            taken = len(piece)
            self._digest.update(piece)
            self._held += piece
        del self._pending[:taken]
        self._size -= taken
        if self._size:
            return False
        self._state = ChunkResigner._read_break
        return True

    def _read_break(self) -> bool:
        if not self._take_break():
            return False
        self._prove_chunk()
        self._out += [self._held, b"\r\n"]
        self._held = bytearray()
        self._state = ChunkResigner._read_line
        return True

    def _read_trailer(self) -> bool:
        line = self._take_line(MAX_TRAILER_BYTES, "trailer")
        if line is None:
            return False
        name, _, value = line.partition(b":")
        if name == _TRAILER_SIGNATURE:
            self._prove_trailer(value)
            self._state = ChunkResigner._read_last_break
        else:
            self._keep_trailer(name, line)
        return True

    def _keep_trailer(self, name: bytes, line: bytes) -> None:
        matched = _TRAILER.fullmatch(line)
        if matched is None:
            raise ChunkError("trailing header is not <name>:<value>")
        if name in self._trailers:
            raise ChunkError("a trailing header is there more than once")
        self._trailers[name] = matched[2].strip(b" \t")
        self._held += line + b"\r\n"
        if len(self._trailers) > MAX_TRAILERS or len(self._held) > MAX_TRAILER_BYTES:
            raise ChunkError("there are too many trailing headers")

    def _read_last_break(self) -> bool:
        if not self._take_break():
            return False
        self._out.append(b"\r\n")
        self._state = ChunkResigner._at_end
        return True

    def _at_end(self) -> bool:
        if self._pending:
            raise ChunkError("there is more after the last chunk")
        return False

    # --- pieces ------------------------------------------------------------------------

    def _take_line(self, limit: int, what: str) -> bytes | None:
        end = self._pending.find(b"\r\n", 0, limit + 2)
        if end < 0:
            if len(self._pending) > limit:
                raise ChunkError(f"{what} is over {limit} bytes")
            return None
        line = bytes(self._pending[:end])
        del self._pending[: end + 2]
        return line

    def _take_break(self) -> bool:
        found = bytes(self._pending[:2])
        if not b"\r\n".startswith(found):
            raise ChunkError("chunk does not end in CRLF")
        if len(found) < 2:
            return False
        del self._pending[:2]
        return True

    def _prove_chunk(self) -> None:
        digest = self._digest.hexdigest()
        expected = self._client.chunk(self._theirs_last, digest)
        if not hmac.compare_digest(expected.encode(), self._signature):
            raise ChunkError("the signature of a chunk does not match")
        self._theirs_last = expected
        self._ours_last = self._ours.chunk(self._ours_last, digest)
        self._out += [
            self._size_text,
            b";chunk-signature=",
            self._ours_last.encode(),
            b"\r\n",
        ]

    def _prove_trailer(self, given: bytes) -> None:
        if _HEX_SIGNATURE.fullmatch(given) is None:
            raise ChunkError("x-amz-trailer-signature is not 64 lower-case hex digits")
        fields = sorted(self._trailers.items())
        canonical = b"".join(name + b":" + value + b"\n" for name, value in fields)
        digest = hashlib.sha256(canonical).hexdigest()
        expected = self._client.trailer(self._theirs_last, digest)
        if not hmac.compare_digest(expected.encode(), given):
            raise ChunkError("the signature of the trailing headers does not match")
        ours = self._ours.trailer(self._ours_last, digest)
        self._out += [self._held, _TRAILER_SIGNATURE, b":", ours.encode(), b"\r\n"]
        self._held = bytearray()
