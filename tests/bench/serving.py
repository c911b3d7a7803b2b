"""What the served store costs: against a bare uvicorn with a counter, and against raw SQLite.

``python tests/bench/serving.py [ROUNDS] [FOLDER] [--processor]``. *A number* is one online number by a message of
its own, over one kept connection; its floor a POST to a bare ASGI application under uvicorn that
raises a counter in a SQLite file (TRUNCATE and FULL, as the store). *A batch* is a push of 500 events
of another machine each time; its floor the same rows with the same unique index in one transaction,
no HTTP. *Sent again* is the same batch a second time. *A sync* is all that a machine does to bring
1,000 events: reading its journal, two contacts, noting what was acknowledged; its floor one POST of the
same events to the bare application, which checks them as the floor of ingesting.py does and keeps them in one
transaction. ``--processor`` measures the time of the processor that this process and both servers take, where
others work on the machine.
"""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

import httpx2
from http_kit import ProcessServer
from numbers_kit import open_journal
from rounds import measure, processor_time, report, rounds_wanted

from cxlocal.clock import SystemIds
from cxlocal.domain import Outcome
from cxlocal.events.belonging import mark_id
from cxlocal.events.machines import node_moved
from cxlocal.events.runs import RunRef, run_queued, stage_finished, stage_started
from cxlocal.exchange.copies import ensure_node
from cxlocal.exchange.messages import decode, encode, event_out
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.read import node_events

NUMBERS = 100
"""A round."""
BATCHES = 4
EVENTS = 500
BARE = """
import sqlite3, sys, uvicorn
sys.path[:0] = sys.argv[3].split(":")
from pathlib import Path
from ingesting import Checks, Sqlite
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode=TRUNCATE")
db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE counter (n INTEGER)")
db.execute("INSERT INTO counter VALUES (0)")
checks, events = Checks(), Sqlite(Path(sys.argv[1] + ".events"))
async def app(scope, receive, send):
    body, more = b"", True
    while more:
        part = await receive()
        body, more = body + part.get("body", b""), part.get("more_body")
    if scope["path"] == "/events":
        events.take(checks.rows(body))
    n = db.execute("UPDATE counter SET n = n + 1 RETURNING n").fetchall()[0][0]
    head = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b'{"n": %d}' % n})
uvicorn.run(app, port=int(sys.argv[2]), log_level="error", http="h11", loop="asyncio", lifespan="off")
"""


class Numbers:
    """One machine that asks for numbers."""

    def __init__(self, store: Any, clock: Callable[[], float] = time.perf_counter) -> None:
        self.store, self.count, self.lineage, self.clock = store, 0, "", clock

    def meet(self) -> None:
        """The first contact of a store, which makes its file."""
        self.ask(wishes=False)

    def ask(self, *, wishes: bool = True) -> None:
        count = self.count
        token = {"count": count, "value": f"t{count}" if count else ""}
        proposal = {"count": count + 1, "value": f"t{count + 1}"}
        wish = {"kind": "online", "deliverable": "s", "line": "1", "nonce": f"n{count}", "run": "r"}
        contact = {"lineage": self.lineage, "node": "a" * 32, "token": token, "proposal": proposal}
        message = encode({"protocol": 1, "contact": contact, "grant": [wish] * wishes})
        self.lineage = decode(self.store.exchange(message, timeout=10))["store"]["lineage"]
        self.count += 1

    def round(self) -> float:
        start = self.clock()
        for _ in range(NUMBERS):
            self.ask()
        return self.clock() - start


def batches(folder: Path, lineage: str) -> Iterator[tuple[bytes, list[Any]]]:
    """Pushes of 500 events, each of a machine of its own, and their rows."""
    actor = {"id": "someone@example.org", "how": "bench"}
    number = 0
    while True:
        journal = open_journal(folder / f"m{number}")
        number += 1
        with journal.write() as transaction:
            ensure_node(transaction)
            for index in range(EVENTS - 1):
                transaction.append(
                    node_moved(node=journal.node, reason=f"r{index}", actor=actor, hint="")
                )
        events = node_events(journal, journal.node, 1, EVENTS)
        contact = {
            "lineage": lineage, "node": journal.node, "token": {"count": 0, "value": ""},
            "proposal": {"count": 1, "value": "p"},
        }  # fmt: skip
        push = [{"events": [event_out(event) for event in events]}]
        yield encode({"protocol": 1, "contact": contact, "push": push}), events
        journal.close()


