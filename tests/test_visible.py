"""What can be seen of a text, and what is made of the rest where it is shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.cli.terminal import columns, printable, printable_lines
from awsgate.connect import oauth
from awsgate.policy.fields import is_name
from awsgate.requestwords import said
from awsgate.visible import escaped, is_visible
from awsgate.web.page.rendering import _breakable

PRINTABLE_AND_UNSEEN = {
    "braille pattern blank": "\u2800",
    "hangul filler": "\u3164",
    "hangul choseong filler": "\u115f",
    "hangul jungseong filler": "\u1160",
    "halfwidth hangul filler": "\uffa0",
    "combining grapheme joiner": "\u034f",
    "variation selector-16": "\ufe0f",
    "mongolian free variation selector one": "\u180b",
    "variation selector-17": "\U000e0100",
    "khmer vowel inherent aq": "\u17b4",
    "khitan small script filler": "\U00016fe4",
    "musical symbol null notehead": "\U0001d159",
}
SEEN = ["lola", "a b", "Übung/☃", "日本語", "한글", "e\u0301", "\u05d0", "⠁", "😀", "!~"]


@pytest.mark.parametrize("char", PRINTABLE_AND_UNSEEN.values(), ids=PRINTABLE_AND_UNSEEN)
def test_what_python_prints_and_nobody_sees_is_escaped_and_no_name(char: str) -> None:
    text = f"lo{char}la"
    code = ascii(char)[1:-1]

    assert text.isprintable()
    assert not is_visible(text)
    assert not is_name(text)
    assert escaped(text) == printable(text) == f"lo{code}la"
    assert columns([(text, "x")]) == [f"lo{code}la  x"]
    assert _breakable(text) == f"lo{code}la"
    assert said(text) == f": lo{code}la"
    assert oauth.printable(text) == "lola"


@pytest.mark.parametrize("text", SEEN)
def test_what_is_seen_stays(text: str) -> None:
    assert is_visible(text)
    assert is_name(text)
    assert escaped(text) is text
    assert oauth.printable(text) == text


def test_white_space_stays_where_there_is_room_for_it() -> None:
    assert escaped("a\n\tb\u3000c\x1b", spaces=True) == "a\n\tb\u3000c\\x1b"
    assert escaped("a\nb\u3000c") == "a\\nb\\u3000c"
    assert printable_lines("a\n\u3164") == "a\n\\u3164"


@given(st.text())
def test_what_is_escaped_can_be_seen_and_that_once_is_enough(text: str) -> None:
    assert is_visible(escaped(text))
    assert escaped(escaped(text)) == escaped(text)


def test_no_format_and_no_variation_selector_is_seen() -> None:
    """Most of Default_Ignorable_Code_Point is these, by its rule in DerivedCoreProperties.txt."""
    formats = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) == "Cf"]
    selectors = [*map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))]

    assert len(formats) > 100
    assert not any(map(is_visible, [*formats, *selectors]))
