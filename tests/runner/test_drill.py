"""``cxlocal drill``: an outage is rehearsed, timed and recorded."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cxlocal.doctor.check import BAD, Check, readiness

STAGES = """
[version]
line = "1.0"
[store]
url = "{url}"
[stages]
build = {{ command = "echo $CXLOCAL_VERSION > v.txt", produces = {{ v = "v.txt" }} }}
publish = {{ kind = "publish", command = "touch {mark}", needs = ["build"] }}
"""


def test_a_drill_says_what_would_have_failed(shop: Any, tmp_path: Path) -> None:
    url, mark = f"sqlite://{tmp_path / 'store.db'}", tmp_path / "published"
    shop.write(STAGES.format(url=url, mark=mark))
    assert shop.command("store", "create", url).code == 0
    # Nothing was released yet, so no number is held: an outage now would stop a release.
    early = shop.command("drill", "--json")
    found = early.json()
    assert early.code == 1 and found["ready"] is False
    assert any("reserve: no number of line 1.0" in each for each in found["would_have_failed"])
    assert found["stages"] == {"build": "success"}
    assert found["run_seconds"] > 0 and found["tried_seconds"] > 0
    assert shop.run().code == 0
    mark.unlink()
    before = shop.command("version", "list", "--json").json()
    ready = shop.command("drill")
    assert ready.code == 0, ready.err
    assert "Rehearsing an outage of shop" in ready.err
    assert "an outage now would stop no release" in ready.err
    # It took no number, published nothing, and asked nobody.
    assert shop.command("version", "list", "--json").json() == before
    assert not mark.exists()
    shown = shop.command("show", found["run"], "--json").json()
    assert "would have failed: reserve" in str(shown)
    kinds = shop.command("sql", "SELECT kind FROM run ORDER BY queued_at", "--json").json()
    assert [row["kind"] for row in kinds] == ["drill", "release", "drill"]


@pytest.mark.parametrize(
    ("checks", "sentence"),
    [
        ([], "yes"), ([Check("plugin acme", BAD, "x")], "yes, without acme"),
        ([Check("plugin a", BAD, "x"), Check("plugin b", BAD, "x")], "yes, without a, b"),
        ([Check("plugin acme", BAD, "x"), Check("git", BAD, "none", offline=True)],
         "no, because git: none"),
    ],
)  # fmt: skip
def test_a_broken_plugin_is_named_where_a_release_goes_on_without_it(
    checks: list[Check], sentence: str
) -> None:
    assert readiness(checks).sentence() == f"Ready for an offline release: {sentence}"


def test_a_stage_that_fails_is_named(shop: Any, tmp_path: Path) -> None:
    """The process itself, and neither store nor remote is asked: both are gone."""
    url = f"sqlite://{tmp_path / 'store.db'}"
    shop.write(STAGES.format(url=url, mark=tmp_path / "x").replace("echo", "false; echo"))
    shop.remote.rename(tmp_path / "gone.git")
    done = shop.command("drill")
    assert done.code == 1
    assert "stage build: failure" in done.err and "cxlocal doctor" in done.err
    assert not (tmp_path / "store.db").exists()
    with sqlite3.connect(shop.home / "journal.db") as journal:
        assert journal.execute("SELECT count(*) FROM version").fetchone() == (0,)
    journal.close()
