"""Making the tables of a store in a database, and bringing older ones up to date.

They stand in a schema of their own. A journal that belongs to a store never gets fresh tables in
its place: numbers would start over.
"""

from __future__ import annotations

from typing import Any

from cxlocal.clock import Ids
from cxlocal_sync.postgresql.place import where_text
from cxlocal_sync.postgresql.session import SCHEMA, Connection, PostgresqlSession
from cxlocal_sync.stores.founding import found, may_found
from cxlocal_sync.stores.schema import FORMAT, postgresql_steps


class NoTables(Exception):
    """There are no tables to answer with; the text says why."""


def prepare(connection: Connection, message: dict[str, Any], ids: Ids) -> None:
    """See to it that the tables are there, made at the first contact. Raises NoTables."""
    if connection.checked:
        return
    if format_of(connection) != FORMAT:
        _make(connection, message, ids)
    check(connection)


def check(connection: Connection) -> None:
    """Raises NoTables where they are missing or of another release."""
    if connection.checked:
        return
    number = format_of(connection)
    if number == 0:
        raise NoTables("its tables are gone")
    if number != FORMAT:
        raise NoTables(f"its tables have format {number}, this cxlocal {FORMAT}")
    # sql: a name of ours
    row: Any = connection.execute(f"SELECT count(*) FROM {SCHEMA}.store").fetchone()
    if row[0] != 1:
        raise NoTables("its tables are damaged: it does not know which store it is")
    connection.checked = True


def format_of(connection: Connection) -> int:
    """The format of the tables; 0 where there are none."""
    # Not to_regclass(): within a transaction it may repeat what it said before somebody made them.
    there: Any = connection.execute(
        "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'format'", (SCHEMA,)
    ).fetchone()
    if there is None:
        return 0
    # sql: a name of ours
    row: Any = connection.execute(f"SELECT max(number) FROM {SCHEMA}.format").fetchone()
    return int(row[0] or 0)


def _make(connection: Connection, message: dict[str, Any], ids: Ids) -> None:
    session = PostgresqlSession(connection)
    try:
        session.begin()
        session.hold([])
        done = format_of(connection)  # others may have been quicker
        if done < FORMAT:
            if done == 0 and not may_found(message):
                raise NoTables("its tables are gone, and the journal belongs to it")
            carry_out(connection, done)
        if done == 0:
            oid: Any = connection.execute("SELECT 'store'::regclass::oid").fetchone()
            where = session.where
            found(session, message, ids, where_text(where._replace(tables=oid[0])) if where else "")
        session.commit()
    except BaseException:
        session.rollback()
        raise


def carry_out(connection: Connection, done: int) -> None:
    there: Any = connection.execute(
        "SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)
    ).fetchone()
    if there is None:
        # IF NOT EXISTS would need the right to create one even where it exists.
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
    connection.execute(postgresql_steps(done).encode())
    connection.execute("DELETE FROM format")
    connection.execute("INSERT INTO format VALUES (%s)", (FORMAT,))
