"""Heads of HTTP/1.1 messages: read, judged, written. Pure.

Strict where two readers could differ: lines end with CRLF alone, one space each parts the
request line. What can still be read, but is not well formed, has a ``fault``: the gate is
told of it, so that it is recorded. What cannot be read at all raises ``Unreadable``.

Source: RFC 9112; the rules on framing are those of mitmproxy's
``validate_inbound_headers``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Fields = tuple[tuple[bytes, bytes], ...]

CHUNKED = -1
"""Length of a body: as its chunks say."""
TO_THE_END = -2
"""Length of a body: as much as comes before the connection ends."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([^\x00-\x20\x7f]+) (HTTP/[0-9]\.[0-9])")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/]+)(/.*)?")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
# A request's values are the gate's to judge, folds and all; names are judged here.
_NAMES = re.compile(rb"(?:" + _TOKEN + rb":[^\r\n]*\r\n)*")
_NAME = re.compile(_TOKEN)
_CLEAN = re.compile(rb"(?:" + _TOKEN + rb":[^\r\n\x00]*\r\n)*")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_BARE_LF = re.compile(rb"(?<!\r)\n")

_CHUNKED_LAST = frozenset({b"chunked", b"compress,chunked", b"deflate,chunked", b"gzip,chunked"})
_NOT_CHUNKED = frozenset({b"compress", b"deflate", b"gzip", b"identity"})
_FRAMING = frozenset(
    {b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"}
)
# Of the hop to the server alone. Trailers are not passed on.
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"}
)
_NEVER_NAMED = frozenset({b"content-length", b"transfer-encoding", b"content-type", b"date"})


class Unreadable(Exception):
    """The bytes are no head of a message. The text quotes nothing of them."""


@dataclass(slots=True)
class RequestHead:
    """What stands before the body of a request."""

    method: bytes
    target: bytes
    """In origin form; ``*`` and the authority of CONNECT as they are."""
    scheme: bytes
    authority: bytes
    """Of an absolute form, or of CONNECT."""
    version: bytes
    fields: Fields
    fault: str = ""
    body: int = 0
    """Bytes, or ``CHUNKED``."""
    close: bool = False
    """The connection ends after it."""
    expects: bool = False
    """The client waits for a 100 before it sends the body."""
    upgrade: bool = False


@dataclass(slots=True)
class AnswerHead:
    """What stands before the body of an answer."""

    version: bytes
    status: int
    reason: bytes
    fields: Fields
    """Without what is between the server and us alone."""
    body: int
    """Bytes, ``CHUNKED`` or ``TO_THE_END``."""
    close: bool
    """The server closes the connection after it."""
    fault: str = ""


def end_of_head(data: bytearray, start: int = 0) -> int:
    """Give where the head ends, without its empty line; -1: it is not all there.

    ``start`` is how much was looked at before. Raises ``Unreadable`` for a line that ends
    with LF alone: another reader might take it for the end.
    """
    found = data.find(b"\r\n\r\n", max(0, start - 3))
    # Also where the end is there: what is refused may not depend on how it was sent.
    end = found if found >= 0 else len(data)
    if _BARE_LF.search(data, max(0, start - 1), end) is not None:
        raise Unreadable("a line that does not end with CRLF")
    return found


def read_request(raw: bytes) -> RequestHead:
    """Read a head, given without its empty line. Raises ``Unreadable``."""
    line, _, rest = raw.partition(b"\r\n")
    matched = _REQUEST_LINE.fullmatch(line)
    if matched is None:
        raise Unreadable("the request line is none")
    method, target, version = matched.groups()
    scheme = authority = b""
    if method == b"CONNECT":
        authority, target = target, b""
    elif target[:1] != b"/" and target != b"*":
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise Unreadable("the request target is of no known form")
        scheme, authority, target = absolute[1].lower(), absolute[2], absolute[3] or b"/"
    head = RequestHead(method, target, scheme, authority, version, _fields(rest))
    _judge_request(head, rest)
    return head


def _fields(block: bytes) -> Fields:
    if not block:
        return ()
    found: list[tuple[bytes, bytes]] = []
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if line[:1] in (b" ", b"\t"):
            if not found:
                raise Unreadable("a folded line that follows none")
            # Left as a line break in the value: whoever judges values refuses it.
            found[-1] = (found[-1][0], found[-1][1] + b"\r\n " + line.strip(b" \t"))
        elif not colon or not name:
            raise Unreadable("a header line without a name")
        else:
            found.append((name, value.strip(b" \t")))
    return tuple(found)


def _judge_request(head: RequestHead, block: bytes) -> None:
    # At once; one by one only where something is odd, such as a folded line.
    odd = block and _NAMES.fullmatch(block + b"\r\n") is None
    if odd and any(_NAME.fullmatch(name) is None for name, _ in head.fields):
        head.fault = "a header name that is none"
        return
    if head.scheme not in (b"", b"http", b"https"):
        head.fault = "a scheme that is not HTTP's"
        return
    found = _framing(head.fields)
    head.close = head.version != b"HTTP/1.1" or _says(found.get(b"connection"), b"close")
    head.expects = (found.get(b"expect") or [b""])[-1].lower() == b"100-continue"
    head.upgrade = b"upgrade" in found
    codings = found.get(b"transfer-encoding")
    head.fault = _fault(codings, found.get(b"content-length"), head.version)
    if head.fault:
        return
    if codings is not None:
        if _coding(codings[0]) in _NOT_CHUNKED:
            head.fault = "a transfer coding whose end cannot be seen"
        head.body = CHUNKED
    elif b"content-length" in found:
        head.body = int(found[b"content-length"][0])


