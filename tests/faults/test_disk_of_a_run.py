"""A disk that is full or fails while a whole ``cxlocal run`` works on it (F32, F33)."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxlocal.commands.context import App
from cxlocal.errors import Trouble

RELEASE = """
[stages]
build = { kind = "build", command = "echo made > app", produces = { app = "app" } }
unit = { kind = "test", command = "grep made $CXLOCAL_ARTIFACT_APP", needs = ["build"], environment = "test" }
[environments]
test = { lifetime = "per-run" }
[promotions]
PASSED = { after = ["unit"] }
"""
SAMPLES = 4
"""Of some seven hundred calls. Which ones moves with the length of the run, so that not every
change of the program is tried at the same places."""


def sampled(total: int) -> list[int]:
    step = total // SAMPLES
    return list(range(1 + total % step, total, step))[:SAMPLES]


def check_words(result: Any) -> None:
    """Done in spite of the fault, or a clear error: never a trace, never called a bug."""
    assert "Traceback" not in result.err, result.err
    assert "bug in cxlocal" not in result.err, result.err
    # 5: the machine's own store lies on that disk, too, and could give no number.
    assert result.code in (0, 5, 9), result.err
    if result.code == 9:
        words = result.err[result.err.rindex("Error: ") :].splitlines()
        assert words[-1].startswith("To do: "), result.err


def printed(result: Any) -> set[int]:
    return {
        int(number)
        for number in re.findall(r"^Releasing shop 0\.1\.(\d+)", result.err, re.MULTILINE)
    }


@pytest.mark.needs("gcc")
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_p12_a_disk_that_fails_at_any_write_of_a_run_loses_nothing(
    shop: Any, failing_disk: Any, account: Callable[[Path], list[int]], error: str
) -> None:
    shop.write(RELEASE)
    assert shop.run().code == 0
    assert shop.run(env=failing_disk.environ(shop.home, error, 0)).code == 0
    total = failing_disk.count()
    assert total > 100, "the calls were not seen: nothing was tested"
    failed = 0
    for at in sampled(total):
        result = shop.run(env=failing_disk.environ(shop.home, error, at))
        check_words(result)
        failed += result.code == 9
        numbers = account(shop.home)
        assert printed(result) <= set(numbers), f"{error} at call {at}: {result.err}"
        if result.code == 0:
            assert shop.query("SELECT outcome FROM run WHERE id = ?", shop.last()) == ["success"]
        after = shop.run()
        assert after.code == 0, f"after {error} at call {at}: {after.err}"
        assert min(printed(after)) > max(numbers)
        assert shop.query("SELECT count(*) FROM run WHERE outcome IS NULL") == [0]
        assert shop.query("SELECT count(*) FROM process") == [0]
    assert failed >= SAMPLES // 2, "the errors were not met: nothing was tested"
    account(shop.home)


@pytest.fixture
def small_disk(shop: Any) -> Iterator[Callable[[str], None]]:
    """The home of the shop is a file system in memory; called with a size, it has that size."""
    shop.home.mkdir()

    def mount(size: str, *options: str) -> None:
        what = ["mount", "-t", "tmpfs", "-o", ",".join((*options, f"size={size}")), "tmpfs"]
        subprocess.run([*what, str(shop.home)], check=True)

    mount("3G")
    yield lambda size: mount(size, "remount")
    subprocess.run(["umount", "-l", str(shop.home)], check=True)


@pytest.mark.needs("mount")
def test_a_small_disk_that_fills_up_during_a_run(
    shop: Any, home: Path, small_disk: Callable[[str], None], account: Callable[[Path], list[int]]
) -> None:
    waiting = "touch $HOME/working; until test -e $HOME/go; do sleep 0.05; done"
    shop.write(RELEASE.replace("echo made > app", f"echo made > app; {waiting}"))
    (home / "go").touch()
    assert shop.run().code == 0
    (home / "go").unlink()
    (home / "working").unlink()
    process = shop.start("run")
    until = time.monotonic() + 20
    while not (home / "working").exists():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    room = os.statvfs(shop.home)
    # As much as is in use, and not a block more.
    small_disk(str((room.f_blocks - room.f_bfree) * room.f_frsize))
    (home / "go").touch()
    _, said = process.communicate(timeout=30)
    err = said.decode()
    assert process.returncode == 9, err
    assert "Traceback" not in err and "bug in cxlocal" not in err
    assert "No space left" in err or "disk is full" in err
    refused = shop.run()
    assert refused.code != 0 and "Traceback" not in refused.err, refused.err
    small_disk("3G")
    assert shop.run().code == 0
    numbers = account(shop.home)
    assert shop.query("SELECT outcome FROM run ORDER BY queued_at") == [
        "success", "error", "success"
    ], numbers  # fmt: skip
    assert len(numbers) == 3


@pytest.mark.needs("mount", "umount")
def test_a_checkout_that_cannot_be_removed_changes_no_outcome(shop: Any) -> None:
    # A file system in the middle of the checkout: not even root can remove its folder.
    shop.write('[stages]\nbuild = { command = "mkdir busy; mount -t tmpfs tmpfs busy" }\n')
    try:
        result = shop.run()
    finally:
        for busy in shop.home.glob("checkouts/*/source/busy"):
            subprocess.run(["umount", str(busy)], check=True)
    assert result.code == 0, result.err
    assert "something of the checkout stays" in result.err
    assert shop.query("SELECT outcome FROM run") == ["success"]


def test_a_disk_that_fails_while_reading_is_no_bug(tmp_path: Path) -> None:
    app = App(environ={"CXLOCAL_HOME": str(tmp_path)})
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    with pytest.raises(Trouble, match="the disk is full"), app.journal():
        raise full
    with pytest.raises(Trouble, match="the disk reported an error"), app.journal() as journal:
        # As after a commit whose outcome nobody knows.
        journal.close()
        journal.connection.execute("SELECT 1")
    with pytest.raises(sqlite3.OperationalError, match="no such table"), app.journal() as journal:
        journal.connection.execute("SELECT * FROM nowhere")
