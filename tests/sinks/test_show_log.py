"""``cxlocal show RUN [STAGE] --log [-f]``: from this machine, from the store, or where it is to be found."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from receivers import free_port

LINKS = """
[links]
log = "https://logs.example.org/?q={run}+{stage}&from={from_ms}&to={to_ms}&v={version}"
metric = "https://figures.example.org/d?e={environment}&from={from}&to={to}"
"""


def test_a_log_is_shown_however_it_is_asked_for(shop: Any) -> None:
    shop.begin("", lines=2, trusted=False)
    shop.run()
    done = shop.ok("show", "latest", "--log")
    assert done.out == "line 1\nline 2\nunit 1\nunit 2\nunit 3\n"
    assert [line for line in done.err.splitlines() if line.startswith("==")] == [
        "== build",
        "== unit",
    ]
    for words in (("--log", "unit"), ("unit", "--log"), ("--log=unit",), ("unit", "--log", "-f")):
        assert shop.ok("show", "latest", *words).out == "unit 1\nunit 2\nunit 3\n"
    for wrong in (("show", "latest", "unit"), ("show", "-f")):
        assert shop(*wrong).code == 2


def test_a_log_of_a_machine_that_is_gone_comes_from_the_store(shop: Any) -> None:
    """And where the store has not got it, the template says where to look."""
    store = f"sqlite://{shop.root}/store.db"
    shop.environ["CXLOCAL_STORE"] = store
    shop.begin(f'logs = {{ to = "json+tcp://127.0.0.1:{free_port()}" }}\n{LINKS}', trusted=False)
    shop.ok("store", "create", store)
    job = {"CXLOCAL_NODE": "passing", "CXLOCAL_HOME": str(shop.root / "job")}
    shop.ok("trust", "--yes", env=job)
    shop.run(env=job)
    shutil.rmtree(shop.root / "job")
    shop.ok("sync")
    assert shop.ok("show", "latest", "unit", "--log").out == "unit 1\nunit 2\nunit 3\n"
    (row,) = [
        one for one in shop.ok("show", "--json").json()["elsewhere"] if one["stage"] == "unit"
    ]
    assert row["log"].startswith("https://logs.example.org/?q=")
    assert row["figures"] == ""  # it works in no environment, and the template needs one
    assert f"unit  log  {row['log']}" in shop.ok("show").out
    os.remove(shop.root / "store.db")
    done = shop("show", "latest", "unit", "--log")
    assert done.code == 9
    assert f"look at {row['log']}" in done.err


def test_a_log_is_followed_until_its_stage_ends(shop: Any, cx: Any, tmp_path: Path) -> None:
    go = tmp_path / "go"
    shop.begin(
        "",
        stages=f"[stages]\nslow = {{ command = 'echo one; while [ ! -e {go} ]; do sleep 0.02; done; echo two' }}\n",
        trusted=False,
    )  # fmt: skip
    environ = {**os.environ, **shop.environ}
    run = subprocess.Popen(
        [cx.program, "run", "--no-input"], cwd=shop.tree, env=environ, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while not list((shop.home / "logs").rglob("slow.log")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        follow = subprocess.Popen(
            [cx.program, "show", "latest", "slow", "--log", "-f"],
            cwd=shop.tree, env=environ, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert follow.stdout is not None
        with follow.stdout:
            assert follow.stdout.readline() == b"one\n"
            go.touch()
            assert follow.stdout.read() == b"two\n"
        assert follow.wait(30) == 0
    finally:
        go.touch()
        assert run.wait(30) == 0
