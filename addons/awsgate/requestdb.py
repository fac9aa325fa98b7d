"""The database of access requests: its tables, how they came about, and how it is reached.

Three tables: ``awsgate_requests``, ``awsgate_reviews``, and ``awsgate_meta`` with one row:
the version of the schema, and a number that goes up with every change, so that whoever
watches asks for one row.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from awsgate.errors import SetupError
from awsgate.paths import check_private

TIMEOUT_S = 5
WRITES = "awsgate_writes"
"""Option of a connection that will change something: it excludes others from its beginning."""

_TABLES = MetaData()
META = Table(
    "awsgate_meta",
    _TABLES,
    Column("one", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("born", String(32), nullable=False),
    Column("changes", BigInteger, nullable=False),
)
REQUESTS = Table(
    "awsgate_requests",
    _TABLES,
    Column("id", String(32), primary_key=True),
    Column("user_name", Text, nullable=False),
    Column("connector", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("duration_s", BigInteger, nullable=False),
    Column("asked_at", BigInteger, nullable=False, index=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("terms", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("decided_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("closed_at", BigInteger, nullable=False),
    Column("revoked_by", Text, nullable=False),
    Column("call", Text, nullable=False, server_default=""),
)
REVIEWS = Table(
    "awsgate_reviews",
    _TABLES,
    Column("request", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("reviewer", Text, nullable=False),
    Column("connector", Text, nullable=False),
    Column("approved", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)


def _first(connection: Connection) -> None:
    _TABLES.create_all(connection)
    connection.execute(META.insert().values(one=1, version=0, born=secrets.token_hex(8), changes=0))


def _with_calls(connection: Connection) -> None:
    names = {column["name"] for column in inspect(connection).get_columns(REQUESTS.name)}
    if "call" not in names:  # the first step makes the tables as they are now
        connection.execute(
            text("ALTER TABLE awsgate_requests ADD COLUMN \"call\" TEXT DEFAULT '' NOT NULL")
        )


MIGRATIONS: Sequence[Callable[[Connection], None]] = (_first, _with_calls)
"""Step n makes a schema of version n out of one of version n - 1."""


def sqlite_url(path: Path) -> str:
    """Give the URL of a file."""
    return f"sqlite:///{path}"


def parsed(url: str) -> URL:
    """Read the URL of a database. Raises ``SetupError`` if it is none that can be used."""
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        raise _bad_url() from None
    backend = found.get_backend_name()
    if backend == "postgresql":
        return found.set(drivername="postgresql+psycopg")
    if backend != "sqlite" or not found.database or not Path(found.database).is_absolute():
        raise _bad_url()
    return found.set(drivername="sqlite")


def _bad_url() -> SetupError:
    return SetupError(
        "spec.requests.database_url of kind: gateway is no URL of a database",
        hint="postgresql://user:password@host/name, or sqlite:////var/lib/awsgate/requests.db",
    )


def engine_for(url: URL) -> Engine:
    """Give what connects to a database; nothing is asked of it yet. Raises ``SetupError``."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    try:
        return create_engine(
            url,
            pool_size=2,
            max_overflow=3,
            pool_pre_ping=True,
            pool_recycle=300,
            hide_parameters=True,
            connect_args={
                "connect_timeout": TIMEOUT_S,
                "options": f"-c statement_timeout={TIMEOUT_S}s -c lock_timeout={TIMEOUT_S}s",
            },
        )
    except ModuleNotFoundError:
        raise SetupError(
            "PostgreSQL needs psycopg", hint="pip install 'awsgate[postgres]'"
        ) from None


def _connected(path: Path) -> sqlite3.Connection:
    """Connect to a file. Raises ``sqlite3.Error``.

    To write ahead of the log is begun by one who is alone with the file. SQLite does not wait
    for that as long as it waits for a transaction: whoever comes meanwhile is told "locked".
    """
    latest = time.monotonic() + TIMEOUT_S
    while True:
        # mode=rw: a file that has gone is not made anew, open to all.
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=rw", uri=True, timeout=TIMEOUT_S, isolation_level=None
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")  # else WAL may lose the last in a crash
        except sqlite3.Error as exc:
            connection.close()
            busy = getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= latest:
                raise
            time.sleep(0.01)
        else:
            return connection


def _sqlite(url: URL) -> Engine:
    path = Path(str(url.database))
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as exc:
        raise SetupError(f"cannot open {path}: {exc.strerror}") from exc
    check_private(path)

    # No pool: a file that was restored from a backup is another file.
    engine = create_engine(
        url, poolclass=NullPool, hide_parameters=True, creator=lambda: _connected(path)
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
