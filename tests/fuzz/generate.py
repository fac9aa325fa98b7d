"""Cases by number: the same seed and number are the same case, on every machine."""

from __future__ import annotations

import random
from dataclasses import replace

from fuzz import awschunks, menu
from fuzz.asks import HOSTS, SIBLINGS, Ask, Case, Edit, Piece

_SEND_BODY = ("PUT", "POST")


def case_of(seed: int, number: int) -> Case:
    """Give one case."""
    chance = random.Random(f"{seed}:{number}")  # noqa: S311 - no secret
    tunnel = chance.choice([*HOSTS, "s3", "", "", ""])
    clean = chance.random() < 0.08
    pieces: list[Piece] = []
    for _ in range(chance.choice((1, 1, 2, 2, 3, 4))):
        pieces.append(_piece(chance, tunnel, number=2 * len(pieces), clean=clean))
    if not clean and chance.random() < 0.15:
        twin = chance.choice(pieces)
        pieces.insert(chance.randrange(len(pieces) + 1), twin)
    clean = clean or Case(tunnel, tuple(pieces)).is_clean
    if clean or chance.random() < 0.7:  # one good request shows that the rest was told apart
        ask = replace(_ask(chance, tunnel, 2 * len(pieces), clean=True), close=True)
        pieces.append(Piece(ask))
    splits = () if chance.random() < 0.5 else _splits(chance)
    return Case(tunnel, tuple(pieces), splits, chance.choice((0, 0, 0, 1, 3)))


def _splits(chance: random.Random) -> tuple[float, ...]:
    return tuple(round(chance.random(), 6) for _ in range(chance.choice((1, 2, 5, 20))))


def _piece(chance: random.Random, tunnel: str, *, number: int, clean: bool) -> Piece:
    if clean:
        return Piece(_ask(chance, tunnel, number, clean=True))
    kind = chance.random()
    if kind < 0.12:
        return Piece(raw=chance.choice(menu.JUNK))
    ask = _ask(chance, tunnel, number, clean=False)
    edits = tuple(_edit(chance, ask) for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3))))
    if ask.aws_mode and chance.random() < 0.6:  # and nothing that would have it refused before
        return Piece(ask, (["aws", *_aws_edit(chance, round(chance.random(), 6))],))
    if any(edit[0] == "chunks" for edit in edits) and chance.random() < 0.8:
        method = "POST" if ask.method == "POST" else "PUT"
        ask = replace(ask, method=method, chunked=True, body=ask.body or _body(chance))
    return Piece(ask, edits)


def _ask(chance: random.Random, tunnel: str, number: int, *, clean: bool, deep: int = 0) -> Ask:
    service = tunnel or chance.choice(tuple(HOSTS))
    if not clean and chance.random() < 0.04:
        service = chance.choice(tuple(HOSTS))  # of another host than the tunnel's
    method, more, unsigned = "POST", "", False
    if service == "s3":
        method = chance.choice(("GET", "GET", "PUT", "PUT", "HEAD", "DELETE"))
        more = chance.choice(menu.PATHS)
        unsigned = chance.random() < 0.3
    elif service == "lambda":
        more = chance.choice(("", "", "?Qualifier=x"))
    ask = Ask(
        number,
        service=service,
        method=method,
        more=more,
        headers=chance.choice(((), (), (("X-Amz-Meta-A", "b c"),), (("Content-Language", "en"),))),
        unsigned_body=unsigned,
        origin=not tunnel,
        named_by=chance.choice(("host", "beside", "forwarded")),
        sibling=not clean and chance.random() < 0.06,
    )
    if service == "sqs":
        return replace(ask, body=_form(chance), chunked=chance.random() < 0.2)
    if method in _SEND_BODY or (not clean and chance.random() < 0.05):
        ask = replace(ask, body=_body(chance), chunked=chance.random() < 0.4)
        if clean and not ask.body:  # chunks of nothing, signed as empty: not taken
            ask = replace(ask, chunked=False)
        if deep == 0 and chance.random() < 0.3:
            inner = _ask(chance, tunnel, number + 1, clean=True, deep=1)
            ask = replace(ask, holds=Piece(inner))
        if method == "PUT" and chance.random() < 0.35:
            mode = chance.choice(awschunks.MODES)
            ask = replace(
                ask, aws_mode=mode, unsigned_body=False, aws_parts=chance.choice((1, 2, 5))
            )
    return ask


