"""The feed: events and grants in the order of their commits, each at a position of its own.

The running hash over the feed is what a cursor carries. A store that was restored from a backup
has another hash at some position, or none there at all, and every machine that pulled further
notices it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate
from typing import Any

from cxlocal.events.document import Event
from cxlocal.exchange.messages import (
    BATCH_BYTES_MAX,
    PULL_MAX,
    BadMessage,
    entry_out,
    event_out,
    text_of,
    whole_of,
)  # fmt: skip
from cxlocal.numbers.log import Entry
from cxlocal.values import NamedTuple
from cxlocal_sync.stores.session import Session

ROOT = bytes(32)


class Head(NamedTuple):
    """The end of the feed."""

    position: int
    hash: bytes


class StoreRow(NamedTuple):
    """The store's own row."""

    lineage: str
    generation: int
    position: int
    hash: bytes
    hint: str


def read_store(session: Session) -> StoreRow:
    """The store's own row."""
    row = session.execute("SELECT lineage, generation, position, hash, hint FROM store")
    return StoreRow(*row.fetchone())


class Feed:
    """Hands out positions within one transaction; ``close`` writes the counter row."""

    def __init__(self, session: Session, store: StoreRow) -> None:
        self.session = session
        self.held = False
        self.position = store.position
        self.hash = store.hash

    def steps(self, hashes: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """The next positions, and the running hash at each."""
        if not self.held:
            head = self.session.hold_feed()
            self.held = True
            if head is not None:
                self.position, self.hash = head
        # Each is the hash of the one before it and what comes.
        running = list(accumulate(hashes, _run_on, initial=self.hash))
        first, self.position, self.hash = (
            self.position + 1,
            self.position + len(hashes),
            running[-1],
        )
        return list(enumerate(running[1:], first))

    def close(self) -> None:
        """Write the head, if it moved."""
        if self.held:
            self.session.execute(
                "UPDATE store SET position = ?, hash = ?", (self.position, self.hash)
            )


def _run_on(running: bytes, value: bytes) -> bytes:
    return sha256(running + value).digest()


def running_at(session: Session, position: int) -> bytes | None:
    """The running hash at a position; None where the feed does not reach."""
    if position == 0:
        return ROOT
    row = session.execute(
        "SELECT running FROM event WHERE position = ?"
        " UNION ALL SELECT running FROM grant_entry WHERE position = ?",
        (position, position),
    ).fetchone()
    return row[0] if row else None


_EVENT_COLUMNS = (
    "e.position, n.node, e.sequence, e.branch, e.type, e.deliverable, e.deliverable_sequence,"
    " e.clock, e.previous, e.previous_in_deliverable, e.hash, e.document, e.run, c.node"
)
_GRANT_COLUMNS = (
    "position, deliverable, line, k, kind, lo, hi, node, run, nonce, generation, why, previous,"
    " hash"
)


def pull(session: Session, part: Any, node: str, head: Head) -> dict[str, Any]:
    """The answer to a pull part: items after the cursor, or *void* when the cursor is not ours.

    Items that the asker brought itself, or filtered out by deliverable, are named by hash only,
    so that the running hash can be followed all the same. An asker that lacks what it should have
    brought (a copy of it did, under the same id) asks for ``whole`` items.
    """
    position, cursor_hash, limit, wanted = _read_pull(part)
    # A node id is 32 digits: no event was brought by an empty one.
    node = "" if part.get("whole") is True else node
    if running_at(session, position) != cursor_hash:
        return {"void": True, "items": [], "more": False}
    # Two statements need not see the same moment: what is committed after the head was read could
    # let a cursor pass by something in between.
    enough = _where_it_is_enough(session, (position, head.position, limit), node, wanted)
    events = session.execute(
        f"SELECT {_EVENT_COLUMNS} FROM event e JOIN node n ON n.id = e.node"
        " JOIN node c ON c.id = e.carrier"
        " WHERE e.position > ? AND e.position <= ? ORDER BY e.position LIMIT ?",
        (position, enough, limit),
    )
    grants = session.execute(
        f"SELECT {_GRANT_COLUMNS} FROM grant_entry"
        " WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
        (position, head.position, limit),
    )
    rows = sorted(
        [(row[0], "event", row) for row in events]
        + [(row[0], "grant", row) for row in grants if row[0] <= enough]
    )
    items: list[dict[str, Any]] = []
    size = 0
    for at, kind, row in rows[:limit]:
        item = _event_item(row, node, wanted) if kind == "event" else _grant_item(row, wanted)
        size += len(item["event"]["document"]) if "event" in item else 300
        if items and size > BATCH_BYTES_MAX:
            break
        items.append({"position": at, **item})
    last = items[-1]["position"] if items else position
    return {"void": False, "items": items, "more": last < head.position}


def _where_it_is_enough(
    session: Session, span: tuple[int, int, int], node: str, wanted: set[str] | None
) -> int:
    """The position up to which documents fill an answer: they are read into memory no further, as
    five hundred of the longest are a hundred times what an answer holds."""
    rows = session.execute(
        "SELECT e.position, length(e.document), e.deliverable, c.node FROM event e"
        " JOIN node c ON c.id = e.carrier"
        " WHERE e.position > ? AND e.position <= ? ORDER BY e.position LIMIT ?",
        span,
    )
    size = 0
    for position, length, deliverable, carrier in rows:
        if carrier != node and (wanted is None or deliverable is None or deliverable in wanted):
            size += length
        if size > BATCH_BYTES_MAX:
            return int(position)
    return span[1]


def _read_pull(part: Any) -> tuple[int, bytes, int, set[str] | None]:
    try:
        cursor = part["cursor"]
        wanted = part.get("deliverables")
        return (
            whole_of(cursor["position"]),
            bytes.fromhex(text_of(cursor["hash"])),
            max(1, min(whole_of(part.get("limit", PULL_MAX)), PULL_MAX)),
            None if wanted is None else {text_of(name) for name in wanted},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadMessage("the message holds a malformed pull part", why=repr(error)) from error


def _event_item(row: Any, node: str, wanted: set[str] | None) -> dict[str, Any]:
    event = Event(*row[1:13])
    foreign = wanted is not None and event.deliverable is not None
    if foreign and event.deliverable not in (wanted or ()):
        return {"hash": event.hash.hex()}
    if row[13] == node:
        return {"hash": event.hash.hex(), "brought": [event.node, event.sequence]}
    return {"event": {**event_out(event), "branch": event.branch}}


def _grant_item(row: Any, wanted: set[str] | None) -> dict[str, Any]:
    deliverable, line = row[1], row[2]
    if wanted is not None and deliverable not in wanted:
        return {"hash": row[13]}
    return {"grant": entry_out(deliverable, line, Entry(*row[3:14]))}
