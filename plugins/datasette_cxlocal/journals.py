"""Which databases are journals, and what Datasette may show of them: the few places where the two
Datasette lines differ."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from datasette.database import QueryInterrupted

APPLICATION_ID = 0x43584C31
"""``CXL1`` in the header of every journal."""

PART_LIMIT_MS = 250
"""For one part of a page: while a page reads, a run that wants to write waits."""

_SEEN = "_cxlocal_journal"


async def is_journal(datasette: Any, name: str | None) -> bool:
    """Whether the database called ``name`` is a journal. Remembered on the database once true."""
    database = datasette.databases.get(name)
    if database is None:
        return False
    if getattr(database, _SEEN, False):
        return True
    try:
        found = bool(await database.execute_fn(_has_mark))
    except sqlite3.Error:
        return False  # Datasette tells about a file that cannot be read; it is not ours to say.
    if found:
        setattr(database, _SEEN, True)
    return found


def _has_mark(connection: sqlite3.Connection) -> bool:
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    views = "SELECT count(*) FROM sqlite_master WHERE name IN ('release_board', 'run_timeline')"
    return bool(mark == APPLICATION_ID and connection.execute(views).fetchone()[0] == 2)


async def rows_of(
    datasette: Any, name: str, sql: str, given: dict[str, Any] | None = None
) -> list[dict[str, Any]] | None:
    """What one part of a page shows; None where it takes too long, or the journal is busy or damaged:
    the page then says so of that part alone."""
    database = datasette.get_database(name)
    try:
        found = await database.execute(sql, given or {}, custom_time_limit=PART_LIMIT_MS)
    except (sqlite3.Error, QueryInterrupted):  # the latter is no error of sqlite3
        return None
    return [dict(row) for row in found.rows]


async def first_journal(datasette: Any) -> str | None:
    """The name of the first journal that is open, or None."""
    for name in list(datasette.databases):
        if await is_journal(datasette, name):
            return str(name)
    return None


def page_address(datasette: Any, database: str, page: str, what: object = "") -> str:
    """The address of one of our pages; ``what`` it is about stands behind its name."""
    path = f"{datasette.urls.database(database)}/-/{page}"
    return f"{path}/{quote(str(what), safe='')}" if what else path


def run_addresses(datasette: Any, database: str) -> Callable[[str], str]:
    """A function from a run's id to the address of its page."""
    return lambda run: page_address(datasette, database, "run", run)


async def has_query(datasette: Any, database: str, name: str) -> bool:
    """Whether a stored query of that name exists."""
    if hasattr(datasette, "get_canned_query"):  # 0.65
        return bool(await datasette.get_canned_query(database, name, None))
    return bool(await datasette.get_query(database, name))


PERMISSION_TRIES = 20
"""Datasette looks a name up under its own limit; a small one ends that now and then."""


async def may_view(datasette: Any, actor: Any, database: str, table: str) -> bool:
    """Whether ``actor`` may see a table or view: the server, the database and itself. Raises QueryInterrupted
    where Datasette cannot find that out in time."""
    for _ in range(PERMISSION_TRIES):
        try:
            return await _may_view(datasette, actor, database, table)
        except QueryInterrupted:
            pass  # asked again
    return await _may_view(datasette, actor, database, table)


async def _may_view(datasette: Any, actor: Any, database: str, table: str) -> bool:
    if hasattr(datasette, "permission_allowed"):  # 0.65, where the three are asked one by one
        steps = [("view-table", (database, table)), ("view-database", database), "view-instance"]
        visible, _ = await datasette.check_visibility(actor, permissions=steps)
        return bool(visible)
    from datasette.resources import TableResource

    resource = TableResource(database=database, table=table)
    return bool(await datasette.allowed(action="view-table", resource=resource, actor=actor))
