"""Faults of the list in docs/faults.md that no other test is about: paused holders, cleaners, shared
homes, two commands at once, one-way networks, long readers.

Numbers in brackets are those of docs/faults.md.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from numbers_kit import FaultyStore, open_journal, request

import cxlocal.journal.whereabouts
from cxlocal.allocation.allocator import obtain_number
from cxlocal.clock import SystemIds
from cxlocal.errors import CxError, JournalDamaged
from cxlocal.events.runs import run_flagged
from cxlocal.exchange import number_lock as asking
from cxlocal.exchange.overview import overview
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.sync import pending, recover_store, synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.home import home_folder
from cxlocal.numbers.holdings import reserves
from cxlocal.numbers.ledger import ledger

Machine = Callable[..., Journal]
KIT = Path(__file__).resolve().parent


def level(store: Any, *journals: Journal) -> None:
    for _ in range(2):
        for journal in journals:
            assert synchronise(journal, store, use_breaker=False, budget_seconds=20).reached


def released(journal: Journal, store: Any, run: str) -> int:
    number = obtain_number(journal, store, request(run)).number
    assert number is not None
    return number


def covered(journal: Journal) -> list[int]:
    spans = ledger(journal, "webshop", "2.7")
    return [number for span in spans for number in range(span.lo, span.hi + 1)]


def note(journal: Journal, count: int) -> None:
    with journal.write() as transaction:
        for index in range(count):
            transaction.append(run_flagged(kind="note", subject=f"{index}", text="news"))


@contextmanager
def paused_holder(home: Path, when: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is about to take a number out of the reserve (``before``), or has begun to
    (``within``), and is stopped there."""
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from numbers_kit import open_journal, request\n"
        "from cxlocal.allocation import allocator\n"
        "from cxlocal.numbers import holdings\n"
        "journal = open_journal(Path(sys.argv[1]))\n"
        "stop = lambda: os.kill(os.getpid(), signal.SIGSTOP)\n"
        "spend = holdings.spend_lowest\n"
        "def spend_and_stop(*given): spend(*given); stop()\n"
        "if sys.argv[2] == 'within': holdings.spend_lowest = spend_and_stop\n"
        "else: stop()\n"
        "print(allocator.take_offline(journal, request('paused')).number, flush=True)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(home), when],
        env={**os.environ, "PYTHONPATH": str(KIT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _, status = os.waitpid(holder.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "it ended before it was stopped"
        yield holder
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()


def go_on(holder: subprocess.Popen[str]) -> int:
    holder.send_signal(signal.SIGCONT)
    assert holder.stdout is not None
    return int(holder.stdout.readline())


@pytest.mark.parametrize("when", ["before", "within"])
def test_p1_a_holder_that_was_paused_for_long_takes_a_number_nobody_else_has(
    machine: Machine, store: FaultyStore, when: str
) -> None:
    """[14] Nothing expires by time. Meanwhile others release, and go on above the reserve."""
    laptop, other = machine(), machine("other")
    released(laptop, store, "r0")
    level(store, laptop)
    with paused_holder(laptop.home, when) as holder:
        taken = [released(other, store, f"o{index}") for index in range(5)]
        if when == "before":
            taken += [released(laptop, None, f"n{index}") for index in range(2)]
        late = go_on(holder)
    level(store, laptop, other)
    assert late not in taken
    taken.append(released(other, store, "after"))
    assert len({*taken, late}) == len(taken) + 1
    assert covered(other) == list(range(len(covered(other))))
    assert verify(laptop).findings == []


def test_p12_a_cleaner_that_removes_the_log_of_a_killed_commit_is_noticed(
    machine: Machine, store: FaultyStore
) -> None:
    """[22] Half of a commit is in the file, and what would have taken it back is gone."""
    laptop = machine()
    released(laptop, store, "r0")
    note(laptop, 60)
    level(store, laptop)
    path = laptop.path
    laptop.close()
    script = (
        "import os, signal, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA journal_mode=TRUNCATE').fetchall(); c.execute('PRAGMA cache_size=2')\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "for (name,) in c.execute(\"SELECT name FROM sqlite_master WHERE type = 'trigger'\""
        ").fetchall(): c.execute(f'DROP TRIGGER \"{name}\"')\n"
        "c.execute('UPDATE event SET document = hex(zeroblob(9000)) WHERE sequence % 3 = 0')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    log = path.with_name("journal.db-journal")
    assert log.stat().st_size > 0
    kept = path.read_bytes(), log.read_bytes()
    again = machine()
    assert verify(again).findings == [], "with its log the commit is taken back"
    again.close()
    path.write_bytes(kept[0])
    log.unlink(missing_ok=True)
    try:
        hurt = machine()
        found = verify(hurt).findings
        hurt.close()
    except (JournalDamaged, sqlite3.DatabaseError):
        found = []
    else:
        assert found, "a half commit was taken for a whole one"


def test_one_home_that_several_hosts_share_holds_a_journal_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[34] A home folder on a file server: no identity is shared, and no locks are needed there."""
    (tmp_path / "home").mkdir()
    environ = {"HOME": str(tmp_path / "home")}
    homes = []
    for host in ("a" * 32, "b" * 32):
        monkeypatch.setattr(cxlocal.journal.whereabouts, "machine_id", lambda host=host: host)
        homes.append(home_folder(environ, SystemIds()))
    assert homes[0] != homes[1]
    nodes = set()
    for home in homes:
        home.mkdir(parents=True)
        journal = open_journal(home)
        note(journal, 1)
        nodes.add(journal.node)
        journal.close()
    assert len(nodes) == 2


def test_p13_two_syncs_at_once_and_a_lock_file_that_was_deleted_cost_work_only(
    machine: Machine, store: FaultyStore
) -> None:
    """[37] The lock is courtesy: without it, the same things are sent twice and kept once."""
    laptop, other = machine(), machine("other")
    released(laptop, store, "r0")
    note(laptop, 900)
    script = (
        "import sys; from pathlib import Path; from numbers_kit import open_journal\n"
        "from cxlocal_sync.stores.sqlite import SqliteStore\n"
        "from cxlocal.exchange.sync import synchronise\n"
        "journal = open_journal(Path(sys.argv[1]))\n"
        "store = SqliteStore('sqlite:', Path(sys.argv[2]))\n"
        "report = synchronise(journal, store, use_breaker=False, budget_seconds=30)\n"
        "sys.exit(0 if report.reached and not report.pending else str(report))\n"
    )
    command = [sys.executable, "-c", script, str(laptop.home), str(store.inner.path.parent)]
    env = {**os.environ, "PYTHONPATH": str(KIT)}
    with asking.asking(laptop.path, laptop.clock, 1.0):
        (laptop.home / asking.FILE_NAME).unlink()
        both = [subprocess.Popen(command, env=env) for _ in range(2)]
        assert [one.wait(50) for one in both] == [0, 0]
    level(store, laptop, other)
    assert pending(laptop) == 0
    events = "SELECT count(*) AS n FROM event"
    assert laptop.one(events) == other.one(events)
    assert laptop.one("SELECT count(DISTINCT branch) AS n FROM event") == {"n": 1}
    assert released(laptop, store, "r1") == 1
    assert verify(laptop).findings == []


def test_p7_requests_that_arrive_and_answers_that_never_do_burn_few_numbers(
    machine: Machine, store: FaultyStore
) -> None:
    """[38] For hours. Each release asks once and goes on from the reserve; a machine that does not
    answer is left alone for a minute; every number that was granted for nothing is explained."""
    laptop, other = machine(), machine("other")
    released(laptop, store, "r0")
    level(store, laptop)
    before = len(store.requests)
    taken = []
    for index in range(3):
        store.faults = ["lose-reply"] * 20
        taken.append(released(laptop, store, f"night-{index}"))
        synchronise(laptop, store)
    assert taken == [100, 101, 102]
    assert len(store.requests) - before == 1, "it was asked once, then left alone"
    store.faults = ["lose-reply"] * 20
    with pytest.raises(CxError, match="no version number"):
        obtain_number(laptop, store, request("night-3"))
    store.faults = []
    level(store, laptop, other)
    used = {0, *taken}
    burnt = [number for number in covered(other) if number not in used]
    assert covered(other) == list(range(len(covered(other))))
    online = other.one(
        "SELECT count(*) AS n FROM grant_entry WHERE kind = 'online' AND line = '2.7'"
    )
    assert online is not None
    # Of "r0", of the first night, and of the one that had no reserve left to go on from.
    assert online["n"] == 3, f"burnt: {burnt[:20]}"


def test_p12_p18_ten_thousand_events_of_five_machines_after_a_long_outage(
    machine: Machine, store: FaultyStore
) -> None:
    """[12] All arrive once and in the order of their machines; numbers taken meanwhile are there."""
    crew = [machine(f"m{index}") for index in range(5)]
    for index, journal in enumerate(crew):
        released(journal, store, f"r{index}")
    store.down = True
    for index, journal in enumerate(crew):
        note(journal, 2000)
        released(journal, None, f"night-{index}")
    store.down = False
    for journal in crew:
        assert synchronise(journal, store, use_breaker=False, budget_seconds=40).pending == 0
    level(store, *crew)
    reader = crew[0]
    assert reader.one("SELECT count(*) AS n FROM event") == crew[4].one(
        "SELECT count(*) AS n FROM event"
    )
    for journal in crew:
        rows = reader.query(
            "SELECT sequence FROM event e JOIN node_lookup n ON n.id = e.node WHERE n.name = ?"
            " ORDER BY e.id",
            (journal.node,),
        )
        sequences = [row["sequence"] for row in rows]
        assert sequences == list(range(1, len(sequences) + 1))
        assert len(sequences) > 2000
    runs = {row["run"] for row in reader.query("SELECT run FROM version")}
    assert {f"night-{index}" for index in range(5)} <= runs


def test_p12_a_dashboard_that_reads_for_long_lets_writers_through(
    machine: Machine, store: FaultyStore
) -> None:
    """[42] One statement after the other, for as long as the writing takes; and a reader opened to
    read only can write nothing."""
    laptop = machine()
    released(laptop, store, "r0")
    note(laptop, 200)
    before = laptop.query("SELECT count(*) AS n FROM event")[0]["n"]
    over = threading.Event()
    looks = []

    def look() -> None:
        reader = sqlite3.connect(f"file:{laptop.path}?mode=ro", uri=True)
        while not over.is_set():
            looks.append(reader.execute("SELECT count(*), max(document) FROM event").fetchone()[0])
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM event")
        reader.close()

    reading = threading.Thread(target=look)
    reading.start()
    written = 0
    while len(looks) < 5 or written < 30:
        note(laptop, 1)
        written += 1
    over.set()
    reading.join(20)
    assert looks == sorted(looks)
    assert laptop.one("SELECT count(*) AS n FROM event") == {"n": before + written}
    assert verify(laptop).findings == []


def test_p8_a_store_that_is_recovered_while_a_machine_is_paused(
    machine: Machine, store: FaultyStore
) -> None:
    """[14, 23] Its reserve is of the generation before: it may be used up, but not be given to
    anybody else, and the store goes on above it."""
    laptop, other = machine(), machine("other")
    released(laptop, store, "r0")
    level(store, laptop, other)
    with paused_holder(laptop.home, "before") as holder:
        recover_store(other, store)
        online = [released(other, store, f"o{index}") for index in range(3)]
        late = go_on(holder)
    assert late == 100
    assert min(online) > late
    level(store, laptop, other)
    assert len(set(online)) == 3
    assert not [row for row in ledger(other, "webshop", "2.7") if row.state == "conflicted"]


def test_the_overview_names_the_reserves_that_are_held(
    machine: Machine, store: FaultyStore
) -> None:
    """One for each machine: what was exchanged for a newer one is nobody's any more."""
    laptop, other = machine(), machine("other")
    released(laptop, store, "r0")
    released(other, store, "o0")
    for index in range(3):
        released(laptop, None, f"n{index}")
    level(store, laptop, other)
    (line,) = overview(laptop)["lines"]
    spans = [(held["lo"], held["hi"]) for held in line["reserves"]]
    assert spans == sorted(
        (held.lo, held.hi) for each in (laptop, other) for held in reserves(each)
    )
