"""The feed: events and grants in the order of their commits, each at a position of its own.

The running hash over the feed is what a cursor carries. A store that was restored from a backup
has another hash at some position, or none there at all, and every machine that pulled further
notices it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
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
        first, running, given = self.position + 1, self.hash, []
        for position, value in enumerate(hashes, first):
            # Each is the hash of the one before it and what comes.
            running = sha256(running + value).digest()
            given.append((position, running))
        self.position, self.hash = self.position + len(hashes), running
        return given

    def close(self) -> None:
        """Write the head, if it moved."""
        if self.held:
            self.session.execute(
                "UPDATE store SET position = ?, hash = ?", (self.position, self.hash)
            )


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
    " e.clock, e.previous, e.previous_in_deliverable, e.hash, e.document, e.run"
)
_EVENTS = "FROM event e JOIN node n ON n.id = e.node JOIN node c ON c.id = e.carrier"
_GRANT_COLUMNS = (
    "position, deliverable, line, k, kind, lo, hi, node, run, nonce, generation, why, previous,"
    " hash"
)
_BRIEF_BYTES = 300
"""Of an item without a document, generously."""


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
    span = (position, head.position, limit)
    found = sorted([*_briefly(session, span, node, wanted), *_grants(session, span, wanted)])
    items: list[dict[str, Any]] = []
    size = 0
    for at, length, item in found[:limit]:
        size += length
        if items and size > BATCH_BYTES_MAX:
            break
        items.append({"position": at, **item})
    last = items[-1]["position"] if items else position
    _add_events(session, items, node)
    return {"void": False, "items": items, "more": last < head.position}


_Found = tuple[int, int, dict[str, Any]]
"""Position, length and what is said of an item; nothing of an event that travels whole."""


def _briefly(
    session: Session, span: tuple[int, int, int], node: str, wanted: set[str] | None
) -> Iterator[_Found]:
    """Events without what they say. How long that is comes first: documents are read into memory only as
    far as they fill an answer, as five hundred of the longest are a hundred times what one holds."""
    rows = session.execute(
        "SELECT e.position, e.hash, n.node, e.sequence, e.deliverable, c.node,"
        f" CASE WHEN c.node = ? THEN 0 ELSE length(e.document) END {_EVENTS}"
        " WHERE e.position > ? AND e.position <= ? ORDER BY e.position LIMIT ?",
        (node, *span),
    )
    for position, value, author, sequence, deliverable, carrier, length in rows:
        if wanted is not None and deliverable is not None and deliverable not in wanted:
            yield position, _BRIEF_BYTES, {"hash": value.hex()}
        elif carrier == node:
            brought = {"hash": value.hex(), "brought": [author, sequence]}
            yield position, _BRIEF_BYTES, brought
        else:
            yield position, length, {}


def _grants(
    session: Session, span: tuple[int, int, int], wanted: set[str] | None
) -> Iterator[_Found]:
    rows = session.execute(
        f"SELECT {_GRANT_COLUMNS} FROM grant_entry"
        " WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
        span,
    )
    for row in rows:
        if wanted is not None and row[1] not in wanted:
            yield row[0], _BRIEF_BYTES, {"hash": row[13]}
        else:
            entry = entry_out(row[1], row[2], Entry(*row[3:14]))
            yield row[0], _BRIEF_BYTES, {"grant": entry}


def _add_events(session: Session, items: list[dict[str, Any]], node: str) -> None:
    """Put in the events that travel whole."""
    whole = {item["position"]: item for item in items if len(item) == 1}
    if not whole:
        return
    rows = session.execute(
        f"SELECT {_EVENT_COLUMNS} {_EVENTS}"
        " WHERE e.position >= ? AND e.position <= ? AND c.node <> ? ORDER BY e.position",
        (min(whole), max(whole), node),
    )
    for row in rows:
        if row[0] in whole:
            event = Event(*row[1:13])
            whole[row[0]]["event"] = {**event_out(event), "branch": event.branch}


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
