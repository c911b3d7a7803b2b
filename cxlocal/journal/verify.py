"""Does the journal hold what was written? Chains, coordinates, look-ups, projected rows.

``verify`` recomputes every hash from the stored bytes and names the first bad event; it then
projects all events into a database in memory and compares every projected row (promise P15).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from cxlocal.events.document import NO_HASH, Event, hash_of
from cxlocal.journal.migrate import run_script
from cxlocal.journal.read import all_events, partial_nodes
from cxlocal.projection.apply import apply_facts
from cxlocal.projection.project import project, stamp
from cxlocal.projection.tables import PROJECTION_VERSION, TABLES, create_sql
from cxlocal.projection.views import create_views_sql
from cxlocal.text import parse_utc

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal

FINDINGS_MAX = 100
"""After this many findings a journal is not worth listing further."""


class Finding(NamedTuple):
    """One thing that is not as it must be."""

    kind: str
    """file, hash, chain, coordinates, projection."""
    where: str
    what: str


class Checked(NamedTuple):
    """What was checked and what was found. ``findings`` empty: all is well."""

    events: int
    rows: int
    findings: list[Finding]
    newer_projection: int = 0
    """The version of a newer cxlocal that wrote the rows; they were not compared. 0 where they
    were."""


def verify(journal: Journal) -> Checked:
    """Check the whole journal. Reads only.

    Another process may write meanwhile, so that events and rows read at different moments differ:
    it is looked at again, the last time in one reading transaction.
    """
    for last in (False, False, True):
        before = _data_version(journal.connection)
        if last:
            journal.connection.execute("BEGIN")
        try:
            checked = _verify_once(journal)
        finally:
            if last:
                journal.connection.execute("ROLLBACK")
        disturbed = _data_version(journal.connection) != before
        if not checked.findings or not disturbed:
            break
    return checked


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _verify_once(journal: Journal) -> Checked:
    findings = list(_check_file(journal.connection))
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    try:
        run_script(fresh, create_sql())
        run_script(fresh, create_views_sql())
        events = 0
        state = _Chains(frozenset(partial_nodes(journal)))
        try:
            findings += _out_of_reach(journal.connection)
            for position, event in all_events(journal):
                events += 1
                if not _is_of_our_kinds(event):
                    what = "its row holds values of another kind than was written"
                    findings.append(Finding("hash", f"event {position}", what))
                    continue
                if len(findings) < FINDINGS_MAX:
                    findings += _check_event(journal, state, position, event)
                apply_facts(fresh, project(event), stamp(event))
        except sqlite3.DatabaseError as problem:
            findings.append(_unreadable(journal, str(problem)))
            return Checked(events, 0, findings)
        findings += state.gaps()
        findings += state.misplaced()
        findings += _check_ends(journal)
        newer, waits = _projected_by(journal.connection)
        rows, differences = (0, waits) if newer or waits else _compare(journal.connection, fresh)
        findings += differences
    finally:
        fresh.close()
    return Checked(events, rows, findings[:FINDINGS_MAX], newer)


LATEST_MS = 253_402_300_799_999
"""The end of the year 9999; no text says a later time."""


def _is_of_our_kinds(event: Event) -> bool:
    """SQLite keeps anything in any column; hashing and projecting want what they wrote."""
    texts = (event.node, event.type, event.document, event.deliverable or "", event.run or "")
    numbers = (
        event.sequence, event.branch, event.clock, event.received_at_ms,
        0 if event.deliverable_sequence is None else event.deliverable_sequence,
    )  # fmt: skip
    hashes = (event.previous, event.previous_in_deliverable, event.hash)
    return (
        all(type(part) is str for part in texts)
        and all(type(part) is int for part in numbers)
        and all(type(part) is bytes for part in hashes)
        and 0 <= event.received_at_ms <= LATEST_MS
    )


def _out_of_reach(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Rows that no reader is given."""
    rows = connection.execute(
        "SELECT id FROM event WHERE id < 1 OR node NOT IN (SELECT id FROM node_lookup)"
        " OR type NOT IN (SELECT id FROM type_lookup) ORDER BY id"
    ).fetchall()
    for (position,) in rows:
        what = "its chain or type is not known here, or its place is none"
        yield Finding("coordinates", f"event {position}", what)


