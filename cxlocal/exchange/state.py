"""What a journal remembers of its store: the SQL of ``cxlocal.journal.local_tables``."""

from __future__ import annotations

from sqlite3 import Connection

from cxlocal.clock import Ids
from cxlocal.events.document import NO_HASH, Event
from cxlocal.exchange import standing
from cxlocal.exchange.token import NO_TOKEN, Token, propose
from cxlocal.values import NamedTuple

LOST_MEMORY = "lost memory"
"""Local value: set where the journal was recovered and nothing in it said to which store it belonged."""
NO_CURSOR_HASH = "0" * 64


class StoreState(NamedTuple):
    """The store this journal belongs to, and how far we have it."""

    url: str = ""
    lineage: str = ""
    generation: int = 0
    position: int = 0
    hash: str = NO_CURSOR_HASH


class ContactRow(NamedTuple):
    """The contact token of one node id."""

    node: str
    token: Token
    proposal: Token
    hint: str
    accepted: int


class Ack(NamedTuple):
    """How far the store has a chain of ours."""

    sequence: int = 0
    hash: str = ""


def store_state(connection: Connection) -> StoreState:
    """The store's row; empty before the first contact."""
    row = connection.execute(
        "SELECT url, lineage, generation, position, hash FROM store_state"
    ).fetchone()
    return StoreState(*row) if row else StoreState()


def save_store_state(connection: Connection, state: StoreState) -> None:
    """Remember the store."""
    connection.execute("INSERT OR REPLACE INTO store_state VALUES (1, ?, ?, ?, ?, ?)", state)


def forget_cursor(connection: Connection) -> None:
    """Pull the feed from its beginning at the next contact; what is here already is skipped.

    After the store began to let us read more than before.
    """
    connection.execute("UPDATE store_state SET position = 0, hash = ?", (NO_CURSOR_HASH,))


def contact_row(connection: Connection, node: str) -> ContactRow | None:
    """The token of a node id; None where it never prepared a contact."""
    row = connection.execute(
        "SELECT node, token_count, token, proposal_count, proposal, hint, accepted FROM contact"
        " WHERE node = ?",
        (node,),
    ).fetchone()
    if row is None:
        return None
    return ContactRow(row[0], Token(row[1], row[2]), Token(row[3], row[4]), row[5], row[6])


def save_contact(connection: Connection, row: ContactRow) -> None:
    """Store a token and the proposal all processes of the journal share."""
    connection.execute(
        "INSERT OR REPLACE INTO contact VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row.node, *row.token, *row.proposal, row.hint, row.accepted),
    )


def fresh_contact(node: str) -> ContactRow:
    """The row of a node id that was never in contact."""
    return ContactRow(node, NO_TOKEN, NO_TOKEN, "", 0)


def accepted_contact(row: ContactRow, sent: ContactRow, hint: str) -> ContactRow:
    """The row after the store accepted ``sent``.

    No proposal is pending then: a copy of the journal made between contacts holds only a token
    that is used up at the original's next contact. Where another process has been faster the row
    has moved on already and stays as it is.
    """
    if row.token != sent.token:
        return row._replace(hint=hint, accepted=row.accepted + 1)
    return ContactRow(row.node, sent.proposal, sent.proposal, hint, row.accepted + 1)


def proposing_contact(row: ContactRow, ids: Ids) -> ContactRow:
    """The row with a proposal pending; one that is pending already is shared, not replaced."""
    if row.proposal.step > row.token.step:
        return row
    return row._replace(proposal=propose(row.token, ids.token()))


def ack_of(connection: Connection, node: str, branch: int = 0) -> Ack:
    """How far the store said it has our history of ``node``."""
    row = connection.execute(
        "SELECT sequence, hash FROM ack WHERE node = ? AND branch = ?", (node, branch)
    ).fetchone()
    return Ack(*row) if row else Ack()


def save_ack(connection: Connection, node: str, branch: int, ack: Ack, generation: int) -> None:
    """Remember how far the store has a chain, as it says."""
    connection.execute(
        "INSERT OR REPLACE INTO ack VALUES (?, ?, ?, ?, ?)",
        (node, branch, ack.sequence, ack.hash, generation),
    )


def save_ack_step(
    connection: Connection, node: str, sequence: int, generation: int, at: str
) -> None:
    """Remember since when (UTC text) we know that the store has our chain up to ``sequence``."""
    connection.execute(
        "INSERT OR IGNORE INTO ack_step (node, generation, sequence, at) VALUES (?, ?, ?, ?)",
        (node, generation, sequence, at),
    )


class Tail(NamedTuple):
    """What the store lacks of a chain of ours, of what it lets us push."""

    node: str
    acked: int
    """Sequence of the last event it acknowledged."""
    head: int
    """Sequence of the last event it may have."""
    events: int
    """How many events it is to get."""


