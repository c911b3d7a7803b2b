"""Comparing the projected tables of a journal with those that its events make, a page at a time.

Both sides are read in the order of the key, and SQLite alone compares keys: what somebody wrote into
a key column need not be anything that Python orders.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from cxlocal.journal.migrate import run_script
from cxlocal.projection.tables import TABLES, create_sql
from cxlocal.projection.views import create_views_sql
from cxlocal.values import NamedTuple

PAGE_ROWS = 1000
CACHE_KIB = 8 * 1024
"""Of the rows made anew so much is kept in memory; the rest lies in a temporary file."""

Row = tuple[Any, ...]


class Compared(NamedTuple):
    """What came of one stretch of a table."""

    table: str
    rows: int
    """Stored rows that were looked at."""
    keys: list[Row]
    """Of rows that differ, or are on one side only."""


def empty_projection() -> sqlite3.Connection:
    """Projected tables and views of this version with nothing in them, in a temporary file that
    nobody else can open."""
    connection = sqlite3.connect("", isolation_level=None)
    connection.execute("PRAGMA journal_mode=OFF").fetchall()
    connection.execute("PRAGMA synchronous=OFF")
    # sql: a number of ours, and PRAGMA takes no parameters
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    run_script(connection, create_sql())
    run_script(connection, create_views_sql())
    connection.execute("BEGIN")  # nothing of it is ever to be durable
    return connection


def compare(stored: sqlite3.Connection, fresh: sqlite3.Connection) -> Iterator[Compared]:
    """Every table, stretch by stretch."""
    for table in TABLES:
        yield from _compare_table(stored, fresh, table)


def changed_views(stored: sqlite3.Connection, fresh: sqlite3.Connection) -> list[str]:
    """Views that are not those this version makes. A view is what people read."""
    ask = "SELECT name, sql FROM sqlite_master WHERE type = 'view'"
    found, wanted = dict(stored.execute(ask).fetchall()), dict(fresh.execute(ask).fetchall())
    return [name for name, sql in wanted.items() if found.get(name) != sql]


def _compare_table(
    stored: sqlite3.Connection, fresh: sqlite3.Connection, table: str
) -> Iterator[Compared]:
    after: Row | None = None
    while True:
        expected = _page(fresh, table, after, None, PAGE_ROWS)
        upto = list(expected)[-1] if len(expected) == PAGE_ROWS else None
        found = _page(stored, table, after, upto, 2 * PAGE_ROWS)
        keys = [key for key, row in expected.items() if found.get(key) != row]
        keys += [key for key in found if key not in expected]
        yield Compared(table, len(found), keys)
        # More than twice as many as there should be: a thousand differences have been named.
        if upto is None or len(found) == 2 * PAGE_ROWS:
            return
        after = upto


def _page(
    connection: sqlite3.Connection, table: str, after: Row | None, upto: Row | None, limit: int
) -> dict[Row, Row]:
    """Rows by key, in its order, above ``after`` and not above ``upto``."""
    keys = TABLES[table].key
    names, marks = ", ".join(keys), ", ".join("?" * len(keys))
    wanted = [
        (f"({names}) {sign} ({marks})", key)
        for sign, key in ((">", after), ("<=", upto))
        if key is not None
    ]
    where = " WHERE " + " AND ".join(text for text, _ in wanted) if wanted else ""
    # sql: names out of TABLES; values are marks
    cursor = connection.execute(
        f"SELECT {names}, * FROM {table}{where} ORDER BY {names} LIMIT ?",
        (*(part for _, key in wanted for part in key), limit),
    )
    return {row[: len(keys)]: row[len(keys) :] for row in cursor.fetchall()}
