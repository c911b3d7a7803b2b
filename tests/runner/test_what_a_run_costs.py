"""How often a run makes something durable, and how often it starts git: what a start is made of."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMITS_OF_ONE_STAGE = 9
GIT_PROGRAMS = {"in-place": 8, "checkout": 10}
"""docs/decisions/0115: each is counted there. Fewer are welcome; more want a reason."""

MODULES = {"ours": 217, "all": 396}
"""Loaded by a run of one command in the library's own words: its own, and with Python and libraries."""
STATEMENTS = {"once": 318, "a stage": 17}
"""Of SQL, in journal and store, with what triggers do."""
# Libraries that somebody loads on the way and nobody needs, and rooms of ours that a plain run has no use for.
UNUSED = (
    "typing_extensions", "dataclasses", "cxlocal.hooks.tool", "cxlocal.hooks.sink",
    "cxlocal.hooks.report", "cxlocal.runner.turns", "cxlocal.runner.placements",
    "cxlocal.runner.products", "cxlocal.runner.repetition", "cxlocal.runner.final", "cxlocal.runner.own_plan",
    "cxlocal.projection.views", "cxlocal.config.agreement", "cxlocal.secrets", "cxlocal_sync.stores.adopt",
)  # fmt: skip
# Counts what SQLite is asked, and says at the end what was loaded.
COUNTED = """
import json, os, sqlite3, sys
asked, connect, end = [], sqlite3.connect, os._exit
def connect_counted(*arguments, **options):
    made = connect(*arguments, **options)
    made.set_trace_callback(asked.append)
    return made
def tell(code):
    with open(os.environ["COUNTED"], "w") as out:
        json.dump([list(sys.modules), len(asked)], out)
    end(code)
sqlite3.connect, os._exit, sys.argv = connect_counted, tell, ["cxlocal", "run"]
from cxlocal.commands.main import main
main()
"""


def commits(home: Path) -> int:
    """Transactions that wrote, in journal and store: SQLite counts them in the header of its file."""
    files = [home / "journal.db", home / "store.db"]
    return sum(int.from_bytes(file.read_bytes()[24:28], "big") for file in files)


@pytest.mark.parametrize("stages", [1, 4])
def test_a_run_commits_once_for_each_step(shop: Any, stages: int) -> None:
    lines = [f's{number} = {{ command = ["true"] }}' for number in range(stages)]
    shop.write("[defaults]\njobs = 1\n[stages]\n" + "\n".join(lines))
    shop.run()
    before = commits(shop.home)
    done = shop.run()
    assert done.code == 0, done.err
    assert commits(shop.home) - before == COMMITS_OF_ONE_STAGE + 2 * (stages - 1)
    assert shop.query("SELECT count(*) FROM run WHERE number_how = 'online' AND online = 1") == [2]


@pytest.mark.parametrize("workspace", GIT_PROGRAMS)
def test_a_run_asks_git_seldom(shop: Any, tmp_path: Path, workspace: str) -> None:
    calls, real = tmp_path / "calls", shutil.which("git")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "git"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec {real} "$@"\n')
    program.chmod(0o755)
    shop.write(f'[defaults]\nworkspace = "{workspace}"\n[stages]\nx = {{ command = "true" }}')
    for variable in ("NAME", "EMAIL"):
        shop.git("config", f"user.{variable.lower()}", os.environ[f"GIT_AUTHOR_{variable}"])
    env = {
        "PATH": f"{program.parent}:{os.environ['PATH']}", "CXLOCAL_ACTOR": None,
        "GIT_AUTHOR_NAME": None, "GIT_AUTHOR_EMAIL": None,
    }  # fmt: skip
    shop.run()
    done = shop.run(env=env)
    assert done.code == 0, done.err
    asked = [line for line in calls.read_text().splitlines() if "upload-pack" not in line]
    assert len(asked) <= GIT_PROGRAMS[workspace], "\n".join(asked)


def counted(shop: Any, out: Path, stages: int) -> tuple[list[str], int]:
    """The modules that a run of so many stages loads, and how many statements it has SQLite carry out."""
    chain = [f's{n} = {{ command = ["true"], needs = {[f"s{n - 1}"][:n]} }}' for n in range(stages)]
    shop.write('[defaults]\nworkspace = "in-place"\n[stages]\n' + "\n".join(chain))
    shop.run()  # The first of a home makes tables, and that of a plan its row.
    subprocess.run(
        [sys.executable, "-c", COUNTED], cwd=shop.tree, check=True, capture_output=True,
        env={**os.environ, **shop.environ, "COUNTED": str(out)},
    )  # fmt: skip
    modules, statements = json.loads(out.read_text())
    return modules, statements


def test_a_run_loads_and_asks_what_it_needs(shop: Any, tmp_path: Path) -> None:
    modules, once = counted(shop, tmp_path / "one", 1)
    assert set(modules) & set(UNUSED) == set()
    ours = [name for name in modules if name.startswith(("cxlocal.", "cxlocal_"))]
    assert (len(ours) <= MODULES["ours"], len(modules) <= MODULES["all"]) == (True, True), (
        len(ours), len(modules),
    )  # fmt: skip
    assert once <= STATEMENTS["once"]
    _, more = counted(shop, tmp_path / "more", 5)
    assert (more - once) / 4 <= STATEMENTS["a stage"]


def test_a_store_of_this_machine_that_is_gone_is_said_before_anything_is_recorded(
    shop: Any,
) -> None:
    shop.write('[stages]\nx = { command = "true" }')
    assert shop.run().code == 0
    (shop.home / "store.db").unlink()
    done = shop.run()
    assert (done.code, shop.query("SELECT count(*) FROM version")) == (5, [1]), done.err
    assert shop.query("SELECT online FROM run ORDER BY queued_at DESC LIMIT 1") == [0]


def test_a_reserve_of_such_a_store_is_used_and_said(shop: Any) -> None:
    """Where a number may come from elsewhere, the store is asked before the run begins."""
    shop.write('[version]\nreserve = 3\n[stages]\nx = { command = "true" }')
    assert shop.run().code == 0
    (shop.home / "store.db").rename(shop.home / "away.db")
    done = shop.run()
    assert done.code == 0, done.err
    assert "not reached" in done.err
    found = shop.query("SELECT number_how, online FROM run ORDER BY queued_at DESC LIMIT 1")
    assert found == [("reserve", 0)]


def test_a_journal_that_was_put_back_goes_on_under_a_new_id_before_its_run_begins(
    shop: Any,
) -> None:
    shop.write('[stages]\nx = { command = "true" }')
    assert shop.run().code == 0
    with (
        sqlite3.connect(shop.home / "journal.db") as one,
        sqlite3.connect(shop.home / "old") as two,
    ):
        one.backup(two)
    assert shop.run().code == 0
    shutil.copyfile(shop.home / "old", shop.home / "journal.db")
    (node,) = shop.query("SELECT value FROM local_value WHERE name = 'node'")
    done = shop.run()
    assert done.code == 0, done.err
    (now,) = shop.query("SELECT value FROM local_value WHERE name = 'node'")
    assert now != node
    assert shop.query("SELECT node FROM run WHERE id = ?", shop.last()) == [now]
    assert sorted(shop.query("SELECT number FROM spent")) == [0, 2]
