"""What a number costs: from the reserve and online, against raw sqlite3 in the same mode.

``python tests/bench/spending.py [ROUNDS] [FOLDER]``, by turns after each number. The floor is what a hand-written allocator
would do: one transaction that takes the next number of a block and writes a reservation row. Ours
does that and adds the event with its hash chain, its indexes and its projection; the case *raw, and
as many rows* carries out the very statements that it gives SQLite, in a copy of its file (``replaying.py``).
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
from replaying import Written, open_twin
from rounds import by_turns, report, rounds_wanted

from cxlocal.allocation.allocator import obtain_number, take_offline
from cxlocal.allocation.request import NumberRequest
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.log import COUNT_MAX
from cxlocal.numbers.schemes import SCHEMES

EACH = 200
"""Numbers of each case in a round."""
ALLOWED = 1 / 0.7
"""A spend reaches at least 0.7 of the raw rate."""


def raw_file(path: Path) -> sqlite3.Connection:
    """A database in the journal's mode with a block and its reservations."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=TRUNCATE")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE block (id INTEGER PRIMARY KEY, next INTEGER)")
    connection.execute("CREATE TABLE reservation (number INTEGER PRIMARY KEY, run TEXT)")
    connection.execute("INSERT INTO block VALUES (1, 0)")
    return connection


def raw(connection: sqlite3.Connection) -> None:
    """A number as a hand-written allocator takes it."""
    connection.execute("BEGIN IMMEDIATE")
    [number] = connection.execute(
        "UPDATE block SET next = next + 1 WHERE id = 1 RETURNING next"
    ).fetchone()
    connection.execute("INSERT INTO reservation VALUES (?, ?)", (number, f"run-{number}"))
    connection.execute("COMMIT")


def raw_rows(folder: Path, asked: Callable[[], NumberRequest], steps: int) -> Callable[[], float]:
    """What a journal writes for a number of its reserve, and nothing of its own work; seconds."""
    twin, store = open_twin(folder), SqliteStore("sqlite:", folder)
    obtain_number(twin, store, asked())
    synchronise(twin, store)
    twin.connection.execute("PRAGMA synchronous=OFF")
    written = Written(twin)
    for step in range(steps):
        if step % COUNT_MAX == 0:
            written.note(lambda: synchronise(twin, store, budget_seconds=60))
        written.note(lambda: take_offline(twin, asked()))
    taken = count()

    def run() -> float:
        if next(taken) % COUNT_MAX == 0:
            written.carry_out()
        start = time.perf_counter()
        written.carry_out()
        return time.perf_counter() - start

    return run


def main() -> int:
    """Measure and print."""
    runs = count()

    def asked() -> NumberRequest:
        return NumberRequest(
            "webshop", "2.7", SCHEMES["semver"], f"{next(runs):08}", {"id": "x", "how": "y"},
            reserve=COUNT_MAX,
        )  # fmt: skip

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

        spent = count()

        def from_the_reserve() -> float:
            """Seconds for a number; the reserve is filled beside the clock."""
            if next(spent) % COUNT_MAX == 0:
                synchronise(offline, stores[0], budget_seconds=60)
            start = time.perf_counter()
            take_offline(offline, asked())
            return time.perf_counter() - start

        file = raw_file(folder / "raw.db")
        rounds = rounds_wanted()
        seconds = by_turns(
            {
                "raw": lambda: raw(file),
                "raw, and as many rows": raw_rows(folder / "twin", asked, (1 + rounds) * EACH),
                "from the reserve": from_the_reserve,
                "online": lambda: obtain_number(online, stores[1], asked()) and None,
            },
            rounds=rounds,
            steps=EACH,
        )
        start = time.perf_counter()
        for _ in range(50):
            synchronise(offline, stores[0], budget_seconds=60)
        idle = (time.perf_counter() - start) / 50
        for each in (*journals, *stores, file):
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
