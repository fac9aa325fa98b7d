"""What can be seen of a text, wherever it is shown to somebody. Pure.

``str.isprintable`` goes by the category of a character. It takes letters and marks that are
shown as nothing, by which two names read alike, and blanks that read like the end of a word.
"""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "["
    # Default_Ignorable_Code_Point, of Unicode 14.0 to 16.0: DerivedCoreProperties.txt at
    # https://www.unicode.org/Public/16.0.0/ucd/
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    # Symbols and letters whose own glyph is empty: a pattern of Braille without a dot, the
    # blanks of hieroglyphs, Khitan's filler, a note without a head. UnicodeData.txt there.
    "\u2800\U00013441\U00013442\U00016fe4\U0001d159"
    "]"
)


def is_visible(text: str) -> bool:
    """True if all of ``text`` can be seen; of white space that is the space alone."""
    return text.isprintable() and (text.isascii() or _UNSEEN.search(text) is None)


def escaped(text: str, *, spaces: bool = False) -> str:
    """Give ``text`` with escapes for what cannot be seen. ``spaces``: white space stays."""
    if is_visible(text):
        return text
    return "".join(c if is_visible(c) or (spaces and c.isspace()) else ascii(c)[1:-1] for c in text)