def unsent(connection: Connection) -> list[Tail]:
    """Each of our chains with a tail the store does not have; older ids first."""
    told = standing.standing_of(connection)
    tails = [Tail(*row, row[2] - row[1]) for row in _unsent(connection)]
    if told is None or told.rights.push is None:
        return tails
    return [left for tail in tails if (left := _may_go(connection, told, tail)).events]


def _may_go(connection: Connection, told: standing.Standing, tail: Tail) -> Tail:
    found = standing.tail_of(connection, tail.node, tail.acked)
    may = [each for name, each in found.items() if standing.may_push(told, name)]
    head = max((last for _, last in may), default=tail.acked)
    return tail._replace(head=head, events=sum(count for count, _ in may))


def to_follow_count(connection: Connection) -> int:
    """Own events that were left out before, and may be pushed now."""
    left = standing.left_out(connection)
    told = standing.standing_of(connection) if left else None
    return sum(
        standing.count_of(connection, one, ack_of(connection, one.node).sequence)
        for one in left
        if standing.may_push(told, one.deliverable)
    )


def staying(connection: Connection) -> dict[str, int]:
    """Own events that may not be pushed, by deliverable: they stay here."""
    told = standing.standing_of(connection)
    if told is None or told.rights.push is None:
        return {}
    counts: dict[str, int] = {}
    for one in standing.left_out(connection):
        if not standing.may_push(told, one.deliverable):
            last = ack_of(connection, one.node).sequence
            count = standing.count_of(connection, one, last)
            counts[one.deliverable] = counts.get(one.deliverable, 0) + count
    for node, acked, _ in _unsent(connection):
        for name, (count, _) in standing.tail_of(connection, node, acked).items():
            if name is not None and not standing.may_push(told, name):
                counts[name] = counts.get(name, 0) + count
    return dict(sorted(counts.items()))


def _unsent(connection: Connection) -> list[tuple[str, int, int]]:
    return connection.execute(
        "SELECT name, acked, head FROM (SELECT l.name, l.id,"
        " coalesce((SELECT sequence FROM ack WHERE node = l.name AND branch = 0), 0) AS acked,"
        " coalesce((SELECT max(sequence) FROM event e WHERE e.node = l.id AND e.branch = 0), 0)"
        " AS head"
        " FROM node_lookup l WHERE l.name IN (SELECT node FROM contact"
        " UNION SELECT value FROM local_value WHERE name = 'node'))"
        " WHERE head > acked ORDER BY id"
    ).fetchall()


def own_nodes(connection: Connection) -> list[str]:
    """The ids of this journal that have a history here, older ones first."""
    rows = connection.execute(
        "SELECT l.name FROM node_lookup l WHERE l.name IN (SELECT node FROM contact"
        " UNION SELECT value FROM local_value WHERE name = 'node')"
        " AND EXISTS (SELECT 1 FROM event e WHERE e.node = l.id AND e.branch = 0) ORDER BY l.id"
    )
    return [row[0] for row in rows]


def is_ours(connection: Connection, node: str) -> bool:
    """Whether ``node`` is or was an id of this journal."""
    row = connection.execute("SELECT 1 FROM contact WHERE node = ?", (node,)).fetchone()
    return row is not None


def hash_at(connection: Connection, node: str, sequence: int) -> str:
    """The hash of an event of ours, hexadecimal; empty where we have none there."""
    row = connection.execute(
        "SELECT e.hash FROM event e JOIN node_lookup l ON l.id = e.node"
        " WHERE l.name = ? AND e.sequence = ? AND e.branch = 0",
        (node, sequence),
    ).fetchone()
    return row[0].hex() if row else ""


def branch_at(connection: Connection, node: str, sequence: int, value: str) -> int | None:
    """Which of our histories of ``node`` has the event of this hash (hexadecimal) there."""
    try:
        wanted = bytes.fromhex(value)
    except ValueError:
        return None
    row = connection.execute(
        "SELECT e.branch FROM event e JOIN node_lookup l ON l.id = e.node"
        " WHERE l.name = ? AND e.sequence = ? AND e.hash = ?",
        (node, sequence, wanted),
    ).fetchone()
    return row[0] if row else None


_BEFORE_IN_DELIVERABLE = (
    "SELECT 1 FROM event WHERE node = (SELECT id FROM node_lookup WHERE name = ?)"
    " AND deliverable = (SELECT id FROM deliverable_lookup WHERE name = ?)"
    # The plus keeps the planner from walking the whole chain by its sequence.
    " AND deliverable_sequence = ? AND hash = ? AND +sequence < ?"
)


def continues_deliverable(connection: Connection, event: Event) -> bool:
    """Whether ``event`` follows what is here of its chain within its deliverable."""
    if event.deliverable is None or event.deliverable_sequence is None:
        return event.deliverable is None
    if event.deliverable_sequence == 1:
        return event.previous_in_deliverable == NO_HASH
    wanted = (
        event.node, event.deliverable, event.deliverable_sequence - 1,
        event.previous_in_deliverable, event.sequence,
    )  # fmt: skip
    return connection.execute(_BEFORE_IN_DELIVERABLE, wanted).fetchone() is not None
