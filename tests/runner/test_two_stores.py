"""Projects of several stores in one home: each has a journal with its store, and tells it of nothing
else."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

ONE = '[version]\nline = "1.0"\n[stages]\nbuild = { command = "true" }\n'


def names_in(path: Path) -> set[str]:
    """The deliverables whose events a journal or a store holds."""
    with sqlite3.connect(path) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        column = "deliverable" if "deliverable_lookup" not in tables else (
            "(SELECT name FROM deliverable_lookup d WHERE d.id = event.deliverable)"
        )  # fmt: skip
        rows = connection.execute(f"SELECT DISTINCT {column} FROM event").fetchall()
    return {row[0] for row in rows} - {None}


def be(shop: Any, name: str) -> None:
    """Let the project be another product."""
    path = shop.tree / "cx.toml"
    lines = [f'name = "{name}"' if one.startswith("name = ") else one
             for one in path.read_text().splitlines()]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    shop.push(name)


def test_one_home_works_for_two_stores(shop: Any, tmp_path: Path) -> None:
    shop.write(ONE)
    assert shop.run().code == 0
    url = f"sqlite://{tmp_path}/shared.db"
    here = {"CXLOCAL_STORE": url}
    assert shop.command("store", "create", url).code == 0
    # The numbers of this product were handed out elsewhere: nothing is counted anew.
    for words in (("run",), ("run", "--offline"), ("sync",)):
        done = shop.command(*words, env=here)
        assert done.code == 3 and "belongs to the store at sqlite:" in done.err, done.err
        assert f"store moved {url}" in done.err and f"store adopt {url}" in done.err
    assert not (shop.home / "journals").exists()
    # Another product of another store has a journal of its own, which alone is shown there.
    be(shop, "engine")
    done = shop.run(env=here)
    assert done.code == 0, done.err
    (beside,) = (shop.home / "journals").glob("*/journal.db")
    assert names_in(beside) == names_in(tmp_path / "shared.db") == {"engine"}
    assert names_in(shop.home / "journal.db") == {"shop"}
    _outside(shop, url, beside)
    # The first product follows, and joins the journal that is there.
    be(shop, "shop")
    done = shop.command("store", "adopt", url)
    assert done.code == 0 and "goes on counting 1 line" in done.err, done.err
    done = shop.run(env=here)
    assert done.code == 0 and "Releasing shop 1.0.0 " not in done.err, done.err
    assert names_in(beside) == names_in(tmp_path / "shared.db") == {"engine", "shop"}
    done = shop.run()
    assert done.code == 3 and f"belongs to the store at {url}" in done.err, done.err
    # What moved is in both journals, and one line of the log, with the store that counts it now.
    rows = shop.cx("log", "--json", cwd=shop.home, env={"CXLOCAL_HOME": str(shop.home)}).json()
    assert sorted((row["deliverable"], row["version"], row["store"]) for row in rows) == [
        ("engine", "1.0.0", url), ("shop", "1.0.0", url), ("shop", rows[0]["version"], url),
    ]  # fmt: skip


def test_a_move_costs_no_number_and_brings_a_reserve(shop: Any, tmp_path: Path) -> None:
    shop.write(ONE)
    assert [shop.run("--json").json()["number"] for _ in range(2)] == [0, 1]
    url = f"sqlite://{tmp_path}/shared.db"
    assert shop.command("store", "create", url).code == 0
    assert shop.command("store", "adopt", url).code == 0
    assert shop.query("SELECT lo, hi FROM reserve") == [(101, 103)]
    here = {"CXLOCAL_STORE": url}
    assert shop.run("--json", env=here).json()["number"] == 2
    # The first day without the store; what such a number is, is said with it.
    away = shop.run("--offline", env=here)
    assert away.code == 0 and "Releasing shop 1.0.101 " in away.err, away.err
    assert "held for days like this; a reserve lies ahead" in away.err


def _outside(shop: Any, url: str, beside: Path) -> None:
    """Commands outside of a project tell of all journals."""

    def call(*words: str) -> Any:
        done = shop.cx(*words, cwd=shop.home, env={"CXLOCAL_HOME": str(shop.home)})
        assert done.code == 0, done.err
        return done

    told = call("status", "--json").json()["stores"]
    assert [one["store"] for one in told] == ["sqlite:", url]
    assert {row["store"] for row in call("log", "--json").json()} == {"sqlite:", url}
    said = call("status").out
    assert "Store: this machine alone\n" in said and f"Store: {url}\n" in said, said
    assert "Last release: shop 1.0.0 success" in said and "Last release: engine " in said
    assert call("sync").err.startswith("this machine alone: In step with the store: 0 events sent")
    assert len(call("sync", "--json").json()["stores"]) == 2
    assert call("journal", "path").out.split() == [str(shop.home / "journal.db"), str(beside)]
    assert call("verify").err.count("all is well") == 2
    asked = ("sql", "SELECT DISTINCT deliverable FROM run", "--csv")
    done = shop.cx(*asked, cwd=shop.home, env={"CXLOCAL_HOME": str(shop.home)})
    assert done.code == 2 and "CXLOCAL_STORE" in done.err
    assert "engine" in call(*asked, "--store", "shared").out
    assert "engine" in call("browse", "--get", "/journal_2/run.json?_shape=array").out


DEPLOYED = (
    '[version]\nline = "1.0"\n[stages]\n'
    'build = { kind = "build", command = "echo $CXLOCAL_VERSION > a.txt", produces = { app = "a.txt" } }\n'
    'live = { kind = "deploy", command = "true", needs = ["build"], environment = "production" }\n'
    "[environments]\nproduction = { protected = false }\n"
)
BY_A_PROGRAM = """
import cxlocal
with cxlocal.open_run() as run:
    with run.stage("extra"):
        pass
    print(run.version)
