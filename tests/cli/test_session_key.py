"""``awsgate session-key rotate``: what was sealed before goes on, what was before that ends."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from awsgate.errors import Refusal
from awsgate.session import open_session
from awsgate.state import open_state
from commandline import Run


@pytest.fixture
def state(home: Path) -> Path:
    return home / "it's state"


def issued(run: Run) -> dict[str, str]:
    answer: dict[str, str] = json.loads(run("env", "--user", "alice", "--format", "json").out)
    return answer


def opened_by(state: Path, keys: dict[str, str]) -> bool:
    try:
        open_session(
            open_state(state).session_keys,
            access_key_id=keys["AWS_ACCESS_KEY_ID"],
            session_token=keys["AWS_SESSION_TOKEN"],
            now=int(time.time()),
        )
    except Refusal as exc:
        return "not one of this gateway's" not in exc.message
    return True


@pytest.mark.usefixtures("gateway_ca")
def test_a_session_outlives_one_rotation_and_not_two(run: Run, state: Path) -> None:
    open_state(state)
    keys = issued(run)
    before = (state / "session.key").read_bytes()

    result = run("session-key", "rotate")

    assert result.code == 0
    assert result.out == f"{state / 'session.key'}\n"
    assert "when it is started again" in result.err
    assert (state / "session.key").read_bytes() != before
    assert (state / "session.key.previous").read_bytes() == before
    assert opened_by(state, keys)
    run("session-key", "rotate")
    assert not opened_by(state, keys)


def test_a_folder_that_is_no_gateways_is_told_and_left_alone(run: Run, home: Path) -> None:
    result = run("session-key", "rotate", "--state", str(home / "nothing"))

    assert result.code == 2
    assert "there is no session key in" in result.err
    assert not (home / "nothing").exists()