def _form(chance: random.Random) -> str:
    more = chance.choice(("", "&X=%0D%0A", "&X=" + menu.INNER.replace(" ", "+")))
    return "Action=SendMessage&Version=2012-11-05&MessageBody=hello&QueueUrl=q" + more


def _body(chance: random.Random) -> str:
    return chance.choice(
        ("", "hello", "0\r\n\r\n", "\r\n", "5\r\nhello\r\n0\r\n\r\n", "{}", "\0" * 40, menu.INNER,
         "0\r\n\r\n" + menu.INNER, "x" * 3000, "GET / HTTP/1.1\r\nX: ")
    )  # fmt: skip


def _edit(chance: random.Random, ask: Ask) -> Edit:
    at = round(chance.random(), 6)
    if ask.aws_mode and chance.random() < 0.3:
        return ["aws", *_aws_edit(chance, at)]
    kind = chance.choices(
        ("line", "framing", "value", "start", "eol", "chunks", "bytes", "host", "names", "cut"),
        (20, 22, 8, 14, 10, 14, 14, 6, 5, 2),
    )[0]
    if kind == "line":
        line = chance.choice(menu.LINES).replace("{other}", SIBLINGS[ask.service])
        return ["line", at, line.replace("{host}", ask.host)]
    if kind == "framing":
        return _framing(chance, at)
    if kind == "value":
        return ["value", chance.choice(menu.NAMES), chance.choice(menu.VALUES)]
    if kind == "host":
        name = chance.choice(("Host", "Host", "X-Forwarded-Host"))
        other = chance.random() < 0.3
        return ["value", name, SIBLINGS[ask.service] if other else chance.choice(menu.HOSTS)]
    if kind == "start":
        return ["start", chance.choice(menu.STARTS)]
    if kind == "eol":
        return ["eol", chance.choice((at, 0.999, 0.0)), chance.choice(menu.EOLS)]
    if kind == "chunks":
        sizes = [chance.choice(menu.SIZES), *["{:x}"] * chance.randrange(3)]
        chance.shuffle(sizes)
        return [
            "chunks",
            sizes,
            chance.choice(menu.LAST if chance.random() < 0.4 else menu.LAST[:1]),
        ]
    if kind == "bytes":
        return ["bytes", at, chance.choice((0, 0, 0, 1, 1, 4)), chance.choice((*menu.ODD, ""))]
    if kind == "cut":
        return ["cut", at]
    return _names(chance)


def _aws_edit(chance: random.Random, at: float) -> Edit:
    kind = chance.choice(
        ("swap", "swap", "drop", "twice", "size", "more", "text", "text", "end", "cut")
    )
    if kind == "size":
        return [kind, at, chance.choice(menu.AWS_SIZES)]
    if kind == "more":
        return [kind, at, chance.choice(menu.AWS_MORE)]
    if kind == "text":
        cut, text = chance.choice(((1, "0"), (1, "z"), (2, "\r\n"), (0, "0"), (66, ""), (1, "")))
        return [kind, at, cut, chance.choice((text, text, *menu.ODD))]
    return [kind, chance.choice(menu.AWS_ENDS) if kind == "end" else at]


def _framing(chance: random.Random, at: float) -> Edit:
    """Say something about the length of the body, once more or otherwise."""
    if chance.random() < 0.25:
        if chance.random() < 0.5:
            return ["value", "Content-Length", chance.choice(menu.LENGTHS)]
        return ["value", "Transfer-Encoding", chance.choice(menu.CODINGS)]
    around = chance.choice(menu.FRAMING_NAMES if chance.random() < 0.6 else menu.FRAMING_NAMES[:1])
    if chance.random() < 0.5:
        value = chance.choice(("0", "5", "4", "30", "1", *menu.LENGTHS)).replace("{n}", "5")
        return ["line", at, around.replace("{}", "Content-Length") + value.replace("{x}", "5")]
    value = chance.choice(("chunked", "chunked", *menu.CODINGS))
    name = chance.choice(("Transfer-Encoding", "transfer-encoding", "Transfer-encoding"))
    return ["line", at, around.replace("{}", name) + value]


def _names(chance: random.Random) -> Edit:
    name = chance.choice(("Host", "Authorization", "X-Amz-Date", "Content-Length",
                          "Transfer-Encoding", "X-Forwarded-Host"))  # fmt: skip
    kind = chance.choice(("drop", "move", "name"))
    if kind != "name":
        return [kind, name]
    form = chance.choice(("{} ", " {}", "{}\t", "X-{}", "{}\0", "\r\n {}"))
    return ["name", name, chance.choice((name.lower(), name.upper(), form.format(name)))]
