"""Does each event stand where its chain has it? Asked of the file itself, a stretch at a time.

Everything here is a look-up by an index for each event of the stretch, so that a long history costs
time in proportion and no memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from cxlocal.journal.schema import PARTIAL
from cxlocal.values import NamedTuple


class Place(NamedTuple):
    """An event by its local id, its chain and its place in it."""

    position: int
    node: str
    sequence: int
    deliverable: str | None


_STRETCH = """
SELECT e.id, n.name, e.sequence, d.name FROM event e JOIN node_lookup n ON n.id = e.node
LEFT JOIN deliverable_lookup d ON d.id = e.deliverable
WHERE e.id > :after AND e.id <= :last AND typeof(e.sequence) = 'integer'
"""
# Of a chain that is held in part nobody can say what is missing, nor how its branches are numbered.
_WHOLE = " AND NOT EXISTS (SELECT 1 FROM local_value WHERE name = :partial || n.name)"

_UNLINKED = (
    _STRETCH
    + _WHOLE
    + """
AND NOT iif(e.sequence = 1, e.previous = zeroblob(32), EXISTS (SELECT 1 FROM event b
  WHERE b.node = e.node AND b.sequence = e.sequence - 1 AND b.hash = e.previous))
ORDER BY e.id
"""
)
_MISPLACED = (
    _STRETCH
    + _WHOLE
    + """
AND iif(e.sequence = 1,
  e.branch <> 0 AND NOT EXISTS (SELECT 1 FROM event h
    WHERE h.node = e.node AND h.sequence = 1 AND h.branch = 0),
  EXISTS (SELECT 1 FROM event b
    WHERE b.node = e.node AND b.sequence = e.sequence - 1 AND b.hash = e.previous
      AND b.branch <> e.branch AND NOT EXISTS (SELECT 1 FROM event h
        WHERE h.node = e.node AND h.sequence = e.sequence AND h.branch = b.branch)))
ORDER BY e.id
"""
)
_UNLINKED_IN_DELIVERABLE = (
    _STRETCH
    + """
AND e.deliverable IS NOT NULL AND e.deliverable_sequence IS NOT NULL
AND NOT iif(e.deliverable_sequence = 1, e.previous_in_deliverable = zeroblob(32),
  EXISTS (SELECT 1 FROM event b WHERE b.deliverable = e.deliverable AND b.node = e.node
    AND b.deliverable_sequence = e.deliverable_sequence - 1
    AND b.hash = e.previous_in_deliverable AND +b.sequence < e.sequence))
ORDER BY e.id
"""
)


def unlinked(connection: sqlite3.Connection, after: int, last: int) -> Iterator[Place]:
    """Events whose predecessor in the chain is missing or another one, of the local ids above
    ``after`` up to ``last``. It may have arrived after them."""
    return _asked(connection, _UNLINKED, after, last)


def misplaced(connection: sqlite3.Connection, after: int, last: int) -> Iterator[Place]:
    """Events that stand on another branch than the one before them, which nobody else continues."""
    return _asked(connection, _MISPLACED, after, last)


def unlinked_in_deliverable(
    connection: sqlite3.Connection, after: int, last: int
) -> Iterator[Place]:
    """Events whose predecessor within their deliverable is missing or another one."""
    return _asked(connection, _UNLINKED_IN_DELIVERABLE, after, last)


def _asked(connection: sqlite3.Connection, sql: str, after: int, last: int) -> Iterator[Place]:
    wanted = {"after": after, "last": last, "partial": PARTIAL}
    # All at once: an open cursor keeps writers out.
    return (Place._make(row) for row in connection.execute(sql, wanted).fetchall())
