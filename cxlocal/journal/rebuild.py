"""Bringing the projection forward, or making it anew from the events."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from cxlocal.journal.file import Journal
from cxlocal.journal.forks import DUE, is_due, note_due
from cxlocal.journal.migrate import run_script
from cxlocal.journal.read import PAGE_EVENTS, events_after
from cxlocal.projection.apply import apply_facts
from cxlocal.projection.project import project, stamp
from cxlocal.projection.tables import FORMER_TABLES, PROJECTION_VERSION, TABLES, create_sql


def catch_up(
    journal: Journal,
    *,
    pages: int | None = None,
    tell: Callable[[int], None] | None = None,
    disputes: bool = True,
) -> bool:
    """Project what was appended without being projected; True when nothing is left. ``tell`` is told
    after each page how many events have been. Without ``disputes`` second histories are compared by
    whoever comes next: between the batches of a long one it would be for nothing.

    Each page is one transaction of at most ``PAGE_EVENTS`` events, so that a writer never waits
    long. A projection written by a newer cxlocal is left alone (False): its tables may mean more
    than this version knows.
    """
    version, behind = _state(journal)
    if version > PROJECTION_VERSION:
        return False
    if version < PROJECTION_VERSION:
        from cxlocal.journal.former_debts import bring_over

        bring_over(journal)
        reset(journal)
        behind = 1
    done = 0
    while behind is not None:
        if pages is not None and done >= pages:
            return False
        behind = _project_page(journal)
        done += 1
        if tell is not None:
            tell(done * PAGE_EVENTS)
    if disputes and is_due(journal.connection):
        with journal.write() as transaction:
            from cxlocal.journal.histories import judge

            judge(transaction.connection, transaction.connection)
            transaction.connection.execute("DELETE FROM local_value WHERE name = ?", (DUE,))
    return True


def rebuild(journal: Journal, tell: Callable[[int, int], None] | None = None) -> int:
    """Drop every projected table and make it again from the events. Returns how many events.

    ``tell`` is told how many events have been projected, of how many.
    """
    (total,) = journal.connection.execute("SELECT count(*) FROM event").fetchone()
    reset(journal)
    catch_up(journal, tell=None if tell is None else lambda done: tell(min(done, total), total))
    (total,) = journal.connection.execute("SELECT count(*) FROM event").fetchone()
    return int(total)


def reset(journal: Journal) -> None:
    """Empty projected tables of our version, nothing projected yet."""
    from cxlocal.projection.views import create_views_sql

    with journal.write() as transaction:
        drop_projection(transaction.connection)
        run_script(transaction.connection, create_sql())
        run_script(transaction.connection, create_views_sql())
        transaction.connection.execute(
            "UPDATE projection_state SET version = ?, behind_from = 1", (PROJECTION_VERSION,)
        )


def drop_projection(connection: sqlite3.Connection) -> None:
    """Remove projected tables and views. Names come from our own lists."""
    from cxlocal.projection.views import VIEWS

    # sql: names of our own lists, never of data
    for name in reversed(VIEWS):
        connection.execute(f"DROP VIEW IF EXISTS {name}")
    for name in (*TABLES, *FORMER_TABLES):
        connection.execute(f"DROP TABLE IF EXISTS {name}")


def _project_page(journal: Journal) -> int | None:
    """Project the next page; where the one after it begins, None when nothing waits any more."""
    with journal.write() as transaction:
        connection = transaction.connection
        # Read inside the transaction: another process may have got further meanwhile.
        _, behind = _state(journal)
        if behind is None:
            return None
        page = events_after(journal, behind - 1, PAGE_EVENTS)
        for _, event in page:
            apply_facts(connection, project(event), stamp(event))
        note_due(connection, [event for _, event in page])
        following = page[-1][0] + 1 if len(page) == PAGE_EVENTS else None
        connection.execute("UPDATE projection_state SET behind_from = ?", (following,))
        # What appending remembers says whether it projects.
        journal.heads = None
    return following


def _state(journal: Journal) -> tuple[int, int | None]:
    version, behind = journal.connection.execute(
        "SELECT version, behind_from FROM projection_state"
    ).fetchone()
    return int(version), None if behind is None else int(behind)
