"""Whole commands on a machine whose clock is wrong, or is set while they run (F13).

The monotonic clock stays true, as it does where somebody sets the time of day.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("faketime", "gcc")

RELEASE = """
[stages]
build = { kind = "build", command = "echo made > app", produces = { app = "app" } }
live = { kind = "deploy", command = "true", needs = ["build"], environment = "production" }
[environments.production]
"""
TRUE_MONOTONIC = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}


@pytest.fixture(scope="session")
def clock_libraries(preloaded: Callable[[str], Path]) -> str:
    """What ``faketime`` preloads, and what makes it leave sleeping alone."""
    asked = subprocess.run(
        ["faketime", "-f", "+1h", "printenv", "LD_PRELOAD"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return f"{preloaded('true_sleep')} {asked.stdout.strip()}"


@pytest.fixture
def at_clock(clock_libraries: str) -> Callable[[str], Mapping[str, str]]:
    """Variables of a command whose clock is so far ahead or behind."""

    def variables(offset: str) -> Mapping[str, str]:
        return {"LD_PRELOAD": clock_libraries, "FAKETIME": offset, **TRUE_MONOTONIC}

    return variables


def test_p6_releases_with_the_clock_far_back_and_far_ahead(
    shop: Any, at_clock: Callable[[str], Mapping[str, str]], account: Callable[[Path], list[int]]
) -> None:
    shop.write(RELEASE)
    for offset in ("+0", "-3d", "+20y", "-2h"):
        result = shop.run("--to", "production", env=at_clock(offset))
        assert result.code == 0, f"clock at {offset}: {result.err}"
    years = {text[:4] for text in shop.query("SELECT queued_at FROM run")}
    assert len(years) == 2, "the clock was not set: nothing was tested"
    assert account(shop.home) == [0, 1, 2, 3]
    # What was deployed last is live, however early it says it was.
    assert shop.query("SELECT version FROM deployments_now") == ["0.1.3"]
    assert shop.query("SELECT count(*) FROM stage_run WHERE duration_seconds < 0") == [0]
    for look in (["status"], ["log"], ["version", "list"], ["verify"], ["env", "list"]):
        assert shop.command(*look, env=at_clock("-3d")).code == 0, look
    assert shop.command("sync", env=at_clock("+20y")).code == 0
    assert set(shop.query("SELECT number_state FROM run_board")) == {"in use, confirmed"}
    assert shop.run("--offline", env=at_clock("-3d")).code == 0, "the reserve asks no clock"


@pytest.mark.parametrize("jump", ["-2h", "+2h"])
def test_the_clock_is_set_during_a_run(
    shop: Any,
    home: Path,
    tmp_path: Path,
    at_clock: Callable[[str], Mapping[str, str]],
    account: Callable[[Path], list[int]],
    jump: str,
) -> None:
    """A stage may take 30 s by its limit, and it takes none longer because a clock says so."""
    shop.write(
        "[stages]\n"
        'hold = { command = "touch $HOME/working; until test -e $HOME/go; do sleep 0.05; done",'
        ' timeout = "30s" }\n'
        'rest = { command = "true", needs = ["hold"] }\n'
    )
    told = tmp_path / "clock"
    told.write_text("+0")
    variables = {**at_clock("+0"), "FAKETIME_TIMESTAMP_FILE": str(told), "FAKETIME_NO_CACHE": "1"}
    del variables["FAKETIME"]
    process = subprocess.Popen(
        [shop.cx.program, "run"], cwd=shop.tree, env={**os.environ, **shop.environ, **variables},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    until = time.monotonic() + 20
    while not (home / "working").exists():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    told.write_text(jump)
    (home / "go").touch()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err.decode()
    began, ended = shop.query("SELECT started_at, finished_at FROM run")[0]
    assert (ended < began) == (jump == "-2h"), "the clock was not set: nothing was tested"
    # How long something took is not asked of a clock that people set.
    assert 0 <= shop.query("SELECT duration_seconds FROM run")[0] < 30
    lengths = shop.query("SELECT duration_seconds FROM stage_run ORDER BY rowid")
    assert 0 < lengths[0] < 30 and 0 <= lengths[1] < 30
    assert shop.query("SELECT count(*) FROM stage_run WHERE waiting_seconds < 0") == [0]
    assert shop.run().code == 0
    assert account(shop.home) == [0, 1]
