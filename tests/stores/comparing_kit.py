"""Stores made side by side for one story, and the machines whose messages the story sends.

Nothing here goes through a journal: what a machine sends is built from what the story drew, so that
messages no journal would send are sent too, and every store hears the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bucket_kit import Server
from cxlocal_sync.keys.open import folder_store, object_store
from cxlocal_sync.postgresql.store import PostgresqlStore
from cxlocal_sync.stores.sqlite import SqliteStore
from http_kit import ThreadServer
from numbers_kit import ElsewhereStore
from postgresql_kit import Databases

from cxlocal.clock import SystemIds
from cxlocal.events import types
from cxlocal.events.document import NO_HASH, Event, hash_of
from cxlocal.exchange.messages import event_out

LINEAGE = "5" * 32
"""Told to all stores as they are made, as the hashes of grants depend on it."""


class Opened(NamedTuple):
    """One store of a story."""

    name: str
    store: Any
    close: Callable[[], None]


def embedded(folder: Path) -> Opened:
    """In this process."""
    store = SqliteStore("sqlite:", folder)
    return Opened("embedded", store, store.close)


def elsewhere(folder: Path) -> Opened:
    """In another process."""
    store = ElsewhereStore(folder)
    return Opened("elsewhere", store, store.close)


def served(folder: Path) -> Opened:
    """Behind a server."""
    return _behind("http", ThreadServer(folder / "served"), folder)


def _behind(name: str, server: ThreadServer, folder: Path) -> Opened:
    store = server.enrol(folder / "client")

    def close() -> None:
        store.close()
        server.close()

    return Opened(name, store, close)


def in_folder(folder: Path) -> Opened:
    """In a folder, without a server."""
    (folder / "share").mkdir()
    store = folder_store(f"folder://{folder / 'share'}", folder / "home")
    store.create(lineage=LINEAGE)
    return Opened("folder", store, store.close)


def in_database(databases: Databases) -> Callable[[Path], Opened]:
    """In a database of its own on that server."""

    def made(folder: Path) -> Opened:
        store = PostgresqlStore(databases.fresh(), folder)
        return Opened("postgresql", store, store.close)

    return made


def served_from_database(databases: Databases) -> Callable[[Path], Opened]:
    """Behind a server that keeps it in a database of its own."""

    def made(folder: Path) -> Opened:
        address = databases.fresh()
        server = ThreadServer(folder / "served", lambda: PostgresqlStore(address, folder))
        return _behind("http-postgresql", server, folder)

    return made


def in_bucket(storage: Server) -> Callable[[Path], Opened]:
    """In object storage, below a prefix of its own."""

    def made(folder: Path) -> Opened:
        store = object_store(storage.url(SystemIds().token()), folder)
        store.create(lineage=LINEAGE)
        return Opened("bucket", store, store.close)

    return made


@contextmanager
def side_by_side(folder: Path, kinds: list[Callable[[Path], Opened]]) -> Iterator[list[Opened]]:
    """One store of each kind, all fresh."""
    opened: list[Opened] = []
    try:
        for index, kind in enumerate(kinds):
            home = folder / str(index)
            home.mkdir(parents=True)
            opened.append(kind(home))
        yield opened
    finally:
        for each in opened:
            each.close()


class Teller:
    """A machine as a store sees it: a token, and a chain of events that may fork."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.count = 0
        self.value = ""
        self.generation = 0
        """The store's, as last heard of."""
        self.chain: list[Event] = []
        self.cursor: dict[str, Any] = {"position": 0, "hash": "0" * 64}

    def contact(self, **rest: Any) -> dict[str, Any]:
        """The contact part; ``accepted`` takes note that it was."""
        return {
            "lineage": LINEAGE,
            "generation": self.generation,
            "node": self.node,
            "token": {"count": self.count, "value": self.value},
            "proposal": {"count": self.count + 1, "value": f"{self.node[:4]}-{self.count + 1}"},
            **rest,
        }

    def accepted(self) -> None:
        self.count += 1
        self.value = f"{self.node[:4]}-{self.count}"

    def append(self, deliverable: str | None, text: str, used: Any = None) -> Event:
        """The next event of its chain; ``used`` = (line, number, generation) says a number is in
        use."""
        before = self.chain[-1] if self.chain else None
        same = [event for event in self.chain if event.deliverable == deliverable]
        custom: dict[str, Any] = {"text": text}
        if used is not None:
            line, number, generation = used
            custom |= {"line": line, "number": number, "generation": generation}
            custom["lineage"] = LINEAGE
        kind = types.VERSION_USED if used is not None else types.RUN_FLAGGED
        context = {"type": kind, "timestamp": "2026-11-23T02:14:05Z"}
        event = Event(
            self.node, len(self.chain) + 1, 0, kind,
            deliverable, len(same) + 1 if deliverable is not None else None, len(self.chain),
            before.hash if before else NO_HASH,
            same[-1].hash if same and deliverable is not None else NO_HASH,
            b"", json.dumps({"context": context, "customData": {"cxlocal": custom}}), None,
        )  # fmt: skip
        event = event._replace(hash=hash_of(event))
        self.chain.append(event)
        return event

    def fork(self, at: int) -> None:
        """Go back to an earlier event, as a copy does."""
        del self.chain[at:]

    def batch(self, first: int, last: int) -> dict[str, Any]:
        """Events ``first`` to ``last``, counted from 0, as they travel."""
        return {"events": [event_out(event) for event in self.chain[first:last]]}
