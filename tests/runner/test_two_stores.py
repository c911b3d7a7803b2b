"""Projects of several stores in one home: each has a journal with its store, and tells it of nothing
else."""

from __future__ import annotations

import sqlite3
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
