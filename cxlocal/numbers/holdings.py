"""What this machine holds: its reserve, its copy of the grant logs, what it has taken and given up.

The SQL of ``cxlocal.journal.local_tables``. Every function that writes works inside the caller's
transaction, so that a number and the event that says so become durable together or not at all.
"""

from __future__ import annotations

from collections.abc import Collection
from sqlite3 import Connection

from cxlocal.events.machines import version_reserved, version_skipped
from cxlocal.journal.file import Journal, Transaction
from cxlocal.numbers import log
from cxlocal.values import NamedTuple

LINES_MAX = 5
"""Lines of one deliverable for which a machine keeps its reserve fresh: the most recent ones. A
line that names the day would otherwise leave one more reserve to refresh every day."""


class Reserve(NamedTuple):
    """Numbers this machine may take without asking."""

    deliverable: str
    line: str
    lo: int
    hi: int
    next: int
    lineage: str
    generation: int
    k: int
    locked: bool

    @property
    def left(self) -> int:
        """How many numbers are left."""
        return self.hi + 1 - self.next


class TakenNumber(NamedTuple):
    """A version this machine has taken."""

    deliverable: str
    run: str
    line: str
    number: int | None
    text: str
    sort_key: str
    how: str
    lineage: str


_RESERVE = "SELECT deliverable, line, lo, hi, next, lineage, generation, k, locked FROM reserve"


def _reserve_of(row: tuple[object, ...]) -> Reserve:
    return Reserve._make(row)._replace(locked=bool(row[8]))


def reserve_of(connection: Connection, deliverable: str, line: str) -> Reserve | None:
    """The reserve of a line, used up or not."""
    row = connection.execute(
        _RESERVE + " WHERE deliverable = ? AND line = ?", (deliverable, line)
    ).fetchone()
    return _reserve_of(row) if row else None


def all_reserves(connection: Connection) -> list[Reserve]:
    """Every reserve with something left in it."""
    rows = connection.execute(_RESERVE + " WHERE next <= hi ORDER BY deliverable, line").fetchall()
    return [_reserve_of(row) for row in rows]


def reserves(journal: Journal) -> list[Reserve]:
    """Every reserve of this machine with something left in it (doctor, status, prepare)."""
    return all_reserves(journal.connection)


def lock_reserves(connection: Connection, locked: bool) -> None:
    """Lock or unlock every reserve."""
    connection.execute(
        "UPDATE reserve SET locked = :on WHERE locked != :on", {"on": 1 if locked else 0}
    )


def taken_by(connection: Connection, deliverable: str, run: str) -> TakenNumber | None:
    """The version a run has taken on this machine."""
    row = connection.execute(
        "SELECT deliverable, run, line, number, text, sort_key, how, lineage FROM spent"
        " WHERE deliverable = ? AND run = ?",
        (deliverable, run),
    ).fetchone()
    return TakenNumber._make(row) if row else None


def take(connection: Connection, taken: TakenNumber) -> None:
    """Remember a version as taken. Raises sqlite3.IntegrityError where it is not unique."""
    connection.execute("INSERT INTO spent VALUES (?, ?, ?, ?, ?, ?, ?, ?)", taken)


def order_in_use(connection: Connection, deliverable: str, sort_key: str) -> bool:
    """Whether a version of the deliverable has this place in the order already, here or as far as
    other machines' events have arrived. Equal texts have equal keys."""
    row = connection.execute(
        "SELECT 1 FROM spent WHERE deliverable = :d AND sort_key = :s"
        " UNION ALL SELECT 1 FROM version WHERE deliverable = :d AND sort_key = :s LIMIT 1",
        {"d": deliverable, "s": sort_key},
    ).fetchone()
    return row is not None


def is_given_up(connection: Connection, deliverable: str, line: str, number: int) -> bool:
    """Whether this machine has said that it will never use ``number``."""
    row = connection.execute(
        "SELECT 1 FROM given_up WHERE deliverable = ? AND line = ? AND lo <= ? AND hi >= ? LIMIT 1",
        (deliverable, line, number, number),
    ).fetchone()
    return row is not None


