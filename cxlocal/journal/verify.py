"""Does the journal hold what was written? Chains, coordinates, look-ups, projected rows.

``verify`` recomputes every hash from the stored bytes and names the first bad event; it then
projects all events into a temporary database and compares every projected row (promise P15). It
reads a page at a time, and needs no more memory for a long history than for a short one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, product

from cxlocal.errors import Trouble
from cxlocal.events.document import Event, hash_of
from cxlocal.events.validity import parsed, read_head
from cxlocal.journal.chains import misplaced, unlinked, unlinked_in_deliverable
from cxlocal.journal.comparing import changed_views, compare, empty_projection
from cxlocal.journal.file import Journal
from cxlocal.journal.histories import judge
from cxlocal.journal.read import PAGE_EVENTS, events_after, rewritten_since_acknowledged
from cxlocal.projection.apply import apply_facts
from cxlocal.projection.project import project, stamp, untruth
from cxlocal.projection.tables import PROJECTION_VERSION
from cxlocal.text import parse_utc
from cxlocal.values import NamedTuple

FINDINGS_MAX = 100
"""After this many findings a journal is not worth listing further."""


class Finding(NamedTuple):
    """One thing that is not as it must be."""

    kind: str
    """file, hash, chain, acknowledged, coordinates, untrue, projection, held; uncompared: a newer cxlocal wrote
    the rows, and nothing can be said of them."""
    where: str
    what: str


class Checked(NamedTuple):
    """What was checked and what was found. ``findings`` empty: all is well."""

    events: int
    rows: int
    findings: list[Finding]


UNCOMPARED = "uncompared"
Further = Callable[[sqlite3.Connection], Iterable[Finding]]
"""Looks for more where the projected rows are those of the events."""
Tell = Callable[[int, int], None]
"""Told how many events were looked at, of how many."""


def verify(journal: Journal, tell: Tell | None = None, further: Further | None = None) -> Checked:
    """Check the whole journal, and ``further`` what its rows can be compared with. Reads only. Raises
    Trouble where there is no room for the temporary database.

    Another process may write meanwhile, so that events and rows read at different moments differ:
    it is looked at again, the last time in one reading transaction.
    """
    for last in (False, False, True):
        before = _data_version(journal.connection)
        if last:
            journal.connection.execute("BEGIN")
        try:
            checked = _verify_once(journal, tell, further)
        finally:
            if last:
                journal.connection.execute("ROLLBACK")
        disturbed = _data_version(journal.connection) != before
        if not checked.findings or not disturbed:
            break
    return checked


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _verify_once(journal: Journal, tell: Tell | None, further: Further | None) -> Checked:
    findings = list(_check_file(journal.connection))
    fresh = empty_projection()
    events = 0
    untrue: list[Finding] = []
    gaps: dict[str, int] = {}
    try:
        try:
            findings += _out_of_reach(journal.connection)
            for page in _pages(journal, tell):
                events += len(page)
                findings += _check_page(journal, page, FINDINGS_MAX - len(findings))
                _lowest_gaps(journal.connection, page, gaps)
                untrue += _project(fresh, page)[: FINDINGS_MAX - len(untrue)]
            if not findings:  # else what is held may be nothing that can be compared
                judge(journal.connection, fresh)
        except sqlite3.DatabaseError as problem:
            findings.append(_unreadable(journal, str(problem)))
            return Checked(events, 0, findings)
        findings += [
            Finding("chain", f"{node[:8]} {gap}", "the event before it is missing or another one")
            for node, gap in gaps.items()
        ]
        findings += [*_check_ends(journal), *untrue]
        waits = _projected_by(journal.connection)
        rows, differences = (0, waits) if waits else _compare(journal.connection, fresh)
        findings += differences
        if further is not None and not differences:
            findings += islice(further(journal.connection), FINDINGS_MAX)
    finally:
        fresh.close()
    return Checked(events, rows, findings[:FINDINGS_MAX])


Page = list[tuple[int, Event]]


def _pages(journal: Journal, tell: Tell | None) -> Iterator[Page]:
    (total,) = journal.connection.execute("SELECT count(*) FROM event").fetchone()
    position = seen = 0
    while page := events_after(journal, position, PAGE_EVENTS):
        yield page
        position, seen = page[-1][0], seen + len(page)
        if tell is not None:
            tell(seen, max(seen, total))


def _check_page(journal: Journal, page: Page, room: int) -> list[Finding]:
    """What is wrong with the events of a page, ``room`` findings at most and a few more."""
    findings: list[Finding] = []
    stretch = (journal.connection, page[0][0] - 1, page[-1][0])
    times = dict(journal.connection.execute(TIMES, stretch[1:]).fetchall())
    for position, event in page:
        if len(findings) >= room:
            return findings
        if _is_of_our_kinds(event):
            for kind, what in _what_is_wrong(event, times.get(position)):
                findings.append(Finding(kind, _named(position, event.node, event.sequence), what))
        else:
            what = "its row holds values of another kind than was written"
            findings.append(Finding("hash", f"event {position}", what))
    for place in unlinked_in_deliverable(*stretch):
        what = f"its predecessor within {place.deliverable} is missing"
        findings.append(Finding("chain", _named(*place[:3]), what))
    for place in misplaced(*stretch):
        what = "it stands on another branch"
        findings.append(Finding("coordinates", _named(*place[:3]), what))
    return findings[: max(room, 0)]


def _lowest_gaps(connection: sqlite3.Connection, page: Page, gaps: dict[str, int]) -> None:
    """Note in ``gaps``, by chain, the lowest event that does not follow another."""
    for place in unlinked(connection, page[0][0] - 1, page[-1][0]):
        known = gaps.get(place.node)
        if known is None or place.sequence < known:
            gaps[place.node] = place.sequence


def _project(fresh: sqlite3.Connection, page: Page) -> list[Finding]:
    """Project a page; what its events say that cannot be so."""
    findings = []
    try:
        for position, event in page:
            if _is_of_our_kinds(event):
                facts = project(event, parsed(event))
                apply_facts(fresh, facts, stamp(event))
                if wrong := untruth(event, facts):
                    where = _named(position, event.node, event.sequence)
                    findings.append(Finding("untrue", where, wrong))
    except sqlite3.OperationalError as problem:
        if problem.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise
        raise Trouble(
            "there is no room to check the journal",
            why=f"its tables are made a second time in a temporary file: {problem}",
            hint="set SQLITE_TMPDIR to a folder with as much room as the journal takes",
            name="no-room",
        ) from problem
    return findings


LATEST_MS = 253_402_300_799_999
"""The end of the year 9999; no text says a later time."""


_KINDS = frozenset(
    (str, int, int, str, name, place, int, bytes, bytes, bytes, str, run, int)
    for name, place, run in product((str, type(None)), (int, type(None)), (str, type(None)))
)
"""Of the fields of an event."""


def _is_of_our_kinds(event: Event) -> bool:
    """SQLite keeps anything in any column; hashing and projecting want what they wrote."""
    return tuple(map(type, event)) in _KINDS and 0 <= event.received_at_ms <= LATEST_MS


def _out_of_reach(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Rows that no reader is given."""
    rows = connection.execute(
        "SELECT id FROM event WHERE id < 1 OR node NOT IN (SELECT id FROM node_lookup)"
        " OR type NOT IN (SELECT id FROM type_lookup) ORDER BY id LIMIT ?",
        (FINDINGS_MAX,),
    ).fetchall()
    for (position,) in rows:
        what = "its chain or type is not known here, or its place is none"
        yield Finding("coordinates", f"event {position}", what)


