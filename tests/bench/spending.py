"""What a number costs: from the reserve and online, against raw sqlite3 in the same mode.

``python tests/bench/spending.py [ROUNDS] [FOLDER]``. The floor is what a hand-written allocator
would do: one transaction that takes the next number of a block and writes a reservation row. Ours
does that and adds the event with its hash chain, its indexes and its projection; the case *raw, and
as many rows* says how much of the difference is rows that any journal would have to write.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from cxlocal_sync.stores.sqlite import SqliteStore
from rounds import measure, report, rounds_wanted

from cxlocal.allocation.allocator import obtain_number, take_offline
from cxlocal.allocation.request import NumberRequest
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.log import COUNT_MAX
from cxlocal.numbers.schemes import SCHEMES

EACH = 200
"""Numbers a round."""
ALLOWED = 1 / 0.7
"""A spend reaches at least 0.7 of the raw rate."""


def raw_file(path: Path) -> sqlite3.Connection:
    """A database in the journal's mode with a block and its reservations."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=TRUNCATE")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE block (id INTEGER PRIMARY KEY, next INTEGER)")
    connection.execute("CREATE TABLE reservation (number INTEGER PRIMARY KEY, run TEXT)")
    connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, document TEXT)")
    connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT)")
    connection.execute("CREATE TABLE b (id INTEGER PRIMARY KEY, x TEXT)")
    connection.execute("CREATE INDEX log_by_document ON log (substr(document, 1, 16))")
    connection.execute("CREATE INDEX a_by_x ON a (x)")
    connection.execute("CREATE INDEX b_by_x ON b (x)")
    connection.execute("INSERT INTO block VALUES (1, 0)")
    return connection


def raw(connection: sqlite3.Connection, *, rows: bool) -> None:
    """Numbers as a hand-written allocator takes them."""
    for _ in range(EACH):
        connection.execute("BEGIN IMMEDIATE")
        [number] = connection.execute(
            "UPDATE block SET next = next + 1 WHERE id = 1 RETURNING next"
        ).fetchone()
        connection.execute("INSERT INTO reservation VALUES (?, ?)", (number, f"run-{number}"))
        if rows:
            connection.execute("INSERT INTO log (document) VALUES (?)", (f"{number:016}" * 50,))
            connection.execute("INSERT INTO a (x) VALUES (?)", (f"run-{number}",))
            connection.execute("INSERT INTO b (x) VALUES (?)", (f"text-{number}",))
        connection.execute("COMMIT")


def main() -> int:
    """Measure and print."""
    runs = count()

    def asked() -> NumberRequest:
        return NumberRequest(
            "webshop", "2.7", SCHEMES["semver"], f"{next(runs):08}", {"id": "x", "how": "y"},
            reserve=COUNT_MAX,
        )  # fmt: skip

    def repeat(step: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(EACH):
                step()

        return run

    folder_wanted = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(dir=folder_wanted) as name:
        folder = Path(name)
        journals = []
        for which in ("offline", "online"):
            journal = Journal.open(
                folder / which / "journal.db", clock=SystemClock(), ids=SystemIds()
            )
            journals.append(journal)
        offline, online = journals
        stores = [SqliteStore("sqlite:", folder / which) for which in ("offline", "online")]
        for journal, store in zip(journals, stores, strict=True):
            obtain_number(journal, store, asked())
            synchronise(journal, store)

        def from_the_reserve() -> float:
            """Seconds for ``EACH`` numbers; the reserve holds fewer, and is filled beside the clock."""
            taken = 0.0
            for _ in range(EACH // COUNT_MAX):
                synchronise(offline, stores[0], budget_seconds=60)
                start = time.perf_counter()
                for _ in range(COUNT_MAX):
                    take_offline(offline, asked())
                taken += time.perf_counter() - start
            return taken

        files = [raw_file(folder / f"raw-{index}.db") for index in range(2)]
        seconds = measure(
            {
                "raw": lambda: raw(files[0], rows=False),
                "raw, and as many rows": lambda: raw(files[1], rows=True),
                "from the reserve": from_the_reserve,
                "online": repeat(lambda: obtain_number(online, stores[1], asked())),
            },
            rounds=rounds_wanted(),
        )
        start = time.perf_counter()
        for _ in range(50):
            synchronise(offline, stores[0], budget_seconds=60)
        idle = (time.perf_counter() - start) / 50
        for each in (*journals, *stores, *files):
            each.close()
    return report(
        f"{EACH} numbers a round, each durable before the next",
        seconds,
        [
            ("from the reserve", "raw", ALLOWED),
            ("from the reserve", "raw, and as many rows", 1 / 0.8),
            ("online", "raw", 1_000.0),
        ],
        idle_sync_milliseconds=round(idle * 1000, 2),
    )


if __name__ == "__main__":
    sys.exit(main())
