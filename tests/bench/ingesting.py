"""What it costs a store to take events in, against a database that believes what it is given.

``python tests/bench/ingesting.py [--events N] [--store KIND] [FOLDER]``. Events of a hundred machines
come in batches of 500, ten batches a round, the stores and their floors by turns in each round. A
million events: ``--events 1000000``.

*http* is ``cxlocal serve`` over SQLite, its floor the same rows by ``executemany`` into a SQLite file
of the same mode with the same two indexes, one transaction a batch, without HTTP. *postgresql* is the
store that speaks to the database itself, *http-postgresql* the server before it; their floor COPY into
a temporary table and ``INSERT … ON CONFLICT DO NOTHING`` from there, one transaction a batch, on the
same server. *Sent again* are the batches of the round a second time.

Messages and rows are made before the clock starts. The floors check nothing: the store computes
every hash, follows every chain and the running hash over all.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

import psycopg
from cxlocal_sync.postgresql.store import PostgresqlStore
from http_kit import ProcessServer
from postgresql_kit import Databases
from rounds import FEWEST_ROUNDS, measure, report

from cxlocal.events import types
from cxlocal.events.document import NO_HASH, Event, hash_of
from cxlocal.exchange.messages import decode, encode, event_out

BATCH = 500
BATCHES = 10
"""In a round."""
MACHINES = 100
DOCUMENT = json.dumps(
    {
        "context": {"type": types.RUN_FLAGGED, "timestamp": "2026-11-23T02:14:05.123Z"},
        "customData": {"cxlocal": {"kind": "note", "text": "x" * 300}},
    }
)
KINDS = ("http", "postgresql", "http-postgresql")
COLUMNS = "node, sequence, type, deliverable, hash, previous, run, document"
_TABLE = (
    " node TEXT, sequence INT, type TEXT, deliverable TEXT, hash {bytes}, previous {bytes},"
    " run TEXT, document TEXT"
)
_ONCE = ", UNIQUE (node, sequence)"

Batch = tuple[bytes, list[Any]]


class Chain:
    """A machine: its token, and the end of its chain."""

    def __init__(self, node: str) -> None:
        self.node, self.sequence, self.hash = node, 0, NO_HASH
        self.contacts = 0

    def batch(self) -> list[Event]:
        events = []
        for _ in range(BATCH):
            self.sequence += 1
            event = Event(
                self.node, self.sequence, 0, types.RUN_FLAGGED, "webshop", self.sequence,
                self.sequence, self.hash, self.hash, b"", DOCUMENT, None,
            )  # fmt: skip
            self.hash = hash_of(event)
            events.append(event._replace(hash=self.hash))
        return events

    def contact(self) -> dict[str, Any]:
        count = self.contacts
        self.contacts += 1
        return {
            "node": self.node,
            "token": {"count": count, "value": f"t{count}" if count else ""},
            "proposal": {"count": count + 1, "value": f"t{count + 1}"},
        }


def batches() -> Iterator[Batch]:
    """Messages that push, and the rows in them; each machine goes on where it was."""
    crew = [Chain(f"{index:032x}") for index in range(1, MACHINES + 1)]
    while True:
        for chain in crew:
            events = chain.batch()
            push = [{"events": [event_out(event) for event in events]}]
            message = encode({"protocol": 1, "contact": chain.contact(), "push": push})
            yield message, [_row(event) for event in events]


def _row(event: Event) -> tuple[Any, ...]:
    return (
        event.node, event.sequence, event.type, event.deliverable, event.hash, event.previous,
        event.run, event.document,
    )  # fmt: skip


class Sqlite:
    """The floor of a store in SQLite."""

    def __init__(self, folder: Path) -> None:
        self.connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=TRUNCATE")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute(
            f"CREATE TABLE event (id INTEGER PRIMARY KEY, {_TABLE.format(bytes='BLOB')}{_ONCE})"
        )
        self.connection.execute(
            "CREATE INDEX by_deliverable ON event (node, deliverable, sequence)"
        )

    def take(self, rows: list[Any]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        marks = ", ".join("?" * 8)
        self.connection.executemany(f"INSERT INTO event ({COLUMNS}) VALUES ({marks})", rows)
        self.connection.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()


class Postgresql:
    """The floor of a store in PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url)
        columns = _TABLE.format(bytes="BYTEA")
        self.connection.execute(
            f"CREATE TABLE event (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {columns}{_ONCE})"
        )
        self.connection.execute(
            "CREATE INDEX by_deliverable ON event (node, deliverable, sequence)"
        )
        self.connection.execute(f"CREATE TEMP TABLE coming ({columns})")
        self.connection.commit()

    def take(self, rows: list[Any]) -> None:
        with self.connection.transaction(), self.connection.cursor() as cursor:
            with cursor.copy(f"COPY coming ({COLUMNS}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(
                f"INSERT INTO event ({COLUMNS}) SELECT {COLUMNS} FROM coming"
                " ON CONFLICT (node, sequence) DO NOTHING"
            )
            cursor.execute("TRUNCATE coming")

    def close(self) -> None:
        self.connection.close()


