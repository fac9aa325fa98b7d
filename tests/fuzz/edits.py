"""What is done to a signed request, and the bytes that come of a case.

Edits of the message come first, in their order, then those of its bytes:

    start TEXT           the request line; {method}, {target} and {host} stand for its own
    line AT TEXT         a header line is put in, as it stands
    value NAME TEXT      the value of a header is replaced; {value} and {n} stand for its own
    name NAME TEXT       the name of a header is replaced
    drop NAME            a header is taken out
    move NAME            a header goes to the end
    chunks SIZES END     the body goes in chunks, their size lines written as told
    eol AT TEXT          the end of one line of the head is replaced
    bytes AT CUT TEXT    bytes are taken out and put in
    cut AT               the rest is never sent
    aws ...              something is done to an aws-chunked body; see ``awschunks``

``AT`` is a part of the whole, from 0 to 1, so that it means the same under other keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from awsgate.aws.sigv4 import SigningKeys
from fuzz.asks import Case, Edit, Message, Piece, Signed, sign


@dataclass
class Built:
    """A case, ready to be sent."""

    data: bytes = field(repr=False)
    signed: dict[str, Signed]
    """By mark."""
    pieces: list[bytes] = field(repr=False)
    """The whole, cut where it is to be cut."""


def build(case: Case, prefix: str, keys: SigningKeys) -> Built:
    """Make the bytes of a case. ``prefix`` makes its marks its own."""
    signed: dict[str, Signed] = {}
    made: list[tuple[Piece, bytes]] = []
    for piece in case.pieces:
        # What is sent twice is the same bytes twice, not signed again a second later.
        known = next((each for twin, each in made if twin == piece), None)
        made.append((piece, known or _piece(piece, prefix, keys, signed)))
    data = b"".join(each for _, each in made)
    cuts = sorted({round(at * len(data)) for at in case.splits} | {0, len(data)})
    return Built(data, signed, [data[a:b] for a, b in pairwise(cuts)])


def _piece(piece: Piece, prefix: str, keys: SigningKeys, signed: dict[str, Signed]) -> bytes:
    ask = piece.ask
    if ask is None:
        return piece.raw.encode("latin-1")
    body = ask.body.encode("latin-1")
    if ask.holds is not None:
        body += _piece(ask.holds, prefix, keys, signed)
    message, made = sign(ask, f"{prefix}-{ask.number}", body, keys, piece.edits)
    signed[made.mark] = made
    return serialised(message, piece.edits, chunked=ask.chunked)


def serialised(message: Message, edits: Sequence[Edit], *, chunked: bool) -> bytes:
    """Give the bytes of a message after all edits."""
    start = f"{message.method} {message.target} HTTP/1.1"
    lines = [[name, f"{name}: {value}"] for name, value in message.fields]
    body = _chunked(message.body, ["{:x}"], "\r\n") if chunked else message.body
    ends: list[tuple[float, str]] = []
    for name, *words in edits:
        if name == "start":
            start = words[0].format(method=message.method, target=message.target, host=message.host)
        elif name == "line":
            lines.insert(_at(words[0], len(lines)), ["", words[1]])
        elif name in ("value", "name", "drop", "move"):
            _edit_header(lines, name, words, len(message.body))
        elif name == "chunks":
            body = _chunked(message.body, words[0], words[1])
        elif name == "eol":
            ends.append((words[0], words[1]))
    data = _joined([start, *(line for _, line in lines), ""], ends) + body
    for name, *words in edits:
        if name == "bytes":
            at = _at(words[0], len(data))
            data = data[:at] + words[2].encode("latin-1") + data[at + words[1] :]
        elif name == "cut":
            data = data[: _at(words[0], len(data))]
    return data


def _at(part: float, whole: int) -> int:
    return min(whole, int(part * (whole + 1)))


def _edit_header(lines: list[list[str]], edit: str, words: list[str], size: int) -> None:
    wanted = words[0].lower()
    for number, (name, line) in enumerate(lines):
        if name.lower() != wanted:
            continue
        value = line.partition(": ")[2]
        if edit == "value":
            lines[number][1] = f"{name}: {_filled(words[1], value, size)}"
        elif edit == "name":
            lines[number][1] = f"{words[1]}: {value}"
        elif edit == "drop":
            del lines[number]
        else:
            lines.append(lines.pop(number))
        return


def _filled(text: str, value: str, size: int) -> str:
    return text.replace("{value}", value).replace("{n}", str(size)).replace("{x}", f"{size:x}")


def _joined(lines: list[str], ends: list[tuple[float, str]]) -> bytes:
    made = [line + "\r\n" for line in lines]
    for at, end in ends:
        number = min(len(lines) - 1, int(at * len(lines)))
        made[number] = lines[number] + end
    return "".join(made).encode("latin-1")


def _chunked(body: bytes, sizes: Sequence[str], end: str) -> bytes:
    """Give the body in as many chunks as there are size lines, and the last one's end."""
    each = max(1, -(-len(body) // len(sizes)))
    made = bytearray()
    for number, form in enumerate(sizes):
        data = body[number * each : (number + 1) * each]
        if data:
            made += form.format(len(data)).encode("latin-1") + b"\r\n" + data + b"\r\n"
    return bytes(made) + b"0\r\n" + end.encode("latin-1")
