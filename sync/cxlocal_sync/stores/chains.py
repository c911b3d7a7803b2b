"""Keeping the chains of events that machines push.

An event is appended where it continues a chain, skipped where it is already there, and stored as a
branch where another event stands in its place. Nothing is ever overwritten. A batch that leaves a
gap is answered with what the store has, so that the sender can go back there.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from cxlocal.events import types
from cxlocal.events.document import NO_HASH, Event, hash_of
from cxlocal.events.validity import is_keepable
from cxlocal.exchange.chain import GAP, HELD, NEW_BRANCH, Known, all_continue, place
from cxlocal.exchange.messages import (
    BATCH_EVENTS_MAX,
    SPAN_MAX,
    BadMessage,
    events_in,
    text_of,
)  # fmt: skip
from cxlocal.exchange.receive import refuse_untrue
from cxlocal.values import NamedTuple
from cxlocal_sync.stores.feed import Feed
from cxlocal_sync.stores.grants import Granter
from cxlocal_sync.stores.session import Session

Placed = tuple[Event, int]
"""An event and the branch it goes to."""


class Batch(NamedTuple):
    """Events of one chain, in order."""

    events: list[Event]
    in_part: bool = False
    """Its sender may not push some that lie before them or between them: each follows the one before
    it within its deliverable."""


class Taken:
    """What was taken of a batch so far."""

    def __init__(self) -> None:
        self.placed: list[Placed] = []
        self.ends: dict[bytes, tuple[str | None, int | None]] = {}
        """By hash: the place within the deliverable."""

    def add(self, event: Event, branch: int) -> None:
        """One more."""
        self.placed.append((event, branch))
        self.ends[event.hash] = (event.deliverable, event.deliverable_sequence)


class Chains:
    """The chains of one store, within one transaction. ``carrier`` is the node that speaks."""

    def __init__(self, session: Session, feed: Feed, granter: Granter, carrier: str) -> None:
        self.carrier = carrier
        self.session = session
        self.feed = feed
        self.granter = granter

    def node_id(self, node: str) -> int:
        """The row of a chain; made where it is new. Enrolled under the member who brings it."""
        row = self.session.execute("SELECT id FROM node WHERE node = ?", (node,)).fetchone()
        if row is None:
            row = self.session.execute(
                "INSERT INTO node (node, member) VALUES (?, 1) RETURNING id", (node,)
            ).fetchone()
        return int(row[0])

    def head(self, node: str) -> dict[str, Any]:
        """How far we have a chain: its last event on branch 0."""
        row = self.session.execute(
            "SELECT e.sequence, e.hash FROM event e JOIN node n ON n.id = e.node"
            " WHERE n.node = ? AND e.branch = 0 ORDER BY e.sequence DESC LIMIT 1",
            (node,),
        ).fetchone()
        sequence, value = row or (0, NO_HASH)
        return {"node": node, "sequence": sequence, "hash": value.hex()}

    def push(self, batch: Batch) -> dict[str, Any]:
        """Take one batch (of ``read_batch``); the answer says how far its chain is held now. Raises
        BadMessage."""
        events = batch.events
        node, first = events[0].node, events[0].sequence
        node_id = self.node_id(node)
        known: Known = {}
        rows = self.session.execute(
            "SELECT sequence, branch, hash FROM event WHERE node = ?"
            " AND sequence BETWEEN ? AND ? ORDER BY sequence, branch",
            (node_id, first - 1, events[-1].sequence),
        )
        for sequence, branch, value in rows:
            known.setdefault(sequence, []).append((branch, value))
        if self._is_usual(batch, node_id, known):
            for event in events:
                check_hash(event)
                refuse_untrue(event)
            self._append([(event, 0) for event in events], node_id)
            ack = {"node": node, "sequence": events[-1].sequence, "hash": events[-1].hash.hex()}
            return {**ack, "appended": len(events), "gap": False}
        taken = Taken()
        held: Event | None = None
        for event in events:
            branch = place(event, known)
            if batch.in_part:
                branch = self._place_in_part(event, node_id, branch, known, taken)
            if branch == GAP:
                break
            held = event
            if branch == HELD:
                continue
            self._check(event, node_id, taken)
            if branch == NEW_BRANCH:
                branch = self._next_branch(node_id, taken)
            taken.add(event, branch)
            known.setdefault(event.sequence, []).append((branch, event.hash))
        self._append(taken.placed, node_id)
        if held is None:
            return {**self.head(node), "appended": 0, "gap": True}
        ack = {"node": node, "sequence": held.sequence, "hash": held.hash.hex()}
        return {**ack, "appended": len(taken.placed), "gap": held is not events[-1]}

    def _is_usual(self, batch: Batch, node_id: int, known: Known) -> bool:
        """Whether all of it goes on with the first history, and each event with its deliverable, by what
        they say of themselves. False: it takes a closer look."""
        if batch.in_part or not all_continue(batch.events, known):
            return False
        ends: dict[str, Event] = {}
        for event in batch.events:
            name = event.deliverable
            if name is None:
                continue
            end = ends.get(name)
            if end is None:
                follows = self._follows(event, node_id, Taken())
            else:
                follows = (
                    event.previous_in_deliverable == end.hash
                    and event.deliverable_sequence == (end.deliverable_sequence or 0) + 1
                )
            if not follows:
                return False
            ends[name] = event
        return True

    def _place_in_part(
        self, event: Event, node_id: int, branch: int, known: Known, taken: Taken
    ) -> int:
        """Where an event goes that need not follow the one before it in its chain."""
        if branch == GAP:
            if not self._follows(event, node_id, taken):
                return GAP
            branch = NEW_BRANCH if event.sequence in known else 0
        if branch == 0:
            # It fills a gap: what lies behind it there must continue it.
            row = self.session.execute(
                "SELECT previous FROM event WHERE node = ? AND branch = 0 AND sequence = ?",
                (node_id, event.sequence + 1),
            ).fetchone()
            return 0 if row is None or row[0] == event.hash else NEW_BRANCH
        return branch

    def _check(self, event: Event, node_id: int, taken: Taken) -> None:
        check_hash(event)
        if not self._follows(event, node_id, taken):
            raise BadMessage(
                f"event {event.sequence} does not continue its chain",
                why="its place within the deliverable is wrong", name="bad-chain",
            )  # fmt: skip
        refuse_untrue(event)

    def _follows(self, event: Event, node_id: int, taken: Taken) -> bool:
        """Whether it continues the chain of its deliverable."""
        if event.deliverable is None:
            return True
        if event.deliverable_sequence == 1:
            return event.previous_in_deliverable == NO_HASH
        follows = (event.deliverable, (event.deliverable_sequence or 0) - 1)
        # Most often it follows one just taken.
        if taken.ends.get(event.previous_in_deliverable) == follows:
            return True
        # The plus keeps the planner from walking the whole chain by its sequence.
        row = self.session.execute(
            "SELECT 1 FROM event WHERE node = ? AND hash = ? AND deliverable = ?"
            " AND deliverable_sequence = ? AND +sequence < ? LIMIT 1",
            (node_id, event.previous_in_deliverable, *follows, event.sequence),
        ).fetchone()
        return row is not None

    def _next_branch(self, node_id: int, taken: Taken) -> int:
        row = self.session.execute("SELECT max(branch) FROM event WHERE node = ?", (node_id,))
        branches = [branch for _, branch in taken.placed]
        return max(row.fetchone()[0] or 0, *branches, 0) + 1

    def _append(self, taken: list[Placed], node_id: int) -> None:
        if not taken:
            return
        insert_events(self.session, self.feed, taken, (node_id, self.node_id(self.carrier)))
        for event, _ in taken:
            if event.type == types.VERSION_USED:
                self._note_number(event)

    def _note_number(self, event: Event) -> None:
        used = number_of(event)
        if used is None:
            return  # unique by construction, or from a version of cxlocal that says it otherwise
        deliverable, line, number = used
        custom = _custom(event)
        generation = custom.get("generation")
        self.granter.saw_in_use(
            deliverable,
            line,
            number,
            node=event.node,
            lineage=str(custom.get("lineage") or ""),
            older=_counted(generation) and generation < self.granter.store.generation,
        )


def check_hash(event: Event) -> None:
    """Raises BadMessage for an event that is not what was hashed."""
    if hash_of(event) != event.hash:
        raise BadMessage(
            f"event {event.sequence} of the batch was changed on the way",
            why="its hash does not match", name="bad-hash",
        )  # fmt: skip


def insert_events(session: Session, feed: Feed, taken: list[Placed], rows: tuple[int, int]) -> None:
    """Append events of one chain to the feed. ``rows``: of its node, and of who brings them."""
    node_id, carrier_id = rows
    values = [
        (
            position, node_id, event.sequence, branch, event.type, event.deliverable,
            event.deliverable_sequence, event.clock, event.previous,
            event.previous_in_deliverable, event.hash, event.run, event.document, running,
            carrier_id,
        )
        for (event, branch), (position, running) in zip(
            taken, feed.steps([event.hash for event, _ in taken]), strict=True
        )
    ]  # fmt: skip
    session.append_events(values)
    for event, _ in taken:
        if event.type == types.NODE_BEGAN and event.sequence == 1:
            parent = _custom(event).get("parent")
            named = str(parent.get("node", "")) if isinstance(parent, dict) else ""
            named = named if is_keepable(named) else ""
            session.execute("UPDATE node SET parent = ? WHERE id = ?", (named, node_id))


def insert_event(session: Session, feed: Feed, event: Event, at: tuple[int, int, int]) -> None:
    """Append one event. ``at``: the row of its node, its branch, the row of who brings it."""
    node_id, branch, carrier_id = at
    insert_events(session, feed, [(event, branch)], (node_id, carrier_id))


def number_of(event: Event) -> tuple[str, str, int] | None:
    """(deliverable, line, number) that an event says is in use; None where it counts none."""
    if event.type != types.VERSION_USED or event.deliverable is None:
        return None
    custom = _custom(event)
    line, number = custom.get("line"), custom.get("number")
    if not isinstance(line, str) or not is_keepable(line) or not _counted(number):
        return None
    return event.deliverable, line, number


def _counted(number: Any) -> TypeGuard[int]:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**63


def _custom(event: Event) -> dict[str, Any]:
    try:
        custom = event.parsed()["customData"]["cxlocal"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return custom if isinstance(custom, dict) else {}


def read_batch(batch: Any) -> Batch:
    """The events of a batch, checked. Raises BadMessage."""
    if not isinstance(batch, dict) or not isinstance(batch.get("events"), list):
        raise BadMessage("the message holds a malformed batch")
    events = events_in(batch["events"])
    if not events or len(events) > BATCH_EVENTS_MAX:
        raise BadMessage("the message holds a malformed batch", why=f"{len(events)} events")
    in_part = batch.get("in_part") is True
    node, before = text_of(events[0].node), events[0].sequence - 1
    for event in events:
        follows = before < event.sequence if in_part else event.sequence == before + 1
        if event.node != node or not follows:
            raise BadMessage(
                "the message holds a malformed batch", why="its events are not consecutive"
            )
        before = event.sequence
    if before - events[0].sequence > SPAN_MAX:
        raise BadMessage("the message holds a malformed batch", why="it leaves out too much")
    return Batch(events, in_part)
