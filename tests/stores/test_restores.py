"""Stores that went back, were doubled or were mistaken, over every store (P1, P8, P10, P11, P12).

Numbers in brackets are those of docs/faults.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from bucket_kit import BUCKET, Server, make_bucket_store
from cxlocal_sync.keys.open import folder_store, object_store
from cxlocal_sync.postgresql.store import PostgresqlStore
from cxlocal_sync.stores.answer import MARGIN
from cxlocal_sync.stores.sqlite import SqliteStore
from http_kit import ThreadServer
from keys_kit import make_folder_store
from numbers_kit import FaultyStore, open_journal, request
from obstore.store import S3Store
from postgresql_kit import Databases

from cxlocal.allocation.allocator import obtain_number
from cxlocal.clock import SystemIds
from cxlocal.domain import NumberState
from cxlocal.errors import Refused, StoreNeeded
from cxlocal.events.runs import run_flagged
from cxlocal.exchange.sync import recover_store, synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.ledger import explain
from cxlocal.numbers.log import AHEAD_MAX, COUNT_MAX

Machine = Callable[..., Journal]


class Central:
    """A store in a folder whose state can be kept and brought back, and which can be doubled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "central"
        self.home.mkdir(parents=True)
        self.start()

    def start(self) -> None:
        self.store: Any = SqliteStore("sqlite:", self.home)

    def stop(self) -> None:
        self.store.close()

    def keep(self, name: str) -> None:
        """Take a backup."""
        self.stop()
        shutil.copytree(self.home, self.folder / name)
        self.start()

    def bring_back(self, name: str) -> None:
        """Put a backup in the place of the store; every file keeps its inode, as a snapshot of a
        whole disk does."""
        self.stop()
        for path in (self.folder / name).rglob("*"):
            if path.is_file():
                target = self.home / path.relative_to(self.folder / name)
                target.write_bytes(path.read_bytes())
        self.start()

    close = stop


class ServedCentral(Central):
    """The same behind a server."""

    port = 0

    def start(self) -> None:
        # At the same address after a restart: a journal is shown to its store at no other.
        self.server = ThreadServer(self.home, port=self.port)
        self.port = self.server.port
        self.store = self.server.enrol(self.folder / "client", f"m{SystemIds().token()[:8]}")

    def stop(self) -> None:
        self.store.close()
        self.server.close()

    close = stop


class FolderCentral(Central):
    """A store in a shared folder. The machine's own copy of it stays when the folder goes back."""

    def start(self) -> None:
        self.share = self.folder / "share"
        if not self.share.exists():
            make_folder_store(self.share, self.home).close()
        self.store = folder_store(f"folder://{self.share}", self.home)

    def keep(self, name: str) -> None:
        shutil.copytree(self.share, self.folder / name)

    def bring_back(self, name: str) -> None:
        self.stop()
        shutil.rmtree(self.share)
        shutil.copytree(self.folder / name, self.share)
        self.start()


class ForgottenFolderCentral(FolderCentral):
    """The same, and nobody has a copy any more."""

    def bring_back(self, name: str) -> None:
        super().bring_back(name)
        self.stop()
        shutil.rmtree(self.home)
        self.home.mkdir()
        self.start()


class BucketCentral(Central):
    """A store in a bucket, whose objects are copied and put back."""

    server: Server

    def start(self) -> None:
        if not hasattr(self, "prefix"):
            self.prefix = SystemIds().token()
            self.kept: dict[str, dict[str, bytes]] = {}
            make_bucket_store(self.server, self.prefix, self.home).close()
        self.store = object_store(self.server.url(self.prefix), self.home)

    def objects(self) -> Any:
        return S3Store(
            BUCKET, prefix=self.prefix, endpoint=f"http://127.0.0.1:{self.server.port}",
            region="us-east-1", client_options={"allow_http": True},
        )  # fmt: skip

    def keep(self, name: str) -> None:
        bucket = self.objects()
        paths = [each["path"] for page in obstore.list(bucket) for each in page]
        self.kept[name] = {path: bytes(obstore.get(bucket, path).bytes()) for path in paths}

    def bring_back(self, name: str) -> None:
        bucket = self.objects()
        for page in obstore.list(bucket):
            obstore.delete(bucket, [each["path"] for each in page])
        for path, content in self.kept[name].items():
            obstore.put(bucket, path, content)


