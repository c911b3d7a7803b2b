"""A damaged journal: what can be read goes on, no number is used twice (faults 21 and 22)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numbers_kit import FaultyStore, open_journal, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.clock import SystemIds
from cxlocal.domain import NumberState
from cxlocal.errors import CxError, JournalDamaged, StoreNeeded, Trouble
from cxlocal.events.runs import run_flagged
from cxlocal.exchange import salvage
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.salvage import recover_journal
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.exclusion import keep_writers_out
from cxlocal.journal.file import Journal
from cxlocal.numbers.holdings import reserves
from cxlocal.numbers.ledger import explain

FATES = (NumberState.RESERVED, NumberState.SKIPPED, NumberState.UNCONFIRMED, NumberState.CONFIRMED)
"""Of what the damaged journal held: nothing that could be handed out once more."""

Machine = Callable[..., Journal]


def level(store: Any, *journals: Journal) -> None:
    for _ in range(3):
        for journal in journals:
            assert synchronise(journal, store, use_breaker=False, budget_seconds=30).reached


def hashes(journal: Journal) -> set[tuple[Any, ...]]:
    rows = journal.query(
        "SELECT n.name AS node, e.sequence, hex(e.hash) AS hash FROM event e"
        " JOIN node_lookup n ON n.id = e.node"
    )
    return {tuple(row.values()) for row in rows}


def lived(journal: Journal, store: Any, count: int = 400) -> None:
    """Some history at the store, some not yet, and a number out of the reserve."""
    obtain_number(journal, store, request("r0"))
    for index in range(count):
        journal.append(run_flagged(kind="note", subject="s", text=f"note {index} {'x' * 400}"))
    level(store, journal)
    obtain_number(journal, None, request("night"))


def recovered(home: Path) -> tuple[Journal, Any]:
    made = open_clock()
    told = recover_journal(home / "journal.db", clock=made, ids=SystemIds(), label="x")
    return open_journal(home), told


def open_clock() -> Any:
    from numbers_kit import TestClock

    return TestClock()


def overwrite(path: Path, first: float, last: float) -> None:
    """Garbage over whole pages between two shares of the file."""
    size = path.stat().st_size
    begin, end = (int(size * share) // 4096 * 4096 for share in (first, last))
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(b"\xa5" * (end - begin))


@pytest.mark.parametrize(
    ("first", "last"), [(0.0, 0.02), (0.3, 0.4), (0.5, 0.52), (0.8, 1.0), (0.0, 1.0)]
)
def test_damage_anywhere(machine: Machine, store: FaultyStore, first: float, last: float) -> None:
    laptop, other = machine(), machine("other")
    lived(laptop, store)
    level(store, other)
    known, old, held = hashes(laptop), laptop.node, reserves(laptop)[0]
    laptop.close()
    path = laptop.home / "journal.db"
    overwrite(path, first, last)
    broken = path.read_bytes()
    again, told = recovered(laptop.home)
    try:
        assert told.aside.read_bytes() == broken, "kept as it was"
        assert again.node != old
        assert verify(again).findings == []
        mine = {each for each in hashes(again) if each[0] != again.node}
        assert mine <= known
        assert told.events == len(mine)
        with pytest.raises(StoreNeeded):
            obtain_number(again, None, request("offline"))
        level(store, again, other, again)
        assert hashes(again) == hashes(other)
        number = obtain_number(again, store, request("r1")).number
        assert number is not None
        assert number not in range(held.lo - 1, held.hi + 1)
        new = reserves(again)[0]
        assert new.lo > held.hi
        for number in range(held.lo, held.hi + 1):
            assert explain(again, "webshop", "2.7", number).state in FATES
    finally:
        again.close()


def test_what_was_not_sent_yet_is_sent_by_the_new_life(
    machine: Machine, store: FaultyStore
) -> None:
    """Only the tables are hurt: every event is there, and so is the number out of the reserve."""
    laptop, other = machine(), machine("other")
    lived(laptop, store, 20)
    known = hashes(laptop)
    laptop.close()
    path = laptop.home / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE version")
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'grant_entry'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)
    again, told = recovered(laptop.home)
    try:
        assert (told.left, told.unread) == (0, 0)
        assert known <= hashes(again)
        level(store, again, other)
        assert hashes(other) == hashes(again)
        runs = {row["run"] for row in other.query("SELECT run FROM version")}
        assert runs == {"r0", "night"}
        assert obtain_number(again, store, request("night")).number == 100, "it has its number"
    finally:
        again.close()


def change_text(path: Path, before: str, after: str) -> None:
    """Damage that leaves a database whole: one event says something else."""
    with sqlite3.connect(path) as connection:
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'event'"
        ).fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        changed = connection.execute(
            "UPDATE event SET document = replace(document, ?, ?) WHERE document LIKE ?",
            (before, after, f"%{before}%"),
        )
        assert changed.rowcount == 1
    connection.close()


def test_p7_p12_what_precedes_a_gap_is_brought_to_the_store(
    machine: Machine, store: FaultyStore
) -> None:
    """A number out of the reserve, then an event that is hurt, then one that can be read."""
    laptop, other = machine(), machine("other")
    obtain_number(laptop, store, request("r0"))
    level(store, laptop, other)
    assert obtain_number(laptop, None, request("night")).number == 100
    for text in ("hurt", "later"):
        laptop.append(run_flagged(kind="note", subject="s", text=text))
    laptop.close()
    change_text(laptop.home / "journal.db", "hurt", "HURT")
    again, told = recovered(laptop.home)
    try:
        assert told.left == 1
        level(store, again, other)
        for journal in (again, other):
            assert explain(journal, "webshop", "2.7", 100).state is NumberState.CONFIRMED
    finally:
        again.close()


def test_nobody_writes_to_the_damaged_file_meanwhile(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first byte that is copied to the swap. What came before it is taken over."""
    laptop = machine()
    for text in ("hurt", "later"):
        laptop.append(run_flagged(kind="note", subject="s", text=text))
    change_text(laptop.path, "hurt", "HURT")
    take_over = salvage._take_over
    tried = []

    def while_others_write(*arguments: Any) -> Any:
        done = take_over(*arguments)
        other = sqlite3.connect(laptop.path, timeout=0.1, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
        with (
            pytest.raises(Trouble, match="in use"),
            keep_writers_out(laptop.path, open_clock(), seconds=0.1),
        ):
            pass
        tried.append(True)
        return done

    monkeypatch.setattr(salvage, "_take_over", while_others_write)
    again, _ = recovered(laptop.home)
    try:
        assert tried
        with pytest.raises(CxError) as caught:
            laptop.append(run_flagged(kind="note", subject="s", text="too late"))
        assert caught.value.name == "journal-replaced"
        assert verify(again).findings == []
    finally:
        again.close()


def test_a_journal_that_is_being_read_is_waited_for(machine: Machine) -> None:
    laptop = machine()
    laptop.append(run_flagged(kind="note", subject="s", text="hurt"))
    change_text(laptop.path, "hurt", "HURT")
    reader = sqlite3.connect(laptop.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM event").fetchone()
    with (
        pytest.raises(Trouble, match="in use") as caught,
        keep_writers_out(laptop.path, open_clock(), seconds=0.2),
    ):
        pass
    assert "browse" in caught.value.hint
    reader.execute("ROLLBACK")
    reader.close()
    again, _ = recovered(laptop.home)
    again.close()


def test_a_file_that_was_cut_off(machine: Machine, store: FaultyStore) -> None:
    laptop = machine()
    lived(laptop, store)
    laptop.close()
    path = laptop.home / "journal.db"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 3 + 1000)
    with pytest.raises(JournalDamaged):
        broken = open_journal(laptop.home)
        try:
            assert verify(broken).findings == []
        except sqlite3.DatabaseError as problem:
            raise JournalDamaged("damaged") from problem
        finally:
            broken.close()
    again, told = recovered(laptop.home)
    try:
        level(store, again)
        assert verify(again).findings == []
        assert told.aside.exists()
    finally:
        again.close()


def test_the_command(cx: Any, tmp_path: Path, machine: Machine, store: FaultyStore) -> None:
    laptop = machine("home")
    lived(laptop, store, 30)
    laptop.close()
    env = {"CXLOCAL_HOME": str(laptop.home)}
    done = cx("journal", "recover", env=env)
    assert (done.code, "nothing is to be recovered" in done.err + done.out) == (0, True)
    overwrite(laptop.home / "journal.db", 0.5, 0.7)
    done = cx("verify", env=env)
    assert (done.code, "cxlocal journal recover" in done.err) == (7, True)
    done = cx("journal", "recover", env=env)
    assert done.code == 0, done.err
    assert "The damaged file is kept" in done.err + done.out
    assert cx("verify", env=env).code == 0
    assert len(list(laptop.home.glob("journal.db.damaged-*"))) == 1
    assert not list(laptop.home.glob("*.salvage")) + list(laptop.home.glob("*.recovering"))
    (laptop.home / "journal.db").write_bytes(b"something else entirely" * 100)
    done = cx("status", env=env)
    assert (done.code, "cxlocal journal recover" in done.err) == (7, True)
    assert cx("journal", "recover", env=env).code == 0
    done = cx("journal", "recover", env={"CXLOCAL_HOME": str(tmp_path / "none")})
    assert (done.code, "no journal yet" in done.err) == (9, True)
