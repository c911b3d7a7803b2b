"""Passing machines leave a bundle when the store stays away; a later import brings it in."""

from __future__ import annotations

import contextlib
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
GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true"}


class Ci:
    """Jobs with empty homes, a laptop, and a store that can go away."""

    def __init__(self, shop: Any, root: Path) -> None:
        self.shop, self.root = shop, root
        self.store = root / "shared" / "store.db"
        self.laptop = {"CXLOCAL_HOME": str(root / "laptop"),
                       "CXLOCAL_STORE": f"sqlite://{self.store}"}  # fmt: skip
        shop.command("store", "create", f"sqlite://{self.store}", env=self.laptop)

    def job(self, name: str, **more: str) -> dict[str, str]:
        return {**self.laptop, **GITHUB, "CXLOCAL_HOME": str(self.root / name),
                "CXLOCAL_PATIENCE": "1s", **more}  # fmt: skip

    @property
    def going(self) -> str:
        """Shell words that take the store away. A file stands in the place of its folder: at a
        first contact an empty place would be filled with a new store."""
        folder = self.store.parent
        return f"mv {folder} {folder}.away; touch {folder}"

    def away(self) -> None:
        subprocess.run(self.going, shell=True, check=True)

    def back(self) -> None:
        folder = self.store.parent
        folder.unlink()
        folder.with_name(folder.name + ".away").rename(folder)

    def bundles(self) -> list[Path]:
        return sorted(self.shop.tree.glob("cxlocal-*.bundle"))

    def known(self, sql: str) -> Any:
        return self.shop.command("sql", sql, "--json", env=self.laptop).json()


@pytest.fixture
def ci(shop: Any, tmp_path: Path) -> Ci:
    return Ci(shop, tmp_path)


def lose_store(ci: Ci) -> str:
    """A stage that takes the store away in the middle of the run."""
    return f'[stages]\nbuild = {{ command = "{ci.going}" }}\n'


def test_a_passing_machine_leaves_a_bundle_that_brings_its_run_in(ci: Ci, shop: Any) -> None:
    shop.write(lose_store(ci))
    done = shop.run(env=ci.job("job"))
    assert done.code == 6, done.err
    [path] = ci.bundles()
    assert done.out == f"{path}\n"
    assert "cxlocal import" in done.err and "0.1.0 is done" in done.err
    run = path.name.removeprefix("cxlocal-").removesuffix(".bundle")
    # On a laptop, first without the store, then with it.
    taken = shop.command("import", path, env=ci.laptop)
    assert taken.code == 0 and "wait here for the store" in taken.err, taken.err
    assert ci.known("SELECT id, version, outcome FROM run") == [
        {"id": run, "version": "0.1.0", "outcome": "success"}
    ]
    ci.back()
    assert "of other machines brought" in shop.command("sync", env=ci.laptop).err
    assert ci.known("SELECT state FROM number_uses") == [{"state": "in use, confirmed"}]
    assert shop.command("import", path, env=ci.laptop).code == 0
    # Anybody else has it from the store, and the next job counts on.
    other = {**ci.laptop, "CXLOCAL_HOME": str(ci.root / "other")}
    assert shop.command("sync", env=other).code == 0
    assert shop.command("verify", env=other).code == 0
    shop.write(ONE)
    assert json.loads(shop.run("--json", env=ci.job("next")).out)["version"] == "0.1.1"


def test_the_import_may_happen_in_another_passing_job(ci: Ci, shop: Any) -> None:
    shop.write(lose_store(ci))
    assert shop.run(env=ci.job("job")).code == 6
    [path] = ci.bundles()
    done = shop.command("import", path, env=ci.job("early"))
    assert done.code == 6 and f"keep {path}" in done.err, done.err
    assert len(ci.bundles()) == 1, "its own history alone is not worth a file of its own"
    ci.back()
    done = shop.command("import", path, "--json", env=ci.job("courier"))
    assert done.code == 0, done.err
    assert done.json()["sync"]["to_relay"] == 0 and done.json()["new"] > 3


def test_a_store_that_comes_back_within_its_patience_needs_no_bundle(ci: Ci, shop: Any) -> None:
    folder = ci.store.parent
    shop.write(
        f'[stages]\nbuild = {{ command = "{ci.going};'
        f' (sleep 2; rm {folder}; mv {folder}.away {folder}) >/dev/null 2>&1 &" }}\n'
    )
    done = shop.run(env=ci.job("job", CXLOCAL_PATIENCE="30s"))
    assert done.code == 0, done.err
    assert ci.bundles() == []


def test_json_and_failed_runs_name_the_bundle_too(ci: Ci, shop: Any) -> None:
    shop.write(f'[stages]\nbuild = {{ command = "{ci.going}; false" }}\n')
    done = shop.run("--json", env=ci.job("job"))
    assert done.code == 1
    [path] = ci.bundles()
    assert json.loads(done.out)["bundle"] == str(path)
    ci.back()
    assert shop.command("import", path, env=ci.laptop).code == 0
    assert ci.known("SELECT outcome FROM run") == [{"outcome": "failure"}]


def test_a_run_without_a_number_is_left_behind_as_well(ci: Ci, shop: Any) -> None:
    shop.write(ONE)
    assert shop.run(env=ci.laptop).code == 0
    ci.away()
    began = time.monotonic()
    # Pauses grow to two seconds: of three at least one is spent waiting.
    done = shop.run(env=ci.job("job", CXLOCAL_PATIENCE="3s"))
    assert done.code == 5, done.err
    assert "passing machine holds no reserve" in done.err
    assert 1.0 < time.monotonic() - began < 15
    [path] = ci.bundles()
    ci.back()
    assert shop.command("import", path, env=ci.laptop).code == 0
    outcomes = ci.known("SELECT outcome FROM run ORDER BY queued_at")
    assert [row["outcome"] for row in outcomes] == ["success", "error"]


