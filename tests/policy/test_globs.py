"""Globs: equal to the standard library's, but for its brackets, and linear."""

from __future__ import annotations

import re
from fnmatch import translate
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.policy.globs import glob_matches, parts_match

PATTERNS = st.text(alphabet="ab*?", max_size=12)
TEXTS = st.text(alphabet="ab\n", max_size=14)


@given(PATTERNS, TEXTS)
def test_it_agrees_with_fnmatch(pattern: str, text: str) -> None:
    assert glob_matches(pattern, text) == (re.match(translate(pattern), text) is not None)


@given(st.text(alphabet="ab*?", max_size=6), st.text(alphabet="ab*?", max_size=6))
def test_a_literal_part_matches_itself_alone(literal: str, other: str) -> None:
    parts = (("x", False), (literal, True), ("*", False))

    assert parts_match(parts, f"x{literal}tail")
    assert parts_match(((literal, True),), other) == (literal == other)


@pytest.mark.parametrize("pattern", ["*a*a*a*a*a*a*b", "*?a?*?a?*?a?*b", "?*?*?*?*?*?*b"])
def test_no_text_makes_a_pattern_slow(pattern: str) -> None:
    began = process_time()

    assert not glob_matches(pattern, "a" * 20_000)
    assert process_time() - began < 1  # one that backtracks takes years
