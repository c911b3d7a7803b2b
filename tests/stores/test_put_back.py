"""A file that is put back where it lay, with the same inode, spends no number twice."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.plugin import cxlocal_register_stores
from cxlocal_sync.stores.sqlite import SqliteStore
from numbers_kit import open_journal, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.allocation.lender import left_to_lend, lend
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.errors import Refused, StoreNeeded, UsageError
from cxlocal.events.runs import run_flagged
from cxlocal.exchange.copies import journal_was_moved
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.salvage import recover_journal
from cxlocal.exchange.state import LOST_MEMORY
from cxlocal.exchange.sync import recover_store, synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.numbers.holdings import reserves
from cxlocal.numbers.schemes import SCHEMES

ACTOR = {"id": "someone@example.org", "how": "test"}


def by_copy(backup: Path, target: Path) -> None:
    """``cp backup target``"""
    shutil.copyfile(backup, target)


def by_sqlite(backup: Path, target: Path) -> None:
    """``sqlite3 target '.restore backup'``"""
    with sqlite3.connect(backup) as source, sqlite3.connect(target) as there:
        source.backup(there)
    source.close()
    there.close()


def by_overwriting(backup: Path, target: Path) -> None:
    """``dd conv=notrunc``, and the rest cut off"""
    content = backup.read_bytes()
    with open(target, "r+b") as file:
        file.write(content)
        file.truncate(len(content))


WAYS = [by_copy, by_sqlite, by_overwriting]
ways = pytest.mark.parametrize("put_back", WAYS, ids=lambda way: way.__name__)


class Laptop:
    """A machine with a reserve, and a backup of its journal made after its last contact."""

    def __init__(self, root: Path) -> None:
        (root / "central").mkdir()
        self.store = SqliteStore("sqlite:", root / "central")
        self.home, self.backup, self.witness = root / "home", root / "backup.db", root / "state"
        self.journal = self._open()
        assert self.online("first").number == 0
        self.sync()
        assert [reserve.lo for reserve in reserves(self.journal)] == [100]
        self.journal.close()
        shutil.copyfile(self.home / "journal.db", self.backup)
        self.journal = self._open()

    def _open(self) -> Journal:
        journal = open_journal(self.home)
        journal.witness = self.witness
        return journal

    def online(self, run: str) -> Any:
        return obtain_number(self.journal, self.store, request(run))

    def offline(self, run: str, **rest: Any) -> Any:
        return obtain_number(self.journal, None, request(run, **rest))

    def sync(self) -> None:
        assert synchronise(self.journal, self.store, use_breaker=False).reached

    def back(self, put_back: Callable[[Path, Path], None]) -> None:
        inode = os.stat(self.home / "journal.db").st_ino
        self.journal.close()
        put_back(self.backup, self.home / "journal.db")
        assert os.stat(self.home / "journal.db").st_ino == inode
        self.journal = self._open()

    def flags(self) -> list[str]:
        catch_up(self.journal)
        return [row["kind"] for row in self.journal.query("SELECT kind FROM open_flags")]


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    made = Laptop(tmp_path)
    yield made
    made.journal.close()
    made.store.close()


@ways
def test_p1_a_journal_put_back_in_place_spends_nothing_again(
    laptop: Laptop, put_back: Callable[[Path, Path], None]
) -> None:
    assert laptop.offline("night").number == 100
    laptop.back(put_back)
    # It may have become longer than it ever was.
    for _ in range(20):
        with pytest.raises(Refused, match="are locked") as refused:
            laptop.offline("again")
        assert "put back to an earlier state" in refused.value.why
        laptop.journal.append(run_flagged(kind="k", subject="s", text="t", deliverable="webshop"))
    laptop.sync()
    assert [reserve.lo for reserve in reserves(laptop.journal)] == [103]
    assert laptop.online("day").number == 1
    assert laptop.offline("next-night").number == 103
    assert "no-witness" not in laptop.flags() and verify(laptop.journal).findings == []


@ways
def test_p1_a_lender_put_back_in_place_lends_nothing_again(
    laptop: Laptop, put_back: Callable[[Path, Path], None]
) -> None:
    asked = {
        "deliverable": "webshop", "line": "2.7", "scheme": "semver", "run": "job", "node": "a" * 32,
        "above": -1, "actor": ACTOR,
    }  # fmt: skip
    find: Callable[[str], Any] = SCHEMES.__getitem__
    assert lend(laptop.journal, asked, find, "ci")["number"] == 100
    assert left_to_lend(laptop.journal, asked)["locked"] is False
    laptop.back(put_back)
    assert left_to_lend(laptop.journal, asked)["locked"] is True
    with pytest.raises(Refused, match="are locked"):
        lend(laptop.journal, {**asked, "run": "other"}, find, "ci")


def test_p1_names_without_a_number_are_not_made_twice(laptop: Laptop) -> None:
    def named(run: str) -> str:
        return str(laptop.offline(run, line="9.9", when_empty="suffix").text)

    before = named("night")
    laptop.back(by_copy)
    assert named("again") != before


def test_a_person_may_say_that_nothing_was_lost(laptop: Laptop) -> None:
    assert laptop.offline("rehearsed").number == 100
    laptop.back(by_copy)
    with pytest.raises(Refused, match="are locked"):
        laptop.offline("again")
    journal_was_moved(laptop.journal, "that release never went out", ACTOR)
    assert laptop.offline("again").number == 100
    assert laptop.offline("and again").number == 101


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)


def rubbish(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_text("it was here\n")


def cut_off(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:20])


def a_file_in_its_place(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


@pytest.mark.parametrize(
    "lost", [nothing, rubbish, cut_off, a_file_in_its_place], ids=lambda way: way.__name__
)
def test_without_a_witness_numbers_are_spent_and_flagged_until_they_are_confirmed(
    laptop: Laptop, lost: Callable[[Path], None]
) -> None:
    assert laptop.flags() == []
    lost(laptop.witness)
    assert laptop.offline("night").number == 100
    assert laptop.flags() == ["no-witness"]
    assert laptop.offline("later").number == 101
    laptop.sync()
    assert laptop.flags() == []


def test_the_witness_sees_a_number_before_anybody_else(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is on the disk by then, with one fsync."""
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(handle), fsync(handle)))
    for run, ask in (("night", laptop.offline), ("day", laptop.online)):
        before = len(synced)
        ask(run)
        place, value = (laptop.witness / laptop.journal.node).read_text().split()
        row = laptop.journal.query(
            "SELECT max(sequence) AS last, lower(hex(hash)) AS hash FROM event WHERE node = "
            "(SELECT id FROM node_lookup WHERE name = ?)",
            (laptop.journal.node,),
        )[0]
        assert (int(place), value) == (row["last"], row["hash"])
        assert len(synced) - before == 1
    # Asked for again, what was cut off in between is made good.
    shutil.rmtree(laptop.witness)
    laptop.offline("day")
    assert (laptop.witness / laptop.journal.node).exists()


