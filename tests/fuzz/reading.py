"""How a stream of bytes reads as HTTP/1.1 requests: our own reader, of RFC 9112 alone.

``read_strictly`` is an upstream that forgives nothing. ``readings`` gives the requests
that a client's stream may be taken for: where two servers could part ways it ends. What is
wrong with a request but leaves no doubt where it ends makes it ``bad``: it may not go on,
what follows it may. Nothing here is the gateway's: it is what the gateway is judged by.

A ``lenient`` reading takes what RFC 9112 lets a server take (2.2, 3): lines that end with
LF alone, and a request line whose words are parted by any white space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"[!-~]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(;[^\r\n]*)?[ \t]*")

HOP_BY_HOP = frozenset(
    b"connection expect forwarded http2-settings keep-alive proxy-authenticate "
    b"proxy-authorization proxy-connection te trailer upgrade via x-forwarded-host "
    b"x-forwarded-for x-forwarded-proto x-real-ip".split()
)
"""What a request that was signed anew may not carry."""

Fields = tuple[tuple[bytes, bytes], ...]


class NoReadingError(ValueError):
    """Servers may differ on what this is, or on where it ends."""


class Unfinished(Exception):
    """The bytes end within a request. ``head`` is there as far as it was read."""

    def __init__(self, head: Read | None = None) -> None:
        super().__init__("the bytes end within a request")
        self.head = head


@dataclass(frozen=True, slots=True)
class Read:
    """One request as it was read."""

    method: bytes
    target: bytes
    version: bytes
    fields: Fields
    body: bytes = b""
    end: int = 0
    """Where the next one begins."""
    bad: str = ""
    """Why it may not go on, though its end is known; empty: it may."""

    def values(self, name: bytes) -> list[bytes]:
        return [value for n, value in self.fields if n.lower() == name]

    @property
    def is_last(self) -> bool:
        """No request may follow on this connection."""
        said = b",".join(self.values(b"connection")).lower()
        tokens = {token.strip() for token in said.split(b",")}
        old = self.version in (b"HTTP/1.0", b"HTTP/0.9")
        return b"close" in tokens or (old and b"keep-alive" not in tokens)


def readings(stream: bytes, *, lenient: bool) -> list[list[Read]]:
    """Give the ways to take a client's stream: the strict one, and the ``lenient``."""
    found = []
    for bare_lf in (False, True) if lenient else (False,):
        one: list[Read] = []
        at = 0
        try:
            while at < len(stream):
                request = _read(stream, at, bare_lf=bare_lf)
                one.append(request)
                at = request.end
                if request.is_last or _opens_tunnel(request):
                    break
        except (NoReadingError, Unfinished):
            pass
        found.append(one)
    return found


def _opens_tunnel(request: Read) -> bool:
    return request.method == b"CONNECT" and b"amazonaws.com" in request.target.lower()


def read_strictly(data: bytes) -> Read:
    """Read the first request, as an upstream that forgives nothing.

    Raises ``NoReadingError`` or ``Unfinished``.
    """
    request = _read(data, 0, bare_lf=False, forgiving=False)
    if request.bad:
        raise NoReadingError(request.bad)
    return request


def _read(data: bytes, at: int, *, bare_lf: bool, forgiving: bool = True) -> Read:
    if forgiving:  # RFC 9112, 2.2: an empty line before a request is read over
        blank = re.compile(rb"(?:\r?\n)*" if bare_lf else rb"(?:\r\n)*").match(data, at)
        at = blank.end() if blank is not None else at
    lines, at = _head_lines(data, at, bare_lf=bare_lf)
    method, target, version, bad = (_loose_line if bare_lf else _request_line)(lines[0])
    fields, worse = _fields(lines[1:])
    bad = bad or worse or _host_fault(fields)
    head = Read(method, target, version, fields, bad=bad)
    if not forgiving:
        bad = bad or _forwarded_fault(head)
    length, worse = _body_length(head)
    body, at = _body(data, at, length, head, forgiving=forgiving, bare_lf=bare_lf)
    return Read(method, target, version, fields, body, at, bad or worse)


def _head_lines(data: bytes, at: int, *, bare_lf: bool) -> tuple[list[bytes], int]:
    lines: list[bytes] = []
    while True:
        end = data.find(b"\n", at)
        if end < 0:
            raise Unfinished
        line = data[at:end]
        if line.endswith(b"\r"):
            line = line[:-1]
        elif not bare_lf:
            raise NoReadingError("a line that ends with LF alone")
        at = end + 1
        if not line:
            break
        lines.append(line)
    if not lines:
        raise NoReadingError("an empty head")
    return lines, at


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes, str]:
    parts = line.split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _VERSION.fullmatch(parts[2]):
        raise NoReadingError("the request line is none")
    method, target, version = parts
    if not target or re.search(rb"[\x00-\x20\x7f]", target):
        raise NoReadingError("a control character in the request line")
    bad = "" if _TARGET.fullmatch(target) else "a target of other than ASCII"
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        bad = "another version"
    return method, target, version, bad


