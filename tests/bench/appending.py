"""What recording an event costs: against raw sqlite3 in the same mode.

``python tests/bench/appending.py [ROUNDS] [FOLDER]``. The floor writes one row of the same size
into a table with the same unique index, one commit each, TRUNCATE and FULL, by turns after each event. *Not projected* leaves
the projection out (an event type nobody projects), so that the difference to *a stage's two events*
is what the projection costs. WAL is reported beside it for orientation; the journal does not use
it (docs/decisions/0001). *Raw, and as many rows* carries out the very
statements that a journal gives SQLite for a stage's two events, in a copy of its file (``replaying.py``).
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from replaying import Written, open_twin
from rounds import by_turns, report, rounds_wanted

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.domain import Outcome
from cxlocal.events.document import Draft
from cxlocal.events.runs import RunRef, run_queued, stage_finished, stage_started
from cxlocal.journal.file import Journal

EACH = 200
"""Events of each case in a round."""
DOCUMENT = "x" * 700
ALLOWED = 1 / 0.8


def raw_file(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE event (id INTEGER PRIMARY KEY, node INT, sequence INT, hash BLOB,"
        " document TEXT, UNIQUE (node, sequence))"
    )
    return connection


def raw(connection: sqlite3.Connection) -> Callable[[], None]:
    numbers = count(1)

    def run() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO event (node, sequence, hash, document) VALUES (1, ?, ?, ?)",
            (next(numbers), b"h" * 32, DOCUMENT),
        )
        connection.execute("COMMIT")

    return run


def raw_rows(folder: Path, steps: int) -> Callable[[], None]:
    """What the journal writes for a stage's two events, by turns, and nothing of its own work."""
    twin, ref = opened(open_twin(folder))
    append = task_events(twin, ref)
    written = Written(twin)
    twin.connection.execute("PRAGMA synchronous=OFF")
    for _ in range(steps):
        written.note(append)
    return written.carry_out


def opened(journal: Journal) -> tuple[Journal, RunRef]:
    ref = RunRef("webshop", SystemIds().uuid(), "webshop", "urn:uuid:1")
    journal.append(run_queued(ref, {"kind": "release"}))
    return journal, ref


def task_events(journal: Journal, ref: RunRef) -> Callable[[], None]:
    numbers = count()
    facts = {"kind": "task", "tool": "command", "ready_at": "2026-11-23T00:00:00.000Z"}
    ended = {"seconds": 0.1, "exit_code": 0, "log": {"path": "logs/x", "size": 0}}

    def run() -> None:
        number = next(numbers)
        stage: dict[str, Any] = {"stage": f"s{number // 2}", "attempt": 1}
        if number % 2 == 0:
            journal.append(stage_started(ref, **stage, facts=facts))
        else:
            journal.append(
                stage_finished(ref, **stage, outcome=Outcome.SUCCESS, reason="", facts=ended)
            )

    return run


def plain_events(journal: Journal, ref: RunRef) -> Callable[[], None]:
    draft = Draft(
        "dev.cdevents.ticket.created.0.2.0",
        "t",
        {"summary": DOCUMENT[:300]},
        {},
        "webshop",
        ref.run,
    )

    def run() -> None:
        journal.append(draft)

    return run


def main() -> int:
    rounds = rounds_wanted()
    floor = "raw, TRUNCATE and FULL"
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        journals = [
            Journal.open(folder / each / "journal.db", clock=SystemClock(), ids=SystemIds())
            for each in ("tasks", "plain")
        ]
        cases = {
            floor: raw(raw_file(folder / "raw.db", "TRUNCATE")),
            "raw, and as many rows": raw_rows(folder / "rows", (1 + rounds) * EACH),
            "raw, WAL and FULL": raw(raw_file(folder / "wal.db", "WAL")),
            "a stage's two events": task_events(*opened(journals[0])),
            "not projected": plain_events(*opened(journals[1])),
        }
        seconds = by_turns(cases, rounds=rounds, steps=EACH)
    bars = [(case, floor, ALLOWED) for case in ("a stage's two events", "not projected")]
    bars.append(("a stage's two events", "raw, and as many rows", ALLOWED))
    return report(f"{EACH} events, one commit each", seconds, bars)


if __name__ == "__main__":
    sys.exit(main())
