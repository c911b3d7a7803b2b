"""What it costs a store to take events in, against a database that is given the same rows.

``python tests/bench/ingesting.py [--events N] [--store KIND] [--processor] [FOLDER]``. Events of a hundred
machines, which the store knows, come in batches of 500, ten batches a round, the stores and their floors by turns in each round. A
million events: ``--events 1000000``. ``--processor`` measures the time of the processor that this process,
the server and the database's process for it take, where the disk of a busy machine would tell the most.

Two floors. *raw* believes what it is given: rows that were made before the clock starts, by
``executemany`` into SQLite, or by COPY into a temporary table and ``INSERT … ON CONFLICT DO NOTHING``
into PostgreSQL. *checked* is the least that an honest store can do: it takes the message, decodes it
into typed structures, reads the head of each document, computes every hash and the running hash, follows
the chain within the batch, and writes the same rows. Both write one transaction a batch, with the
indexes of a store's table, in its mode, in this process.

*sqlite* is the embedded store in this process, *http* ``cxlocal serve`` over SQLite, *postgresql* the
store that speaks to the database itself, *http-postgresql* the server before it. *Sent again* are the
batches of the round a second time.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

import msgspec
import psycopg
from cxlocal_sync.postgresql.store import PostgresqlStore
from cxlocal_sync.stores.sqlite import SqliteStore
from http_kit import ProcessServer
from postgresql_kit import Databases
from rounds import FEWEST_ROUNDS, measure, processor_time, report, summary

from cxlocal.events import types
from cxlocal.events.belonging import mark_id
from cxlocal.events.document import (
    NO_HASH,
    Event,
    build_document,
    encode_document,
    event_hash,
    hash_of,
    header_bytes,
)
from cxlocal.events.runs import run_flagged
from cxlocal.exchange.messages import decode, encode, event_out

BATCH = 500
BATCHES = 10
"""In a round."""
MACHINES = 100
DOCUMENT = encode_document(
    build_document(
        run_flagged(kind="note", subject="x", text="x" * 300, deliverable="webshop", run=None),
        event_id=mark_id("11111111-1111-4111-8111-111111111111", "webshop"),
        source="urn:cxlocal:machine:x", time_ms=1_795_400_000_123,
    )
)  # fmt: skip
KINDS = ("sqlite", "http", "postgresql", "http-postgresql")
OF_CHECKED = {"sqlite": 0.7, "http": 0.6}
"""Bars against the checked floor; those of PostgreSQL are shares of what *sqlite* reaches of its own."""
OF_OWN = 0.8
COLUMNS = (
    "position, node, sequence, branch, type, deliverable, deliverable_sequence, clock, previous,"
    " previous_in_deliverable, hash, run, document, running, carrier"
)
_TABLE = (
    " position BIGINT, node BIGINT, sequence BIGINT, branch BIGINT, type TEXT, deliverable TEXT,"
    " deliverable_sequence BIGINT, clock BIGINT, previous {bytes}, previous_in_deliverable {bytes},"
    " hash {bytes}, run TEXT, document TEXT, running {bytes}, carrier BIGINT"
)
_ONCE = ", PRIMARY KEY (position), UNIQUE (node, sequence, branch)"
_INDEXES = (
    "CREATE INDEX in_deliverable ON event (node, deliverable, deliverable_sequence)",
    f"CREATE INDEX of_number ON event (run) WHERE type = '{types.VERSION_USED}'",
)

Batch = tuple[bytes, list[Any]]


class Sent(msgspec.Struct):
    """An event as it travels."""

    node: str
    sequence: int
    type: str
    deliverable: str | None
    deliverable_sequence: int | None
    clock: int
    previous: str
    previous_in_deliverable: str
    hash: str
    run: str | None
    document: str


class Push(msgspec.Struct):
    events: list[Sent]


class Message(msgspec.Struct):
    push: list[Push]


class Context(msgspec.Struct):
    type: str
    timestamp: str
    chainId: str | None = None


class Document(msgspec.Struct):
    context: Context


MESSAGES, HEADS = msgspec.json.Decoder(Message), msgspec.json.Decoder(Document)


class Checks:
    """What the checked floor does before it writes."""

    def __init__(self) -> None:
        self.position, self.running = 0, NO_HASH
        self.nodes: dict[str, int] = {}
        self.ends: dict[tuple[str, str | None], bytes] = {}

    def rows(self, message: bytes) -> list[Any]:
        """The rows of a message whose events are what they say."""
        found = []
        for push in MESSAGES.decode(zlib.decompress(message[4:])).push:
            node = push.events[0].node
            row = self.nodes.setdefault(node, len(self.nodes) + 1)
            ends = self.ends
            end = ends.get((node, None), NO_HASH)
            for one in push.events:
                context = HEADS.decode(one.document).context
                before = bytes.fromhex(one.previous), bytes.fromhex(one.previous_in_deliverable)
                own = bytes.fromhex(one.hash)
                header = header_bytes(
                    one.node, one.sequence, one.deliverable, one.deliverable_sequence, one.type,
                    one.clock,
                )  # fmt: skip
                if (
                    (context.type, context.chainId) != (one.type, one.run)
                    or before[0] != end
                    or before[1]
                    != (one.deliverable and ends.get((node, one.deliverable)) or NO_HASH)
                    or event_hash(*before, header, one.document) != own
                ):
                    raise ValueError("an event is not what it says")
                end = ends[node, one.deliverable] = own
                self.position += 1
                self.running = sha256(self.running + own).digest()
                found.append(
                    (
                        self.position, row, one.sequence, 0, one.type, one.deliverable,
                        one.deliverable_sequence, one.clock, *before, own, one.run, one.document,
                        self.running, row,
                    )
                )  # fmt: skip
            ends[node, None] = end
        return found


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

    def contact(self, lineage: str) -> dict[str, Any]:
        count = self.contacts
        self.contacts += 1
        return {
            "lineage": lineage,
            "node": self.node,
            "token": {"count": count, "value": f"t{count}" if count else ""},
            "proposal": {"count": count + 1, "value": f"t{count + 1}"},
        }


def batches(lineage: str, store: Any = None) -> Iterator[Batch]:
    """Messages that push to the ``store`` of this ``lineage``, and the rows in them; each machine goes on
    where it was. They have met the store before: that happens once in the life of a machine."""
    crew = [Chain(f"{index:032x}") for index in range(1, MACHINES + 1)]
    for chain in crew if store else ():
        store.exchange(encode({"protocol": 1, "contact": chain.contact(lineage)}), timeout=60)
    believed = Checks()
    while True:
        for chain in crew:
            push = [{"events": [event_out(event) for event in chain.batch()]}]
            message = encode({"protocol": 1, "contact": chain.contact(lineage), "push": push})
            yield message, believed.rows(message)


class Sqlite:
    """Rows into SQLite."""

    process: int | None = None

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=TRUNCATE")
        self.connection.execute("PRAGMA synchronous=FULL")
        columns = _TABLE.format(bytes="BLOB").replace("position BIGINT", "position INTEGER")
        self.connection.execute(f"CREATE TABLE event ({columns}{_ONCE})")
        for index in _INDEXES:
            self.connection.execute(index)

    def take(self, rows: list[Any]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        marks = ", ".join("?" * 15)
        self.connection.executemany(f"INSERT INTO event ({COLUMNS}) VALUES ({marks})", rows)
        self.connection.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()


class Postgresql:
    """Rows into PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url)
        self.process = self.connection.info.backend_pid
        columns = _TABLE.format(bytes="BYTEA")
        self.connection.execute(f"CREATE TABLE event ({columns}{_ONCE})")
        for index in _INDEXES:
            self.connection.execute(index)
        self.connection.execute(f"CREATE TEMP TABLE coming ({columns})")
        self.connection.commit()

    def take(self, rows: list[Any]) -> None:
        with self.connection.transaction(), self.connection.cursor() as cursor:
            with cursor.copy(f"COPY coming ({COLUMNS}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(
                f"INSERT INTO event ({COLUMNS}) SELECT {COLUMNS} FROM coming"
                " ON CONFLICT (node, sequence, branch) DO NOTHING"
            )
            cursor.execute("TRUNCATE coming")

    def close(self) -> None:
        self.connection.close()


