"""Databases for access requests, each gone after its test.

SQLite, and PostgreSQL too where ``scripts/requests-db`` says that there is one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from awsgate.requestdb import sqlite_url

POSTGRES = os.environ.get("AWSGATE_TEST_POSTGRES", "")
BACKENDS = ["sqlite", *(["postgresql"] if POSTGRES else [])]


@contextmanager
def database(backend: str, folder: Path) -> Iterator[str]:
    """Give the URL of a database of the test's own."""
    if backend == "sqlite":
        yield sqlite_url(folder / "requests.db")
        return
    name = f"awsgate_{secrets.token_hex(6)}"
    admin = create_engine(
        POSTGRES.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield f"{POSTGRES.rpartition('/')[0]}/{name}"
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()
