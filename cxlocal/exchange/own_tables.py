"""Do the tables that never leave this machine say what its events and the store's log say?

``cxlocal.journal.verify`` compares what every machine can compute. What a machine holds besides, its reserve
above all, is compared here: with the events that were written in the same commits, with the hashes of
the grant log, and each table with the others. What nothing else speaks of (the contact token, where
the journal lay, which reserves are wanted, questions that wait) is left out; docs/numbers.md names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from sqlite3 import Connection, DatabaseError
from typing import Any

from cxlocal.exchange.copies import RECOVERED
from cxlocal.exchange.state import NO_CURSOR_HASH, store_state
from cxlocal.journal import verify as shared
from cxlocal.journal.file import Journal
from cxlocal.journal.schema import PARTIAL
from cxlocal.journal.verify import FINDINGS_MAX, Checked, Finding, Tell
from cxlocal.numbers.log import ROOT, Entry, entry_hash
from cxlocal.values import NamedTuple

HELD = "held"
"""The kind of these findings."""

_OURS = "(SELECT node FROM contact UNION SELECT value FROM local_value WHERE name = 'node')"
_US = "(SELECT value FROM local_value WHERE name = 'node')"
_WHOLE = f"NOT EXISTS (SELECT 1 FROM machine WHERE node IN {_OURS} AND cause = :recovered)"
_ALONE = (
    "NOT EXISTS (SELECT 1 FROM event WHERE branch <> 0"
    f" AND node = (SELECT id FROM node_lookup WHERE name = {_US}))"
)
"""No copy of this journal went on under the same id: what that one took is not held here."""
_SAID = "v.deliverable = s.deliverable AND v.run = s.run AND v.used_at IS NOT NULL"
_ACCOUNTED = """(EXISTS (SELECT 1 FROM spent WHERE deliverable = g.deliverable AND line = g.line
    AND number BETWEEN g.lo AND g.hi)
  OR coalesce((SELECT hi FROM given_up WHERE deliverable = g.deliverable AND line = g.line
    AND lo <= g.hi ORDER BY lo DESC LIMIT 1) >= g.lo, 0))"""
_IS_HASH = "typeof({0}) = 'text' AND length({0}) = 64 AND {0} NOT GLOB '*[^0-9a-f]*'"


Key = tuple[Any, ...]


class Rule(NamedTuple):
    """What must not be found in a table of this machine."""

    table: str
    what: str
    sql: str
    """Selects what names the rows that break it."""


# sql: constants of ours; what is compared comes as parameters
RULES = (
    Rule(
        "spent", "differs from the event of its use",
        f"SELECT s.deliverable, s.run FROM spent s WHERE EXISTS (SELECT 1 FROM version v WHERE {_SAID})"
        f" AND NOT EXISTS (SELECT 1 FROM version v WHERE {_SAID} AND v.line IS s.line"
        " AND v.number IS coalesce(s.number, -1) AND v.text IS s.text AND v.sort_key IS s.sort_key"
        " AND v.how IS s.how AND coalesce(v.lineage, '') IS s.lineage)",
    ),
    Rule(
        "spent", "no event says that it was used",
        f"SELECT s.deliverable, s.run FROM spent s WHERE {_WHOLE}"
        f" AND NOT EXISTS (SELECT 1 FROM version v WHERE {_SAID})",
    ),
    Rule(
        "spent", "an event says that it was used, and it is not there",
        f"SELECT v.deliverable, v.run FROM version v WHERE {_ALONE} AND v.node = {_US}"
        " AND v.used_at IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM spent s WHERE s.deliverable = v.deliverable AND s.run = v.run)",
    ),
    Rule(
        "reserve", "is not what the store granted",
        "SELECT r.deliverable, r.line FROM reserve r WHERE NOT EXISTS (SELECT 1 FROM grant_entry g"
        " WHERE g.deliverable = r.deliverable AND g.line = r.line AND g.k IS r.k AND g.kind = 'reserve'"
        f" AND g.lo IS r.lo AND g.hi IS r.hi AND g.generation IS r.generation AND g.node IN {_OURS})"
        " AND r.next <= r.hi",
    ),
    Rule(
        "reserve", "no event says that it was received",
        "SELECT r.deliverable, r.line FROM reserve r WHERE NOT EXISTS (SELECT 1 FROM number_range n"
        " WHERE n.deliverable = r.deliverable AND n.line = r.line AND n.lo IS r.lo AND n.hi IS r.hi"
        f" AND n.node IN {_OURS})",
    ),
    Rule(
        "reserve", "its next number is not the one after the last that was taken",
        "SELECT r.deliverable, r.line FROM reserve r WHERE r.next IS NOT coalesce((SELECT max(s.number)"
        " + 1 FROM spent s WHERE s.deliverable = r.deliverable AND s.line = r.line"
        " AND s.number BETWEEN r.lo AND r.hi), r.lo)",
    ),
    Rule(
        "reserve", "is of another store, or of another life of it",
        "SELECT r.deliverable, r.line FROM reserve r WHERE r.next <= r.hi AND NOT EXISTS (SELECT 1"
        " FROM store_state s WHERE s.lineage IS r.lineage AND s.generation IS r.generation)",
    ),
    Rule(
        "reserve", "holds numbers that this machine gave up",
        "SELECT r.deliverable, r.line FROM reserve r WHERE EXISTS (SELECT 1 FROM given_up u"
        " WHERE u.deliverable = r.deliverable AND u.line = r.line AND u.lo <= r.hi AND u.hi >= r.next)"
        " AND r.next <= r.hi",
    ),
    Rule(
        "given_up", "differs from the event that gave it up, or there is none",
        "SELECT u.deliverable, u.line, u.lo FROM given_up u WHERE NOT EXISTS (SELECT 1"
        " FROM number_skip n WHERE n.deliverable = u.deliverable AND n.line = u.line AND n.lo IS u.lo"
        f" AND n.hi IS u.hi AND n.skipped_at IS NOT NULL AND (n.why IS u.why OR n.node <> {_US} OR NOT {_ALONE}))",
    ),
    Rule(
        "given_up", "an event gave numbers of this machine up, and it is not there",
        f"SELECT n.deliverable, n.line, n.lo FROM number_skip n WHERE {_ALONE} AND n.node = {_US}"
        " AND n.skipped_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM given_up u"
        " WHERE u.deliverable = n.deliverable AND u.line = n.line AND u.lo = n.lo)"
        " AND EXISTS (SELECT 1 FROM grant_entry g WHERE g.deliverable = n.deliverable"
        f" AND g.line = n.line AND g.node = {_US} AND g.kind <> 'raise' AND g.lo <= n.hi"
        " AND g.hi >= n.lo)",
    ),
    Rule(
        "grant_entry", "is open, though its numbers are held, taken, given up or of another machine",
        f"SELECT g.deliverable, g.line, g.k FROM grant_entry g WHERE g.open <> 0 AND (g.node NOT IN {_OURS}"
        f" OR {_ACCOUNTED} OR EXISTS (SELECT 1 FROM reserve r WHERE r.deliverable = g.deliverable"
        " AND r.line = g.line AND r.k = g.k AND r.generation = g.generation))",
    ),
    Rule(
        "grant_entry", "was granted to this machine, and is neither open, held, taken nor given up",
        f"SELECT g.deliverable, g.line, g.k FROM grant_entry g WHERE {_ALONE} AND g.open = 0"
        f" AND g.node = {_US}"
        f" AND g.kind <> 'raise' AND NOT {_ACCOUNTED} AND NOT EXISTS (SELECT 1 FROM number_range n"
        " WHERE n.deliverable = g.deliverable AND n.line = g.line AND n.lo = g.lo AND n.node = g.node)",
    ),
    Rule(
        "store_state", "is no place in a store's history",
        # A journal that was never in contact knows an address, and no more.
        "SELECT id FROM store_state WHERE typeof(lineage) <> 'text' OR typeof(generation) <> 'integer'"
        " OR typeof(position) <> 'integer' OR position < 0"
        f" OR NOT ({_IS_HASH.format('hash')}) OR (position = 0) <> (hash = :root)"
        " OR CASE lineage WHEN '' THEN generation <> 0 OR position <> 0 ELSE generation < 1 END",
    ),
    Rule(
        "store_state", "is of an earlier life of the store than a grant that is here",
        "SELECT s.id FROM store_state s WHERE s.generation < (SELECT max(generation) FROM grant_entry)",
    ),
    Rule(
        "ack", "is no acknowledgement",
        "SELECT node, branch FROM ack WHERE typeof(sequence) <> 'integer' OR sequence < 0"
        f" OR (sequence > 0 AND NOT ({_IS_HASH.format('hash')}))",
    ),
    Rule(
        "ack_step", "the store cannot have confirmed what is not here",
        "SELECT a.node, a.sequence FROM ack_step a WHERE typeof(a.sequence) <> 'integer'"
        " OR a.sequence < 0 OR a.at NOT GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T*Z'"
        " OR a.sequence > coalesce((SELECT max(e.sequence) FROM event e JOIN node_lookup l"
        " ON l.id = e.node WHERE l.name = a.node), 0)",
    ),
    Rule(
        "contact", "is no contact token",
        "SELECT node FROM contact WHERE typeof(token_count) <> 'integer' OR token_count < 0"
        " OR typeof(proposal_count) <> 'integer' OR proposal_count NOT IN (token_count, token_count + 1)"
        " OR typeof(accepted) <> 'integer' OR accepted < 0 OR (token_count = 0) <> (token = '')",
    ),
    Rule(
        "local_value", "names a chain that this machine did not begin",
        "SELECT name FROM local_value WHERE name = 'node' AND (NOT EXISTS (SELECT 1 FROM machine m"
        " WHERE m.node = value AND m.began_at IS NOT NULL) OR (EXISTS (SELECT 1 FROM contact)"
        " AND value NOT IN (SELECT node FROM contact)))",
    ),
    Rule(
        "local_value", "says that this machine's own chain is here in part only",
        f"SELECT name FROM local_value WHERE name = :partial || {_US}",
    ),
    Rule(
        "relayed", "names a chain that is not here",
        "SELECT node, branch FROM relayed WHERE node NOT IN (SELECT name FROM node_lookup)",
    ),
)  # fmt: skip

_VALUES = {"recovered": RECOVERED, "partial": PARTIAL, "root": NO_CURSOR_HASH}


def verify(journal: Journal, tell: Tell | None = None) -> Checked:
    """Check the whole journal, with what this machine alone holds. As ``journal.verify.verify``."""
    return shared.verify(journal, tell, check_own_tables)


def check_own_tables(connection: Connection) -> Iterator[Finding]:
    """What of this machine's own tables contradicts the rows projected of its events, or each other.
    Call where those rows were compared with the events."""
    checks: list[tuple[str, str, Iterable[Key]]] = [
        *((rule.table, rule.what, _broken(connection, rule.sql)) for rule in RULES),
        ("grant_entry", "does not follow from the log before it", _broken_logs(connection)),
    ]
    for table, what, broken in checks:
        try:
            for key in broken:
                yield Finding(HELD, f"{table} {key}", what)
        except (DatabaseError, ValueError, TypeError) as problem:
            yield Finding(HELD, table, f"cannot be compared: {problem}")


def drop_contradicted(connection: Connection) -> None:
    """Take out what was kept of a damaged file and says something else than its events."""
    # sql: a rule of ours
    connection.execute(f"DELETE FROM spent WHERE (deliverable, run) IN ({RULES[0].sql})")


def _broken(connection: Connection, sql: str) -> Iterator[Key]:
    # sql: a rule of ours
    yield from connection.execute(
        f"{sql} LIMIT :limit", {**_VALUES, "limit": FINDINGS_MAX}
    ).fetchall()


def _broken_logs(connection: Connection) -> Iterator[Key]:
    """Entries whose hash is not that of what they say, that do not name the one before, or that lack it.

    Numbers granted to us arrive with the answer, before what others were granted in between: at the
    end of a log alone may there be gaps, below entries of ours.
    """
    lineage = store_state(connection).lineage
    after: Key = ("", "", 0)
    before, told = Entry(0, "", 0, 0, "", "", "", 0, "", "", ROOT), 0
    while page := connection.execute(_LOGS, (*after, FINDINGS_MAX)).fetchall():
        for deliverable, line, *row in page:
            entry = Entry._make(row)
            if (deliverable, line) != after[:2]:
                before = before._replace(k=0, hash=ROOT)
                (told,) = connection.execute(_TOLD, (deliverable, line)).fetchone()
            after = (deliverable, line, entry.k)
            follows = entry.k == before.k + 1
            if (
                entry_hash(lineage, deliverable, line, entry) != entry.hash
                or (follows and entry.previous != before.hash)
                or (not follows and before.k < told)
            ):
                yield after
            before = entry


_LOGS = (
    "SELECT deliverable, line, k, kind, lo, hi, node, run, nonce, generation, why, previous, hash"
    " FROM grant_entry WHERE (deliverable, line, k) > (?, ?, ?) ORDER BY deliverable, line, k LIMIT ?"
)
_TOLD = (
    "SELECT coalesce(max(k), 0) FROM grant_entry WHERE deliverable = ? AND line = ?"
    f" AND node NOT IN {_OURS}"
)