class DatabaseCentral(Central):
    """A store in a database that is copied within its server: by what the server says of itself
    nothing has happened."""

    databases: Databases

    def start(self) -> None:
        if not hasattr(self, "url"):
            self.url = self.databases.fresh()
        self.store = PostgresqlStore(self.url, self.home)

    def keep(self, name: str) -> None:
        self.stop()
        self.databases.copy(self.url, f"{self.url}_{name}")
        self.start()

    def bring_back(self, name: str) -> None:
        self.stop()
        self.databases.copy(f"{self.url}_{name}", self.url)
        self.start()


KINDS: dict[str, Callable[[Path], Any]] = {
    "embedded": Central,
    "http": ServedCentral,
    "folder": FolderCentral,
    "folder, no copy": ForgottenFolderCentral,
    "bucket": BucketCentral,
    "postgresql": DatabaseCentral,
}


@pytest.fixture(
    params=[
        pytest.param(kind, marks=pytest.mark.needs("pg_ctlcluster"))
        if kind == "postgresql"
        else kind
        for kind in sorted(KINDS)
    ]
)
def central(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "bucket":
        request.getfixturevalue("credentials")
        BucketCentral.server = request.getfixturevalue("seaweedfs")
    if request.param == "postgresql":
        DatabaseCentral.databases = request.getfixturevalue("databases")
    made = KINDS[request.param](tmp_path / "store")
    yield made
    made.close()


def level(central: Any, *journals: Journal) -> None:
    for _ in range(3):
        for journal in journals:
            report = synchronise(journal, central.store, use_breaker=False, budget_seconds=20)
            assert report.reached, report


def released(central: Any, journal: Journal, run: str) -> int:
    number = obtain_number(journal, central.store, request(run)).number
    assert number is not None
    return number


def used(journal: Journal) -> list[Any]:
    rows = journal.query("SELECT run, number FROM version ORDER BY number, run")
    return [tuple(row.values()) for row in rows]


def note(journal: Journal, text: str) -> None:
    journal.append(run_flagged(kind="note", subject="s", text=text))


def notes(journal: Journal) -> set[str]:
    rows = journal.query(
        "SELECT document ->> '$.customData.cxlocal.text' AS text FROM event"
        " WHERE document ->> '$.customData.cxlocal.text' IS NOT NULL"
    )
    return {row["text"] for row in rows}


def test_p11_a_restored_store_grants_nothing_until_it_is_recovered(
    central: Any, machine: Machine
) -> None:
    """[23] It takes what is pushed, refuses numbers, and goes on above all of them afterwards."""
    one, two = machine("one"), machine("two")
    released(central, one, "r0")
    level(central, one, two)
    central.keep("backup")
    before = [released(central, one, "r1"), released(central, two, "r2")]
    level(central, one, two)
    central.bring_back("backup")
    note(one, "while it is stopped")
    report = synchronise(one, central.store, use_breaker=False)
    assert "lost part of its memory" in report.stopped
    assert report.pending == 0, "what is pushed is taken"
    night = obtain_number(two, central.store, request("night"))
    assert night.how == "reserve", "a stopped store is as good as an absent one"
    assert recover_store(one, central.store).stopped == ""
    after = [released(central, one, "r3"), released(central, two, "r4")]
    numbers = [0, *before, night.number, *after]
    assert len(set(numbers)) == len(numbers)
    assert min(after) > max(night.number or 0, *before)
    level(central, one, two)
    assert used(one) == used(two)
    assert len(used(one)) == 6
    assert "while it is stopped" in notes(two)


def test_p12_what_a_restored_store_lost_comes_back_from_others(
    central: Any, machine: Machine, tmp_path: Path
) -> None:
    """[23] The machine it came from is gone, with branches of a copy of it; another one has it all."""
    gone, other, fresh = machine("gone"), machine("other"), machine("fresh")
    released(central, gone, "r0")
    level(central, gone, other)
    central.keep("backup")
    note(gone, "told before the disk died")
    copied = tmp_path / "copied"
    shutil.copytree(gone.home, copied)
    copy = open_journal(copied)
    released(central, gone, "r1")
    note(copy, "told by a copy")
    level(central, gone, copy, other)
    copy.close()
    gone.close()
    shutil.rmtree(gone.home)
    shutil.rmtree(copied)
    central.bring_back("backup")
    assert synchronise(other, central.store, use_breaker=False).stopped
    recover_store(other, central.store)
    level(central, other)
    report = synchronise(other, central.store, use_breaker=False)
    assert (report.relayed, report.to_relay, report.not_taken) == (0, 0, ())
    level(central, fresh)
    assert notes(fresh) >= {"told before the disk died", "told by a copy"}
    assert used(fresh) == used(other)
    assert other.query("SELECT * FROM relayed") == [], "nothing is carried for ever"


def test_p1_a_reserve_that_only_the_lost_history_knew_lies_below_the_recovery(
    central: Any, machine: Machine
) -> None:
    """As far ahead and as large as a reserve may be; its machine stays away."""
    ci, away = machine("ci"), machine("away")
    released(central, ci, "r0")
    level(central, ci)
    central.keep("backup")
    obtain_number(away, central.store, request("r1", ahead=AHEAD_MAX, reserve=COUNT_MAX))
    level(central, ci)
    central.bring_back("backup")
    assert synchronise(ci, central.store, use_breaker=False).stopped
    recover_store(ci, central.store)
    online = {released(central, ci, f"after-{turn}") for turn in range(3)}
    offline = {
        obtain_number(away, None, request(f"night-{turn}")).number for turn in range(COUNT_MAX)
    }
    assert len(offline) == COUNT_MAX
    assert not online & offline
    assert AHEAD_MAX + COUNT_MAX < MARGIN / 1.5, "numbers granted online may be lost as well"


def test_a_late_message_from_before_a_restore_costs_no_second_recovery(
    central: Any, machine: Machine
) -> None:
    """The story that the search of the model found (docs/model.md)."""
    one, two = machine("one"), machine("two")
    released(central, two, "r0")
    level(central, two)
    central.keep("backup")
    first = FaultyStore(central.store)
    synchronise(one, first, use_breaker=False)
    for turn in range(3):
        released(central, one, f"r1-{turn}")
    level(central, one, two)
    central.bring_back("backup")
    assert synchronise(two, central.store, use_breaker=False).stopped
    recover_store(two, central.store)
    central.store.exchange(first.requests[0], timeout=20)
    for turn in range(3):
        report = synchronise(one, central.store, use_breaker=False)
        assert (report.reached, report.stopped) == (True, "")
        assert released(central, one, f"after-{turn}") > 1000
    level(central, one, two)
    assert used(one) == used(two)


def test_p8_cursors_stay_above_what_any_generation_granted(central: Any, machine: Machine) -> None:
    """[23] Three restores of the same old backup, one after the other."""
    one = machine("one")
    released(central, one, "r")
    level(central, one)
    central.keep("backup")
    last = 0
    for turn in range(3):
        number = released(central, one, f"before-{turn}")
        assert number > last
        level(central, one)
        central.bring_back("backup")
        assert synchronise(one, central.store, use_breaker=False).stopped
        recover_store(one, central.store)
        last = released(central, one, f"after-{turn}")
        assert last > number
        level(central, one)
    online = one.query("SELECT lo FROM grant_entry WHERE kind = 'online' ORDER BY k")
    assert [row["lo"] for row in online] == sorted({row["lo"] for row in online})


def test_p10_a_restored_store_that_nobody_noticed(central: Any, machine: Machine) -> None:
    """[24] No machine that has seen more calls before numbers are taken: the risk the manual names.
    The number in two runs is shown to both as soon as they meet."""
    ahead, late = machine("ahead"), machine("late")
    released(central, late, "r0")
    level(central, late)
    central.keep("backup")
    assert released(central, ahead, "r1") == 1
    level(central, ahead)
    central.bring_back("backup")
    assert released(central, late, "r2") == 1
    assert synchronise(ahead, central.store, use_breaker=False).stopped
    recover_store(ahead, central.store)
    level(central, ahead, late)
    for journal in (ahead, late):
        assert explain(journal, "webshop", "2.7", 1).state == NumberState.CONFLICTED
    assert used(ahead) == used(late)


def restored_twice(central: Any, first: Journal, second: Journal) -> tuple[set[int], set[int]]:
    """One backup is put back twice, and recovered by a machine that knows nothing of the recovery before; the
    numbers that were given after each."""
    given = []
    released(central, second, "r0")
    level(central, first, second)
    central.keep("backup")
    for journal in (first, second):
        central.bring_back("backup")
        recover_store(journal, central.store)
        given.append({released(central, journal, f"{journal.node}{at}") for at in range(3)})
        if journal is first:
            level(central, first)
    return given[0], given[1]


@pytest.mark.parametrize(
    "central",
    ["embedded", "http", pytest.param("postgresql", marks=pytest.mark.needs("pg_ctlcluster"))],
    indirect=True,
)
def test_p1_a_store_restored_twice_gives_no_number_again(central: Any, machine: Machine) -> None:
    """[24] Beside its file, or in the home of who answers for it, it stands how far the first recovery went."""
    first, second = machine("first"), machine("second")
    given, then = restored_twice(central, first, second)
    assert min(then) > max(given)
    assert not synchronise(first, central.store, use_breaker=False).stopped
    level(central, first, second)
    assert used(first) == used(second) and released(central, first, "last") > max(then)


def test_p10_a_store_restored_twice_is_stopped_by_who_knows_of_the_first_recovery(
    central: Any, machine: Machine
) -> None:
    """[24] Where nobody remembers that, numbers come again. Nothing more is given once the two histories meet, and both
    runs of each such number show it."""
    first, second = machine("first"), machine("second")
    bring_back = central.bring_back

    def without_memory(name: str) -> None:
        for path in central.home.rglob("*.recovered"):
            path.unlink()
        bring_back(name)

    central.bring_back = without_memory
    given, then = restored_twice(central, first, second)
    assert given & then, "else this is no test"
    assert synchronise(first, central.store, use_breaker=False).stopped
    with pytest.raises((Refused, StoreNeeded), match="another one|memory"):
        obtain_number(machine("job"), central.store, request("job", kept=False))
    recover_store(first, central.store)
    level(central, first, second)
    for journal in (first, second):
        for number in given & then:
            assert explain(journal, "webshop", "2.7", number).state == NumberState.CONFLICTED
        assert released(central, journal, f"{journal.node} at last") > max(given | then)


def test_p11_two_stores_of_one_life(central: Any, machine: Machine) -> None:
    """[26] A store is doubled, and both go on: a machine that has seen one stops the other."""
    one, two = machine("one"), machine("two")
    released(central, one, "r0")
    level(central, one, two)
    central.keep("double")
    seen = [released(central, one, "r1"), released(central, one, "r2")]
    level(central, one)
    central.bring_back("double")
    for journal in (one, two):
        with pytest.raises((Refused, StoreNeeded), match="memory"):
            obtain_number(journal, central.store, request(journal.node, kept=False))
        report = synchronise(one, central.store, use_breaker=False)
        assert "lost part of its memory" in report.stopped
    recover_store(one, central.store)
    assert released(central, two, "r5") > max(seen)


def test_p1_a_store_of_somebody_else(central: Any, machine: Machine, tmp_path: Path) -> None:
    """[27] The address leads to another store: nothing is leaked into it, nothing taken from it."""
    one, stranger = machine("one"), machine("stranger")
    released(central, one, "r0")
    level(central, one)
    other = Central(tmp_path / "elsewhere")
    try:
        released(other, stranger, "theirs")
        level(other, stranger)
        with pytest.raises(Refused, match="another store|belongs to the store"):
            synchronise(one, other.store, use_breaker=False)
        level(other, stranger)
        assert used(stranger) == [("theirs", 0)]
        assert used(one) == [("r0", 0)]
    finally:
        other.close()
