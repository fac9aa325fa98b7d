"""Fixtures of the tests of the connectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from awsgate.connect.local import LocalUsers
from awsgate.state import open_state
from localusers import QUICK, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return open_state(tmp_path / "state").users_folder


@pytest.fixture
def users(folder: Path, clock: Clock) -> LocalUsers:
    return LocalUsers(folder, clock, hasher=QUICK)