def _loose_line(line: bytes) -> tuple[bytes, bytes, bytes, str]:
    parts = line.split()
    if len(parts) != 3 or not _VERSION.fullmatch(parts[2]):
        raise NoReadingError("the request line is none")
    method, target, version = parts
    good = _TOKEN.fullmatch(method) and _TARGET.fullmatch(target) and version[:7] == b"HTTP/1."
    return method, target, version, "" if good else "a request line with odd words"


def _fields(lines: list[bytes]) -> tuple[Fields, str]:
    found: list[tuple[bytes, bytes]] = []
    bad = ""
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            if not found:
                raise NoReadingError("a folded line that follows none")
            # RFC 9112, 5.2: rejected, or each fold taken for a space.
            found[-1] = found[-1][0], (found[-1][1] + b" " + line.strip(b" \t")).strip(b" \t")
            bad = "a folded line"
            continue
        name, colon, value = line.partition(b":")
        if not colon or _TOKEN.fullmatch(name) is None:
            raise NoReadingError("a header line without a name")
        value = value.strip(b" \t")
        if _VALUE.fullmatch(value) is None:
            bad = "a control character in a value"
        found.append((name, value))
    return tuple(found), bad


def _host_fault(fields: Fields) -> str:
    hosts = [value for name, value in fields if name.lower() == b"host"]
    return "" if len(hosts) == 1 else "not exactly one Host"


def _forwarded_fault(head: Read) -> str:
    names = {name.lower() for name, _ in head.fields}
    if names & HOP_BY_HOP:
        return f"forwarded with {sorted(names & HOP_BY_HOP)}"
    if not head.target.startswith(b"/"):
        return "forwarded in another form than origin form"
    return ""


def _body_length(head: Read) -> tuple[int, str]:
    """Give the length, -1 for chunks, and why the request may not go on."""
    codings, lengths = head.values(b"transfer-encoding"), head.values(b"content-length")
    if codings and (lengths or len(codings) > 1 or head.version != b"HTTP/1.1"):
        raise NoReadingError("two framings")
    if codings:
        last = codings[0].rpartition(b",")[2].strip(b" \t").lower()
        if last != b"chunked":
            raise NoReadingError("a transfer coding that is not chunked")
        return -1, "" if codings[0].lower() == b"chunked" else "a coding beside chunked"
    if not lengths:
        return 0, ""
    if len(lengths) > 1 or re.fullmatch(rb"[0-9]{1,18}", lengths[0]) is None:
        raise NoReadingError("a length that is none")
    return int(lengths[0]), ""


def _body(
    data: bytes, at: int, length: int, head: Read, *, forgiving: bool, bare_lf: bool
) -> tuple[bytes, int]:
    if length >= 0:
        if len(data) - at < length:
            raise Unfinished(head)
        return data[at : at + length], at + length
    content = bytearray()
    while True:
        line, at = _line(data, at, head)
        size = _chunk_size(line, forgiving=forgiving)
        if size == 0:
            break
        if len(data) < at + size + 2:
            raise Unfinished(head)
        content += data[at : at + size]
        if data[at + size : at + size + 2] != b"\r\n":
            raise NoReadingError("a chunk that is longer than its size")
        at += size + 2
    while True:
        if bare_lf and data[at : at + 1] == b"\n":
            return bytes(content), at + 1
        line, at = _line(data, at, head)
        if not line:
            return bytes(content), at
        if not forgiving:
            raise NoReadingError("trailers were forwarded")


def _chunk_size(line: bytes, *, forgiving: bool) -> int:
    matched = _CHUNK_SIZE.fullmatch(line)
    if matched is None or len(matched[1].lstrip(b"0")) > 16:
        raise NoReadingError("a chunk size that is none")
    if not forgiving and matched[1] != line:
        raise NoReadingError("a chunk size with something after it")
    return int(matched[1], 16)


def _line(data: bytes, at: int, head: Read) -> tuple[bytes, int]:
    end = data.find(b"\r\n", at)
    if end < 0:
        if b"\n" in data[at:]:
            raise NoReadingError("a line of the framing that ends with LF alone")
        raise Unfinished(head)
    if b"\n" in data[at:end]:
        raise NoReadingError("a line of the framing with a LF in it")
    return data[at:end], end + 2
