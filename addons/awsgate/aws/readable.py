"""Tells answers whose words can be seen from those in which anything may be hidden.

What is compressed shows nothing of what it holds, and need not say so; but it is no UTF-8, by
its first bytes or soon after, and does not begin as an object of CBOR does. In CBOR, text
stands as it is.

Pure.
"""

from __future__ import annotations

from typing import Literal

AnswerForm = Literal["text", "cbor", "any"]
"""What an answer may be: text alone, or an object of CBOR, too; ``any``: it holds no words."""

_SELF_DESCRIBED = b"\xd9\xd9\xf7"
_MAP = 5
_ZLIB = (b"x\x01", b"x^", b"x\x9c", b"x\xda")
"""How it begins (RFC 1950). A little of it can be UTF-8; but no XML or JSON begins so."""


def is_readable(body: bytes, form: AnswerForm) -> bool:
    """True if what the body says can be seen, or if it may be anything."""
    if form == "any":
        return True
    inside = body.removeprefix(_SELF_DESCRIBED)
    if form == "cbor" and inside and inside[0] >> 5 == _MAP:
        return True
    if body.startswith(_ZLIB):
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
