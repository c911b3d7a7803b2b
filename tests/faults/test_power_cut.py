"""P2: a printed number is durable, through kill -9 and power loss at any system call (F1, F2, F3,
F32, F33 of the fault list)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from begin import begin
from spend import spend

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.errors import StoreNeeded
from cxlocal.exchange.own_tables import verify
from cxlocal.journal.file import Journal

HERE = Path(__file__).parent
SPEND, BEGIN = HERE / "spend.py", HERE / "begin.py"
# More calls than any writer here makes: the loop below ends at the first run that was not killed.
CALLS_MAX = 400

pytestmark = [
    pytest.mark.needs("gcc", "mkfs.ext4", "mount"),
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


def following(home: Path) -> list[int]:
    """The next number of the reserve, if it holds one."""
    try:
        return [spend(home)]
    except StoreNeeded:
        return []


@pytest.fixture
def prepared(disk: Any, tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """A disk whose journal holds a reserve, and a saved image of it."""
    disk.power_on()
    begin(disk.mount)
    while not holds_reserve(disk.mount):  # a busy machine may leave no time for it at a contact
        begin(disk.mount)
    subprocess.run(["sync", "-f", str(disk.mount)], check=True)
    disk.power_off()
    saved = tmp_path / "saved.img"
    disk.save(saved)
    yield disk, saved


def test_p2_power_cut_at_every_call_of_a_spend(
    prepared: tuple[Any, Path], failing_disk: Any
) -> None:
    disk, saved = prepared
    cuts, printed_most = 0, 0
    for number in range(1, CALLS_MAX):
        disk.reset(saved)
        disk.power_on()
        outcome = failing_disk.run(SPEND, disk.mount, number, "KILLED")
        disk.cut()
        disk.power_off()
        copy = disk.look()
        numbers = taken(copy)
        assert set(outcome.printed) <= set(numbers), (
            f"cut at call {number}: printed {outcome.printed} is lost"
        )
        # The store is away here too; what comes next must lie above all that was printed.
        assert spend(copy) > max(outcome.printed, default=-1)
        disk.look_away()
        printed_most = max(printed_most, len(outcome.printed))
        if not outcome.killed:
            break
        cuts += 1
    else:
        pytest.fail("the writer never came to its end")
    assert cuts >= 10, "the writer's calls were not seen: nothing was tested"
    assert printed_most == 1


def test_p2_power_cut_while_journal_and_reserve_are_made(
    disk: Any, tmp_path: Path, failing_disk: Any
) -> None:
    saved = tmp_path / "empty.img"
    disk.save(saved)
    cuts = 0
    # Making a journal takes some three hundred calls; every 23rd keeps this short.
    for number in range(1, CALLS_MAX, 23):
        disk.reset(saved)
        disk.power_on()
        outcome = failing_disk.run(BEGIN, disk.mount, number, "KILLED")
        disk.cut()
        disk.power_off()
        copy = disk.look()
        assert set(outcome.printed) <= set(taken(copy)), (
            f"cut at call {number}: {outcome.printed} is lost"
        )
        assert begin(copy) > max(outcome.printed, default=-1), f"after a cut at call {number}"
        disk.look_away()
        if not outcome.killed:
            break
        cuts += 1
    assert cuts >= 10


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_disk_errors_at_every_call_of_a_spend(
    tmp_path: Path, error: str, failing_disk: Any
) -> None:
    """An error at any write or sync: nothing is printed that is not in the journal, and the next
    process goes on (F32, F33)."""
    base = tmp_path / "base"
    base.mkdir()
    for _ in range(2):
        begin(base)
    failed = 0
    for number in range(1, CALLS_MAX, 2):
        home = tmp_path / "home"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(base, home)
        # The copy would be noticed as one; here it stands for the machine itself.
        _at_home(home)
        outcome = failing_disk.run(SPEND, home, number, error)
        numbers = taken(home)
        assert set(outcome.printed) <= set(numbers), (
            f"{error} at call {number}: {outcome.printed} is lost"
        )
        assert all(after > before for after in following(home) for before in outcome.printed)
        if outcome.printed and not outcome.killed and number > 20:
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
