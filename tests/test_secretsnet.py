"""The net under all tests holds what falls into it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest

import secretsnet
from aws_server.model import BaseKeys
from aws_server.server import BASE_KEYS, StrictAws
from rawclient import mint_keys

ROLE = "arn:aws:iam::123456789012:role/x"


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder where the net itself does not look."""
    with TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("name", ["gateway.log", "audit.jsonl", "a/b/audit.jsonl.1", "chatter.log"])
@pytest.mark.parametrize("how", [str, quote, lambda text: json.dumps([f"x{text}y"])])
def test_a_secret_in_what_a_gateway_left_is_told(elsewhere: Path, name: str, how: object) -> None:
    secret = f"{os.urandom(9).hex()}/+{os.urandom(6).hex()}"
    secretsnet.remember(secret)
    file = elsewhere / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"before {how(secret)} after\n")  # type: ignore[operator]

    assert list(secretsnet.leaks_under(elsewhere)) == [f"{name}: {secret[:6]}..."]


def test_keys_that_tests_make_are_remembered(elsewhere: Path) -> None:
    made = mint_keys(elsewhere / "state", user="ada", role=ROLE, entropy=os.urandom(32))
    with StrictAws() as aws:
        issued = aws.keys.issue("role", seconds=900, session_name="x", arn=ROLE)
    secrets = {
        made.secret_access_key, made.session_token, issued.secret, issued.token,
        BASE_KEYS.secret_access_key,
    }  # fmt: skip

    for secret in secrets:
        assert secretsnet.leaks_in(f"a {secret} b".encode()) == {secret}


def test_a_session_key_is_looked_for_wherever_one_was_made(elsewhere: Path) -> None:
    mint_keys(elsewhere / "state", user="ada", role=ROLE, entropy=os.urandom(32))
    key = (elsewhere / "state/session.key").read_text().strip()
    (elsewhere / "gateway.log").write_text(f"opened with {key}\n")

    assert list(secretsnet.leaks_under(elsewhere)) == [f"gateway.log: {key[:6]}..."]


def test_what_is_no_secret_is_not_told(elsewhere: Path) -> None:
    (elsewhere / "audit.jsonl").write_text(json.dumps({"hash": "ab" * 32, "role_arn": ROLE}) + "\n")

    assert list(secretsnet.leaks_under(elsewhere)) == []
    assert BaseKeys("AKIA", "x" * 30)
