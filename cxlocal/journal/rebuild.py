"""Bringing the projection forward, or making it anew from the events."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from cxlocal.journal.migrate import run_script
from cxlocal.journal.read import PAGE_EVENTS, events_after
from cxlocal.projection.apply import apply_facts
from cxlocal.projection.project import project, stamp
from cxlocal.projection.tables import PROJECTION_VERSION, TABLES, create_sql
from cxlocal.projection.views import VIEWS, create_views_sql

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal


def catch_up(journal: Journal, *, pages: int | None = None) -> bool:
    """Project what was appended without being projected; True when nothing is left.

    Each page is one transaction of at most ``PAGE_EVENTS`` events, so that a writer never waits
    long. A projection written by a newer cxlocal is left alone (False): its tables may mean more
    than this version knows.
    """
    version, position, last = _state(journal)
    if version > PROJECTION_VERSION:
        return False
    if version < PROJECTION_VERSION:
        reset(journal)
        position = 0
    done = 0
    while position < last:
        if pages is not None and done >= pages:
            return False
        position = _project_page(journal)
        done += 1
    return True


def rebuild(journal: Journal) -> int:
    """Drop every projected table and make it again from the events. Returns how many events."""
    reset(journal)
    catch_up(journal)
    row = journal.one("SELECT count(*) AS events FROM event")
    return int(row["events"]) if row else 0


def reset(journal: Journal) -> None:
    """Empty projected tables of our version, nothing projected yet."""
    with journal.write() as transaction:
        drop_projection(transaction.connection)
        run_script(transaction.connection, create_sql())
        run_script(transaction.connection, create_views_sql())
        transaction.connection.execute(
            "UPDATE projection_state SET version = ?, position = 0", (PROJECTION_VERSION,)
        )


def drop_projection(connection: sqlite3.Connection) -> None:
    """Remove projected tables and views. Names come from our own lists."""
    # sql: names of our own lists, never of data
    for name in reversed(VIEWS):
        connection.execute(f"DROP VIEW IF EXISTS {name}")
    for name in TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {name}")


def _project_page(journal: Journal) -> int:
    with journal.write() as transaction:
        # Read inside the transaction: another process may have got further meanwhile.
        position = int(
            transaction.connection.execute("SELECT position FROM projection_state").fetchone()[0]
        )
        page = events_after(journal, position, PAGE_EVENTS)
        for _, event in page:
            apply_facts(transaction.connection, project(event), stamp(event))
        position = page[-1][0] if page else position
        transaction.connection.execute("UPDATE projection_state SET position = ?", (position,))
    return position


def _state(journal: Journal) -> tuple[int, int, int]:
    version, position, last = journal.connection.execute(
        "SELECT version, position, (SELECT coalesce(max(id), 0) FROM event) FROM projection_state"
    ).fetchone()
    return int(version), int(position), int(last)
