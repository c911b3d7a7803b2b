"""Reading events back, a bounded page at a time: a reader with an open cursor blocks writers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from cxlocal.events.document import Event
from cxlocal.journal.schema import PARTIAL

if TYPE_CHECKING:
    from pathlib import Path

    from cxlocal.journal.file import Journal


PAGE_EVENTS = 1000
"""Events fetched by one statement; well below a second on any disk."""

SELECT = """
SELECT event.id, n.name, event.sequence, event.branch, t.name, d.name, event.deliverable_sequence,
  event.clock, event.previous, event.previous_in_deliverable, event.hash, event.document, r.name,
  event.received
FROM event
JOIN node_lookup n ON n.id = event.node
JOIN type_lookup t ON t.id = event.type
LEFT JOIN deliverable_lookup d ON d.id = event.deliverable
LEFT JOIN run_lookup r ON r.id = event.run
"""


def events_after(journal: Journal, position: int, limit: int) -> list[tuple[int, Event]]:
    """At most ``limit`` events that arrived after the local id ``position``, with their ids."""
    sql = SELECT + " WHERE event.id > ? ORDER BY event.id LIMIT ?"
    rows = journal.connection.execute(sql, (position, limit)).fetchall()
    return [(row[0], event_of(row)) for row in rows]


def event_of(row: tuple[Any, ...]) -> Event:
    """An Event from a row of ``SELECT``."""
    return Event._make(row[1:14])


def all_events(journal: Journal) -> Iterator[tuple[int, Event]]:
    """Every event in order of arrival, in pages."""
    position = 0
    while page := events_after(journal, position, PAGE_EVENTS):
        yield from page
        position = page[-1][0]


def node_events(
    journal: Journal,
    node: str,
    first: int,
    limit: int,
    branch: int = 0,
    deliverables: Collection[str] | None = None,
    machine: bool = True,
) -> list[Event]:
    """Events of one chain and branch from sequence ``first`` on, in order.

    ``deliverables``: only those of these, and, with ``machine``, those of no deliverable.
    """
    sql = SELECT + (
        " WHERE n.name = ? AND event.branch = ? AND event.sequence >= ? AND (? IS NULL"
        " OR CASE WHEN d.name IS NULL THEN ? ELSE d.name IN (SELECT value FROM json_each(?)) END)"
        " ORDER BY event.sequence LIMIT ?"
    )
    names = None if deliverables is None else json.dumps(sorted(deliverables))
    values = (node, branch, first, names, machine, names, limit)
    return [event_of(row) for row in journal.connection.execute(sql, values).fetchall()]


def run_events(journal: Journal, run: str) -> list[Event]:
    """The events of one run, in order of arrival."""
    sql = SELECT + " WHERE r.name = ? ORDER BY event.id"
    return [event_of(row) for row in journal.connection.execute(sql, (run,)).fetchall()]


def journal_of_run(
    paths: Iterable[Path], run: str, open_one: Callable[[Path], Journal]
) -> Journal | None:
    """The first of several journals that knows ``run``, open; None where none does."""
    for path in paths:
        journal = open_one(path)
        row = journal.connection.execute("SELECT 1 FROM run_lookup WHERE name = ?", (run,))
        if row.fetchone() is not None:
            return journal
        journal.close()
    return None


def partial_nodes(journal: Journal) -> list[str]:
    """Chains of which this journal lacks events that were not asked for or not to be read."""
    rows = journal.connection.execute(
        "SELECT substr(name, ?) FROM local_value WHERE name > ? AND name < ? ORDER BY name",
        (len(PARTIAL) + 1, PARTIAL, PARTIAL[:-1] + "!"),
    )
    return [row[0] for row in rows.fetchall()]


def rewritten_since_acknowledged(
    connection: sqlite3.Connection, *, own: bool = False
) -> list[tuple[str, int, int, str, str]]:
    """Where a chain holds another event than a store acknowledged: node, branch, sequence, the hash
    that was acknowledged and the one here, in hexadecimal. ``own``: of this journal's chains alone."""
    rows = connection.execute(
        "SELECT a.node, a.branch, a.sequence, a.hash, lower(hex(e.hash))"
        " FROM (SELECT node FROM contact UNION SELECT node FROM ack WHERE NOT :own) c"
        " JOIN ack a ON a.node = c.node"
        " JOIN node_lookup n ON n.name = a.node JOIN event e ON e.node = n.id"
        " AND e.sequence = a.sequence AND e.branch = a.branch"
        " WHERE a.hash <> '' AND a.hash <> lower(hex(e.hash))",
        {"own": own},
    )
    return rows.fetchall()