class Round:
    """The batches of this round: made by the first case of it."""

    def __init__(self) -> None:
        self.made = batches()
        self.now: list[Batch] = []

    def floor(self, floor: Sqlite | Postgresql) -> Callable[[], float]:
        def run() -> float:
            self.now = [next(self.made) for _ in range(BATCHES)]
            start = time.perf_counter()
            for _, rows in self.now:
                floor.take(rows)
            return time.perf_counter() - start

        return run

    def store(self, store: Any, *, again: bool) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            answers = [store.exchange(message, timeout=60) for message, _ in self.now]
            taken = time.perf_counter() - start
            for answer in answers:
                said = decode(answer)
                assert "refusal" not in said, said
                assert said["push"][0]["appended"] == (0 if again else BATCH)
            return taken

        return run


def cases(kind: str, folder: Path, stack: ExitStack) -> dict[str, Callable[[], float]]:
    """Floor, first time and again of one kind."""
    if kind == "http":
        server = ProcessServer(folder / "central")
        stack.callback(server.stop)
        store: Any = server.enrol(folder / "client")
        floor: Sqlite | Postgresql = Sqlite(folder)
    else:
        databases = Databases()
        stack.callback(databases.close)
        floor, address = Postgresql(databases.fresh()), databases.fresh()
        if kind == "postgresql":
            store = PostgresqlStore(address, folder)
        else:
            server = ProcessServer(folder / "before", store=address)
            stack.callback(server.stop)
            store = server.enrol(folder / "client")
    stack.callback(store.close)
    stack.callback(floor.close)
    turn = Round()
    return {
        f"{kind}: raw": turn.floor(floor),
        f"{kind}: first time": turn.store(store, again=False),
        f"{kind}: sent again": turn.store(store, again=True),
    }


def main(kinds: list[str], events: int, folder: Path) -> int:
    rounds = max(FEWEST_ROUNDS, events // (BATCH * BATCHES))
    with ExitStack() as stack:
        every: dict[str, Callable[[], float]] = {}
        for kind in kinds:
            (folder / kind).mkdir()
            every |= cases(kind, folder / kind, stack)
        seconds = measure(every, rounds=rounds)
    compared = []
    for kind in kinds:
        bar = 0.7 if kind == "http" else 0.6
        compared.append((f"{kind}: first time", f"{kind}: raw", 1 / bar))
        compared.append((f"{kind}: sent again", f"{kind}: first time", 1.0))
    return report("ingesting", seconds, compared)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=35_000)
    parser.add_argument("--store", choices=KINDS, action="append")
    parser.add_argument("folder", nargs="?")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        sys.exit(main(chosen.store or list(KINDS), chosen.events, Path(name)))