"""


def test_what_speaks_of_one_journal_speaks_of_the_right_one(shop: Any, tmp_path: Path) -> None:
    """Each command in a project, and outside of one, where a home has a journal for each of two stores."""
    shop.write(DEPLOYED, {".gitignore": "a.txt\n"})
    assert shop.run().code == 0
    url = f"sqlite://{tmp_path}/shared.db"
    here = {"CXLOCAL_STORE": url}
    assert shop.command("store", "create", url).code == 0
    be(shop, "engine")
    assert shop.run(env=here).code == 0
    first = shop.home / "journal.db"
    (beside,) = (shop.home / "journals").glob("*/journal.db")
    # A program in the project adds to the journal of the project's store.
    told = subprocess.run(
        [sys.executable, "-c", BY_A_PROGRAM], cwd=shop.tree, capture_output=True, text=True,
        check=False,
        env={**os.environ, **shop.environ, **here},
    )  # fmt: skip
    assert told.stdout.split() == ["1.0.1"], told.stderr
    assert names_in(first) == {"shop"} and names_in(beside) == {"engine"}
    _outside_of_a_project(shop, url)
    _pruned(shop, here)
    # A bundle goes to the journal of its store, wherever it is imported.
    bundle = tmp_path / "engine.bundle"
    assert shop.command("export", "--bundle", str(bundle), env=here).code == 0
    before = first.read_bytes()
    outside(shop, "import", str(bundle))
    assert first.read_bytes() == before
    _recovered(shop, first, beside)


def outside(shop: Any, *words: str) -> Any:
    """A command that stands in no project."""
    done = shop.cx(*words, cwd=shop.home, env={"CXLOCAL_HOME": str(shop.home)})
    assert done.code == 0, done.err
    return done


def _outside_of_a_project(shop: Any, url: str) -> None:
    assert outside(shop, "show").out.startswith("engine 1.0.1"), "the newest of all"
    told = outside(shop, "store", "status", "--json").json()["stores"]
    assert [(one["url"], [line["deliverable"] for line in one["lines"]]) for one in told] == [
        ("sqlite:", ["shop"]), (url, ["engine"]),
    ]  # fmt: skip
    looked = outside(shop, "doctor").out
    assert "journal of this machine alone" in looked and f"journal of {url}" in looked
    places = outside(shop, "env", "list", "--json").json()
    assert {(row["deliverable"], row["environment"]) for row in places} == {
        ("shop", "production"), ("engine", "production"),
    }  # fmt: skip
    assert outside(shop, "journal", "rebuild").err.count("All tables were made anew") == 2


def _pruned(shop: Any, here: dict[str, str]) -> None:
    """Artifacts of both lie in one folder; what another journal knows stays."""
    kept = {path.name for path in shop.home.glob("artifacts/*/*")}
    done = shop.command("prune", env=here)
    assert done.code == 0, done.err
    assert {path.name for path in shop.home.glob("artifacts/*/*")} == kept != set()


def _recovered(shop: Any, first: Path, beside: Path) -> None:
    """Of two journals the damaged one is recovered, and the other is left as it is."""
    before = beside.read_bytes()
    with sqlite3.connect(first) as damaged:
        damaged.execute("UPDATE spent SET text = '9.9.9'")
    assert outside(shop, "journal", "recover").err.count("This machine goes on under a new id") == 1
    assert beside.read_bytes() == before
    assert outside(shop, "verify").err.count("all is well") == 2
