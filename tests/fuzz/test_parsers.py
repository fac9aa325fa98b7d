"""The parsers of what strangers send hold what they promise, for any bytes.

``scripts/fuzz --parsers`` does the same for as long as one likes, with atheris.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import parsers
from fuzz.corpora import corpus, mutated
from fuzz.parsers import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_what_it_begins_with_holds(name: str) -> None:
    for data in corpus(name):
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_hold(name: str) -> None:
    near = st.builds(
        lambda data, seed: mutated(random.Random(seed), data),  # noqa: S311 - no secret
        st.sampled_from(corpus(name)),
        st.integers(0, 1 << 32),
    )

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(st.one_of(near, near, near, st.binary(max_size=400)))
    def hold(data: bytes) -> None:
        TARGETS[name](data)

    hold()


def test_the_targets_take_good_input_apart() -> None:
    """Else they would hold because nothing gets through."""
    assert parsers._read_chunks(b"5\r\nhello\r\n0\r\n\r\n", [b"5\r\nhello\r\n0\r\n\r\n"]) == (
        b"hello", True, b"",
    )  # fmt: skip
    keys, made = parsers.session()
    opened = parsers.open_session(
        keys, access_key_id=made.access_key_id, session_token=made.session_token, now=parsers.NOW
    )
    assert opened.session.user == "bob"


@pytest.mark.parametrize("name", ["signed-chunks", "event-stream"])
def test_a_body_that_is_signed_goes_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = parsers._resigned

    def noted(*args):  # type: ignore[no-untyped-def]
        seen.append(real(*args))
        return seen[-1]

    monkeypatch.setattr(parsers, "_resigned", noted)
    good = corpus(name)[0]
    TARGETS[name](good)

    assert [(len(out), broken) for out, broken in seen] == [(len(good), False)] * 2
