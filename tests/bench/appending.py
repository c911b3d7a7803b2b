"""What recording an event costs: against raw sqlite3 in the same mode.

``python tests/bench/appending.py [ROUNDS] [FOLDER]``. The floor writes one row of the same size
into a table with the same unique index, one commit each, TRUNCATE and FULL. *Not projected* leaves
the projection out (an event type nobody projects), so that the difference to *a stage's two events*
is what the projection costs. WAL is reported beside it for orientation; the journal does not use
it (docs/decisions/0001). *Raw, and as many rows* writes what any journal would that can be asked for a run or a
deliverable: the same indexes, and the row of the stage, made with its first event and changed with its second.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rounds import measure, report, rounds_wanted

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.domain import Outcome
from cxlocal.events.document import Draft
from cxlocal.events.runs import RunRef, run_queued, stage_finished, stage_started
from cxlocal.journal.file import Journal

EACH = 200
"""Events a round."""
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


def raw(connection: sqlite3.Connection) -> Callable[[], float]:
    def run() -> float:
        [last] = connection.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()
        start = time.perf_counter()
        for number in range(last + 1, last + EACH + 1):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT INTO event (node, sequence, hash, document) VALUES (1, ?, ?, ?)",
                (number, b"h" * 32, DOCUMENT),
            )
            connection.execute("COMMIT")
        return time.perf_counter() - start

    return run


def raw_rows(path: Path) -> Callable[[], float]:
    """Rows and indexes as the journal has them for a stage's two events, and nothing of its own work."""
    connection = raw_file(path, "TRUNCATE")
    for statement in (
        "ALTER TABLE event ADD COLUMN run TEXT",
        "ALTER TABLE event ADD COLUMN place INT",
        "CREATE INDEX by_run ON event (run)",
        "CREATE INDEX by_place ON event (node, place)",
        "CREATE TABLE stage (id TEXT PRIMARY KEY, run TEXT, began TEXT, ended TEXT, outcome TEXT)",
        "CREATE INDEX of_run ON stage (run)",
    ):
        connection.execute(statement)

    def run() -> float:
        [last] = connection.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()
        start = time.perf_counter()
        for number in range(last + 1, last + EACH + 1):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT INTO event (node, sequence, hash, document, run, place)"
                " VALUES (1, ?, ?, ?, 'r', ?)",
                (number, b"h" * 32, DOCUMENT, number),
            )
            connection.execute(
                "INSERT INTO stage VALUES (?, 'r', ?, NULL, NULL) ON CONFLICT DO UPDATE SET"
                " ended = excluded.began, outcome = 'success'",
                (f"a-stage-of-a-run-{(number - 1) // 2:032}", "2026-11-23T00:00:00.000Z"),
            )
            connection.execute("COMMIT")
        return time.perf_counter() - start

    return run


def opened(folder: Path, name: str) -> tuple[Journal, RunRef]:
    journal = Journal.open(folder / name / "journal.db", clock=SystemClock(), ids=SystemIds())
    ref = RunRef("webshop", SystemIds().uuid(), "webshop", "urn:uuid:1")
    journal.append(run_queued(ref, {"kind": "release"}))
    return journal, ref


def task_events(journal: Journal, ref: RunRef) -> Callable[[], float]:
    numbers = iter(range(10_000_000))

    def run() -> float:
        start = time.perf_counter()
        for number in (next(numbers) for _ in range(EACH // 2)):
            facts = {"kind": "task", "tool": "command", "ready_at": "2026-11-23T00:00:00.000Z"}
            journal.append(stage_started(ref, stage=f"s{number}", attempt=1, facts=facts))
            ended = {"seconds": 0.1, "exit_code": 0, "log": {"path": "logs/x", "size": 0}}
            journal.append(
                stage_finished(
                    ref, stage=f"s{number}", attempt=1, outcome=Outcome.SUCCESS, reason="",
                    facts=ended,
                )
            )  # fmt: skip
        return time.perf_counter() - start

    return run


def plain_events(journal: Journal, ref: RunRef) -> Callable[[], float]:
    draft = Draft(
        "dev.cdevents.ticket.created.0.2.0",
        "t",
        {"summary": DOCUMENT[:300]},
        {},
        "webshop",
        ref.run,
    )

    def run() -> float:
        start = time.perf_counter()
        for _ in range(EACH):
            journal.append(draft)
        return time.perf_counter() - start

    return run


def main() -> int:
    rounds = rounds_wanted()
    floor = "raw, TRUNCATE and FULL"
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        cases = {
            floor: raw(raw_file(folder / "raw.db", "TRUNCATE")),
            "raw, and as many rows": raw_rows(folder / "rows.db"),
            "raw, WAL and FULL": raw(raw_file(folder / "wal.db", "WAL")),
            "a stage's two events": task_events(*opened(folder, "tasks")),
            "not projected": plain_events(*opened(folder, "plain")),
        }
        seconds = measure(cases, rounds=rounds)
    bars = [(case, floor, ALLOWED) for case in ("a stage's two events", "not projected")]
    bars.append(("a stage's two events", "raw, and as many rows", ALLOWED))
    return report(f"{EACH} events, one commit each", seconds, bars)


if __name__ == "__main__":
    sys.exit(main())
