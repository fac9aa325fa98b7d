"""What a provider's JSON comes to, as rules and traits read it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awsgate.connect.claims import MAX_CHARS, flat
from awsgate.connect.ways import LoginRefused

# id -> (claims, flat)
CASES: dict[str, tuple[dict[str, Any], dict[str, tuple[str, ...]]]] = {
    "a text": ({"a": "x"}, {"a": ("x",)}),
    "several": ({"a": ["x", "y"]}, {"a": ("x", "y")}),
    "true, numbers": ({"a": True, "b": 3, "c": 1.5}, {"a": ("true",), "b": ("3",), "c": ("1.5",)}),
    "a mixture": ({"a": ["x", 1, None, {}, ["y"], False]}, {"a": ("x", "1", "false")}),
    "nothing": ({"a": None, "b": [], "c": {}, "d": [{}]}, {}),
    "nested": ({"a": {"b": {"c": ["x"]}}, "d": "y"}, {"d": ("y",), "a.b.c": ("x",)}),
    "dots of its own": ({"kubernetes.io": {"pod": "x"}}, {"kubernetes.io.pod": ("x",)}),
    "its own name goes before a nested one": (
        {"a": {"b": "nested"}, "a.b": "own"},
        {"a.b": ("own",)},
    ),
    "about the token": ({"nonce": "x", "at_hash": "y", "sub": "z"}, {"sub": ("z",)}),
    "by the word of others": ({"_claim_sources": {"g": {"JWT": "x"}}, "_claim_names": {}}, {}),
    "a picture": ({"a": ["x" * (MAX_CHARS + 1), "y"]}, {"a": ("y",)}),
    "half a surrogate": ({"a": "\ud800", "\ud800": "x", "b": "é😀"}, {"b": ("é😀",)}),
}


@pytest.mark.parametrize(("claims", "expected"), CASES.values(), ids=CASES)
def test_flat(claims: dict[str, Any], expected: dict[str, tuple[str, ...]]) -> None:
    assert dict(flat(claims)) == expected


def test_what_is_nested_without_end_is_left_out() -> None:
    claims: dict[str, Any] = {"x": "y"}
    for _ in range(5000):
        claims = {"x": claims, "y": "z"}

    assert len(flat(claims)) == 9


def test_too_many_are_refused_and_not_cut_off() -> None:
    assert len(flat({"groups": [str(n) for n in range(4096)]})["groups"]) == 4096
    with pytest.raises(LoginRefused, match="over 512 claims or 4096 values"):
        flat({"groups": [str(n) for n in range(4097)]})


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(), _JSON))
def test_it_is_total_and_every_value_is_a_text_that_can_be_written(claims: dict[str, Any]) -> None:
    for name, values in flat(claims).items():
        assert values
        assert all(len(value) <= MAX_CHARS and value.encode() is not None for value in values)
        assert name.encode() is not None
