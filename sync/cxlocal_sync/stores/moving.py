"""Moving a store to another place or another kind of database, as the same store: lineage, numbers,
history, blobs.

Step by step, so that whoever is cut off anywhere gives the command again:

1. the new place is made, closed: it answers nobody;
2. blobs are copied, while the old place goes on;
3. the old place is held, and what the new one lacks of history and grants is copied;
4. the old place is closed for good, and says where it went;
5. the blobs that came meanwhile are copied, and the new place is opened.

A closed store counts as one that cannot be reached, so machines release from their reserves meanwhile,
and send it all later. Nothing was acknowledged in one place only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cxlocal.errors import Refused
from cxlocal.exchange.store import Store
from cxlocal.text import quoted
from cxlocal.values import NamedTuple, Protocol
from cxlocal_sync.stores.condition import COMING, GONE, closed
from cxlocal_sync.stores.feed import ROOT
from cxlocal_sync.stores.session import Session

PAGE = 2000
"""Rows read at once."""
BLOB_SECONDS = 60.0
"""For one blob, or one question about many."""
BLOBS_ASKED = 1000


class Place(Protocol):
    """Where a store lies: transactions one after the other, in which nobody else takes part."""

    url: str
    failures: tuple[type[Exception], ...]
    """What its library raises."""

    @property
    def session(self) -> Session:
        """The transaction that was begun."""

    def exists(self) -> bool:
        """Whether there is a store."""

    def make(self) -> None:
        """Empty tables, in a transaction of their own."""

    def begin(self) -> str:
        """Begin; where the store lies, as a hint."""

    def append(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert whole rows of ``event`` or ``grant_entry``."""

    def go_on_after(self) -> None:
        """Let what counts ids by itself go on after those that were copied."""

    def commit(self) -> None:
        """End the transaction well."""

    def rollback(self) -> None:
        """End it without any effect; nothing where none was begun."""

    def digests(self) -> list[str]:
        """The blobs held, outside of any transaction."""

    def close(self) -> None:
        """Let go of it."""


class Moved(NamedTuple):
    """What a move did."""

    copied: int
    """Events and grants."""
    blobs: int
    held_seconds: float
    """How long the store answered nobody."""


@contextmanager
def _within(place: Place) -> Iterator[str]:
    here = place.begin()
    try:
        yield here
        place.commit()
    finally:
        place.rollback()


def _row(place: Place) -> tuple[str, str, int, int, bytes, str]:
    sql = "SELECT lineage, parent_lineage, generation, position, hash, hint FROM store"
    found: tuple[str, str, int, int, bytes, str] = place.session.execute(sql).fetchone()
    return found


def closed_at(place: Place) -> str:
    """What is remembered at a place that is closed, as its hint begins; empty where it is open, or no
    store. Raises the failures of the place."""
    if not place.exists():
        return ""
    with _within(place):
        hint = _row(place)[5]
    return hint if closed(hint) else ""


def prepare(old: Place, new: Place) -> bool:
    """Make the new place, or find the one of a move that was cut off. False where everything is done
    already. Raises Refused."""
    if not old.exists():
        raise Refused(
            "there is no store to be moved", why=old.url,
            hint="name where it lies now: cxlocal store move NEW --store OLD", name="no-store",
        )  # fmt: skip
    with _within(old):
        lineage, parent, generation, _, _, hint = _row(old)
    gone = hint.removeprefix(GONE) if hint.startswith(GONE) else ""
    if gone and gone != new.url:
        raise Refused(
            "this store was moved already", why=f"it is at {gone}",
            hint=f"cxlocal serve --store {quoted(gone)}", name="store-moved",
        )  # fmt: skip
    if not new.exists():
        if gone:
            raise Refused(
                "the place this store was moved to is empty", why=new.url,
                hint="bring it back, from a backup if it must be", name="no-store",
            )  # fmt: skip
        new.make()
        with _within(new):
            new.session.execute(
                "INSERT INTO store VALUES (1, ?, ?, ?, 0, ?, ?)",
                (lineage, parent, generation, ROOT, COMING + old.url),
            )
        return True
    with _within(new):
        there = _row(new)
    if there[0] == lineage and there[5] == COMING + old.url:
        return True
    if gone and there[0] == lineage:
        return False
    raise Refused(
        "there is a store already", why=f"{new.url} holds another one, or a copy",
        hint="choose an empty place; a store that is to go on in another one is adopted:"
        " cxlocal store adopt URL", name="store-exists",
    )  # fmt: skip


def copy_blobs(old: Place, here: Store, there: Store) -> int:
    """Copy the blobs that ``there`` lacks; how many."""
    held = old.digests()
    copied = 0
    for start in range(0, len(held), BLOBS_ASKED):
        asked = held[start : start + BLOBS_ASKED]
        for digest in there.missing_blobs(asked, timeout=BLOB_SECONDS):
            content = here.get_blob(digest, timeout=BLOB_SECONDS)
            if content is not None:  # what is damaged is not spread; a machine brings it anew
                there.put_blob(digest, content, timeout=BLOB_SECONDS)
                copied += 1
    return copied


def copy_history(old: Place, new: Place) -> int:
    """Hold the old place, copy what the new one lacks, close the old one; how many events and grants."""
    with _within(old):
        _, parent, generation, position, head, hint = _row(old)
        if hint.startswith(GONE):
            return 0
        with _within(new):
            count = _copy(old, new)
            new.session.execute(
                "UPDATE store SET generation = ?, parent_lineage = ?, position = ?, hash = ?",
                (generation, parent, position, head),
            )
            new.go_on_after()
        # The copy is whole and durable, and answers nobody: now the old one may end.
        old.session.execute("UPDATE store SET hint = ?", (GONE + new.url,))
    return count


def _copy(old: Place, new: Place) -> int:
    known = _row(new)[3]
    session = new.session
    for row in old.session.execute("SELECT id, name FROM member").fetchall():
        session.execute("INSERT INTO member VALUES (?, ?) ON CONFLICT DO NOTHING", row)
    for row in old.session.execute(_NODES).fetchall():
        session.execute(_KEEP_NODE, row)
    count = 0
    for table in ("event", "grant_entry"):
        after = known
        while rows := old.session.execute(_PAGES[table], (after, PAGE)).fetchall():
            new.append(table, rows)
            after, count = rows[-1][0], count + len(rows)
    for row in old.session.execute("SELECT * FROM cursor").fetchall():
        session.execute(_KEEP_CURSOR, row)
    session.execute("DELETE FROM stop")
    for row in old.session.execute("SELECT * FROM stop").fetchall():
        session.execute("INSERT INTO stop VALUES (?, ?, ?, ?, ?)", row)
    return count


_NODES = "SELECT id, node, member, parent, token_count, token, hint FROM node ORDER BY id"
_KEEP_NODE = """
INSERT INTO node VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
  parent = excluded.parent, token_count = excluded.token_count, token = excluded.token,
  hint = excluded.hint
"""
_PAGES = {
    "event": "SELECT * FROM event WHERE position > ? ORDER BY position LIMIT ?",
    "grant_entry": "SELECT * FROM grant_entry WHERE position > ? ORDER BY position LIMIT ?",
}
_KEEP_CURSOR = """
INSERT INTO cursor VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (deliverable, line) DO UPDATE SET
  online = excluded.online, high = excluded.high, k = excluded.k, hash = excluded.hash
WHERE excluded.k > cursor.k
"""


def open_place(new: Place) -> None:
    """Let the new place answer."""
    with _within(new) as here:
        new.session.execute("UPDATE store SET hint = ?", (here,))
