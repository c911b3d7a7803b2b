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
