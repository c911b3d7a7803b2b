"""Keeping the chains of events that machines push.

An event is appended where it continues a chain, skipped where it is already there, and stored as a
branch where another event stands in its place. Nothing is ever overwritten. A batch that leaves a
gap is answered with what the store has, so that the sender can go back there.
"""

from __future__ import annotations

import sqlite3
from typing import Any, TypeGuard

from cxlocal.events import types
from cxlocal.events.document import NO_HASH, Event, hash_of
from cxlocal.exchange.chain import GAP, HELD, NEW_BRANCH, Known, place
from cxlocal.exchange.messages import (
    BATCH_EVENTS_MAX,
    BadMessage,
    event_in,
    text_of,
)  # fmt: skip
from cxlocal_sync.stores.feed import Feed
from cxlocal_sync.stores.grants import Granter

_INSERT = f"INSERT INTO event VALUES ({', '.join('?' * 15)})"


class Chains:
    """The chains of one store, within one transaction. ``carrier`` is the node that speaks."""

    def __init__(
        self, connection: sqlite3.Connection, feed: Feed, granter: Granter, carrier: str
    ) -> None:
        self.carrier = carrier
        self.connection = connection
        self.feed = feed
        self.granter = granter

    def node_id(self, node: str) -> int:
        """The row of a chain; made where it is new. Enrolled under the member who brings it."""
        row = self.connection.execute("SELECT id FROM node WHERE node = ?", (node,)).fetchone()
        if row is None:
            row = self.connection.execute(
                "INSERT INTO node (node, member) VALUES (?, 1) RETURNING id", (node,)
            ).fetchone()
        return int(row[0])

    def head(self, node: str) -> dict[str, Any]:
        """How far we have a chain: its last event on branch 0."""
        row = self.connection.execute(
            "SELECT e.sequence, e.hash FROM event e JOIN node n ON n.id = e.node"
            " WHERE n.node = ? AND e.branch = 0 ORDER BY e.sequence DESC LIMIT 1",
            (node,),
        ).fetchone()
        sequence, value = row or (0, NO_HASH)
        return {"node": node, "sequence": sequence, "hash": value.hex()}

    def push(self, batch: Any) -> dict[str, Any]:
        """Take one batch; the answer says how far its chain is held now. Raises BadMessage."""
        events = _read_batch(batch)
        node, first = events[0].node, events[0].sequence
        node_id = self.node_id(node)
        known: Known = {}
        rows = self.connection.execute(
            "SELECT sequence, branch, hash FROM event WHERE node = ?"
            " AND sequence BETWEEN ? AND ? ORDER BY sequence, branch",
            (node_id, first - 1, events[-1].sequence),
        )
        for sequence, branch, value in rows:
            known.setdefault(sequence, []).append((branch, value))
        appended = 0
        held: Event | None = None
        for event in events:
            found = self._take(event, node_id, known)
            if found is None:
                break
            appended += found
            held = event
        if held is None:
            return {**self.head(node), "appended": 0, "gap": True}
        ack = {"node": node, "sequence": held.sequence, "hash": held.hash.hex()}
        return {**ack, "appended": appended, "gap": held is not events[-1]}

    def _take(self, event: Event, node_id: int, known: Known) -> bool | None:
        """True appended, False already here, None: what comes before it is missing."""
        branch = place(event, known)
        if branch == HELD:
            return False
        if branch == GAP:
            return None
        self._check(event, node_id)
        if branch == NEW_BRANCH:
            branch = self._next_branch(node_id)
        self._insert(event, node_id, branch)
        known.setdefault(event.sequence, []).append((branch, event.hash))
        return True

    def _check(self, event: Event, node_id: int) -> None:
        if hash_of(event) != event.hash:
            raise BadMessage(
                f"event {event.sequence} of the batch was changed on the way",
                why="its hash does not match", name="bad-hash",
            )  # fmt: skip
        if event.deliverable is None:
            return
        first = event.deliverable_sequence == 1
        # The plus keeps the planner from walking the whole chain by its sequence.
        row = first or self.connection.execute(
            "SELECT 1 FROM event WHERE node = ? AND hash = ? AND deliverable = ?"
            " AND deliverable_sequence = ? AND +sequence < ? LIMIT 1",
            (
                node_id, event.previous_in_deliverable, event.deliverable,
                (event.deliverable_sequence or 0) - 1, event.sequence,
            ),
        ).fetchone()  # fmt: skip
        if not row or (first and event.previous_in_deliverable != NO_HASH):
            raise BadMessage(
                f"event {event.sequence} does not continue its chain",
                why="its place within the deliverable is wrong", name="bad-chain",
            )  # fmt: skip

    def _next_branch(self, node_id: int) -> int:
        row = self.connection.execute("SELECT max(branch) FROM event WHERE node = ?", (node_id,))
        return int(row.fetchone()[0]) + 1

    def _insert(self, event: Event, node_id: int, branch: int) -> None:
        carrier_id = self.node_id(self.carrier)
        insert_event(self.connection, self.feed, event, (node_id, branch, carrier_id))
        if event.type == types.VERSION_USED:
            self._note_number(event)

    def _note_number(self, event: Event) -> None:
        custom = _custom(event)
        line, number = custom.get("line"), custom.get("number")
        if event.deliverable is None or not isinstance(line, str) or not _counted(number):
            return  # unique by construction, or from a version of cxlocal that says it otherwise
        generation = custom.get("generation")
        self.granter.saw_in_use(
            event.deliverable,
            line,
            number,
            node=event.node,
            ours=custom.get("lineage") == self.granter.store.lineage,
            older=_counted(generation) and generation < self.granter.store.generation,
        )


def insert_event(
    connection: sqlite3.Connection, feed: Feed, event: Event, place_: tuple[int, int, int]
) -> None:
    """Append an event to the feed. ``place_``: its node's row, its branch, its carrier's row."""
    node_id, branch, carrier_id = place_
    position, running = feed.step(event.hash)
    connection.execute(
        _INSERT,
        (
            position, node_id, event.sequence, branch, event.type, event.deliverable,
            event.deliverable_sequence, event.clock, event.previous,
            event.previous_in_deliverable, event.hash, event.run, event.document, running,
            carrier_id,
        ),
    )  # fmt: skip
    if event.type == types.NODE_BEGAN and event.sequence == 1:
        parent = _custom(event).get("parent") or {}
        connection.execute(
            "UPDATE node SET parent = ? WHERE id = ?", (str(parent.get("node", "")), node_id)
        )


def _counted(number: Any) -> TypeGuard[int]:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**63


def _custom(event: Event) -> dict[str, Any]:
    try:
        custom = event.parsed()["customData"]["cxlocal"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return custom if isinstance(custom, dict) else {}


def _read_batch(batch: Any) -> list[Event]:
    if not isinstance(batch, dict) or not isinstance(batch.get("events"), list):
        raise BadMessage("the message holds a malformed batch")
    events = [event_in(item) for item in batch["events"]]
    if not events or len(events) > BATCH_EVENTS_MAX:
        raise BadMessage("the message holds a malformed batch", why=f"{len(events)} events")
    node = text_of(events[0].node)
    for offset, event in enumerate(events):
        if event.node != node or event.sequence != events[0].sequence + offset:
            raise BadMessage(
                "the message holds a malformed batch", why="its events are not consecutive"
            )
    return events