Opened = Callable[[str], SqliteStore]


@pytest.fixture(params=["shared", "own"])
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, Callable[[], Any]]]:
    """A store in a file that a server or several homes use, and the one in a home."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    home, stores = tmp_path / "server", []
    home.mkdir()
    path = tmp_path / "srv.db" if request.param == "shared" else home / "store.db"
    url = f"sqlite://{path}" if request.param == "shared" else "sqlite:"

    def open_one() -> Any:
        stores.append(cxlocal_register_stores()["sqlite"](url, home))
        return stores[-1]

    if request.param == "shared":
        open_one().create()
    yield path, open_one
    for each in stores:
        each.close()


@ways
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_p1_a_store_put_back_in_place_hands_out_nothing_again(
    opened: tuple[Path, Callable[[], Any]],
    tmp_path: Path,
    put_back: Callable[[Path, Path], None],
    running: bool,
) -> None:
    path, open_store = opened
    store = open_store()
    ada = open_journal(tmp_path / "ada")
    assert obtain_number(ada, store, request("one", reserve=0)).number == 0
    backup = tmp_path / "backup.db"
    shutil.copyfile(path, backup)
    assert obtain_number(ada, store, request("two", reserve=0)).number == 1
    if not running:
        store.close()
        store = open_store()
    put_back(backup, path)
    # Nobody who comes now remembers anything.
    job = open_journal(tmp_path / "job")
    for _ in range(2):
        with pytest.raises((Refused, StoreNeeded)) as refused:
            obtain_number(job, store, request("three", reserve=0))
        assert "put back to an earlier state" in str(refused.value.why)
    assert recover_store(ada, store, margin=10).reached
    assert obtain_number(job, store, request("three", reserve=0)).number > 1
    assert obtain_number(ada, open_store(), request("four", reserve=0)).number > 2
    for journal in (ada, job):
        journal.close()


def test_a_store_at_an_address_is_begun_by_create_only(tmp_path: Path) -> None:
    """An unmounted disk looks like a place where no store ever was."""
    url = f"sqlite://{tmp_path}/srv/store.db"
    with open_journal(tmp_path / "job") as job:
        for emptied in (False, True):
            store = SqliteStore(url, tmp_path / "home")
            with pytest.raises(StoreNeeded, match="store create"):
                obtain_number(job, store, request("one"))
            assert store.path.exists() is emptied
            store.path.parent.mkdir(exist_ok=True)
            store.path.touch()
        store.path.unlink()
        lineage = store.create()
        assert len(lineage) == 32
        assert obtain_number(job, store, request("one")).number == 0
        with pytest.raises(Refused, match="already"):
            SqliteStore(url, tmp_path / "home").create()
        store.path.rename(tmp_path / "away")
        # A server asks for machines that know nothing: there is no first contact through it.
        with open_journal(tmp_path / "other") as other, pytest.raises(StoreNeeded):
            obtain_number(other, SqliteStore(url, tmp_path / "home"), request("two"))
        store.close()
    for refused, granter in (("sqlite:", ""), (url, "a" * 32)):
        with pytest.raises(UsageError):
            SqliteStore(refused, tmp_path / "home").create(granter)


def recovered_with_nothing_left(home: Path) -> Journal:
    path = home / "journal.db"
    path.write_bytes(os.urandom(20_000))
    recover_journal(path, clock=SystemClock(), ids=SystemIds(), label="now")
    return open_journal(home)


@pytest.mark.parametrize("kind", ["own", "shared", "folder"])
def test_p1_a_journal_that_lost_its_memory_takes_no_number_from_an_empty_store(
    tmp_path: Path, kind: str
) -> None:
    def fresh(place: str) -> Any:
        """A store that nobody used yet."""
        (tmp_path / place).mkdir()
        if kind == "own":
            return SqliteStore("sqlite:", tmp_path / place)
        url = f"{'folder' if kind == 'folder' else 'sqlite'}://{tmp_path}/{place}"
        store = cxlocal_register_stores()[url.partition(":")[0]](
            url if kind == "folder" else f"{url}/store.db", tmp_path / f"home of {place}"
        )
        store.create()
        return store

    store = fresh("first")
    home = tmp_path / "laptop"
    with open_journal(home) as journal:
        assert obtain_number(journal, store, request("one")).number == 0
    with recovered_with_nothing_left(home) as journal:
        other = fresh("second")
        for _ in range(2):
            with pytest.raises((Refused, StoreNeeded)):
                obtain_number(journal, other, request("two"))
        with suppress(Refused):
            synchronise(journal, other, use_breaker=False)
        # The right one has a history.
        assert obtain_number(journal, store, request("two")).number == 1
        assert not journal.value(LOST_MEMORY)
        other.close()
    # Or a person says that it is gone for good.
    with recovered_with_nothing_left(home) as journal:
        third = fresh("third")
        assert recover_store(journal, third).reached
        assert obtain_number(journal, third, request("three", first=7)).number == 7
        third.close()
    store.close()
