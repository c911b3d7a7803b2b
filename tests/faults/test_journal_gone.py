"""The journal's file is deleted, moved away or replaced while a run works on it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HOLD = """
[stages]
hold = { command = "touch $HOME/working; until test -e $HOME/go; do sleep 0.05; done" }
rest = { command = "touch $HOME/rest", needs = ["hold"] }
"""


@pytest.fixture
def holding(shop: Any, home: Path) -> subprocess.Popen[bytes]:
    """A run in the middle of its first stage; one was made before it."""
    shop.write(HOLD)
    (home / "go").touch()
    assert shop.run().code == 0
    for name in ("go", "working", "rest"):
        (home / name).unlink()
    process: subprocess.Popen[bytes] = shop.start("run")
    until = time.monotonic() + 20
    while not (home / "working").exists():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    return process


def go_on(process: subprocess.Popen[bytes], home: Path) -> None:
    """Let the run meet what has become of its journal; it says so, and does no more work."""
    (home / "go").touch()
    _, said = process.communicate(timeout=30)
    err = said.decode()
    assert process.returncode == 9, err
    assert "Traceback" not in err and "bug in cxlocal" not in err, err
    assert "Error: the journal was removed or replaced while it was open" in err
    assert "To do: " in err
    assert not (home / "rest").exists(), "nothing runs that cannot be recorded"


def test_a_journal_deleted_during_a_run(
    shop: Any, home: Path, holding: Any, account: Callable[[Path], list[int]]
) -> None:
    (shop.home / "journal.db").unlink()
    go_on(holding, home)
    assert not (shop.home / "journal.db").exists(), "no new one begins behind anybody's back"
    after = shop.run()
    assert after.code == 0, after.err
    numbers = account(shop.home)
    assert numbers and min(numbers) == 0, "the store gave back the history it had been sent"
    assert shop.query("SELECT number FROM run WHERE id = ?", shop.last())[0] > 1


@pytest.mark.parametrize("replaced", [False, True])
def test_a_journal_moved_away_during_a_run_can_be_put_back(
    shop: Any, home: Path, holding: Any, account: Callable[[Path], list[int]], replaced: bool
) -> None:
    path = shop.home / "journal.db"
    path.rename(shop.home / "away.db")
    if replaced:
        path.write_bytes((shop.home / "away.db").read_bytes())
    go_on(holding, home)
    (shop.home / "away.db").rename(path)
    after = shop.run()
    assert after.code == 0, after.err
    assert "had been cut off" in after.err
    assert account(shop.home) == [0, 1, 2]
    assert shop.query("SELECT outcome FROM run ORDER BY queued_at") == [
        "success", "error", "success",
    ]  # fmt: skip
