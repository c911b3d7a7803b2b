"""Whose history a machine holds: of every deliverable, or of those it follows.

The choice is a fact about the journal and stands in it. A cursor says how far the feed was read *with
a choice*; when more is wanted than it was read with, the feed is read again from its beginning, and
what is here already is skipped. What was fetched is never removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from sqlite3 import Connection

from cxlocal.exchange.state import forget_cursor
from cxlocal.journal.file import Journal, Transaction
from cxlocal.journal.read import partial_nodes
from cxlocal.journal.schema import AWAY, PARTIAL

_CHOSEN = "follows"
"""Local value: what a person chose, as JSON; empty for everything."""
_READ = "follows, as read"
"""Local value: what the cursor was read with."""
_FILLING = "follows more"
"""Local value: set where chains that were held in part may be whole when the feed is read to its end."""

_WORKED_ON = """
SELECT deliverable FROM (SELECT deliverable FROM spent UNION SELECT deliverable FROM reserve
  UNION SELECT deliverable FROM reserve_wish)
WHERE NOT EXISTS (SELECT 1 FROM local_value WHERE name = :away || deliverable)
"""


def chosen(journal: Journal) -> frozenset[str] | None:
    """The deliverables this machine follows; None for every one.

    Those it takes numbers of belong to them always: it must know what became of the numbers.
    """
    names = _read(journal, _CHOSEN)
    if names is None:
        return None
    return names | worked_on(journal)


def worked_on(journal: Journal) -> frozenset[str]:
    """The deliverables that this journal takes numbers of."""
    rows = journal.connection.execute(_WORKED_ON, {"away": AWAY}).fetchall()
    return frozenset(row[0] for row in rows)


def choose(journal: Journal, names: Iterable[str] | None) -> None:
    """Follow these deliverables from the next contact on; None for every one."""
    with journal.write() as transaction:
        _write(transaction, _CHOSEN, names)


def include(journal: Journal, name: str) -> None:
    """Follow this deliverable too: somebody works on it here."""
    names = chosen(journal)
    if names is not None and name not in names:
        choose(journal, names | {name})


def forget(transaction: Transaction) -> None:
    """Follow everything: where the journal turned out to be a copy or a backup, nobody can say which
    of its own events it lacks, and they may be of any deliverable."""
    _write(transaction, _CHOSEN, None)


def settle(transaction: Transaction) -> None:
    """Before a contact: go back to the beginning of the feed where more is wanted than was read."""
    journal = transaction.journal
    wanted, read = chosen(journal), _read(journal, _READ)
    if wanted == read:
        return
    _write(transaction, _READ, wanted)
    if read is not None and (wanted is None or not wanted <= read):
        forget_cursor(transaction.connection)
        if wanted is None:
            look_again(transaction)


def read_with(journal: Journal) -> list[str] | None:
    """What the cursor was read with, and what is to be asked for; None for everything."""
    names = _read(journal, _READ)
    return None if names is None else sorted(names)


def look_again(transaction: Transaction) -> None:
    """Look at the end of the feed whether chains that were held in part are whole."""
    if not transaction.journal.value(_FILLING):
        transaction.set_value(_FILLING, "1")


def is_level(transaction: Transaction) -> None:
    """The feed was read to its end: chains that were held in part are whole now, if everything was
    asked for and the store let us read it."""
    if not transaction.journal.value(_FILLING):
        return
    transaction.set_value(_FILLING, "")
    for node in partial_nodes(transaction.journal):
        if _whole(transaction.connection, node):
            transaction.connection.execute(
                "DELETE FROM local_value WHERE name = ?", (PARTIAL + node,)
            )


def _whole(connection: Connection, node: str) -> bool:
    """Whether nothing is missing. Of a chain with branches that were numbered while it had gaps it
    is not said."""
    row = connection.execute(
        "SELECT 1 FROM event e JOIN node_lookup n ON n.id = e.node"
        " WHERE n.name = ? AND (e.branch > 0 OR e.sequence > 1 AND NOT EXISTS (SELECT 1 FROM event b"
        " WHERE b.node = e.node AND b.sequence = e.sequence - 1 AND b.hash = e.previous)) LIMIT 1",
        (node,),
    ).fetchone()
    return row is None


def _read(journal: Journal, name: str) -> frozenset[str] | None:
    text = journal.value(name)
    return frozenset(json.loads(text)) if text else None


def _write(transaction: Transaction, name: str, names: Iterable[str] | None) -> None:
    text = "" if names is None else json.dumps(sorted(names), ensure_ascii=False)
    if (transaction.journal.value(name) or "") != text:
        transaction.set_value(name, text)
