"""A newer and an older cxlocal on one journal: both record, neither harms the other (P19 here)."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.events.document import Draft
from cxlocal.journal.file import Journal
from cxlocal.journal.local_tables import ALL as LOCAL_TABLES
from cxlocal.journal.migrate import NEWEST_STEP
from cxlocal.projection.tables import PROJECTION_VERSION


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "cx.toml").write_text(
        'cx = 1\n[deliverable]\nname = "shop"\n[version]\nline = "1.0"\n'
        '[stages]\nbuild = { command = ["true"] }\n'
    )
    for command in (
        ["init", "-q", "--bare", str(tmp_path / "r.git")], ["init", "-q", "."], ["add", "-A"],
        ["commit", "-q", "-m", "first"], ["remote", "add", "origin", str(tmp_path / "r.git")],
        ["push", "-q", "-u", "origin", "HEAD"],
    ):  # fmt: skip
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return folder


def test_a_release_goes_out_on_a_journal_a_newer_cxlocal_has_used(shop: Path, cx: Any) -> None:
    cx.ok("run", cwd=shop)
    path = Path(cx.ok("journal", "path", cwd=shop).out.strip())
    newer = sqlite3.connect(path)
    newer.executescript(
        "ALTER TABLE run ADD COLUMN mood TEXT;"
        "CREATE TABLE forecast (id INTEGER PRIMARY KEY, text TEXT NOT NULL);"
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
        " VALUES ('cxlocal', 'm002_forecasts', '2027-01-01');"
        "UPDATE projection_state SET version = version + 1;"
    )
    newer.close()
    with Journal.open(path, clock=SystemClock(), ids=SystemIds()) as journal:
        journal.append(
            Draft(
                "dev.cdeventsx.cxlocal-forecast.made.1.0.0", "f", {"sky": "blue"}, {}, "shop", None
            )
        )
    cx.ok("run", cwd=shop)
    assert cx("verify", cwd=shop).code == 8, "its rows may mean more than this one knows"
    for look in (["log"], ["status"], ["show"], ["version", "list"], ["sync"]):
        cx.ok(*look, cwd=shop)
    events = cx.ok("export", cwd=shop).out
    assert "cxlocal-forecast.made" in events, "what is unknown here is kept and handed on"
    # The newer one comes back and finds everything that was recorded meanwhile.
    newer = sqlite3.connect(path)
    newer.execute("UPDATE projection_state SET version = ?", (PROJECTION_VERSION,))
    newer.commit()
    newer.close()
    rows = json.loads(cx.ok("log", "--json", cwd=shop).out)
    assert [(row["version"], row["outcome"]) for row in rows] == [
        ("1.0.1", "success"), ("1.0.0", "success"),
    ]  # fmt: skip


def test_tables_of_an_older_cxlocal_are_made_anew(shop: Path, cx: Any) -> None:
    cx.ok("run", cwd=shop)
    path = Path(cx.ok("journal", "path", cwd=shop).out.strip())
    older = sqlite3.connect(path)
    older.executescript(
        "DROP VIEW IF EXISTS release_board; DROP TABLE verdict; DELETE FROM run;"
        "CREATE TABLE task_run (id TEXT PRIMARY KEY);"
        "UPDATE projection_state SET version = 0;"
    )
    older.close()
    cx.ok("run", cwd=shop)
    rows = json.loads(cx.ok("log", "--json", cwd=shop).out)
    assert [row["version"] for row in rows] == ["1.0.1", "1.0.0"]
    cx.ok("verify", cwd=shop)
    with sqlite3.connect(path) as now:
        names = {name for (name,) in now.execute("SELECT name FROM sqlite_schema")}
    assert "stage_run" in names
    assert "task_run" not in names, "what it was called before is gone"


FIRST = {
    "ack": "node branch sequence hash generation",
    "ack_step": "node generation sequence at",
    "breaker": "url failed_at_ms why",
    "contact": "node token_count token proposal_count proposal hint accepted",
    "given_up": "deliverable line lo hi why",
    "grant_entry": "deliverable line k kind lo hi node run nonce generation why previous hash open",
    "process": "run pid started boot command pieces",
    "reserve": "deliverable line lo hi next lineage generation k locked",
    "reserve_wish": "id deliverable line count ahead",
    "spent": "deliverable run line number text sort_key how lineage",
    "store_state": "id url lineage generation position hash",
}  # fmt: skip
"""The local tables that the first step made, with their columns. A journal of that day has no others: what
is added here and in no later step is missing in each journal that is older."""
ADDED = {
    2: ["asked", "carried", "relayed"],
    3: ["event_beside"],
    4: ["turn_position"],
    5: ["sink_cursor"],
}
"""What each later step makes."""


def columns_of(connection: sqlite3.Connection, table: str) -> str:
    return " ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))


def schema_of(path: Path) -> set[tuple[str, str]]:
    with sqlite3.connect(path) as connection:
        return set(connection.execute("SELECT type, name FROM sqlite_schema"))


def test_every_local_table_has_the_step_that_makes_it() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(LOCAL_TABLES)
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    made = {name: columns_of(connection, name) for (name,) in rows}
    later = {name for names in ADDED.values() for name in names}
    assert {name: words for name, words in made.items() if name not in later} == FIRST
    assert max(ADDED) == NEWEST_STEP


@pytest.mark.parametrize("step", ADDED)
def test_a_journal_of_an_earlier_release_gets_what_came_later(tmp_path: Path, step: int) -> None:
    """Whatever is missing from ``step`` on is made when the journal is opened, and nothing else changes."""
    path = tmp_path / "journal.db"
    Journal.open(path, clock=SystemClock(), ids=SystemIds()).close()
    whole = schema_of(path)
    with sqlite3.connect(path) as connection:
        for name in (one for later in range(step, NEWEST_STEP + 1) for one in ADDED[later]):
            (kind,) = connection.execute(
                "SELECT type FROM sqlite_schema WHERE name = ?", (name,)
            ).fetchone()
            connection.execute(f"DROP {kind} {name}")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name >= ?", (f"m{step:03}",))
    connection.close()
    assert schema_of(path) < whole
    Journal.open(path, clock=SystemClock(), ids=SystemIds()).close()
    assert schema_of(path) == whole
