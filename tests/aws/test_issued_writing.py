"""Surrogates are written where they can be read, and what was written is read again."""

from __future__ import annotations

import json

import pytest

from awsgate.aws import issued
from awsgate.aws.issued import AnswerError, find_issued, replace_issued

ANSWER = json.dumps(
    {
        "Credentials": {
            "AccessKeyId": "ASIAREALREALREALREAL",
            "SecretAccessKey": "rEaL/secret+0123456789abcdefghijklmnopqr",
            "SessionToken": "IQoJb3JpZ2luX2VjEJr" + "x/+9" * 20,
            "Expiration": 1_795_490_000,
        }
    }
).encode()
NEW = {
    "access_key_id": "GATEABCDEFGHIJKLMNOP",
    "secret_access_key": "surrogate-secret_0123456789",
    "session_token": "surrogate-token_0123456789",
}
NEW_END = 1_795_487_401


def replaced(**changed: str) -> bytes:
    found = find_issued(ANSWER)
    assert found is not None
    return replace_issued(ANSWER, found, **{**NEW, **changed}, expires_at=NEW_END)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("value", ["", "two words", "a\n", "é"])
def test_no_surrogate_is_written_that_cannot_stand_in_a_header(name: str, value: str) -> None:
    assert b"GATE" in replaced()
    with pytest.raises(AnswerError, match="empty or holds more than visible ASCII"):
        replaced(**{name: value})


def test_what_was_written_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the writing must not hand out credentials of another length of life."""
    monkeypatch.setattr(issued, "_end_like", lambda *_: "1795490000")

    with pytest.raises(AnswerError, match="does not hold the new credentials"):
        replaced()