def _framing(fields: Fields) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        lower = name.lower()
        if lower in _FRAMING:
            found.setdefault(lower, []).append(value)
    return found


def _fault(codings: list[bytes] | None, lengths: list[bytes] | None, version: bytes) -> str:
    """Give what is wrong with what says how long the body is, or nothing."""
    if codings is None:
        if lengths is None:
            return ""
        if len(lengths) > 1:
            return "more than one content-length"
        return "" if _LENGTH.fullmatch(lengths[0]) else "a content-length that is no number"
    if lengths is not None:
        return "content-length and transfer-encoding together"
    if len(codings) > 1:
        return "more than one transfer-encoding"
    if version != b"HTTP/1.1":
        return "a transfer-encoding in another version than 1.1"
    if _coding(codings[0]) not in _CHUNKED_LAST | _NOT_CHUNKED:
        return "an unknown transfer-encoding"
    return ""


def _coding(value: bytes) -> bytes:
    # Not by a pattern that begins with any number of blanks: it looks at each blank anew from
    # each, and a value of 100 KB takes it a minute.
    return b",".join([part.strip(b" \t") for part in value.split(b",")]).lower()


def _says(values: list[bytes] | None, token: bytes) -> bool:
    return values is not None and any(
        part.strip(b" \t").lower() == token for value in values for part in value.split(b",")
    )


def read_answer(raw: bytes, method: bytes) -> AnswerHead:
    """Read the head of an answer to ``method``, without its empty line.

    Raises ``Unreadable``.
    """
    line, _, rest = raw.partition(b"\r\n")
    matched = _STATUS_LINE.fullmatch(line)
    if matched is None:
        raise Unreadable("the status line is none")
    if rest and _CLEAN.fullmatch(rest + b"\r\n") is None:
        raise Unreadable("a header line that is none")
    version, status = matched[1], int(matched[2])
    fields, found = _split_answer(rest, keep_all=status == 101)
    codings, lengths = found.get(b"transfer-encoding"), found.get(b"content-length")
    fault = _fault(codings, lengths, version)
    if codings is not None and (status < 200 or status == 204):
        fault = "a transfer-encoding where no body can be"
    elif codings is not None and not fault and _coding(codings[0]) != b"chunked":
        # Compressed on its way, it would hide the credentials that it holds.
        fault = "a transfer coding that is not chunked alone"
    close = version != b"HTTP/1.1" or _says(found.get(b"connection"), b"close")
    body = 0 if fault else _answer_body(method, status, codings, lengths)
    return AnswerHead(version, status, matched[3] or b"", fields, body, close, fault)


def _split_answer(block: bytes, *, keep_all: bool) -> tuple[Fields, dict[bytes, list[bytes]]]:
    """Give the fields that go on, and those that say how the message is framed."""
    kept: list[tuple[bytes, bytes]] = []
    found: dict[bytes, list[bytes]] = {}
    for line in block.split(b"\r\n") if block else ():
        name, _, value = line.partition(b":")
        lower, value = name.lower(), value.strip(b" \t")
        if lower in _FRAMING:
            found.setdefault(lower, []).append(value)
        if keep_all or lower not in _HOP_BY_HOP:
            kept.append((name, value))
    if b"connection" in found and not keep_all:
        said = b",".join(found[b"connection"]).lower().split(b",")
        named = {part.strip(b" \t") for part in said} - _NEVER_NAMED
        kept = [field for field in kept if field[0].lower() not in named]
    return tuple(kept), found


def _answer_body(
    method: bytes, status: int, codings: list[bytes] | None, lengths: list[bytes] | None
) -> int:
    if method == b"HEAD" or status < 200 or status in (204, 304):
        return 0
    if codings is not None:
        return CHUNKED
    return int(lengths[0]) if lengths is not None else TO_THE_END


def write_request(method: bytes, target: bytes, fields: Fields) -> bytes:
    """Give a head with its empty line. Raises ``ValueError`` if it would be read otherwise."""
    line = b"%b %b HTTP/1.1" % (method, target)
    if _REQUEST_LINE.fullmatch(line) is None:
        raise ValueError("a request line that would be read otherwise than it was meant")
    return b"%b\r\n%b\r\n" % (line, _block(fields))


def write_answer(status: int, reason: bytes, fields: Fields) -> bytes:
    """Give a head with its empty line. Raises ``ValueError`` if it would be read otherwise."""
    line = b"HTTP/1.1 %d %b" % (status, reason)
    if _STATUS_LINE.fullmatch(line) is None:
        raise ValueError("a status line that would be read otherwise than it was meant")
    return b"%b\r\n%b\r\n" % (line, _block(fields))


def _block(fields: Fields) -> bytes:
    block = b"".join([b"%b: %b\r\n" % field for field in fields])
    # As many lines as fields, and each of them one.
    if _CLEAN.fullmatch(block) is None or block.count(b"\n") != len(fields):
        raise ValueError("a header that would be read otherwise than it was meant")
    return block


def body_of(fields: Fields) -> int:
    """Give how long the body is that a request with these fields promises: as for a head.

    Raises ``ValueError`` where they promise two things, or none that can be kept.
    """
    found = _framing(fields)
    codings, lengths = found.get(b"transfer-encoding"), found.get(b"content-length")
    fault = _fault(codings, lengths, b"HTTP/1.1")
    if fault:
        raise ValueError(fault)
    if codings is not None:
        if _coding(codings[0]) != b"chunked":
            raise ValueError("a transfer coding that is not chunked alone")
        return CHUNKED
    return int(lengths[0]) if lengths is not None else 0