def is_spent(connection: Connection, deliverable: str, line: str, number: int) -> bool:
    """Whether a run of this machine took ``number``."""
    row = connection.execute(
        "SELECT 1 FROM spent WHERE deliverable = ? AND line = ? AND number = ? LIMIT 1",
        (deliverable, line, number),
    ).fetchone()
    return row is not None


def highest_spent(connection: Connection, deliverable: str, line: str) -> int:
    """The highest number of the line that this machine took; -1 for none."""
    row = connection.execute(
        "SELECT number FROM spent WHERE deliverable = ? AND line = ? AND number IS NOT NULL"
        " ORDER BY number DESC LIMIT 1",
        (deliverable, line),
    ).fetchone()
    return row[0] if row else -1


def highest_known(connection: Connection, deliverable: str, line: str) -> int:
    """The highest number of the line that this machine took or knows to be in use; -1 for none."""
    # Online and raise entries only ever climb, so the last one is the highest.
    row = connection.execute(
        "SELECT hi FROM grant_entry WHERE deliverable = ? AND line = ? AND kind != 'reserve'"
        " ORDER BY k DESC LIMIT 1",
        (deliverable, line),
    ).fetchone()
    return max(highest_spent(connection, deliverable, line), row[0] if row else -1)


def give_up(
    transaction: Transaction, deliverable: str, line: str, lo: int, hi: int, why: str
) -> None:
    """Say for good that [lo, hi] will not be used by this machine: a row and an event."""
    if hi < lo:
        return
    changed = transaction.connection.execute(
        "INSERT OR IGNORE INTO given_up VALUES (?, ?, ?, ?, ?)", (deliverable, line, lo, hi, why)
    ).rowcount
    if changed:
        transaction.append(
            version_skipped(deliverable=deliverable, line=line, lo=lo, hi=hi, why=why)
        )


def give_up_reserves(
    transaction: Transaction, why: str, generation: int | None = None, *,
    names: Collection[str] | None = None,
) -> None:  # fmt: skip
    """Give up what is left of every reserve, or of those of another generation only, or of the
    deliverables ``names`` only."""
    for reserve in all_reserves(transaction.connection):
        chosen = names is None or reserve.deliverable in names
        if chosen and (generation is None or reserve.generation != generation):
            give_up(transaction, reserve.deliverable, reserve.line, reserve.next, reserve.hi, why)
            transaction.connection.execute(
                "DELETE FROM reserve WHERE deliverable = ? AND line = ?",
                (reserve.deliverable, reserve.line),
            )


def install_reserve(
    transaction: Transaction, deliverable: str, line: str, entry: log.Entry, lineage: str
) -> bool:
    """Hold a freshly granted reserve in place of the one before it, which is given up.

    False where this machine meanwhile gave up the new numbers, or holds them already.
    """
    connection = transaction.connection
    old = reserve_of(connection, deliverable, line)
    if is_given_up(connection, deliverable, line, entry.lo):
        return False
    if old is not None and old.k >= entry.k and old.generation >= entry.generation:
        if old.k > entry.k:  # another process of this machine was faster
            why = "another process of the machine received a newer reserve"
            give_up(transaction, deliverable, line, entry.lo, entry.hi, why)
        return False
    if old is not None:
        why = "exchanged for a newer reserve: the numbers in use had come close"
        give_up(transaction, deliverable, line, old.next, old.hi, why)
    connection.execute(
        "INSERT OR REPLACE INTO reserve VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
        (deliverable, line, entry.lo, entry.hi, entry.lo, lineage, entry.generation, entry.k),
    )
    transaction.append(
        version_reserved(
            deliverable=deliverable, line=line, lo=entry.lo, hi=entry.hi,
            lineage=lineage, generation=entry.generation, k=entry.k,
        )
    )  # fmt: skip
    return True


