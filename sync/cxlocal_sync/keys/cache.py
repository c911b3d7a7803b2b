"""A machine's copy of a store without a server: the log, folded into the tables of a store.

It may be thrown away at any time and is made anew from the keys; it is never the record. It says
which entry of the log it stands at, and each step checks everything: the hash and place of the
entry, every event's hash, every grant by the rules of its log.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from cxlocal.events.document import Event, hash_of
from cxlocal.exchange.messages import BadMessage, entry_in, event_in, whole_of
from cxlocal.journal.file import make_durable
from cxlocal.numbers.log import LogBroken, entry_hash
from cxlocal.private import make_file, make_folder
from cxlocal.values import NamedTuple
from cxlocal_sync.keys.form import NO_ENTRY, Damaged, LogEntry, Marker
from cxlocal_sync.stores.chains import Chains, insert_event
from cxlocal_sync.stores.feed import ROOT, Feed, read_store
from cxlocal_sync.stores.grants import Granter
from cxlocal_sync.stores.schema import SCHEMA, create_tables
from cxlocal_sync.stores.session import SqliteSession

FORMAT = 1
APPLICATION_ID = 0x6378434B
"""``cxCK`` in the file header."""

_OWN_TABLES = """
-- Which store this is a copy of, and the last entry of its log that is folded in.
CREATE TABLE folded (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    marker TEXT NOT NULL,
    generation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    hash TEXT NOT NULL
);

-- Files of other machines that are folded in, where a sync program carries the store.
CREATE TABLE taken (
    key TEXT PRIMARY KEY
) WITHOUT ROWID;
"""


class Stand(NamedTuple):
    """How far a copy is folded."""

    marker: str = ""
    generation: int = 1
    n: int = 0
    hash: str = NO_ENTRY


def cache_path(home: Path, url: str) -> Path:
    """The file of the copy of the store at ``url``."""
    return home / "stores" / f"{sha256(url.encode()).hexdigest()[:16]}.db"


def open_cache(path: Path, timeout: float) -> SqliteSession:
    """The copy, made where there is none; one that is damaged is thrown away. Raises
    sqlite3.Error and OSError."""
    make_folder(path.parent)
    make_file(path)
    try:
        return _open(path, timeout)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        discard(path)
        return _open(path, timeout)


def discard(path: Path) -> None:
    """Throw a copy away. Processes that have it open notice (see ``is_current``)."""
    for name in (path, path.with_name(path.name + "-journal")):
        with contextlib.suppress(FileNotFoundError):
            name.unlink()


def is_current(path: Path, inode: int) -> bool:
    """Whether the file opened as ``inode`` still stands at ``path``."""
    try:
        return os.stat(path).st_ino == inode
    except FileNotFoundError:
        return False


def _open(path: Path, timeout: float) -> SqliteSession:
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=128,
        factory=SqliteSession,
    )  # fmt: skip
    try:
        # Wrong content would be worse than none, so it is written as carefully as the record.
        make_durable(connection)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if (application, version) not in ((0, 0), (APPLICATION_ID, FORMAT)):
            raise sqlite3.DatabaseError("a copy of another form")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def writing(connection: SqliteSession) -> Iterator[None]:
    """One write transaction; rolled back when it is left by an exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def stand(connection: SqliteSession) -> Stand:
    """How far the copy is folded; nothing where it is new."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        return Stand()
    return Stand(*connection.execute("SELECT marker, generation, n, hash FROM folded").fetchone())


def begin(connection: SqliteSession, marker: Marker) -> None:
    """Empty the copy and make it one of the store ``marker``, within the caller's transaction."""
    objects = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'table')"
        " AND name NOT LIKE 'sqlite_%' ORDER BY type DESC"
    ).fetchall()
    for kind, name in objects:
        # sql: names out of our own schema
        connection.execute(f'DROP {kind} "{name}"')
    create_tables(connection, SCHEMA)
    create_tables(connection, _OWN_TABLES)
    connection.execute("INSERT INTO store VALUES (1, ?, '', 1, 0, ?, '')", (marker.lineage, ROOT))
    connection.execute("INSERT INTO member (id, name) VALUES (1, 'whoever may use the folder')")
    connection.execute("INSERT INTO folded VALUES (1, ?, 1, 0, ?)", (marker.hash, NO_ENTRY))
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={FORMAT}")


def note_folded(connection: SqliteSession, entry: LogEntry) -> None:
    """``entry`` is folded in now."""
    connection.execute(
        "UPDATE folded SET generation = ?, n = ?, hash = ?", (entry.generation, entry.n, entry.hash)
    )


def fold(connection: SqliteSession, entry: LogEntry, batches: dict[str, list[Event]]) -> None:
    """Fold the next entry of the log in, within the caller's transaction.

    Raises Damaged where the entry does not follow from the log before it.
    """
    before = stand(connection)
    if (entry.n, entry.previous, entry.before) != (before.n + 1, before.hash, before.generation):
        raise Damaged("it does not follow the entry before it")
    if entry.recovered:
        connection.execute("UPDATE store SET generation = ?", (entry.generation,))
        connection.execute("DELETE FROM stop")
    store = read_store(connection)
    if entry.generation != store.generation:
        raise Damaged("it is of another generation")
    feed = Feed(connection, store)
    granter = Granter(connection, store, feed)
    chains = Chains(connection, feed, granter, entry.carrier)
    left = {key: iter(events) for key, events in batches.items()}
    try:
        for item in entry.items:
            if "grant" in item:
                _fold_grant(granter, item)
            else:
                key = entry.batches[whole_of(item["batch"])][0]
                for _ in range(whole_of(item["count"])):
                    _fold_event(chains, next(left[key]), whole_of(item["branch"]))
    except (KeyError, IndexError, TypeError, ValueError, BadMessage, StopIteration) as error:
        raise Damaged(f"it cannot be carried out: {error!r}") from error
    except sqlite3.IntegrityError as error:
        raise Damaged(f"it says what an earlier entry says: {error}") from error
    for stop in entry.stops:
        connection.execute("INSERT OR IGNORE INTO stop VALUES (?, ?, ?, ?, ?)", stop)
    feed.close()
    note_folded(connection, entry)


def _fold_grant(granter: Granter, item: dict[str, object]) -> None:
    deliverable, line, grant = entry_in(item["grant"])
    if entry_hash(granter.store.lineage, deliverable, line, grant) != grant.hash:
        raise Damaged("a grant in it was changed")
    try:
        granter.keep(deliverable, line, granter.state(deliverable, line), grant)
    except LogBroken as error:
        raise Damaged(f"a grant in it breaks the rules: {error}") from error


def _fold_event(chains: Chains, event: Event, branch: int) -> None:
    if hash_of(event) != event.hash:
        raise Damaged("an event in it was changed")
    node_id, carrier_id = chains.node_id(event.node), chains.node_id(chains.carrier)
    insert_event(chains.session, chains.feed, event, (node_id, branch, carrier_id))


def events_in(value: dict[str, object]) -> list[Event]:
    """The events of a batch. Raises Damaged."""
    items = value.get("events")
    if not isinstance(items, list):
        raise Damaged("it holds no events")
    try:
        return [event_in(item) for item in items]
    except BadMessage as error:
        raise Damaged(f"{error.what}: {error.why}") from error
