"""P2: a printed number is durable, through kill -9 and power loss at any system call (F1, F2, F3,
F32, F33 of the fault list)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.exchange.own_tables import verify
from cxlocal.journal.file import Journal

HERE = Path(__file__).parent
SPEND, BEGIN = HERE / "spend.py", HERE / "begin.py"
# More calls than any writer here makes: the loop below ends at the first run that was not killed.
CALLS_MAX = 400

pytestmark = [
    pytest.mark.needs("strace", "mkfs.ext4", "mount"),
    pytest.mark.slow,
    pytest.mark.timeout(240),
]


def taken(home: Path) -> list[int]:
    """The numbers a journal knows to be taken, after checking all of it."""
    with Journal.open(home / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal:
        assert verify(journal).findings == []
        assert journal.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row["number"] for row in journal.query("SELECT number FROM spent ORDER BY number")]


def holds_reserve(home: Path) -> bool:
    with Journal.open(home / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal:
        return journal.one("SELECT 1 FROM reserve WHERE next <= hi") is not None


def spend(home: Path, *, must: bool = False) -> list[int]:
    command = [sys.executable, str(SPEND), str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or ("StoreNeeded" in done.stderr and not must), done.stderr
    return [int(line) for line in done.stdout.split()]


@pytest.fixture
def prepared(disk: Any, tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """A disk whose journal holds a reserve, and a saved image of it."""
    disk.power_on()
    for _ in range(2):
        subprocess.run([sys.executable, str(BEGIN), str(disk.mount)], check=True)
    while not holds_reserve(disk.mount):  # a busy machine may leave no time for it at a contact
        subprocess.run([sys.executable, str(BEGIN), str(disk.mount)], check=True)
    subprocess.run(["sync", "-f", str(disk.mount)], check=True)
    disk.power_off()
    saved = tmp_path / "saved.img"
    shutil.copyfile(disk.image, saved)
    yield disk, saved


def test_p2_power_cut_at_every_call_of_a_spend(
    prepared: tuple[Any, Path], run_to_call: Callable[..., Any]
) -> None:
    disk, saved = prepared
    cuts, printed_most = 0, 0
    for number in range(1, CALLS_MAX):
        disk.reset(saved)
        disk.power_on()
        outcome = run_to_call(SPEND, disk.mount, number)
        disk.cut()
        disk.power_off()
        copy = disk.look()
        printed = [int(line) for line in outcome.printed]
        numbers = taken(copy)
        assert set(printed) <= set(numbers), f"cut at call {number}: printed {printed} is lost"
        # The store is away here too; what comes next must lie above all that was printed.
        following = spend(copy, must=True)
        assert all(after > before for after in following for before in printed)
        disk.look_away()
        printed_most = max(printed_most, len(printed))
        if not outcome.killed:
            break
        cuts += 1
    else:
        pytest.fail("the writer never came to its end")
    assert cuts >= 10, "the writer's calls were not seen: nothing was tested"
    assert printed_most == 1


def test_p2_power_cut_while_journal_and_reserve_are_made(
    disk: Any, tmp_path: Path, run_to_call: Callable[..., Any]
) -> None:
    saved = tmp_path / "empty.img"
    shutil.copyfile(disk.image, saved)
    cuts = 0
    # Making a journal takes some three hundred calls; every 23rd keeps this short.
    for number in range(1, CALLS_MAX, 23):
        disk.reset(saved)
        disk.power_on()
        outcome = run_to_call(BEGIN, disk.mount, number)
        disk.cut()
        disk.power_off()
        copy = disk.look()
        printed = [int(line) for line in outcome.printed]
        assert set(printed) <= set(taken(copy)), f"cut at call {number}: {printed} is lost"
        again = subprocess.run(
            [sys.executable, str(BEGIN), str(copy)], capture_output=True, text=True, check=False
        )
        assert again.returncode == 0, f"after a cut at call {number}: {again.stderr}"
        assert all(int(line) > max(printed, default=-1) for line in again.stdout.split())
        disk.look_away()
        if not outcome.killed:
            break
        cuts += 1
    assert cuts >= 10


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_disk_errors_at_every_call_of_a_spend(
    tmp_path: Path, error: str, run_to_call: Callable[..., Any]
) -> None:
    """An error at any write or sync: nothing is printed that is not in the journal, and the next
    process goes on (F32, F33)."""
    base = tmp_path / "base"
    base.mkdir()
    for _ in range(2):
        subprocess.run([sys.executable, str(BEGIN), str(base)], check=True)
    failed = 0
    for number in range(1, CALLS_MAX, 2):
        home = tmp_path / "home"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(base, home)
        # The copy would be noticed as one; here it stands for the machine itself.
        _at_home(home)
        outcome = run_to_call(SPEND, home, number, f"error={error}")
        printed = [int(line) for line in outcome.printed]
        numbers = taken(home)
        assert set(printed) <= set(numbers), f"{error} at call {number}: {printed} is lost"
        assert all(after > before for after in spend(home) for before in printed)
        if printed and not outcome.killed and number > 20:
            break
        failed += 1
    assert failed >= 5, "the errors were not met: nothing was tested"


def _at_home(home: Path) -> None:
    """Let a copied journal believe that it lies where it always did."""
    from cxlocal.journal.whereabouts import file_hint

    opened = Journal.open(home / "journal.db", clock=SystemClock(), ids=SystemIds())
    with opened as journal, journal.write() as transaction:
        hint = file_hint(journal.path)
        transaction.connection.execute("UPDATE contact SET hint = ?", (hint,))
