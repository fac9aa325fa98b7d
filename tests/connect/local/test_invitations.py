"""Tokens of invitations: read as they were written, and whatever else is sent is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.connect.invitations import hashed, parsed, token_of
from awsgate.connect.ways import LoginRefused
from awsgate.policy.fields import is_name

NAMES = st.text(min_size=1, max_size=255).filter(is_name)


@given(secret=st.binary(min_size=32, max_size=32), user=NAMES)
def test_a_token_is_read_as_it_was_written(secret: bytes, user: str) -> None:
    token = token_of(secret, user)

    assert parsed(token) == (user, hashed(secret))
    assert parsed(f" {token}\n") == (user, hashed(secret))
    assert token.isascii()
    assert token.isprintable()


@given(st.one_of(st.text(), st.text().map("gateinvite.".__add__), st.binary().map(repr)))
def test_whatever_is_sent_is_read_or_refused(text: str) -> None:
    with suppress(LoginRefused):
        user, digest = parsed(text)
        assert is_name(user)
        assert len(digest) == 64


@pytest.mark.parametrize("user", ["", " alice", "a\nb", "a" * 256])
def test_what_is_no_name_is_in_no_token(user: str) -> None:
    with pytest.raises(LoginRefused):
        parsed(token_of(b"\0" * 32, user))