def machine(home: Path) -> Journal:
    """A machine with 1,000 events, most of stages, that nobody has yet, and that has been in no contact."""
    journal = open_journal(home)
    ref = RunRef("webshop", mark_id(SystemIds().uuid(), "webshop"), "webshop", "urn:uuid:1")
    facts = {"kind": "task", "tool": "command", "ready_at": "2026-11-23T00:00:00.000Z"}
    with journal.write() as transaction:
        ensure_node(transaction)
        transaction.append(run_queued(ref, {"kind": "release"}))
        for index in range(499):
            stage: Any = {"stage": f"s{index}", "attempt": 1, "facts": facts}
            transaction.append(stage_started(ref, **stage))
            transaction.append(stage_finished(ref, **stage, outcome=Outcome.SUCCESS, reason=""))
    return journal


def raw_file(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=TRUNCATE")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE event (id INTEGER PRIMARY KEY, node TEXT, sequence INT, type TEXT,"
        " hash BLOB, previous BLOB, document TEXT, UNIQUE (node, sequence))"
    )
    return connection


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until something listens there."""
    while process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("the bare server did not start")


def main(rounds: int, folder: Path, by_processor: bool) -> int:
    server = ProcessServer(folder / "central")
    busy = [server.process.pid] if server.process else []

    def clock() -> float:
        return processor_time(*busy) if by_processor else time.perf_counter()

    numbers = Numbers(server.enrol(folder / "client", "numbers"), clock)
    numbers.ask()
    pusher = server.enrol(folder / "pusher", "pusher")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    bare = subprocess.Popen(
        [sys.executable, "-c", BARE, str(folder / "bare.db"), port, ":".join(sys.path[:2])]
    )
    busy.append(bare.pid)
    client = httpx2.Client(trust_env=False, verify=False)
    raw = raw_file(folder / "raw.db")
    made = batches(folder, numbers.lineage)
    waiting: list[tuple[bytes, list[Any]]] = []
    syncing: list[tuple[Journal, ProcessServer, Any]] = []

    def counter() -> float:
        start = clock()
        for _ in range(NUMBERS):
            client.post(f"http://127.0.0.1:{port}/", content=b'{"deliverable": "s"}').json()
        return clock() - start

    def ingest() -> float:
        waiting[:] = [next(made) for _ in range(BATCHES)]
        start = clock()
        for _, events in waiting:
            raw.execute("BEGIN IMMEDIATE")
            raw.executemany(
                "INSERT INTO event (node, sequence, type, hash, previous, document)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [(e.node, e.sequence, e.type, e.hash, e.previous, e.document) for e in events],
            )
            raw.execute("COMMIT")
        return clock() - start

    def bare_post() -> float:
        journal = machine(folder / f"s{len(syncing)}")
        own = ProcessServer(folder / f"own{len(syncing)}")  # with nothing in it to be pulled
        store = own.enrol(journal.home)
        Numbers(store).meet()
        syncing.append((journal, own, store))
        events = [event_out(event) for event in node_events(journal, journal.node, 1, 1000)]
        start = clock()
        body = encode({"protocol": 1, "push": [{"events": events}]})
        client.post(f"http://127.0.0.1:{port}/events", content=body).raise_for_status()
        return clock() - start

    def sync() -> float:
        journal, own, store = syncing[-1]
        assert own.process is not None
        busy.append(own.process.pid)
        start = clock()
        told = synchronise(journal, store, budget_seconds=30)
        taken = clock() - start
        busy.pop()
        assert (told.reached, told.pushed, told.pending) == (True, 1000, 0), told
        for each in (journal, store):
            each.close()
        own.stop()
        return taken

    def push() -> float:
        start = clock()
        for message, _ in waiting:
            answer = decode(pusher.exchange(message, timeout=30))
            assert answer["push"][0]["sequence"] == EVENTS, answer
        return clock() - start

    try:
        wait_for(int(port), bare)
        seconds = measure(
            {
                "bare counter": counter, "a number": numbers.round, "raw ingest": ingest,
                "a batch": push, "sent again": push, "bare POST": bare_post, "a sync": sync,
            },
            rounds=rounds,
        )  # fmt: skip
    finally:
        bare.kill()
        bare.wait()
        client.close()
        server.stop()
    return report(
        "serving",
        seconds,
        [
            ("a number", "bare counter", 1 / 0.5),
            ("a batch", "raw ingest", 1 / 0.7),
            ("sent again", "a batch", 1.0),
            ("a sync", "bare POST", 1 / 0.5),
        ],
    )


if __name__ == "__main__":
    wants_processor = "--processor" in sys.argv
    sys.argv = [each for each in sys.argv if each != "--processor"]
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        sys.exit(main(rounds_wanted(), Path(name), wants_processor))
