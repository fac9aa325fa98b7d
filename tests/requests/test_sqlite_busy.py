"""Who opens the file while another begins to write ahead is told "locked" at once, by SQLite."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from awsgate import requestdb
from awsgate.errors import SetupError
from awsgate.requestdb import sqlite_url
from awsgate.requeststore import RequestStore


class Busy(sqlite3.Connection):
    """Says "locked" to the first statements, whoever's they are."""

    left = 0
    """How many it still says that to."""
    begun = 0
    """Connections that were told so, and have not been closed."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if not Busy.left:
            return super().execute(sql, *parameters)
        Busy.left, Busy.begun = Busy.left - 1, Busy.begun + 1
        exc = sqlite3.OperationalError("database is locked")
        exc.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise exc

    def close(self) -> None:
        Busy.begun = max(0, Busy.begun - 1)
        super().close()


@pytest.fixture(autouse=True)
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Busy))
    monkeypatch.setattr(Busy, "left", 0)
    monkeypatch.setattr(Busy, "begun", 0)


def test_it_is_tried_again(tmp_path: Path) -> None:
    Busy.left = 3

    store = RequestStore(sqlite_url(tmp_path / "requests.db"))

    assert (Busy.left, Busy.begun) == (0, 0)
    assert store.newest() == []
    store.close()


def test_but_not_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requestdb, "TIMEOUT_S", 0.1)
    Busy.left = 1_000_000

    with pytest.raises(SetupError, match="locked"):
        RequestStore(sqlite_url(tmp_path / "requests.db"))

    assert Busy.left < 1_000_000
    assert Busy.begun == 0, "none of them stays open"