def spend_lowest(connection: Connection, reserve: Reserve, number: int) -> None:
    """Take ``number`` and leave everything below it behind."""
    connection.execute(
        "UPDATE reserve SET next = ? WHERE deliverable = ? AND line = ?",
        (number + 1, reserve.deliverable, reserve.line),
    )


def keep_entry(
    connection: Connection, deliverable: str, line: str, entry: log.Entry, *, open_: bool
) -> None:
    """Copy an entry of the store's log; one that is here already stays as it is."""
    connection.execute(
        f"INSERT OR IGNORE INTO grant_entry VALUES ({', '.join('?' * 14)})",
        (deliverable, line, *entry, int(open_)),
    )


def close_entry(connection: Connection, deliverable: str, line: str, k: int) -> None:
    """The entry is accounted for."""
    connection.execute(
        "UPDATE grant_entry SET open = 0 WHERE deliverable = ? AND line = ? AND k = ?",
        (deliverable, line, k),
    )


def log_entries(connection: Connection, deliverable: str, line: str) -> list[log.Entry]:
    """Our copy of a line's log, in order."""
    rows = connection.execute(
        "SELECT k, kind, lo, hi, node, run, nonce, generation, why, previous, hash"
        " FROM grant_entry WHERE deliverable = ? AND line = ? ORDER BY k",
        (deliverable, line),
    ).fetchall()
    return [log.Entry._make(row) for row in rows]


def log_head(connection: Connection, deliverable: str, line: str) -> tuple[int, str]:
    """(k, hash) of the last entry we know of a line; k is 0 for none."""
    row = connection.execute(
        "SELECT k, hash FROM grant_entry WHERE deliverable = ? AND line = ?"
        " ORDER BY k DESC LIMIT 1",
        (deliverable, line),
    ).fetchone()
    return (row[0], row[1]) if row else (0, log.ROOT)


def settle_open(transaction: Transaction) -> int:
    """Give up what was granted to us and never arrived: the answer was lost, or the process that
    asked died. Called with entries that an *earlier* contact brought, and re-checked by every
    process before it uses a number, so nothing in use is ever given up. Returns how many."""
    connection = transaction.connection
    rows = connection.execute(
        "SELECT deliverable, line, k, lo, hi, kind FROM grant_entry WHERE open = 1"
    ).fetchall()
    for deliverable, line, k, lo, hi, kind in rows:
        why = f"granted to this machine ({kind}), but the answer was lost on the way"
        give_up(transaction, deliverable, line, lo, hi, why)
        close_entry(connection, deliverable, line, k)
    return len(rows)


def remember_wish(
    connection: Connection, deliverable: str, line: str, count: int, ahead: int
) -> None:
    """Keep a reserve of ``count`` numbers on this line from now on."""
    known = connection.execute(
        "SELECT 1 FROM reserve_wish WHERE deliverable = ? AND line = ? AND count = ? AND ahead = ?"
        " AND id = (SELECT max(id) FROM reserve_wish WHERE deliverable = ?)",
        (deliverable, line, count, ahead, deliverable),
    ).fetchone()
    if known:
        return
    connection.execute(
        "DELETE FROM reserve_wish WHERE deliverable = ? AND line = ?", (deliverable, line)
    )
    connection.execute(
        "INSERT INTO reserve_wish (id, deliverable, line, count, ahead)"
        " VALUES ((SELECT coalesce(max(id), 0) + 1 FROM reserve_wish), ?, ?, ?, ?)",
        (deliverable, line, count, ahead),
    )
    connection.execute(
        "DELETE FROM reserve_wish WHERE deliverable = ? AND id NOT IN"
        " (SELECT id FROM reserve_wish WHERE deliverable = ? ORDER BY id DESC LIMIT ?)",
        (deliverable, deliverable, LINES_MAX),
    )


def wishes(connection: Connection) -> list[tuple[str, str, int, int]]:
    """(deliverable, line, count, ahead) of every reserve this machine wants to hold."""
    return connection.execute(
        "SELECT deliverable, line, count, ahead FROM reserve_wish ORDER BY id"
    ).fetchall()