def test_a_signal_leaves_a_bundle_within_ten_seconds(ci: Ci, shop: Any) -> None:
    shop.write(f'[stages]\nbuild = {{ command = "{ci.going}; sleep 60" }}\n')
    process = subprocess.Popen(
        [shop.cx.program, "run"],
        cwd=shop.tree,
        env={**os.environ, **shop.environ, **ci.job("job", CXLOCAL_PATIENCE="60s")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not ci.store.parent.is_file() and process.poll() is None:
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert time.monotonic() - began < 10
    [path] = ci.bundles()
    ci.back()
    assert shop.command("import", path, env=ci.laptop).code == 0
    assert ci.known("SELECT outcome FROM run") == [{"outcome": "cancel"}]


def test_single_commands_leave_a_bundle_at_the_end(ci: Ci, shop: Any) -> None:
    shop.write(ONE)
    (shop.tree / ".gitignore").write_text(".cx/run\n*.bundle\n")
    shop.push("ignore")
    env = ci.job("job", CXLOCAL_NODE="passing", GITHUB_RUN_ID="7", GITHUB_RUN_ATTEMPT="1")
    assert shop.command("run", "start", env=env).code == 0
    ci.away()
    assert shop.command("stage", "build", "--", "true", env=env).code == 0
    done = shop.command("run", "finish", env=env)
    assert done.code == 6, done.err
    [path] = ci.bundles()
    assert done.out == f"{path}\n"
    done = shop.command("sync", env=env)
    assert (done.code, done.out) == (6, f"{path}\n")
    ci.back()
    assert shop.command("import", path, env=ci.laptop).code == 0
    assert ci.known("SELECT stage, outcome FROM stage_run") == [
        {"stage": "build", "outcome": "success"}
    ]


def test_a_kept_machine_leaves_nothing(ci: Ci, shop: Any) -> None:
    shop.write(lose_store(ci))
    done = shop.run(env=ci.laptop)
    assert done.code == 0 and "wait here" in done.err
    assert ci.bundles() == []


def test_the_raw_reports_of_a_passing_machine_come_along(ci: Ci, shop: Any) -> None:
    xml = '<testsuite name="u" tests="1"><testcase name="a"/></testsuite>'
    shop.write(
        '[stages]\nunit = { command = "sh unit.sh", reports = { junit = "r.xml" } }\n',
        {"unit.sh": f"printf '{xml}' > r.xml\n{ci.going}\n"},
    )
    done = shop.run(env=ci.job("job"))
    assert done.code == 6, done.err
    [path] = ci.bundles()
    done = shop.command("import", path, "--offline", "--json", env=ci.laptop)
    assert done.json()["reports"] == 1
    [row] = ci.known("SELECT sha256 FROM report")
    kept = Path(ci.laptop["CXLOCAL_HOME"]) / "blobs" / row["sha256"][:2] / row["sha256"]
    assert kept.read_text() == xml
    again = shop.command("import", path, "--offline", "--json", env=ci.laptop)
    assert (again.json()["reports"], again.json()["new"]) == (0, 0)


def test_a_job_told_not_to_ask_leaves_a_bundle_at_once(ci: Ci, shop: Any) -> None:
    shop.write('[version]\nwhen_empty = "suffix"\n' + ONE)
    began = time.monotonic()
    done = shop.run("--offline", env=ci.job("job", CXLOCAL_PATIENCE="60s"))
    assert done.code == 6, done.err
    assert time.monotonic() - began < 15
    [path] = ci.bundles()
    assert shop.command("import", path, "--require-sync", env=ci.laptop).code == 0


def test_a_rehearsal_leaves_nothing(ci: Ci, shop: Any) -> None:
    for command, code in (("true", 0), ("false", 1)):
        shop.write(f'[stages]\nbuild = {{ command = "{command}" }}\n')
        assert shop.command("rehearse", env=ci.job("job")).code == code
    assert ci.bundles() == []


def test_a_bundle_that_cannot_be_written_changes_no_outcome(ci: Ci, shop: Any) -> None:
    # The stage replaces the workspace by a file: there is nowhere to leave anything.
    shop.write(
        f"""[stages]
build = {{ command = "{ci.going}; mv {shop.tree} {shop.tree}.gone; touch {shop.tree}" }}
"""
    )
    done = shop.run(env=ci.job("job"))
    assert done.code == 6, done.err
    assert "goes with this machine" in done.err and done.out == ""


def test_a_signal_ends_the_waiting_for_the_store(ci: Ci, shop: Any) -> None:
    shop.write(lose_store(ci))
    process = subprocess.Popen(
        [shop.cx.program, "run"],
        cwd=shop.tree,
        env={**os.environ, **shop.environ, **ci.job("job", CXLOCAL_PATIENCE="60s")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    journal = ci.root / "job" / "journal.db"
    while process.poll() is None and not ended(journal):
        time.sleep(0.05)
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert time.monotonic() - began < 10
    [path] = ci.bundles()
    ci.back()
    assert shop.command("import", path, env=ci.laptop).code == 0
    assert ci.known("SELECT outcome FROM run") == [{"outcome": "success"}]


def ended(journal: Path) -> bool:
    """Whether the only run of a journal has an outcome."""
    try:
        with contextlib.closing(sqlite3.connect(journal, timeout=5)) as connection:
            row = connection.execute("SELECT 1 FROM run WHERE outcome != ''").fetchone()
    except sqlite3.OperationalError:
        return False  # not made yet
    return row is not None