def _unreadable(journal: Journal, problem: str) -> Finding:
    """Name the first event that SQLite cannot give out, if it is one event's fault."""
    try:
        rows = journal.connection.execute("SELECT id FROM event ORDER BY id").fetchall()
    except sqlite3.DatabaseError:
        return Finding("file", str(journal.path), f"cannot be read: {problem}")
    for (position,) in rows:
        try:
            journal.connection.execute("SELECT * FROM event WHERE id = ?", (position,)).fetchone()
        except sqlite3.DatabaseError as found:
            return Finding("hash", f"event {position}", f"its row cannot be read: {found}")
    return Finding("file", str(journal.path), f"cannot be read: {problem}")


def _check_ends(journal: Journal) -> Iterator[Finding]:
    """A chain must not end before what a store has acknowledged of it."""
    rows = journal.connection.execute(
        "SELECT a.node, a.branch, a.sequence FROM ack a WHERE a.sequence > coalesce(("
        " SELECT max(e.sequence) FROM event e JOIN node_lookup n ON n.id = e.node"
        " WHERE n.name = a.node AND e.branch = a.branch), 0)"
    ).fetchall()
    for node, branch, sequence in rows:
        where = f"{node[:8]} {sequence}" + (f" branch {branch}" if branch else "")
        yield Finding("chain", where, "a store acknowledged it, and it is not here")


class _Chains:
    """The heads seen so far, per chain and per deliverable within it."""

    def __init__(self, partial: frozenset[str]) -> None:
        self.partial = partial
        """Chains that are known to be held in part."""
        self.by_place: dict[tuple[str, int], set[bytes]] = {}
        self.deliverable: dict[tuple[str, str, int], set[bytes]] = {}
        self.unlinked: list[tuple[str, int, bytes]] = []
        """Chain, sequence and previous hash of events whose predecessor had not arrived before."""
        self.branches: dict[tuple[str, int], dict[int, tuple[bytes, bytes, str]]] = {}
        """Chain and sequence to branch: hash, previous hash, and how the event is named."""

    def misplaced(self) -> Iterator[Finding]:
        """An event continues the branch of the one before it, unless another does already."""
        for (node, sequence), here in self.branches.items():
            if node in self.partial:
                continue  # its branches were numbered without knowing all of it
            before = self.branches.get((node, sequence - 1), {})
            parents = {value: branch for branch, (value, _, _) in before.items()}
            for branch, (_, previous, where) in here.items():
                parent = 0 if sequence == 1 else parents.get(previous)
                if parent is not None and parent != branch and parent not in here:
                    yield Finding("coordinates", where, "it stands on another branch")

    def gaps(self) -> Iterator[Finding]:
        lowest: dict[str, int] = {}
        for node, sequence, previous in self.unlinked:
            # What came before it may have arrived after it.
            if previous not in self.by_place.get((node, sequence - 1), set()):
                lowest[node] = min(sequence, lowest.get(node, sequence))
        for node, sequence in lowest.items():
            yield Finding(
                "chain", f"{node[:8]} {sequence}", "the event before it is missing or another one"
            )


