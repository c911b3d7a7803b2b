"""Getting out of a damaged journal what can still be read (``cxlocal journal recover``).

The damaged file is kept aside as it is. Its events go, each checked by its hash and its place, into a
new journal that goes on under a new node id: what cannot be read may have been the use of a number, so
nothing of the old reserve is touched again, and the chain continues from the last event that is whole.
What the store has of the rest comes back with the next sync, and what it lacks is brought to it.
Needs no store.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxlocal.clock import Clock, Ids
from cxlocal.events.document import Event
from cxlocal.exchange import carried as carrying
from cxlocal.exchange import state as known
from cxlocal.exchange.copies import RECOVERED, begin_again
from cxlocal.exchange.messages import BadMessage
from cxlocal.exchange.own_tables import drop_contradicted
from cxlocal.exchange.receive import take_event
from cxlocal.files import rename
from cxlocal.journal.exclusion import keep_writers_out
from cxlocal.journal.file import Journal, Transaction
from cxlocal.journal.read import SELECT, event_of
from cxlocal.journal.rebuild import catch_up
from cxlocal.private import make_file
from cxlocal.values import NamedTuple

PAGE_ROWS = 500
ROW_BYTES_MIN = 200
"""No event takes less: bounds how many rows a file may hold whose index cannot be read."""

KEPT = ("spent", "reserve_wish")
"""Tables of this machine that are worth having also in part: versions its runs have, which reserves it wants."""


class Salvaged(NamedTuple):
    """What came of it."""

    events: int
    """Taken over."""
    left: int
    """Readable, but they follow something that is not: they are in the damaged file only."""
    unread: int
    """Rows that could not be read."""
    aside: Path
    """Where the damaged file is now."""


class Remains(NamedTuple):
    """What can be read of a damaged file beside its events."""

    node: str
    store: tuple[Any, ...] | None
    forgotten: bool
    """Nobody can say any more whether there was a store."""
    tables: dict[str, list[dict[str, Any]]]


def recover_journal(path: Path, *, clock: Clock, ids: Ids, label: str) -> Salvaged:
    """Put a new journal in the place of the damaged one at ``path``, which is kept beside it under a
    name that ends in ``label``. Raises Trouble; the damaged file is then still in its place.

    From the first byte that is copied to the swap nobody else can write to the damaged file: what is
    acknowledged is in the file that is read, or in the new one.
    """
    fresh_path = path.with_name(f"{path.name}.recovering")
    scratch = path.with_name(f"{path.name}.salvage")
    with keep_writers_out(path, clock) as damaged:
        for each in (fresh_path, scratch):
            _remove(each)
        fresh = Journal.open(fresh_path, clock=clock, ids=ids)
        try:
            _copy(damaged, scratch)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}-journal", f"{scratch}-journal")
            events, left, unread = _take_over(fresh, scratch)
        finally:
            fresh.close()
            _remove(scratch)
        aside = path.with_name(f"{path.name}.damaged-{label}")
        _swap(path, fresh_path, aside, damaged)
    return Salvaged(events, left, unread, aside)


def _take_over(fresh: Journal, scratch: Path) -> tuple[int, int, int]:
    connection = sqlite3.connect(scratch, isolation_level=None)
    try:
        remains = _remains(connection)
        events = left = unread = 0
        for rows, failed in _pages(connection, os.stat(scratch).st_size):
            unread += failed
            with fresh.write() as transaction:
                for event in rows:
                    taken = _take(transaction, event)
                    events, left = events + taken, left + (not taken)
    finally:
        connection.close()
    with fresh.write() as transaction:
        lineage = _go_on(transaction, remains)
        carrying.offer_all(transaction.connection, lineage)
    catch_up(fresh)
    with fresh.write() as transaction:
        drop_contradicted(transaction.connection)
    return events, left, unread


def _take(transaction: Transaction, event: Event) -> bool:
    try:
        take_event(transaction, event._replace(branch=0), None)
    except BadMessage:
        return False
    return True


def _go_on(transaction: Transaction, remains: Remains) -> str:
    """Begin our new chain; the lineage of the store, as far as it is known."""
    connection = transaction.connection
    state = known.StoreState()
    with contextlib.suppress(TypeError):
        state = known.StoreState(*(remains.store or ()))
    if state.lineage:
        known.save_store_state(connection, state._replace(position=0, hash=known.NO_CURSOR_HASH))
    elif remains.forgotten:
        transaction.set_value(known.LOST_MEMORY, "1")
    parent = None
    row = connection.execute(
        "SELECT e.sequence FROM event e JOIN node_lookup n ON n.id = e.node"
        " WHERE n.name = ? AND e.branch = 0 ORDER BY e.sequence DESC LIMIT 1",
        (remains.node,),
    ).fetchone()
    if row is not None:
        value = known.hash_at(connection, remains.node, row[0])
        parent = {"node": remains.node, "sequence": row[0], "hash": value}
    begin_again(transaction, parent, RECOVERED)
    for table, rows in remains.tables.items():
        for found in rows:
            # sql: names out of our own schema, as this journal has it
            names = [each[1] for each in connection.execute(f"PRAGMA table_info({table})")]
            chosen = [name for name in names if name in found]
            marks = ", ".join("?" * len(chosen))
            with contextlib.suppress(sqlite3.IntegrityError):
                # sql: names out of our own schema, values as parameters
                connection.execute(
                    f"INSERT INTO {table} ({', '.join(chosen)}) VALUES ({marks})",
                    [found[name] for name in chosen],
                )
    return state.lineage


def _remains(connection: sqlite3.Connection) -> Remains:
    def ask(sql: str) -> list[Any]:
        try:
            return connection.execute(sql).fetchall()
        except sqlite3.DatabaseError:
            return []

    values = dict(ask("SELECT name, value FROM local_value WHERE name = 'node'"))
    store = ask("SELECT url, lineage, generation, position, hash FROM store_state")
    tables: dict[str, list[dict[str, Any]]] = {}
    for table in KEPT:
        # sql: a constant
        names = [each[1] for each in ask(f"PRAGMA table_info({table})")]
        rows = ask(f"SELECT * FROM {table}") if names else []
        tables[table] = [dict(zip(names, row, strict=True)) for row in rows]
    found = store[0] if store else None
    # The first event of a journal comes before its first contact.
    forgotten = found is None and (
        not ask("SELECT count(*) FROM store_state") or "node" not in values
    )
    return Remains(str(values.get("node", "")), found, forgotten, tables)


def _pages(connection: sqlite3.Connection, size: int) -> Iterator[tuple[list[Event], int]]:
    """Events in order of arrival, and how many rows of their stretch could not be read."""
    position, end, hurt = 0, size // ROW_BYTES_MIN, False
    while position < end:
        try:
            sql = SELECT + " WHERE event.id > ? ORDER BY event.id LIMIT ?"
            rows = connection.execute(sql, (position, PAGE_ROWS)).fetchall()
        except sqlite3.DatabaseError:
            hurt = True
            found, failed = _one_by_one(connection, range(position + 1, position + PAGE_ROWS + 1))
            yield found, failed
            position += PAGE_ROWS
            continue
        if not rows and not hurt:
            return
        position = rows[-1][0] if rows else position + PAGE_ROWS
        yield [event_of(row) for row in rows], 0


def _one_by_one(connection: sqlite3.Connection, wanted: range) -> tuple[list[Event], int]:
    found, failed = [], 0
    for number in wanted:
        try:
            row = connection.execute(SELECT + " WHERE event.id = ?", (number,)).fetchone()
        except sqlite3.DatabaseError:
            failed += 1
            continue
        if row is not None:
            found.append(event_of(row))
    return found, failed


def _copy(source: int, target: Path) -> None:
    # By the handle that holds the lock: on some systems closing another one would give it up.
    os.lseek(source, 0, os.SEEK_SET)
    make_file(target)
    with open(target, "wb") as out, open(source, "rb", closefd=False) as file:
        shutil.copyfileobj(file, out)


def _swap(path: Path, fresh: Path, aside: Path, damaged: int) -> None:
    """There is a journal at ``path`` at every moment."""
    try:
        os.link(path, aside)
    except OSError:  # no hard links there
        _copy(damaged, aside)
    # A log of changes that belongs to the old file must not be applied to the new one: a crash that
    # leaves the old file without it costs less than a new file that takes it for its own.
    with contextlib.suppress(FileNotFoundError):
        if os.stat(f"{path}-journal").st_size:
            rename(f"{path}-journal", f"{aside}-journal")
        else:
            os.unlink(f"{path}-journal")
    rename(fresh, path)


def _remove(path: Path) -> None:
    for suffix in ("", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
