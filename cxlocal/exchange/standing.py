"""How we stand with a store that does not let everybody do everything: what we may take and push, and
what of our own history therefore stays here.

The store tells it with every answer, so it is known before anything is recorded and while the store is
away. Events that may not be pushed are left out of what is sent; everything else goes, each
deliverable along its own chain, which the store checks. Where the right is given later, what was left
out follows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from sqlite3 import Connection

from cxlocal.errors import Refused, UsageError
from cxlocal.exchange.rights import Rights, how_to_ask, may, rights_from_json
from cxlocal.journal.file import Journal, Transaction
from cxlocal.text import counted
from cxlocal.values import NamedTuple

_TOLD = "rights at the store"
"""Local value: what the store last said of us, as JSON; empty where it lets us do everything."""
_LEFT = "left out at the store"
"""Local value: by own node and deliverable, the first event that was left out while later ones of the
node were sent, as JSON."""


class Standing(NamedTuple):
    """Who we are at the store, and what we may do there."""

    member: str
    rights: Rights


class LeftOut(NamedTuple):
    """Own events of a deliverable that were left out although the store has later ones."""

    node: str
    deliverable: str
    first: int
    """The sequence of the first one."""


def read_standing(told: object) -> Standing | None:
    """What the part ``rights`` of a message says; None for everything. Raises ValueError."""
    if not isinstance(told, dict):
        return None
    shape = dict(told)
    member = shape.pop("member", "")
    try:
        return Standing(str(member), rights_from_json(shape))
    except UsageError as error:
        raise ValueError(error.why) from error


def read_joined(found: Mapping[str, object]) -> Standing | None:
    """What the answer to ``store join`` says; None for everything, or for what cannot be read: the next
    contact tells it."""
    shape = found.get("rights")
    told = {**shape, "member": found.get("member", "")} if isinstance(shape, dict) else None
    try:
        standing = read_standing(told)
    except ValueError:
        return None
    return None if standing is None or standing.rights.unlimited else standing


def standing_of(connection: Connection) -> Standing | None:
    """What the store last said; None where it lets us do everything, as far as we know."""
    text = _value(connection, _TOLD)
    return read_standing(json.loads(text)) if text else None


def may_read_more(before: Standing | None, now: Standing | None) -> bool:
    """Whether history may be read now that could not be: it lies before the cursor, so all is asked
    for anew."""
    if before is None or before.rights.read is None:
        return False
    return now is None or now.rights.read is None or bool(now.rights.read - before.rights.read)


def note_standing(transaction: Transaction, standing: Standing | None) -> bool:
    """Remember what the store says; whether that is news."""
    if standing == standing_of(transaction.connection):
        return False
    told = None if standing is None else {"member": standing.member, **standing.rights.as_json()}
    transaction.set_value(_TOLD, "" if told is None else json.dumps(told))
    return True


def forget_standing(transaction: Transaction) -> None:
    """The journal belongs to another store now, which has nothing yet."""
    for name in (_TOLD, _LEFT):
        transaction.set_value(name, "")


def require(journal: Journal, deliverable: str, *kinds: str) -> None:
    """Ask before anything is recorded: rights of these kinds (``take``, ``push``). Raises Refused.

    What is known is as old as the last contact: rights that were given since are known after the next.
    """
    standing = standing_of(journal.connection)
    if standing is None:
        return
    lacking = [
        kind
        for kind, names in standing.rights.lists()
        if kind in kinds and not may(names, deliverable)
    ]
    if not lacking:
        return
    words = {"take": "take numbers of it", "push": "push its history"}
    raise Refused(
        f"{standing.member} may not work on {deliverable!r} at this store",
        why=f"it may not {' and not '.join(words[kind] for kind in lacking)}; nothing was recorded",
        hint=how_to_ask(standing.member, standing.rights, deliverable, *lacking),
        name="not-allowed",
    )


def words_of_staying(connection: Connection, staying: Mapping[str, int]) -> list[str]:
    """What stays here because it may not be pushed, and what to do about it, a sentence for each
    deliverable."""
    standing = standing_of(connection)
    if standing is None:
        return []
    return [
        f"{counted(count, 'event')} of {name} {'stays' if count == 1 else 'stay'} here:"
        f" {standing.member} may not push its history"
        f" ({how_to_ask(standing.member, standing.rights, name, 'push')})"
        for name, count in staying.items()
    ]


def left_out(connection: Connection) -> list[LeftOut]:
    """What was left out while later events of the same node were sent."""
    found = json.loads(_value(connection, _LEFT) or "{}")
    return [
        LeftOut(node, deliverable, first)
        for node, names in found.items()
        for deliverable, first in names.items()
    ]


def note_left_out(
    transaction: Transaction, standing: Standing | None, node: str, after: int, last: int
) -> None:
    """Events of ``node`` from beyond sequence ``after`` up to ``last`` are sent: those among them that
    may not be pushed are left out."""
    connection = transaction.connection
    found = {(one.node, one.deliverable): one.first for one in left_out(connection)}
    rows = connection.execute(
        "SELECT d.name, min(e.sequence) FROM event e JOIN deliverable_lookup d ON d.id = e.deliverable"
        " WHERE e.node = (SELECT id FROM node_lookup WHERE name = ?) AND e.branch = 0"
        " AND e.sequence > ? AND e.sequence <= ? GROUP BY d.name",
        (node, after, last),
    )
    for name, first in rows.fetchall():
        if not may_push(standing, name):
            found.setdefault((node, name), first)
    _keep_left_out(transaction, found)


def note_followed(transaction: Transaction, one: LeftOut, last: int, *, gap: bool) -> None:
    """What had been left out followed up to sequence ``last``. ``gap``: the store lacks what comes
    before it, too, so it is sent from its beginning."""
    connection = transaction.connection
    found = {(each.node, each.deliverable): each.first for each in left_out(connection)}
    first = connection.execute(
        "SELECT min(e.sequence) FROM event e WHERE e.branch = 0 AND e.sequence > ?"
        " AND e.sequence < ?"
        " AND e.node = (SELECT id FROM node_lookup WHERE name = ?)"
        " AND e.deliverable = (SELECT id FROM deliverable_lookup WHERE name = ?)",
        (0 if gap else last, _acked(connection, one.node), one.node, one.deliverable),
    ).fetchone()[0]
    found.pop((one.node, one.deliverable), None)
    if first is not None:
        found[one.node, one.deliverable] = first
    _keep_left_out(transaction, found)


def _keep_left_out(transaction: Transaction, found: dict[tuple[str, str], int]) -> None:
    told: dict[str, dict[str, int]] = {}
    for (node, name), first in found.items():
        told.setdefault(node, {})[name] = first
    text = json.dumps(told) if told else ""
    if text != _value(transaction.connection, _LEFT):
        transaction.set_value(_LEFT, text)


def to_follow(connection: Connection) -> LeftOut | None:
    """Of what was left out, and has later events of its node at the store, what may be pushed now."""
    found = left_out(connection)
    standing = standing_of(connection) if found else None
    return next(
        (
            one
            for one in found
            if may_push(standing, one.deliverable) and one.first <= _acked(connection, one.node)
        ),
        None,
    )


def tail_of(connection: Connection, node: str, after: int) -> dict[str | None, tuple[int, int]]:
    """Own events beyond sequence ``after``: by deliverable, how many and the last one."""
    rows = connection.execute(
        "SELECT d.name, count(*), max(e.sequence) FROM event e"
        " LEFT JOIN deliverable_lookup d ON d.id = e.deliverable"
        " WHERE e.node = (SELECT id FROM node_lookup WHERE name = ?) AND e.branch = 0"
        " AND e.sequence > ? GROUP BY e.deliverable",
        (node, after),
    )
    return {name: (count, head) for name, count, head in rows.fetchall()}


def count_of(connection: Connection, one: LeftOut, last: int) -> int:
    """How many events of what was left out lie up to sequence ``last``."""
    row = connection.execute(
        "SELECT count(*) FROM event e WHERE e.branch = 0 AND e.sequence BETWEEN ? AND ?"
        " AND e.node = (SELECT id FROM node_lookup WHERE name = ?)"
        " AND e.deliverable = (SELECT id FROM deliverable_lookup WHERE name = ?)",
        (one.first, last, one.node, one.deliverable),
    ).fetchone()
    return int(row[0])


def may_push(standing: Standing | None, deliverable: str | None) -> bool:
    """Whether events of a deliverable, or of none, may be pushed."""
    return standing is None or deliverable is None or may(standing.rights.push, deliverable)


def _acked(connection: Connection, node: str) -> int:
    row = connection.execute(
        "SELECT sequence FROM ack WHERE node = ? AND branch = 0", (node,)
    ).fetchone()
    return int(row[0]) if row else 0


def _value(connection: Connection, name: str) -> str:
    row = connection.execute("SELECT value FROM local_value WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""
