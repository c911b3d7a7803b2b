"""Promises P1 to P8, P17 and P20 of the numbers, by name, on real journals and a real store."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cxlocal_sync
import pytest
from cxlocal_sync.stores.sqlite import SqliteStore
from numbers_kit import FaultyStore, TestClock, request

import cxlocal.numbers
from cxlocal.allocation.allocator import obtain_number
from cxlocal.domain import NumberState
from cxlocal.errors import CxError, Refused
from cxlocal.exchange.contact import ANSWER_SECONDS
from cxlocal.exchange.copies import journal_was_moved
from cxlocal.exchange.sync import pending, recover_store, synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.holdings import reserves
from cxlocal.numbers.ledger import explain, ledger

Machine = Callable[..., Journal]


def released(journal: Journal, store: Any, *runs: str, **rest: Any) -> list[int | None]:
    return [obtain_number(journal, store, request(run, **rest)).number for run in runs]


def covered(journal: Journal) -> list[int]:
    spans = ledger(journal, "webshop", "2.7")
    return [number for span in spans for number in range(span.lo, span.hi + 1)]


def level(store: Any, *journals: Journal) -> None:
    for journal in (*journals, *journals):
        report = synchronise(journal, store, use_breaker=False, budget_seconds=20)
        assert report.reached, report.why


def test_p1_a_process_that_is_still_asking_asks_again(machine: Machine, store: FaultyStore) -> None:
    """A number given up in the meantime is never used, however late its answer comes."""
    from cxlocal.allocation.allocator import _use_online
    from cxlocal.exchange.contact import talk
    from cxlocal.exchange.reply import Wish, apply

    laptop = machine()
    released(laptop, store, "r0")
    wish = Wish("online", "webshop", "2.7", "f" * 32, run="slow", above=0)
    reply = talk(laptop, store, wishes=[wish])
    level(store, laptop)
    assert explain(laptop, "webshop", "2.7", 1).state is NumberState.SKIPPED
    with laptop.write() as transaction:
        assert _use_online(transaction, request("slow"), wish, apply(transaction, reply)) is None
    assert released(laptop, store, "slow") == [2]


@pytest.mark.needs("strace")
def test_p2_a_number_is_durable_before_it_is_printed(machine: Machine, store: FaultyStore) -> None:
    laptop = machine()
    released(laptop, store, "r0")
    laptop.close()
    script = (
        "import sys; from pathlib import Path; from numbers_kit import open_journal, request\n"
        "from cxlocal.allocation.allocator import take_offline\n"
        "journal = open_journal(Path(sys.argv[1]))\n"
        "print('GO', flush=True)\n"
        "print(take_offline(journal, request('night')).text, flush=True)\n"
    )
    trace = laptop.home / "trace"
    kit = Path(__file__).parents[1] / "stores"
    done = subprocess.run(
        ["strace", "-f", "-y", "-o", str(trace),
         "-e", "trace=write,pwrite64,fsync,fdatasync,ftruncate,unlink",
         sys.executable, "-c", script, str(laptop.home)],
        env={**os.environ, "PYTHONPATH": str(kit)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "GO\n2.7.100\n"
    calls = trace.read_text().splitlines()
    start = next(i for i, call in enumerate(calls) if '"GO' in call)
    printed = next(i for i, call in enumerate(calls) if '"2.7.100' in call)
    own = calls[start:printed]
    database = [i for i, call in enumerate(own) if "pwrite64" in call and "journal.db>" in call]
    synced = [i for i, call in enumerate(own) if "sync(" in call and "journal.db>" in call]
    ended = [i for i, call in enumerate(own) if "ftruncate" in call and "-journal>" in call]
    assert database, "nothing was written"
    assert database[-1] < synced[-1] < ended[-1], "not durable when it was printed"


def test_p6_no_number_depends_on_a_clock(tmp_path: Path, machine: Machine) -> None:
    stories = []
    for name, step in (("steady", 1), ("frozen", 0), ("back", -7_200_000), ("wild", 10**11)):
        clock = TestClock()
        clock.step = step
        home = tmp_path / f"central-{name}"
        home.mkdir()
        store = FaultyStore(SqliteStore("sqlite:", home, clock=clock))
        laptop = machine(f"laptop-{name}", clock)
        story = []
        for index in range(8):
            store.down = index in (3, 4)
            laptop.connection.execute("DELETE FROM breaker")
            story += released(laptop, store, f"r{index}")
            store.down = False
            synchronise(laptop, store, use_breaker=False)
        stories.append(story)
        store.close()
    assert all(story == stories[0] for story in stories)


def test_p6_the_rules_read_no_clock() -> None:
    """Static: the modules that decide about numbers do not even mention one."""
    numbers = Path(cxlocal.numbers.__file__).parent
    stores = Path(cxlocal_sync.__file__).parent / "stores"
    # These look at time only to know how long to wait; see the next test.
    waiting = {"borrowing.py", "obtain.py", "sqlite.py"}
    for path in [*numbers.glob("*.py"), *stores.glob("*.py")]:
        if path.name in waiting:
            continue
        names = {
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Name | ast.Attribute)
        }
        assert not names & {"now_ms", "monotonic", "time", "datetime"}, path


def test_p8_cursors_never_fall_recovery_included(machine: Machine, store: FaultyStore) -> None:
    laptop = machine()
    released(laptop, store, "r0", "r1")
    connection = store.inner._connection
    assert connection is not None
    for statement in (
        "UPDATE cursor SET online = 0", "UPDATE cursor SET high = 1, k = k + 1",
        "DELETE FROM cursor", "UPDATE store SET generation = 0", "UPDATE store SET position = 0",
        "DELETE FROM grant_entry", "UPDATE grant_entry SET node = ''", "DELETE FROM event",
        "UPDATE event SET document = ''",
    ):  # fmt: skip
        with pytest.raises(Exception, match=r"cursor|store|grant|event"):
            connection.execute(statement)
    before = connection.execute("SELECT online, high FROM cursor").fetchone()
    report = recover_store(laptop, store)
    assert report.reached
    after = connection.execute("SELECT online, high FROM cursor").fetchone()
    assert after[0] >= before[1] + 1000
    [number] = released(laptop, store, "r2")
    assert number is not None
    assert number > before[1]
    assert reserves(laptop)[0].lo > number
    level(store, laptop)
    assert explain(laptop, "webshop", "2.7", 1).state is NumberState.CONFIRMED


def test_p11_a_restored_store_grants_nothing_until_recovered(
    machine: Machine, store: FaultyStore
) -> None:
    laptop = machine()
    released(laptop, store, "r0")
    level(store, laptop)
    store.inner.close()
    backup = store.inner.path.read_bytes()
    released(laptop, store, "r1", "r2")
    level(store, laptop)
    store.inner.close()
    store.inner.path.write_bytes(backup)
    assert released(laptop, store, "r3") == [100], "the reserve is what is left"
    report = synchronise(laptop, store, use_breaker=False)
    assert "lost part of its memory" in report.stopped
    assert report.pending == 0, "pushes are still taken, so that it gets its history back"
    assert recover_store(laptop, store).stopped == ""
    [number] = released(laptop, store, "r4")
    assert number is not None
    assert number > 1000
    assert len(laptop.query("SELECT 1 FROM version")) == 5


def test_p11_a_store_whose_file_is_gone_is_made_anew_only_by_recovery(
    machine: Machine, store: FaultyStore
) -> None:
    laptop = machine()
    released(laptop, store, "r0", "r1")
    level(store, laptop)
    store.inner.close()
    store.inner.path.unlink()
    assert released(laptop, store, "night") == [100]
    assert not store.inner.path.exists(), "numbers would have started over"
    assert recover_store(laptop, store).pending == 0
    [number] = released(laptop, store, "r2")
    assert number is not None
    assert number > 1000
    held = store.inner._connection
    assert held is not None
    assert held.execute("SELECT count(*) FROM event").fetchone()[0] >= 6


def test_p17_an_absent_store_costs_at_most_the_fixed_delay(
    machine: Machine, tmp_path: Path
) -> None:
    """A store that never answers (not even to say no) costs one wait, then a minute of rest."""
    import time

    from numbers_kit import ElsewhereStore

    home = tmp_path / "central"
    home.mkdir()
    store = ElsewhereStore(home, patience=10.0)
    laptop = machine()
    try:
        obtain_number(laptop, store, request("r0"))
        store.faults = ["lose-reply"] * 3
        start = time.monotonic()
        assert released(laptop, store, "r1", "r2") == [100, 101]
        assert not synchronise(laptop, store).reached
        assert time.monotonic() - start < ANSWER_SECONDS + 1.0 <= 3.0
        assert len(store.faults) == 2, "it was asked once, then left alone"
    finally:
        store.close()


def refusals(laptop: Journal, store: FaultyStore, tmp_path: Path) -> dict[str, Callable[[], Any]]:
    def moved() -> None:
        text = laptop.path.read_bytes()
        laptop.close()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "journal.db").write_bytes(text)
        from numbers_kit import open_journal

        copy = open_journal(tmp_path / "elsewhere")
        try:
            obtain_number(copy, None, request("night"))
        finally:
            journal_was_moved(copy, "new laptop", {"id": "x", "how": "y"})
            assert obtain_number(copy, None, request("night")).number == 100
            copy.close()

    def used_up() -> None:
        for index in range(4):
            obtain_number(laptop, None, request(f"night-{index}"))

    return {
        "no-number": used_up,
        "starts-too-low": lambda: obtain_number(laptop, store, request("t", line="3.0", tagged=7)),
        "bad-line": lambda: obtain_number(laptop, store, request("t", line="seven")),
        "reserve-locked": moved,
        "line-used-up": lambda: obtain_number(
            laptop, store, request("t", line="3.1", first=10**15 + 1)
        ),
    }


@pytest.mark.parametrize(
    "name", ["no-number", "starts-too-low", "bad-line", "reserve-locked", "line-used-up"]
)
def test_p20_every_refusal_names_cause_and_way_out(
    name: str, machine: Machine, store: FaultyStore, tmp_path: Path
) -> None:
    laptop = machine()
    obtain_number(laptop, store, request("r0"))
    with pytest.raises(CxError) as caught:
        refusals(laptop, store, tmp_path)[name]()
    error = caught.value
    assert error.name == name
    assert error.what
    assert error.why
    assert "cx.toml" in error.hint or "--" in error.hint or "store answers" in error.hint
    assert not {"node", "token", "lineage", "grant"} & set(str(error).split())


def test_p1_a_home_copied_with_its_store_gives_nothing_twice(
    machine: Machine, tmp_path: Path
) -> None:
    laptop = machine()
    store = SqliteStore("sqlite:", laptop.home)
    assert released(laptop, store, "r0") == [0]
    store.close()
    laptop.close()
    shutil.copytree(laptop.home, tmp_path / "copy")
    copy, laptop = machine("copy"), machine()
    copied = SqliteStore("sqlite:", copy.home)
    for turn in range(2):
        with pytest.raises(Refused) as caught:
            obtain_number(copy, copied, request(f"night-{turn}"))
        assert caught.value.name == "reserve-locked"
        assert "cxlocal store recover" in caught.value.hint
        synchronise(copy, copied, use_breaker=False)
    assert released(laptop, None, "night") == [100]
    recover_store(copy, copied)
    assert released(copy, copied, "day")[0] > 1000
    copied.close()


def test_an_empty_reserve_may_fall_back_to_a_unique_name(
    machine: Machine, store: FaultyStore
) -> None:
    laptop = machine()
    released(laptop, store, "r0")
    store.down = True
    assert released(laptop, store, "n0", "n1", "n2") == [100, 101, 102]
    first = obtain_number(laptop, store, request("n3", when_empty="suffix"))
    second = obtain_number(laptop, store, request("n4", when_empty="suffix"))
    assert first.number is None
    assert first.text.startswith("2.7.103-offline.m")
    assert first.text != second.text
    assert not first.online
    store.down = False
    level(store, laptop)
    assert pending(laptop) == 0
    assert released(laptop, store, "r1") == [103]


def test_a_text_in_use_is_passed_by(machine: Machine, store: FaultyStore) -> None:
    """Two lines whose texts a package index would take for one version."""
    laptop = machine()
    obtain_number(laptop, store, request("r0", line="2.7", scheme="pep440"))
    second = obtain_number(laptop, store, request("r1", line="2.7.0", scheme="pep440"))
    assert second.text == "2.7.0.1", "2.7.0.0 equals 2.7.0"
    assert "in use" in explain(laptop, "webshop", "2.7.0", 0).why
