"""``cxlocal export --bundle``, ``import`` and receipts as a person uses them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

ONE = '[stages]\nbuild = { command = "true" }\n'


class Places:
    """A ship without a network, an office with the store, and a stick."""

    def __init__(self, shop: Any, root: Path) -> None:
        self.shop, self.root = shop, root
        self.folder = root / "shared"
        self.stick = root / "stick"
        self.stick.mkdir()
        assert self("office", "store", "create", f"sqlite://{self.folder}/store.db").code == 0

    def __call__(self, place: str, *arguments: object, away: bool = False) -> Any:
        store = f"sqlite://{self.folder}/store.db"
        env = {"CXLOCAL_HOME": str(self.root / place), "CXLOCAL_STORE": store}
        gone = self.folder.with_name("unplugged")
        if away:
            self.folder.rename(gone)
        try:
            return self.shop.command(*arguments, env=env)
        finally:
            if away:
                gone.rename(self.folder)

    def rows(self, place: str, sql: str) -> Any:
        return self(place, "sql", sql, "--json").json()


@pytest.fixture
def places(shop: Any, tmp_path: Path) -> Places:
    shop.write(ONE)
    return Places(shop, tmp_path)


def test_a_release_at_sea_is_confirmed_by_stick(places: Places) -> None:
    assert places("ship", "run").code == 0
    assert places("office", "sync").code == 0
    done = places("ship", "run", "--json", away=True)
    assert done.code == 0 and json.loads(done.out)["version"] == "0.1.100"
    bundle, receipt = places.stick / "ship.bundle", places.stick / "ship.receipt"
    done = places("ship", "export", "--bundle", bundle, away=True)
    assert done.code == 0 and "asks for a reserve of shop 0.1" in done.err, done.err
    assert bundle.stat().st_mode & 0o077 == 0

    done = places("office", "import", bundle)
    assert done.code == 0 and "events taken in" in done.err and "--receipt" in done.err, done.err
    done = places("office", "export", "--receipt", receipt)
    assert done.code == 0 and "1 machine, with 1 answered" in done.err, done.err

    state = "SELECT state FROM number_uses WHERE number = 100"
    assert places.rows("ship", state) == [{"state": "in use, not yet confirmed"}]
    done = places("ship", "import", receipt, away=True)
    assert done.code == 0 and "reserve shop 0.1:" in done.err, done.err
    assert places.rows("ship", state) == [{"state": "in use, confirmed"}]
    assert "Nothing in this receipt is new here" in places("ship", "import", receipt).err
    for place in ("ship", "office"):
        assert places(place, "verify").code == 0
    assert json.loads(places("office", "run", "--json").out)["version"] == "0.1.103"


def test_a_machine_with_nothing_gets_everything(places: Places) -> None:
    assert places("ship", "run").code == 0
    path = places.stick / "all.bundle"
    done = places("ship", "export", "--bundle", path, "--all", "--json")
    assert json.loads(done.out)["events"] > 5
    done = places("fresh", "import", path, "--offline", "--json")
    assert done.code == 0 and json.loads(done.out)["new"] > 5
    assert len(places.rows("fresh", "SELECT 1 FROM run")) == 1
    # What the store has already is found out by asking it.
    assert places("fresh", "import", path, "--require-sync").code == 0


def test_require_sync_says_that_the_store_lacks_it(places: Places) -> None:
    assert places("ship", "run", away=True).code == 5
    path = places.stick / "a.bundle"
    assert places("ship", "export", "--bundle", path, away=True).code == 0
    done = places("office", "import", path, "--require-sync", away=True)
    assert done.code == 6 and "cxlocal sync" in done.err, done.err
    assert places("office", "sync", "--require-sync").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "--bundle", "a", "--receipt", "b"], "exclude each other"),
        (["export", "--bundle", "a", "--run", "0.1.0"], "exclude each other"),
        (["export", "--all"], "exclude each other"),
        (["export", "--reports"], "exclude each other"),
        (["export", "--bundle", "cx.toml"], "no bundle"),
        (["import", "cx.toml"], "not a bundle"),
        (["import", "absent"], "cannot be read"),
        (["import"], "neither was given"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], said: str, places: Places) -> None:
    assert places("ship", "run").code == 0
    before = (places.shop.tree / "cx.toml").read_text()
    done = places("ship", *arguments)
    assert done.code in (2, 9), done.err
    assert said in done.err
    assert (places.shop.tree / "cx.toml").read_text() == before


def test_kill_9_at_any_moment_of_an_import_loses_nothing(places: Places) -> None:
    assert places("ship", "run").code == 0
    path = places.stick / "a.bundle"
    for _ in range(3):
        assert places("ship", "run", "--offline").code == 0
    assert places("ship", "export", "--bundle", path, "--all").code == 0
    command = [places.shop.cx.program, "import", str(path), "--offline"]
    for step in range(6):
        env = {**os.environ, "CXLOCAL_HOME": str(places.root / f"home-{step}")}
        process = subprocess.Popen(
            command, cwd=places.shop.tree, env=env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(0.05 + 0.06 * step)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = places(f"home-{step}", "import", path, "--offline", "--json")
        assert done.code == 0, done.err
        told = json.loads(done.out)
        assert told["branches"] == 0
        assert places(f"home-{step}", "verify").code == 0
        assert len(places.rows(f"home-{step}", "SELECT 1 FROM run")) == 4


def test_a_journal_from_before_there_were_bundles_takes_one(places: Places) -> None:
    assert places("ship", "run").code == 0
    assert places("office", "run").code == 0
    with sqlite3.connect(places.root / "office" / "journal.db") as connection:
        for table in ("relayed", "carried", "asked"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'm002_bundles'")
    connection.close()
    path = places.stick / "a.bundle"
    assert places("ship", "export", "--bundle", path, "--all").code == 0
    done = places("office", "import", path)
    assert done.code == 0, done.err
    assert places("office", "verify").code == 0