def _check_event(
    journal: Journal, state: _Chains, position: int, event: Event
) -> Iterator[Finding]:
    where = f"event {position} ({event.node[:8]} {event.sequence})"
    if hash_of(event) != event.hash:
        yield Finding("hash", where, "its content or coordinates were changed after it was written")
    yield from _check_coordinates(journal, where, position, event)
    before = state.by_place.get((event.node, event.sequence - 1), set())
    if event.sequence == 1:
        linked = event.previous == NO_HASH
    else:
        linked = event.previous in before
    if not linked and event.node not in state.partial:
        state.unlinked.append((event.node, event.sequence, event.previous))
    if event.deliverable is not None and event.deliverable_sequence is not None:
        key = (event.node, event.deliverable, event.deliverable_sequence - 1)
        expected = state.deliverable.get(key, {NO_HASH} if key[2] == 0 else set())
        if event.previous_in_deliverable not in expected:
            yield Finding("chain", where, f"its predecessor within {event.deliverable} is missing")
        place = (event.node, event.deliverable, event.deliverable_sequence)
        state.deliverable.setdefault(place, set()).add(event.hash)
    state.by_place.setdefault((event.node, event.sequence), set()).add(event.hash)
    branches = state.branches.setdefault((event.node, event.sequence), {})
    branches[event.branch] = (event.hash, event.previous, where)


def _check_coordinates(
    journal: Journal, where: str, position: int, event: Event
) -> Iterator[Finding]:
    """Columns outside the hash must agree with the document, which is inside."""
    try:
        context = event.parsed()["context"]
        said = (context["type"], context.get("chainId"), parse_utc(context["timestamp"]))
    except (ValueError, KeyError, TypeError):
        yield Finding("hash", where, "its document is not a CDEvent")
        return
    row = journal.connection.execute("SELECT time FROM event WHERE id = ?", (position,)).fetchone()
    if said != (event.type, event.run, row[0]):
        yield Finding("coordinates", where, "type, run or time differ from its document")


def _check_file(connection: sqlite3.Connection) -> Iterator[Finding]:
    try:
        for (line,) in connection.execute("PRAGMA integrity_check(20)").fetchall():
            if line != "ok":
                yield Finding("file", "journal", line)
    except sqlite3.DatabaseError as problem:
        yield Finding("file", "journal", str(problem))


def _projected_by(connection: sqlite3.Connection) -> tuple[int, list[Finding]]:
    """Who wrote the rows: the version if it is newer than ours, and what keeps from comparing."""
    what = "says that events wait to be projected; nothing compared"
    try:
        state = connection.execute("SELECT version, behind_from FROM projection_state").fetchone()
    except sqlite3.DatabaseError as problem:
        return 0, [Finding("projection", "projection_state", f"cannot be read: {problem}")]
    if state == (PROJECTION_VERSION, None):
        return 0, []
    if state is not None and type(state[0]) is int and state[0] > PROJECTION_VERSION:
        return state[0], []  # its rows may mean more than this version knows
    return 0, [Finding("projection", "projection_state", what)]


def _compare(
    connection: sqlite3.Connection, fresh: sqlite3.Connection
) -> tuple[int, list[Finding]]:
    rows, findings = 0, _compare_views(connection, fresh)
    for table in TABLES:
        stored, expected = dump(connection, table), dump(fresh, table)
        rows += len(stored)
        for key in sorted(stored.keys() | expected.keys(), key=repr):
            if stored.get(key) != expected.get(key):
                what = "differs from what the events say"
                findings.append(Finding("projection", f"{table} {key}", what))
    return rows, findings


def _compare_views(stored: sqlite3.Connection, fresh: sqlite3.Connection) -> list[Finding]:
    """A view is what people read; it must be the one that this version makes."""
    ask = "SELECT name, sql FROM sqlite_master WHERE type = 'view'"
    found, wanted = dict(stored.execute(ask).fetchall()), dict(fresh.execute(ask).fetchall())
    return [
        Finding("projection", f"view {name}", "is not the one this version makes")
        for name, sql in wanted.items()
        if found.get(name) != sql
    ]


def dump(connection: sqlite3.Connection, table: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """All rows of a projected table by natural key; equal dumps mean equal tables."""
    keys = TABLES[table].key
    # sql: a name out of TABLES
    cursor = connection.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in cursor.description]
    places = [names.index(key) for key in keys]
    return {tuple(row[place] for place in places): row for row in cursor.fetchall()}
