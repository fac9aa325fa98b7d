"""A key id that is none of ours opens nothing, whatever was sealed for it; bounds stay bounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from awsgate import session
from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal
from awsgate.session import Bounds, IssuedKeys, Session, SessionKeys, mint, open_session
from awsgate.surrogate import pack
from awsgate.tally import Tally
from awsgate.tunnelpass import mint_tunnel_pass, open_tunnel_pass

NOW = 1_795_428_930
KEYS = SessionKeys(bytes(range(32)))
ARN = "arn:aws:iam::123456789012:role/Reader"


def opened(bounds: Bounds = session.NO_BOUNDS) -> Session:
    made = mint(
        KEYS, user="alice", app="dev", role_arn=ARN, ttl_s=3600, now=NOW,
        entropy=bytes(range(40, 72)), bounds=bounds,
    )  # fmt: skip
    return open_session(
        KEYS, access_key_id=made.access_key_id, session_token=made.session_token, now=NOW
    ).session


@pytest.mark.parametrize(
    "bounds",
    [Bounds(read_only=True), Bounds(max_requests=7), Bounds(read_only=True, max_requests=1)],
)
def test_a_session_of_no_login_keeps_its_bounds(bounds: Bounds) -> None:
    assert opened(bounds).bounds == bounds


def test_a_token_that_was_sealed_for_another_kind_of_id_opens_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AWS's own signer would take such an id for one of its own."""
    monkeypatch.setattr(session, "KEY_PREFIX", "XYZA")
    made = mint(KEYS, user="alice", app="dev", role_arn=ARN, ttl_s=3600, now=NOW, entropy=bytes(32))
    assert made.access_key_id.startswith("XYZA")

    with pytest.raises(Refusal) as caught:
        open_session(
            KEYS, access_key_id=made.access_key_id, session_token=made.session_token, now=NOW
        )
    assert caught.value.code is Code.UNKNOWN_KEY


@pytest.mark.parametrize("key_id", ["AKIAIOSFODNN7EXAMPLE", "GATE", ""])
def test_neither_does_a_password_of_the_proxy(key_id: str) -> None:
    of_another = mint_tunnel_pass(KEYS, replace(opened(), key_id=key_id), entropy=bytes(32))

    with pytest.raises(Refusal) as caught:
        open_tunnel_pass(KEYS, key_id, of_another, now=NOW)
    assert caught.value.code is Code.UNKNOWN_KEY


@pytest.mark.parametrize("size", [0x8000, 0x10000])
def test_keys_that_cannot_be_packed_are_no_others(size: int) -> None:
    """Half of a length would be read as another form of text."""
    with pytest.raises(ValueError, match=f"is {size} bytes, expected fewer"):
        pack(IssuedKeys(SigningKeys("ASIA", "-" * size, "t"), NOW, "", ""))


def test_a_count_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "tally"
    elsewhere.write_bytes(b"12345678")
    folder.mkdir(mode=0o700)
    (folder / ("ab" * 10)).symlink_to(elsewhere)

    with pytest.raises(Refusal) as caught:
        Tally(folder)("ab" * 10)

    assert caught.value.code is Code.GATEWAY_FAULT
    assert elsewhere.read_bytes() == b"12345678"
    assert (folder / ("ab" * 10)).is_symlink()
