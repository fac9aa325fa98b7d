"""The store on SQLite; on PostgreSQL too where ``scripts/requests-db`` says there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from awsgate.requeststore import RequestStore
from requestdatabases import BACKENDS, database


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def store(url: str) -> Iterator[RequestStore]:
    made = RequestStore(url)
    yield made
    made.close()
