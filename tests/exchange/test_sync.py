"""Pushing and pulling between machines: resumable, idle when level, honest about what is absent."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.stores.sqlite import SqliteStore, path_of
from numbers_kit import FaultyStore, TestClock, open_at, open_journal, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.clock import SystemClock
from cxlocal.errors import ConfigError, Refused, UsageError
from cxlocal.events.document import Draft
from cxlocal.exchange import contact
from cxlocal.exchange.messages import decode, encode
from cxlocal.exchange.reply import apply
from cxlocal.exchange.state import ack_of, contact_row, proposing_contact, store_state
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import pending, recover_store, synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.holdings import reserves
from cxlocal.numbers.ledger import ledger

Machine = Callable[..., Journal]


def note(journal: Journal, count: int, size: int = 10, deliverable: str = "webshop") -> None:
    kind = "dev.cdeventsx.cxlocal-run.flagged.0.1.0"
    with journal.write() as transaction:
        for index in range(count):
            transaction.append(Draft(kind, f"s{index}", {}, {"x": "y" * size}, deliverable))


def hashes(journal: Journal) -> list[bytes]:
    rows = journal.query("SELECT hash FROM event ORDER BY node, sequence, branch")
    return sorted(row["hash"] for row in rows)


def full_sync(journal: Journal, store: Any) -> Any:
    report = synchronise(journal, store, use_breaker=False, budget_seconds=30)
    assert report.reached, report.why
    return report


def test_p13_thousands_of_events_arrive_once_and_in_order(
    machine: Machine, store: FaultyStore
) -> None:
    one, two = machine("one"), machine("two")
    note(one, 1300)
    note(two, 700)
    for journal in (one, two, one):
        full_sync(journal, store)
    assert hashes(one) == hashes(two)
    assert pending(one) == pending(two) == 0
    sequences = two.query(
        "SELECT sequence FROM event e JOIN node_lookup n ON n.id = e.node WHERE n.name = ?"
        " ORDER BY e.id",
        (one.node,),
    )
    assert [row["sequence"] for row in sequences] == list(range(1, 1302))


def test_p16_a_cut_exchange_resumes_with_at_most_one_batch_again(
    machine: Machine, store: FaultyStore
) -> None:
    one = machine("one")
    note(one, 1200)
    store.faults = ["", "lose-reply", ""]
    assert not synchronise(one, store, use_breaker=False).reached
    full_sync(one, store)
    sent = [len(batch["events"]) for raw in store.requests for batch in decode(raw).get("push", [])]
    assert sum(sent) <= 1201 + 500
    head = store.inner._connection
    assert head is not None
    assert head.execute("SELECT count(*) FROM event").fetchone()[0] == 1201


def test_large_events_travel_in_small_batches(machine: Machine, store: FaultyStore) -> None:
    one, two = machine("one"), machine("two")
    note(one, 12, size=200_000)
    full_sync(one, store)
    full_sync(two, store)
    full_sync(one, store)
    assert hashes(one) == hashes(two)
    batches = [raw for raw in store.requests if decode(raw).get("push")]
    assert len(batches) >= 3
    for raw in batches:
        [batch] = decode(raw)["push"]
        assert sum(len(event["document"]) for event in batch["events"]) <= 1024 * 1024


def test_p15_a_changed_event_is_noticed_on_either_side(
    machine: Machine, store: FaultyStore
) -> None:
    one, two = machine("one"), machine("two")
    note(one, 3)
    row = _row(one, store)
    acked = ack_of(one.connection, one.node).sequence
    batch = contact.Batch(contact.next_batch(one, one.node, acked))
    message = contact.build(one, row, [], batch)
    message["push"][0]["events"][1]["document"] += " "
    answer = decode(store.exchange(encode(message), timeout=5))
    assert answer["refusal"]["name"] == "bad-hash"
    full_sync(one, store)

    class Liar(FaultyStore):
        def exchange(self, request: bytes, *, timeout: float) -> bytes:
            raw = decode(super().exchange(request, timeout=timeout))
            for item in raw["pull"]["items"]:
                if "event" in item:
                    item["event"]["document"] = item["event"]["document"].replace("yy", "yz", 1)
            return encode(raw)

    liar = Liar(store.inner)
    report = synchronise(two, liar)
    assert not report.reached
    assert "changed on the way" in report.why
    assert len(hashes(two)) == 1, "nothing of it was kept"


def _row(journal: Journal, store: FaultyStore) -> Any:
    full_sync(journal, store)
    note(journal, 3)
    row = contact_row(journal.connection, journal.node)
    assert row is not None
    return proposing_contact(row, journal.ids)


def test_p15_an_answer_that_leaves_something_out_is_noticed(
    machine: Machine, store: FaultyStore
) -> None:
    one, two = machine("one"), machine("two")
    note(one, 5)
    full_sync(one, store)

    class Forgetful(FaultyStore):
        def exchange(self, request: bytes, *, timeout: float) -> bytes:
            raw = decode(super().exchange(request, timeout=timeout))
            del raw["pull"]["items"][2:3]
            return encode(raw)

    report = synchronise(two, Forgetful(store.inner))
    assert "leaves something out" in report.why


@pytest.mark.parametrize("broken", [b"", b"<html>502</html>", b"{}", b'{"protocol":1}', b"\xff"])
def test_an_answer_no_one_can_read_counts_as_unreachable(
    broken: bytes, machine: Machine, store: FaultyStore
) -> None:
    laptop = machine()
    obtain_number(laptop, store, request("r0"))

    class Proxy(FaultyStore):
        def exchange(self, request: bytes, *, timeout: float) -> bytes:
            return broken

    number = obtain_number(laptop, Proxy(store.inner), request("r1"))
    assert number.number == 100


def break_gone(path: Path) -> Any:
    path.rename(path.with_suffix(".away"))
    return lambda: path.with_suffix(".away").rename(path)


def break_locked(path: Path) -> Any:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    def mend() -> None:
        other.execute("ROLLBACK")
        other.close()

    return mend


def break_corrupt(path: Path) -> Any:
    content = path.read_bytes()
    path.write_bytes(b"garbage!" * (len(content) // 8))
    return lambda: path.write_bytes(content)


def break_empty(path: Path) -> Any:
    content = path.read_bytes()
    path.write_bytes(b"")
    return lambda: path.write_bytes(content)


def break_folder(path: Path) -> Any:
    path.rename(path.with_suffix(".away"))
    path.mkdir()

    def mend() -> None:
        path.rmdir()
        path.with_suffix(".away").rename(path)

    return mend


def break_foreign(path: Path) -> Any:
    content = path.read_bytes()
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE somebody_elses (x)")
    other.execute("PRAGMA user_version=7")
    other.commit()
    other.close()
    return lambda: path.write_bytes(content)


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (break_gone, "file is gone"),
        (break_locked, "locked"),
        (break_corrupt, "damaged"),
        (break_empty, "file is empty"),
        (break_folder, "cannot be opened"),
        (break_foreign, "another program"),
    ],
)
def test_p17_an_unreachable_store_is_named_and_the_release_goes_on(
    break_it: Any, words: str, machine: Machine, store: FaultyStore
) -> None:
    laptop = machine()
    obtain_number(laptop, store, request("r0"))
    full_sync(laptop, store)
    store.inner.close()
    mend = break_it(store.inner.path)
    start = time.monotonic()
    number = obtain_number(laptop, store, request("night"))
    report = synchronise(laptop, store, budget_seconds=1.0)
    assert time.monotonic() - start < 3.5
    assert number.number == 100
    assert not report.reached
    assert words in report.why
    mend()
    # Putting the bytes back makes another file of it, which the store rightly finds suspicious.
    report = synchronise(laptop, store, use_breaker=False)
    assert report.reached, report.why
    assert report.pending == 0
    if "moved" in report.stopped:
        recover_store(laptop, store)
    following = obtain_number(laptop, store, request("day")).number
    assert following is not None
    assert following > 100


def test_a_read_only_store_is_unreachable(machine: Machine, store: FaultyStore) -> None:
    """Permissions do not bind the superuser, so the file is opened as SQLite opens a read-only
    one."""
    laptop = machine()
    obtain_number(laptop, store, request("r0"))
    connection = store.inner._connection
    assert connection is not None
    connection.execute("PRAGMA query_only=ON")
    report = synchronise(laptop, store)
    assert not report.reached
    assert "cannot be written" in report.why


def test_a_slow_store_is_given_up_after_its_time(machine: Machine, store: FaultyStore) -> None:
    laptop = machine()
    obtain_number(laptop, store, request("r0"))
    connection = store.inner._connection
    assert connection is not None
    connection.execute(
        "CREATE TEMP TRIGGER slow BEFORE UPDATE ON main.node BEGIN SELECT (WITH RECURSIVE c(x) AS"
        " (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000000000) SELECT max(x) FROM c); END"
    )
    start = time.monotonic()
    report = synchronise(laptop, store, budget_seconds=1.0)
    assert time.monotonic() - start < 2.0
    assert "did not answer in time" in report.why
    assert synchronise(laptop, store, use_breaker=False).reached


def test_a_stopped_process_that_holds_the_store_costs_the_budget_only(
    machine: Machine, store: FaultyStore
) -> None:
    laptop = machine()
    obtain_number(laptop, store, request("r0"))
    script = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(store.inner.path)], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        start = time.monotonic()
        assert "locked" in synchronise(laptop, store, budget_seconds=0.5).why
        assert synchronise(laptop, store, budget_seconds=0.5).why, "left alone for a minute"
        assert time.monotonic() - start < 1.5
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert not synchronise(laptop, store).reached, "still within the minute"
    assert synchronise(laptop, store, use_breaker=False).reached
    assert synchronise(laptop, store).reached, "an answer ends the pause"


def test_p9_a_copied_journal_goes_on_under_a_new_id_and_loses_nothing(
    machine: Machine, store: FaultyStore, tmp_path: Path
) -> None:
    laptop = machine()
    obtain_number(laptop, store, request("r0"))
    full_sync(laptop, store)
    shutil.copytree(laptop.home, tmp_path / "copy")
    copy = open_journal(tmp_path / "copy")
    try:
        note(copy, 2)
        with pytest.raises(Refused, match="locked"):
            obtain_number(copy, None, request("copy-night"))
        note(laptop, 3)
        old = copy.node
        full_sync(laptop, store)
        full_sync(copy, store)
        assert copy.node != old
        assert laptop.node == old
        assert pending(copy) == 0
        began = json.loads(
            copy.query("SELECT document FROM event_log WHERE node = ? AND sequence = 1",
                       (copy.node,))[0]["document"]
        )["customData"]["cxlocal"]  # fmt: skip
        assert began["parent"]["node"] == old
        assert obtain_number(copy, store, request("copy-1")).number == 1
        for journal in (laptop, copy, laptop, copy):
            full_sync(journal, store)
        assert hashes(laptop) == hashes(copy), "both histories are kept, as branches"
        branches = laptop.query("SELECT DISTINCT branch FROM event")
        assert len(branches) == 2
        assert [each.lo for each in reserves(laptop)] == [100], "the original keeps its reserve"
        assert reserves(copy)[0].lo > 102
    finally:
        copy.close()


def test_two_processes_of_one_journal_do_not_disturb_each_other(
    machine: Machine, store: FaultyStore, tmp_path: Path
) -> None:
    first, second = machine("same"), machine("same")
    obtain_number(first, store, request("r0"))
    late = contact.talk(first, store)
    full_sync(second, store)
    full_sync(second, store)
    with first.write() as transaction:
        apply(transaction, late)
    node = first.node
    # A message built before the others moved on is refused by the store; that must not count.
    row = contact_row(first.connection, node)
    assert row is not None
    full_sync(second, store)
    full_sync(first, store)
    assert first.node == second.node == node


def test_another_store_is_refused(machine: Machine, store: FaultyStore, tmp_path: Path) -> None:
    laptop, other = machine(), machine("other")
    obtain_number(laptop, store, request("r0"))
    (tmp_path / "second").mkdir()
    second = SqliteStore("sqlite:", tmp_path / "second")
    obtain_number(other, second, request("r0"))
    with pytest.raises(Refused) as caught:
        synchronise(laptop, second)
    assert caught.value.name == "wrong-lineage"
    assert "store.url" in caught.value.hint
    second.close()


def test_a_moved_store_stops_granting_until_recovered(
    machine: Machine, store: FaultyStore, tmp_path: Path
) -> None:
    laptop = machine()
    obtain_number(laptop, store, request("r0"))
    full_sync(laptop, store)
    store.close()
    shutil.copytree(store.inner.path.parent, tmp_path / "moved")
    moved = SqliteStore("sqlite:", tmp_path / "moved")
    assert obtain_number(laptop, moved, request("r1")).number == 100
    assert "copied or moved" in synchronise(laptop, moved, use_breaker=False).stopped
    assert recover_store(laptop, moved).stopped == ""
    number = obtain_number(laptop, moved, request("r2")).number
    assert number is not None
    assert number > 1000
    moved.close()


def test_addresses(tmp_path: Path) -> None:
    assert path_of("sqlite:", tmp_path) == tmp_path / "store.db"
    assert path_of("sqlite:///srv/team%20store.db", tmp_path) == Path("/srv/team store.db")
    assert path_of("sqlite:other.db", tmp_path) == tmp_path / "other.db"
    for url in (
        "sqlite://tmp/x.db",
        "sqlite://x.db",
        "sqlite://./x.db",
        "sqlite://~/x",
        "sqlite://a%2Fb",
    ):
        with pytest.raises(UsageError, match="no whole path") as raised:
            open_at(url, tmp_path)
        assert "sqlite:///" in raised.value.hint and str(tmp_path) in raised.value.hint
    for url in ("", None, "sqlite:"):
        store = open_at(url, tmp_path)
        assert store.url == "sqlite:"
        store.close()
    assert not list(tmp_path.iterdir()), "nothing is made before the first contact"
    for url in ("mysql://x", "nonsense"):
        with pytest.raises(ConfigError) as caught:
            open_at(url, tmp_path)
        assert "sqlite:" in caught.value.why


@pytest.mark.parametrize("slashes", ["/", "//", "///"])
def test_a_path_that_begins_with_several_slashes(
    machine: Machine, tmp_path: Path, slashes: str
) -> None:
    folder = f"{slashes}{str(tmp_path).lstrip('/')}"
    for url, home in ((f"sqlite://{folder}/a ?#%25.db", tmp_path), ("sqlite:", Path(folder))):
        store = SqliteStore(url, home)
        if url != "sqlite:":
            store.create()
        full_sync(machine(store.path.stem), store)
        store.close()
    assert {path.name for path in tmp_path.glob("*.db")} == {"a ?#%.db", "store.db"}


def test_a_fresh_journal_may_sync_before_anything_happened(
    machine: Machine, store: FaultyStore
) -> None:
    one, two = machine("one"), machine("two")
    obtain_number(one, store, request("r0"))
    full_sync(one, store)
    assert full_sync(two, store).pulled >= 2
    assert store_state(two.connection) == store_state(one.connection)._replace(
        position=store_state(two.connection).position, hash=store_state(two.connection).hash
    )
    assert ledger(two, "webshop", "2.7")[0].state.value == "in use, confirmed"


def test_clock_far_ahead_does_not_drag_others(machine: Machine, store: FaultyStore) -> None:
    one, two = machine("one", TestClock(4_000_000_000_000)), machine("two", TestClock())
    note(one, 1)
    full_sync(one, store)
    full_sync(two, store)
    note(two, 1)
    last = two.query("SELECT max(clock) AS c FROM event e JOIN node_lookup n ON n.id = e.node"
                     " WHERE n.name = ?", (two.node,))  # fmt: skip
    assert last[0]["c"] >> 16 < 1_800_000_000_000


def test_os_errors_of_blobs_are_unreachable(store: FaultyStore, machine: Machine) -> None:
    laptop = machine()
    obtain_number(laptop, store, request("r0"))
    folder = Path(f"{store.inner.path}.blobs")
    folder.write_text("in the way")
    with pytest.raises(StoreUnreachable):
        store.put_blob("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", b"x",
                       timeout=1)  # fmt: skip
    os.unlink(folder)


def test_an_event_costs_the_same_at_the_end_of_a_long_chain(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The store looks at the clock every so many instructions of SQLite: a measure without noise.
    monkeypatch.setattr("cxlocal_sync.stores.sqlite._STEPS", 50)

    class Looked(SystemClock):
        times = 0

        def monotonic(self) -> float:
            self.times += 1
            return super().monotonic()

    clock = Looked()
    (tmp_path / "central").mkdir()
    store = SqliteStore("sqlite:", tmp_path / "central", clock=clock)
    journal = machine()

    def looks() -> int:
        note(journal, 20)
        before = clock.times
        full_sync(journal, store)
        return clock.times - before

    full_sync(journal, store)
    short = looks()
    note(journal, 2000)
    full_sync(journal, store)
    assert looks() <= short * 1.5
    store.close()


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("", "In step with the store: 2 events sent, 1 received, reserve shop 2.7: 1 to 3, reserve a 1: 1 to 3."),
        ("shop", ("shop: in step with the store: 2 events sent, 1 received, reserve shop 2.7: 1 to 3,"
         " 1 reserve of other deliverables.")),
        ("sho", "sho: in step with the store: 2 events sent, 1 received, 2 reserves of other deliverables."),
    ],
)  # fmt: skip
def test_in_a_project_its_deliverable_is_spoken_of_first(first: str, words: str) -> None:
    from cxlocal.commands.sync import describe
    from cxlocal.exchange.sync import SyncReport

    reserves = ("shop 2.7: 1 to 3", "a 1: 1 to 3")
    assert describe(SyncReport(True, pushed=2, pulled=1, reserves=reserves), first) == words