def _unreadable(journal: Journal, problem: str) -> Finding:
    """Name the first event that SQLite cannot give out, if it is one event's fault."""
    position = 0
    try:
        while row := journal.connection.execute(NEXT_ID, (position,)).fetchone():
            (position,) = row
            try:
                journal.connection.execute(ROW, (position,)).fetchone()
            except sqlite3.DatabaseError as found:
                return Finding("hash", f"event {position}", f"its row cannot be read: {found}")
    except sqlite3.DatabaseError as found:
        problem = str(found)
    return Finding("file", str(journal.path), f"cannot be read: {problem}")


NEXT_ID = "SELECT id FROM event WHERE id > ? ORDER BY id LIMIT 1"
ROW = "SELECT * FROM event WHERE id = ?"
TIMES = "SELECT id, time FROM event WHERE id > ? AND id <= ?"


def _check_ends(journal: Journal) -> Iterator[Finding]:
    """A chain must hold what a store has acknowledged of it. Who rewrites an event and every hash after
    it makes a chain that is sound, and another one."""
    rows = journal.connection.execute(
        "SELECT a.node, a.branch, a.sequence FROM ack a WHERE a.sequence > coalesce(("
        " SELECT max(e.sequence) FROM event e JOIN node_lookup n ON n.id = e.node"
        " WHERE n.name = a.node AND e.branch = a.branch), 0)"
    ).fetchall()
    for node, branch, sequence in rows:
        where = f"{node[:8]} {sequence}" + (f" branch {branch}" if branch else "")
        yield Finding("chain", where, "a store acknowledged it, and it is not here")
    for node, branch, sequence, acknowledged, here in rewritten_since_acknowledged(
        journal.connection
    ):
        where = f"{node[:8]} {sequence}" + (f" branch {branch}" if branch else "")
        what = (
            f"it, or one before it, was rewritten after a store acknowledged it: the store has"
            f" {acknowledged[:16]}, here is {here[:16]}"
        )
        yield Finding("acknowledged", where, what)


