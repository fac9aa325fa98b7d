"""Where access requests are kept: SQLite in the state folder, or a database that gateways share.

A schema of an earlier version is brought up to date when it is opened, by the first who
comes; one of a later version is not touched.

Whatever changes a request reads it, judges it and writes it in one transaction that
excludes all others (``change``): two reviewers at two gateways cannot both be the first.

What goes wrong with the database is a ``SetupError`` without a word of its URL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, and_, func, inspect, or_, select
from sqlalchemy.exc import SQLAlchemyError

from awsgate.errors import SetupError
from awsgate.policy.accessrequest import DENIED_S, LIVE, AccessRequest, Review, State, closed
from awsgate.policy.approvals import AskedCall, MarkedCall
from awsgate.policy.grants import Grant
from awsgate.requestdb import (
    META,
    MIGRATIONS,
    REQUESTS,
    REVIEWS,
    WRITES,
    engine_for,
    parsed,
)

MAX_LISTED = 500
_LOCK = 0x61777367  # "awsg": of PostgreSQL's advisory locks, the one for changes of the schema
_LIVE = REQUESTS.c.state.in_(LIVE)


class RequestStore:
    """An opened database. Threads and processes may share it; a fork opens its own."""

    def __init__(
        self,
        url: str,
        *,
        migrations: Sequence[Callable[[Connection], None]] = MIGRATIONS,
    ) -> None:
        """Open the database of a URL, ``sqlite:///`` or ``postgresql://``, and make its tables.

        Raises ``SetupError``.
        """
        self._url, self._migrations = parsed(url), migrations
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        with self._translated():
            self._engine = engine_for(self._url)
            try:
                self._migrate()
            except BaseException:
                self._engine.dispose()
                raise

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def version(self) -> object:
        """Give what differs whenever something has changed. Raises ``SetupError``."""
        with self._translated(), self._engine.connect() as connection:
            row = connection.execute(select(META.c.born, META.c.changes)).one()
            return row.born, row.changes

    def get(self, request_id: str) -> AccessRequest | None:
        """Give a request; None: there is none."""
        with self._translated(), self._engine.connect() as connection:
            return next(iter(_read(connection, REQUESTS.c.id == request_id)), None)

    def newest(self) -> list[AccessRequest]:
        """Give the newest requests first, and all that wait for an answer or are granted."""
        with self._translated(), self._engine.connect() as connection:
            found = _read(connection, _LIVE) + _read(connection, ~_LIVE, most=MAX_LISTED)
        return sorted(found, key=lambda one: (-one.asked_at, one.id))

    def pending(self) -> list[AccessRequest]:
        """Give all that wait for an answer."""
        with self._translated(), self._engine.connect() as connection:
            return _read(connection, REQUESTS.c.state == State.PENDING)

    def grants(self) -> tuple[list[Grant], int]:
        """Give all grants, and when the next request changes by itself; 0: none does."""
        with self._translated(), self._engine.connect() as connection:
            found = _read(connection, _LIVE, reviews=False)
        deadlines = [one.deadline for one in found if one.deadline]
        return [grant for one in found if (grant := one.grant())], min(deadlines, default=0)

    def calls(self, now: int, user: str | None = None) -> list[AskedCall]:
        """Give the calls that somebody, or one user, has asked for, and what has become of them.

        Of denials those that hold.
        """
        denied = and_(REQUESTS.c.state == State.DENIED, REQUESTS.c.decided_at > now - DENIED_S)
        where = (REQUESTS.c.call != "") & or_(_LIVE, denied)
        if user is not None:
            where &= REQUESTS.c.user_name == user
        with self._translated(), self._engine.connect() as connection:
            found = _read(connection, where)
        return [call for one in found if (call := one.asked_call()) is not None]

    def add(
        self,
        request: AccessRequest,
        check: Callable[[list[AccessRequest]], None],
        note: Callable[[AccessRequest], None],
    ) -> None:
        """Keep a new request.

        ``check`` sees all that wait or are granted of this user, and raises what keeps the
        new one out. ``note`` is called last: if it raises, nothing has happened.
        """
        with self._translated(), self._changing() as connection:
            check(_read(connection, _LIVE & (REQUESTS.c.user_name == request.user)))
            connection.execute(REQUESTS.insert().values(**_row(request)))
            note(request)

    def change(
        self,
        request_id: str,
        judge: Callable[[AccessRequest], AccessRequest],
        note: Callable[[AccessRequest], None],
    ) -> AccessRequest | None:
        """Put what ``judge`` makes of a request in its place; None: there is none of that id.

        Nobody else changes it meanwhile. ``note`` gets the new one, last: if it or ``judge``
        raises, nothing has happened.
        """
        with self._translated(), self._changing() as connection:
            before = next(iter(_read(connection, REQUESTS.c.id == request_id)), None)
            if before is None:
                return None
            after = judge(before)
            if after != before:
                self._write(connection, before, after)
            note(after)
            return after

    def close_ended(self, now: int) -> list[AccessRequest]:
        """Note the end of all whose time is over, and give them: each is given once, to one."""
        with self._translated(), self._engine.connect() as connection:
            if not any(closed(one, now) != one for one in _read(connection, _LIVE, reviews=False)):
                return []
        with self._translated(), self._changing() as connection:
            over = [(one, closed(one, now)) for one in _read(connection, _LIVE)]
            ended = [(before, after) for before, after in over if before != after]
            for before, after in ended:
                self._write(connection, before, after)
            return [after for _, after in ended]

    # --- inside -------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        """Give a connection in a transaction that excludes all others that change things."""
        with self._writing() as connection:
            # On SQLite BEGIN IMMEDIATE has excluded them already; elsewhere this row's lock does.
            connection.execute(META.update().values(changes=META.c.changes + 1))
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            connection.execution_options(**{WRITES: True})
            with connection.begin():
                yield connection

    def _write(self, connection: Connection, before: AccessRequest, after: AccessRequest) -> None:
        connection.execute(REQUESTS.update().where(REQUESTS.c.id == after.id).values(**_row(after)))
        for number in range(len(before.reviews), len(after.reviews)):
            one = after.reviews[number]
            connection.execute(
                REVIEWS.insert().values(
                    request=after.id,
                    number=number,
                    reviewer=one.reviewer,
                    connector=one.connector,
                    approved=one.approved,
                    reason=one.reason,
                    at=one.at,
                )
            )

    def _migrate(self) -> None:
        newest = len(self._migrations)
        with self._writing() as connection:
            if not self._is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            version = 0
            if inspect(connection).has_table(META.name):
                version = connection.execute(select(META.c.version)).scalar_one()
            if version > newest:
                raise SetupError(
                    f"the database of access requests has schema {version}, and this awsgate "
                    f"knows {newest}: a newer one has made it",
                    hint="upgrade this gateway too",
                )
            for step in self._migrations[version:]:
                step(connection)
            if version != newest:
                connection.execute(META.update().values(version=newest))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as exc:
            # Not from exc: a driver may repeat what it was told to connect with.
            raise SetupError(
                f"the database of access requests does not answer: {self._why(exc)}",
                hint="spec.requests.database_url of kind: gateway says where it is",
            ) from None

    def _why(self, exc: SQLAlchemyError) -> str:
        cause = getattr(exc, "orig", None)
        if cause is None:
            return type(exc).__name__
        line = next(iter(str(cause).strip().splitlines()), "")[:200]
        password = self._url.password
        return line.replace(password, "***") if password else line or type(cause).__name__


def _row(request: AccessRequest) -> dict[str, Any]:
    terms = {"thresholds": request.thresholds, "suggested": request.suggested}
    return {
        "id": request.id,
        "user_name": request.user,
        "connector": request.connector,
        "role": request.role,
        "reason": request.reason,
        "duration_s": request.duration_s,
        "asked_at": request.asked_at,
        "expires_at": request.expires_at,
        "terms": json.dumps(terms),
        "state": request.state.value,
        "decided_at": request.decided_at,
        "until": request.until,
        "closed_at": request.closed_at,
        "revoked_by": request.revoked_by,
        "call": json.dumps(asdict(request.call)) if request.call is not None else "",
    }


def _read(
    connection: Connection, where: Any, *, most: int = 0, reviews: bool = True
) -> list[AccessRequest]:
    query = select(REQUESTS).where(where).order_by(REQUESTS.c.asked_at.desc(), REQUESTS.c.id)
    rows = connection.execute(query.limit(most) if most else query).all()
    of = _reviews_of(connection, [row.id for row in rows]) if reviews else {}
    return [_request(row, of.get(row.id, ())) for row in rows]


def _reviews_of(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[Review, ...]]:
    found: dict[str, tuple[Review, ...]] = {}
    for some in _slices(ids, 200):  # a statement has a bounded number of parameters
        query = select(REVIEWS).where(REVIEWS.c.request.in_(some)).order_by(REVIEWS.c.number)
        for row in connection.execute(query):
            review = Review(row.reviewer, row.connector, row.approved, row.reason, row.at)
            found[row.request] = (*found.get(row.request, ()), review)
    return found


def _slices(ids: Sequence[str], most: int) -> Iterable[Sequence[str]]:
    return (ids[start : start + most] for start in range(0, len(ids), most))


def _request(row: Any, reviews: tuple[Review, ...]) -> AccessRequest:
    terms = json.loads(row.terms)
    return AccessRequest(
        id=row.id,
        user=row.user_name,
        connector=row.connector,
        role=row.role,
        reason=row.reason,
        duration_s=row.duration_s,
        asked_at=row.asked_at,
        expires_at=row.expires_at,
        thresholds=tuple((approve, deny) for approve, deny in terms["thresholds"]),
        suggested=tuple(terms["suggested"]),
        state=State(row.state),
        decided_at=row.decided_at,
        until=row.until,
        closed_at=row.closed_at,
        revoked_by=row.revoked_by,
        reviews=reviews,
        call=_call(row.call),
    )


def _call(text: str) -> MarkedCall | None:
    if not text:
        return None
    found = json.loads(text)
    return MarkedCall(
        found["role"], found["role_arn"], tuple(found["actions"]), tuple(found["resources"])
    )
