"""What a message brought about, read from the copy in which it was carried out: the next entry of
the log, and the batches of events it refers to."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from cxlocal.events.document import Event
from cxlocal.exchange.messages import entry_out as grant_out
from cxlocal.exchange.messages import event_out
from cxlocal.numbers.log import Entry
from cxlocal.values import NamedTuple
from cxlocal_sync.keys import names
from cxlocal_sync.keys.cache import Stand
from cxlocal_sync.keys.form import LogEntry, entry_out, seal, seal_hash
from cxlocal_sync.stores.feed import read_store
from cxlocal_sync.stores.session import SqliteSession

Stops = list[tuple[str, str, str, str, int]]


class Before(NamedTuple):
    """What the copy looked like before a message was carried out."""

    position: int
    generation: int
    stops: Stops


class Change(NamedTuple):
    """What is to be written to make a message's effects those of the store."""

    entry: LogEntry
    content: bytes
    batches: dict[str, bytes]

    @property
    def key(self) -> str:
        """Where the entry goes."""
        if self.entry.recovered:
            return names.generation_key(self.entry.generation)
        return names.log_key(self.entry.generation, self.entry.n)


def look(connection: SqliteSession) -> Before:
    """The copy as it is now."""
    store = read_store(connection)
    return Before(store.position, store.generation, _stops(connection))


def change_since(
    connection: SqliteSession, before: Before, at: Stand, carrier: str, nonce: str
) -> Change | None:
    """What changed since ``before``; None for nothing that others must know of."""
    store = read_store(connection)
    recovered = store.generation != before.generation
    stops = _stops(connection)
    new = [stop for stop in stops if recovered or stop not in before.stops]
    if store.position == before.position and not new and not recovered:
        return None
    events, grants = _new_items(connection, before.position)
    batches: dict[str, bytes] = {}
    keys: dict[str, int] = {}
    for node in dict.fromkeys(event.node for _, event in events):
        key, content = batch_of([event for _, event in events if event.node == node])
        keys[node] = len(batches)
        batches[key] = content
    entry = LogEntry(
        at.n + 1, store.generation, at.hash, at.generation, carrier, nonce,
        tuple((key, seal_hash(content)) for key, content in batches.items()),
        tuple(_items(events, grants, keys)), tuple(new), recovered,
    )  # fmt: skip
    content = entry_out(entry)
    return Change(entry._replace(hash=seal_hash(content)), content, batches)


def batch_of(events: list[Event]) -> tuple[str, bytes]:
    """The key and content of a batch of one node's events, in feed order."""
    content = seal({"kind": "batch", "events": [event_out(event) for event in events]})
    sequences = [event.sequence for event in events]
    key = names.batch_key(events[0].node, min(sequences), max(sequences), seal_hash(content))
    return key, content


def _items(
    events: list[tuple[int, Event]], grants: list[tuple[int, dict[str, Any]]], keys: dict[str, int]
) -> list[dict[str, Any]]:
    """Events and grants in feed order; neighbouring events of one batch and branch are counted."""
    rows: list[tuple[int, Any, Any]] = [(at, None, {"grant": grant}) for at, grant in grants]
    rows += [(at, (keys[event.node], event.branch), None) for at, event in events]
    items: list[dict[str, Any]] = []
    for place, group in groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: row[1]):
        if place is None:
            items += [item for _, _, item in group]
        else:
            batch, branch = place
            items.append({"batch": batch, "count": len(list(group)), "branch": branch})
    return items


def _new_items(
    connection: SqliteSession, position: int
) -> tuple[list[tuple[int, Event]], list[tuple[int, dict[str, Any]]]]:
    rows = connection.execute(
        "SELECT e.position, n.node, e.sequence, e.branch, e.type, e.deliverable,"
        " e.deliverable_sequence, e.clock, e.previous, e.previous_in_deliverable, e.hash,"
        " e.document, e.run FROM event e JOIN node n ON n.id = e.node"
        " WHERE e.position > ? ORDER BY e.position",
        (position,),
    )
    events = [(row[0], Event(*row[1:])) for row in rows]
    found = connection.execute(
        "SELECT position, deliverable, line, k, kind, lo, hi, node, run, nonce, generation, why,"
        " previous, hash FROM grant_entry WHERE position > ? ORDER BY position",
        (position,),
    )
    return events, [(row[0], grant_out(row[1], row[2], Entry(*row[3:]))) for row in found]


def _stops(connection: SqliteSession) -> Stops:
    return connection.execute(
        "SELECT deliverable, cause, why, line, number FROM stop"
        " ORDER BY deliverable, cause, line, number"
    ).fetchall()
