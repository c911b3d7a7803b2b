"""Taking in events of other chains: pulled from a store, imported from a bundle.

Every hash is recomputed: nothing a peer sends is trusted. What we hold already is skipped, what
continues a history we hold is appended, a second history under one id becomes a branch, and what
does not connect is left out and reported. Received events are projected afterwards
(``rebuild.catch_up``), because a pull must never keep a run from starting.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from cxlocal.errors import Conflict
from cxlocal.events.document import NO_HASH, Event, hash_of
from cxlocal.events.hybrid import is_ahead, merge_value
from cxlocal.journal.append import insert_event, look_up
from cxlocal.text import parse_utc

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal, Transaction


class Received(NamedTuple):
    """What became of a batch."""

    appended: int
    known: int
    branched: int
    """Events that stand in a second history under an id we already had."""
    unconnected: int
    """Events left out because what comes before them is missing here."""
    ahead: int
    """Events whose clock lies more than five minutes in our future; kept, ours not moved."""


def receive(transaction: Transaction, events: Iterable[Event]) -> Received:
    """Store events of other chains. Inside the caller's transaction.

    A partial replica (one deliverable only) has gaps in the node's own chain; an event then counts
    as connected when its predecessor within the deliverable is here.

    Raises Conflict when an event's bytes do not match its hash: the sender is broken or lying.
    """
    journal, now_ms = transaction.journal, transaction.journal.clock.now_ms()
    appended = known = branched = unconnected = ahead = 0
    clock = last = int(journal.value("clock") or 0)
    for event in events:
        if hash_of(event) != event.hash:
            raise Conflict(
                "an event from elsewhere was changed on the way",
                why=f"event {event.sequence} of machine {event.node[:8]} does not match its hash;"
                " nothing of this batch was kept",
                hint="ask the sender to run 'cxlocal verify', then sync again",
                name="event-changed",
                node=event.node,
                sequence=event.sequence,
            )
        branch = _place(journal, event)
        if branch is None:
            unconnected += 1
        elif branch < 0:
            known += 1
        else:
            insert_event(
                journal,
                event._replace(branch=branch, received_at_ms=now_ms),
                parse_utc(event.parsed()["context"]["timestamp"]),
            )
            appended += 1
            branched += branch > 0
            ahead += is_ahead(event.clock, now_ms)
            clock = merge_value(clock, event.clock, now_ms)
    if clock != last:
        transaction.set_value("clock", str(clock))
    return Received(appended, known, branched, unconnected, ahead)


def _place(journal: Journal, event: Event) -> int | None:
    """The branch an event belongs to; -1 when it is here already; None when it does not connect."""
    node = look_up(journal, "node", event.node)
    rows = journal.connection.execute(
        "SELECT branch, hash FROM event WHERE node = ? AND sequence = ?", (node, event.sequence)
    ).fetchall()
    if any(row[1] == event.hash for row in rows):
        return -1
    taken = {row[0] for row in rows}
    parents = _parents(journal, node, event)
    if parents is None:
        return None
    for branch in sorted(parents):
        if branch not in taken:
            return branch
    return 1 + int(
        journal.connection.execute(
            "SELECT max(branch) FROM event WHERE node = ?", (node,)
        ).fetchone()[0]
    )


def _parents(journal: Journal, node: int, event: Event) -> set[int] | None:
    """Branches that hold the event's predecessor; branch 0 for a beginning; None if unknown."""
    if event.sequence == 1:
        return {0} if event.previous == NO_HASH else None
    rows = journal.connection.execute(
        "SELECT branch FROM event WHERE node = ? AND sequence = ? AND hash = ?",
        (node, event.sequence - 1, event.previous),
    ).fetchall()
    if rows:
        return {row[0] for row in rows}
    if event.deliverable is None or event.deliverable_sequence is None:
        return None
    if event.deliverable_sequence == 1 and event.previous_in_deliverable == NO_HASH:
        return {0}
    rows = journal.connection.execute(
        "SELECT branch FROM event WHERE node = ? AND deliverable = ? AND deliverable_sequence = ?"
        " AND hash = ?",
        (
            node,
            look_up(journal, "deliverable", event.deliverable),
            event.deliverable_sequence - 1,
            event.previous_in_deliverable,
        ),
    ).fetchall()
    return {row[0] for row in rows} or None