def _named(position: int, node: str, sequence: int) -> str:
    return f"event {position} ({str(node)[:8]} {sequence})"


def _what_is_wrong(event: Event, time: object) -> list[tuple[str, str]]:
    """The kind of each finding, and what it is."""
    wrong = []
    if hash_of(event) != event.hash:
        wrong.append(("hash", "its content or coordinates were changed after it was written"))
    # Columns outside the hash must agree with the document, which is inside.
    try:
        kind, run, at = read_head(event.document)
        if (kind, run, parse_utc(at)) != (event.type, event.run, time):
            wrong.append(("coordinates", "type, run or time differ from its document"))
    except (ValueError, KeyError, TypeError):
        wrong.append(("hash", "its document is not a CDEvent"))
    return wrong


def _check_file(connection: sqlite3.Connection) -> Iterator[Finding]:
    try:
        for (line,) in connection.execute("PRAGMA integrity_check(20)").fetchall():
            if line != "ok":
                yield Finding("file", "journal", line)
    except sqlite3.DatabaseError as problem:
        yield Finding("file", "journal", str(problem))


def _projected_by(connection: sqlite3.Connection) -> list[Finding]:
    """What keeps the rows from being compared. Those of a newer version may mean more than this one
    knows; and whoever changed a row may say that one wrote it."""
    kind, what = "projection", "says that events wait to be projected; nothing compared"
    try:
        state = connection.execute("SELECT version, behind_from FROM projection_state").fetchone()
    except sqlite3.DatabaseError as problem:
        return [Finding(kind, "projection_state", f"cannot be read: {problem}")]
    if state == (PROJECTION_VERSION, None):
        return []
    if state is not None and type(state[0]) is int and state[0] > PROJECTION_VERSION:
        kind = UNCOMPARED
        what = (
            f"the rows are of a newer cxlocal (projection {state[0]}, this one makes"
            f" {PROJECTION_VERSION}), and were not compared"
        )
    return [Finding(kind, "projection_state", what)]


def _compare(
    connection: sqlite3.Connection, fresh: sqlite3.Connection
) -> tuple[int, list[Finding]]:
    views = changed_views(connection, fresh)
    findings = [
        Finding("projection", f"view {name}", "is not the one this version makes") for name in views
    ]
    rows = 0
    for compared in compare(connection, fresh):
        rows += compared.rows
        for key in compared.keys[: max(0, FINDINGS_MAX - len(findings))]:
            what = "differs from what the events say"
            findings.append(Finding("projection", f"{compared.table} {key}", what))
    return rows, findings
