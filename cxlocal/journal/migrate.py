"""Creating and widening the journal's tables.

The event table never changes. Local tables are created where they are absent; each part of cxlocal
gives its own DDL (`CREATE … IF NOT EXISTS`), so that a newer release adds what it needs and an
older one ignores it.
"""

from __future__ import annotations

import sqlite3


def local_schemas() -> str:
    """The DDL of all local tables, in the order of the parts that own them."""
    from cxlocal.exchange.schema import SCHEMA as exchange
    from cxlocal.numbers.schema import SCHEMA as numbers
    from cxlocal.runner.schema import SCHEMA as runner

    return f"{numbers}\n{exchange}\n{runner}"


def create_tables(connection: sqlite3.Connection, event_sql: str) -> None:
    """Create everything a journal holds, inside the caller's transaction."""
    from cxlocal.projection.tables import PROJECTION_VERSION, create_sql
    from cxlocal.projection.views import create_views_sql

    for text in (event_sql, local_schemas(), create_sql(), create_views_sql()):
        run_script(connection, text)
    connection.execute(
        "INSERT OR IGNORE INTO projection_state (id, version, position) VALUES (1, ?, 0)",
        (PROJECTION_VERSION,),
    )


def run_script(connection: sqlite3.Connection, text: str) -> None:
    """Execute a script statement by statement: ``executescript`` would commit on its own."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    if statement.strip():
        connection.execute(statement)
