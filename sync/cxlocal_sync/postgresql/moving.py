"""A store in a PostgreSQL database, as a place that a store moves from or to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from cxlocal.address import public_address
from cxlocal.clock import Clock, SystemClock
from cxlocal_sync.postgresql import tables
from cxlocal_sync.postgresql.connecting import connect, read_address
from cxlocal_sync.postgresql.session import Connection, PostgresqlSession

CONNECT_SECONDS = 10.0


class PostgresqlPlace:
    """See ``cxlocal_sync.stores.moving.Place``."""

    failures: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self.url = public_address(url)
        self._servers = read_address(url)
        self._clock = clock or SystemClock()
        self._connection: Connection | None = None
        self._session: PostgresqlSession | None = None

    def _connected(self) -> Connection:
        if self._connection is None:
            until = self._clock.monotonic() + CONNECT_SECONDS
            self._connection = connect(self._servers, self._clock, until)
            self._connection.until = float("inf")
        return self._connection

    @property
    def session(self) -> PostgresqlSession:
        """The transaction that was begun."""
        assert self._session is not None
        return self._session

    def exists(self) -> bool:
        """Whether the database holds the tables of a store."""
        return tables.format_of(self._connected()) > 0

    def make(self) -> None:
        """Empty tables."""
        self.begin()
        tables.carry_out(self._connected(), 0)
        self.commit()

    def begin(self) -> str:
        """Keep everybody else away."""
        self._session = PostgresqlSession(self._connected())
        here = self._session.begin()
        self._session.hold([])
        return here

    def append(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert whole rows."""
        # sql: a name of ours
        with (
            self._connected().cursor() as cursor,
            cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy,
        ):
            for row in rows:
                copy.write_row(row)

    def go_on_after(self) -> None:
        """Sequences do not look at what was copied."""
        for table in ("member", "node"):
            # sql: a name of ours
            self.session.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"
            )

    def commit(self) -> None:
        """End the transaction well."""
        self.session.commit()
        self._session = None

    def rollback(self) -> None:
        """Undo what was not committed."""
        if self._session is not None:
            self._session.rollback()
            self._session = None

    def digests(self) -> list[str]:
        """The blobs of the database."""
        self.begin()
        rows = self.session.execute("SELECT digest FROM blob ORDER BY digest").fetchall()
        self.commit()
        return [row[0] for row in rows]

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