Floor = Sqlite | Postgresql


class Round:
    """The batches of this round: made by the first case of it."""

    def __init__(self, lineage: str, store: Any, clock: Callable[..., float]) -> None:
        self.made = batches(lineage, store)
        self.clock = clock
        self.now: list[Batch] = []

    def raw(self, floor: Floor) -> Callable[[], float]:
        def run() -> float:
            self.now = [next(self.made) for _ in range(BATCHES)]
            start = self.clock(floor.process)
            for _, rows in self.now:
                floor.take(rows)
            return self.clock(floor.process) - start

        return run

    def checked(self, floor: Floor) -> Callable[[], float]:
        checks = Checks()

        def run() -> float:
            start = self.clock(floor.process)
            for message, _ in self.now:
                floor.take(checks.rows(message))
            return self.clock(floor.process) - start

        return run

    def store(self, opened: Opened, *, again: bool) -> Callable[[], float]:
        def run() -> float:
            process = opened.process()
            start = self.clock(process)
            answers = [opened.store.exchange(message, timeout=60) for message, _ in self.now]
            taken = self.clock(process) - start
            for answer in answers:
                said = decode(answer)
                assert "refusal" not in said, said
                assert said["push"][0]["appended"] == (0 if again else BATCH)
            return taken

        return run


