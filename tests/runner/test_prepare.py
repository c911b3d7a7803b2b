"""``cxlocal prepare``: what an outage needs is here before it comes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.exchange import blobs
from cxlocal.exchange.blobs import carry
from cxlocal.journal.blobs import blob_path, keep_file
from cxlocal.journal.file import Journal
from cxlocal.runner.needed import Needed

CONFIG = """
[stages]
build = { command = "sh build.sh", produces = { app = "app.sh" } }
notes = { command = "echo $CXLOCAL_VERSION > notes.txt", produces = { notes = "notes.txt" } }
live = { kind = "deploy", command = "$CXLOCAL_ARTIFACT_APP", environment = "production", needs = ["build", "notes"] }
[environments.production]
lifetime = "lasting"
"""
BUILD = 'printf "#!/bin/sh\\necho $CXLOCAL_VERSION > %s" > app.sh; chmod +x app.sh\n'


class Places:
    """Two machines, a store and a production that is one file."""

    def __init__(self, shop: Any, root: Path) -> None:
        self.shop, self.root = shop, root
        self.store = root / "shared" / "store.db"
        self.live = root / "live"
        shop.write(CONFIG, {"build.sh": BUILD % self.live})
        assert self("one", "store", "create", f"sqlite://{self.store}").code == 0

    def __call__(self, name: str, *arguments: str, **more: str) -> Any:
        env = {"CXLOCAL_HOME": str(self.root / name), "CXLOCAL_STORE": f"sqlite://{self.store}"}
        return self.shop.command(*arguments, env={**env, **more})

    def release(self, name: str, **more: str) -> None:
        done = self(name, "run", "--to", "production", **more)
        assert done.code == 0, done.err

    def prepared(self, name: str) -> tuple[int, dict[str, str], str]:
        done = self(name, "prepare", "--json")
        rows = {row["name"]: row["state"] for row in json.loads(done.out)}
        return done.code, rows, done.err


@pytest.fixture
def places(shop: Any, tmp_path: Path) -> Places:
    return Places(shop, tmp_path)


def test_a_machine_that_prepared_releases_and_rolls_back_without_the_store(
    places: Places,
) -> None:
    places.release("one")
    places.release("one")
    assert "4 artifacts of what is live or waits sent" in places("one", "sync").err
    code, rows, said = places.prepared("two")
    assert code == 0, said
    assert "4 artifacts fetched" in said and "offline release: yes" in said
    assert "reserve shop 0.1:" in said
    assert {name for name in rows if name.startswith("artifact")} == {
        f"artifact {name} 0.1.{number}" for name in ("app", "notes") for number in (0, 1)
    }
    # The store goes away.
    places.store.parent.rename(places.root / "gone")
    done = places("two", "rollback", "production")
    assert done.code == 0, done.err
    assert places.live.read_text() == "0.1.0\n"
    places.release("two")
    assert places.live.read_text().startswith("0.1.10")
    # Nothing is moved twice.
    (places.root / "gone").rename(places.store.parent)
    assert places("two", "sync").code == 0
    assert "artifacts" not in places("one", "sync").err.replace(
        "artifacts of what is live or waits sent", ""
    )


def test_what_nobody_brought_is_named(places: Places) -> None:
    places.release("one")
    code, rows, said = places.prepared("two")
    assert code == 1 and rows["artifact app 0.1.0"] == "bad"
    assert "2 artifacts are neither here nor at the store" in said
    assert "offline release: no" in said
    assert places("one", "sync").code == 0
    code, rows, said = places.prepared("two")
    assert code == 0 and rows["artifact app 0.1.0"] == "ok", said


def test_without_the_store_it_says_what_is_missing(places: Places) -> None:
    places.release("one")
    places.store.parent.rename(places.root / "gone")
    code, rows, said = places.prepared("one")
    assert code == 0 and rows["store"] == "note" and "cannot be reached" in said
    code, rows, said = places.prepared("three")
    assert code == 1 and rows["reserve"] == "bad"


def test_before_the_first_release_no_reserve_is_asked_for(places: Places) -> None:
    places.shop.git("tag", "v0.1.500")
    code, rows, _ = places.prepared("one")
    assert (code, rows["reserve"]) == (1, "bad")
    assert places("one", "sql", "SELECT 1 FROM reserve", "--json").json() == []


def test_what_a_passing_machine_deployed_is_not_gone_with_it(places: Places) -> None:
    ci = {"CI": "true", "GITHUB_ACTIONS": "true", "CXLOCAL_PATIENCE": "10s"}
    places.release("job", **ci)
    code, _, said = places.prepared("two")
    assert "2 artifacts fetched" in said
    path = next(
        Path(places.root / "two" / "blobs" / row["sha256"][:2] / row["sha256"])
        for row in places("two", "sql", "SELECT sha256, name FROM artifact", "--json").json()
        if row["name"] == "app"
    )
    assert os.access(path, os.X_OK), "a program stays one"
    assert code == 0


def test_a_cache_that_is_not_here_is_noted(shop: Any) -> None:
    shop.write(
        '[stages]\nbuild = { command = "mkdir -p dep; touch dep/x",'
        ' caches = [{ path = "dep", key_files = ["lock"] }] }\n',
        {"lock": "1"},
    )

    def cache() -> str:
        rows = shop.command("doctor", "--json").json()
        return str(next(row["state"] for row in rows if row["name"] == "cache dep"))

    assert cache() == "note"
    assert shop.run().code == 0
    assert cache() == "ok"
    (shop.tree / "lock").write_text("2")
    assert cache() == "note"


def test_outside_a_project_it_says_what_it_needs(shop: Any, tmp_path: Path) -> None:
    assert shop.cx("prepare", cwd=tmp_path, env=shop.environ).code == 2


def test_bytes_are_bounded_checked_and_moved_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxlocal_sync.stores.sqlite import SqliteStore

    store = SqliteStore("sqlite:", tmp_path)
    journal = Journal.open(tmp_path / "journal.db", clock=SystemClock(), ids=SystemIds())
    other = Journal.open(tmp_path / "other" / "journal.db", clock=SystemClock(), ids=SystemIds())
    (tmp_path / "store.db").touch()  # files need no tables
    (tmp_path / "a").write_bytes(b"a" * 100)
    (tmp_path / "b").write_bytes(b"b" * 200)
    wanted = []
    for name in ("a", "b"):
        digest, size = keep_file(tmp_path, tmp_path / name)
        wanted.append(Needed(digest, size, False, "1", name))
    monkeypatch.setattr(blobs, "BLOB_BYTES_MAX", 150)
    found = carry(journal, store, wanted, 10)
    assert (found.sent, len(found.problems)) == (1, 1) and "more than" in found.problems[0]
    assert carry(journal, store, wanted[:1], 10) == (0, 0, (), ())
    found = carry(other, store, wanted, 10)
    assert (found.fetched, found.lacking) == (1, (wanted[1].sha256,))
    assert blob_path(other.home, wanted[0].sha256).read_bytes() == b"a" * 100
    # Bytes that were changed at the store are not taken.
    blob_path(other.home, wanted[0].sha256).unlink()
    kept = next(path for path in tmp_path.glob("store.db.blobs/*/*"))
    kept.write_bytes(b"x" * 100)
    found = carry(other, store, wanted[:1], 10)
    assert (found.fetched, found.lacking) == (0, (wanted[0].sha256,))
    assert "used up" in carry(journal, store, wanted[1:], 0.1).problems[0]
    for opened in (journal, other, store):
        opened.close()