class Opened(NamedTuple):
    """A fresh store, and how to know the process beside ours that works for it."""

    store: Any
    process: Callable[[], int | None]


def open_store(kind: str, folder: Path, databases: Databases, stack: ExitStack) -> Opened:
    """A fresh store of that kind."""
    if kind == "sqlite":
        return Opened(SqliteStore("sqlite:", folder), lambda: None)
    if kind == "postgresql":
        store = PostgresqlStore(databases.fresh(), folder)
        return Opened(store, lambda: store._connection and store._connection.info.backend_pid)
    behind = {} if kind == "http" else {"store": databases.fresh()}
    server = ProcessServer(folder / "central", **behind)
    stack.callback(server.stop)
    return Opened(server.enrol(folder / "client"), lambda: server.process and server.process.pid)


def cases(
    kind: str, folder: Path, databases: Databases, stack: ExitStack, clock: Callable[..., float]
) -> dict[str, Callable[[], float]]:
    """Floors, first time and again of one kind."""
    floors: list[Floor] = [
        Postgresql(databases.fresh()) if "postgresql" in kind else Sqlite(folder / f"{name}.db")
        for name in ("raw", "checked")
    ]
    opened = open_store(kind, folder, databases, stack)
    for each in (opened.store, *floors):
        stack.callback(each.close)
    hello = {"protocol": 1, "contact": Chain("f" * 32).contact("")}
    told = decode(opened.store.exchange(encode(hello), timeout=60))
    turn = Round(told["store"]["lineage"], opened.store, clock)
    return {
        f"{kind}: raw": turn.raw(floors[0]),
        f"{kind}: checked": turn.checked(floors[1]),
        f"{kind}: first time": turn.store(opened, again=False),
        f"{kind}: sent again": turn.store(opened, again=True),
    }


def by_processor(process: int | None) -> float:
    """The time of the processor that we and that process have had."""
    return processor_time(*filter(None, [process]))


def by_the_clock(process: int | None) -> float:
    """The time."""
    return time.perf_counter()


def main(kinds: list[str], events: int, folder: Path, clock: Callable[..., float]) -> int:
    rounds = max(FEWEST_ROUNDS, events // (BATCH * BATCHES))
    with ExitStack() as stack:
        databases = Databases()
        stack.callback(databases.close)
        every: dict[str, Callable[[], float]] = {}
        for kind in kinds:
            (folder / kind).mkdir()
            every |= cases(kind, folder / kind, databases, stack, clock)
        seconds = measure(every, rounds=rounds)
    compared = []
    for kind in kinds:
        bar = OF_CHECKED.get(kind, OF_CHECKED["sqlite"] * OF_OWN)
        compared.append((f"{kind}: first time", f"{kind}: checked", 1 / bar))
        compared.append((f"{kind}: sent again", f"{kind}: first time", 1.0))
    microseconds = {
        name: summary(values, scale=1e6 / (BATCH * BATCHES)) for name, values in seconds.items()
    }
    return report("ingesting", seconds, compared, microseconds_an_event=microseconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=35_000)
    parser.add_argument("--store", choices=KINDS, action="append")
    parser.add_argument("--processor", action="store_true")
    parser.add_argument("folder", nargs="?")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        clock = by_processor if chosen.processor else by_the_clock
        sys.exit(main(chosen.store or list(KINDS), chosen.events, Path(name), clock))
