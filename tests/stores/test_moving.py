"""A store moves to another place or kind of database, as the same store, and is backed up."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync import relocation
from cxlocal_sync.http.client import HttpStore
from cxlocal_sync.http.credentials import keep_credential, read_credential
from cxlocal_sync.http.management import BACKUP, members_path
from cxlocal_sync.http.members import Members
from cxlocal_sync.relocation import back_up, move
from cxlocal_sync.stores import moving
from cxlocal_sync.stores.condition import COMING
from http_kit import ThreadServer
from numbers_kit import TestClock, open_at, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.clock import SystemClock
from cxlocal.errors import Refused, Trouble, UsageError
from cxlocal.exchange.contact import bind_address
from cxlocal.exchange.rights import Rights
from cxlocal.exchange.sync import recover_store, synchronise
from cxlocal.journal.verify import verify
from cxlocal.text import utc_text

Machine = Callable[..., Any]
CLOCK = SystemClock()
BLOB = b"what was built"


def found(home: Path, name: str) -> str:
    """A store in a file, begun."""
    url = f"sqlite://{home / name}"
    store = open_at(url, home)
    store.create()
    store.close()
    return url


def place(kind: str, home: Path, databases: Any) -> str:
    return str(databases.fresh()) if kind == "postgresql" else f"sqlite://{home / 'new.db'}"


def carry(old: str, new: str, home: Path) -> moving.Moved:
    stores = open_at(old, home), open_at(new, home)
    try:
        return move(old, new, home, stores, CLOCK)
    finally:
        for store in stores:
            store.close()


def number(journal: Any, url: str, home: Path, run: str) -> int:
    store = open_at(url, home)
    bind_address(journal, store.url)
    got = obtain_number(journal, store, request(run))
    report = synchronise(journal, store, use_breaker=False)
    assert (report.reached, report.stopped, report.pending) == (True, "", 0), report
    store.close()
    return int(got.number)


KINDS = [
    ("sqlite", "sqlite"),
    pytest.param("sqlite", "postgresql", marks=pytest.mark.needs("pg_ctlcluster")),
    pytest.param("postgresql", "sqlite", marks=pytest.mark.needs("pg_ctlcluster")),
    pytest.param("postgresql", "postgresql", marks=pytest.mark.needs("pg_ctlcluster")),
]


@pytest.mark.parametrize(("kind", "to"), KINDS)
def test_a_store_moves_as_the_same_store(
    kind: str, to: str, tmp_path: Path, machine: Machine, databases: Any
) -> None:
    home = tmp_path / "central"
    home.mkdir()
    old = str(databases.fresh()) if kind == "postgresql" else found(home, "old.db")
    new = place(to, home, databases)
    one, two = machine("one"), machine("two")
    assert [number(one, old, home, "r0"), number(two, old, home, "r1")] == [0, 1]
    digest = sha256(BLOB).hexdigest()
    store = open_at(old, home)
    store.put_blob(digest, BLOB, timeout=5)
    store.close()
    moved = carry(old, new, home)
    assert moved.copied > 4 and moved.blobs == 1
    # Nothing stops, nothing is skipped, and nobody is taken for a copy.
    nodes = one.node, two.node
    assert [number(two, new, home, "r2"), number(one, new, home, "r3")] == [2, 3]
    assert (one.node, two.node) == nodes
    fresh = machine("fresh")
    assert number(fresh, new, home, "r4") == 4
    assert verify(fresh).findings == []
    store = open_at(new, home)
    assert store.get_blob(digest, timeout=5) == BLOB
    store.close()
    # The old place is closed for good, also for whoever would recover it, and says where it went.
    store = open_at(old, home)
    bind_address(one, store.url)
    report = synchronise(one, store, use_breaker=False)
    assert not report.reached and "was moved to" in report.why
    with pytest.raises(Exception, match="cannot be reached"):
        recover_store(one, store)
    store.close()
    assert carry(old, new, home) == moving.Moved(0, 0, 0.0)  # given again, nothing is to do
    # No backup is made of what is not used any more, and no server starts before it.
    for attempt in (
        lambda: back_up(old, home, tmp_path / "kept", CLOCK),
        lambda: relocation.require_open(old, home, "cxlocal serve --store", coming=False),
    ):
        with pytest.raises(Refused, match="moved away") as caught:
            attempt()
        assert new in caught.value.why and new in caught.value.hint
    assert not (tmp_path / "kept").exists()
    relocation.require_open(new, home, "cxlocal serve --store")
    with pytest.raises(Refused, match="moved already"):
        carry(old, f"sqlite://{home / 'third.db'}", home)


STEPS = ["copy_blobs", "copy_history", "_copy", "open_place", "_copy_members"]


@pytest.mark.parametrize("to", ["sqlite", KINDS[1].values[1]])
@pytest.mark.parametrize("step", STEPS)
def test_a_move_that_is_cut_off_goes_on(
    step: str, to: str, tmp_path: Path, machine: Machine, databases: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """At each step; what happened at the old place meanwhile, where it still answered, goes along."""
    home = tmp_path / "central"
    home.mkdir()
    old = found(home, "old.db")
    new = place(to, home, databases)
    one = machine("one")
    assert number(one, old, home, "r0") == 0
    where: Any = relocation if step == "_copy_members" else moving
    real = getattr(where, step)

    def cut(*arguments: Any) -> Any:
        real(*arguments)
        raise OSError("the power went")

    monkeypatch.setattr(where, step, cut)
    with pytest.raises(Trouble, match="is where it was"):
        carry(old, new, home)
    monkeypatch.setattr(where, step, real)
    store = open_at(new, home)
    halfway = synchronise(machine("early"), store, use_breaker=False)
    assert not halfway.reached or step == "open_place"
    store.close()
    closed = step in ("copy_history", "open_place", "_copy_members")
    if not closed:
        assert number(one, old, home, "r1") == 1
    carry(old, new, home)
    assert number(one, new, home, "r2") == (1 if closed else 2)
    assert verify(one).findings == []


def test_what_cannot_be_moved(tmp_path: Path, machine: Machine) -> None:
    home = tmp_path / "central"
    home.mkdir()
    old, other = found(home, "old.db"), found(home, "other.db")
    for url in (other, old):
        with pytest.raises(Refused, match="a store already"):
            carry(old, url, home)
    with pytest.raises(Refused, match="no store to be moved"):
        carry(f"sqlite://{home / 'gone.db'}", f"sqlite://{home / 'new.db'}", home)
    for url in ("folder:///mnt/x", "https://store.example.org", "s3://bucket/x"):
        with pytest.raises(
            UsageError, match="no place a store can be moved from or to, or backed up"
        ):
            relocation.place_at(url, home)
    assert number(machine("one"), old, home, "r0") == 0


@pytest.mark.needs("pg_ctlcluster")
def test_members_tokens_and_machines_go_along_under_load(
    tmp_path: Path, machine: Machine, databases: Any
) -> None:
    """While machines take numbers at the server; then the server is started before the new place."""
    home = tmp_path / "central"
    server = ThreadServer(home)
    old, new = f"sqlite://{home / 'store.db'}", str(databases.fresh())
    names = [f"m{index}" for index in range(3)]
    stores = {name: server.enrol(tmp_path / name, name) for name in names}
    journals = {name: machine(name) for name in names}
    numbers: list[int] = []
    moved: list[moving.Moved] = []
    mover = threading.Thread(target=lambda: moved.append(carry(old, new, home)))
    for turn in range(200):
        if turn == 3:
            mover.start()
        if moved:
            break
        for name in names:
            if synchronise(journals[name], stores[name], use_breaker=False).reached:
                got = obtain_number(journals[name], stores[name], request(f"{name}-{turn}"))
                numbers.append(got.number)
    mover.join(30)
    assert moved and len(numbers) >= 9
    server.close()
    path = members_path(new, home)
    assert path.is_file()
    after = ThreadServer(home / "elsewhere", lambda: open_at(new, home), members=path)
    for name in names:
        kept = read_credential(tmp_path / name, stores[name].url)
        assert kept is not None
        keep_credential(tmp_path / name, after.url, kept)
        store = HttpStore(after.url, tmp_path / name)
        bind_address(journals[name], after.url)
        got = obtain_number(journals[name], store, request(f"{name}-after"))
        numbers.append(got.number)
        report = synchronise(journals[name], store, use_breaker=False)
        assert (report.reached, report.stopped, report.pending) == (True, "", 0)
        store.close()
    assert len(numbers) == len(set(numbers))
    after.close()
    for store in stores.values():
        store.close()


# Backup


def test_a_backup_is_whole_and_can_be_put_back(tmp_path: Path, machine: Machine) -> None:
    home, kept = tmp_path / "central", tmp_path / "backup"
    home.mkdir()
    old = found(home, "store.db")
    Members(members_path(old, home)).close()
    one = machine("one")
    assert number(one, old, home, "r0") == 0
    store = open_at(old, home)
    store.put_blob(sha256(BLOB).hexdigest(), BLOB, timeout=5)
    made = back_up(old, home, kept, TestClock())
    assert made.files == ("store.db", "store.db.members") and made.blobs == 1
    assert back_up(old, home, kept, TestClock()).blobs == 0
    roll = Members(members_path(old, home))
    assert roll.value(BACKUP) == utc_text(TestClock().ms)
    roll.close()
    assert all(each.stat().st_mode & 0o077 == 0 for each in kept.rglob("*"))
    later = number(one, old, home, "r1")
    store.close()
    shutil.copytree(kept, home, dirs_exist_ok=True)
    store = open_at(old, home)
    report = synchronise(one, store, use_breaker=False)
    assert report.stopped  # it lacks what the machine remembers
    recover_store(one, store)
    assert store.get_blob(sha256(BLOB).hexdigest(), timeout=5) == BLOB
    store.close()
    assert number(one, old, home, "r2") > later


@pytest.mark.needs("pg_ctlcluster")
def test_the_members_of_a_database_are_put_back_where_they_were(
    tmp_path: Path, databases: Any
) -> None:
    """``cp -a BACKUP/. HOME/``: nobody needs to know what the file is called."""
    url, home, kept = str(databases.fresh()), tmp_path / "home", tmp_path / "backup"
    roll = Members(members_path(url, home))
    roll.invite("ada", Rights())
    roll.close()
    assert back_up(url, home, kept, CLOCK).files == (members_path(url, home).name,)
    shutil.rmtree(home)
    shutil.copytree(kept, home)
    again = Members(members_path(url, home))
    assert [row["name"] for row in again.listing()["codes"]] == ["ada"]
    again.close()


def test_a_move_that_is_not_done_is_not_backed_up(tmp_path: Path) -> None:
    old, new = (found(tmp_path, name) for name in ("old.db", "new.db"))
    with closing(sqlite3.connect(tmp_path / "new.db")) as file:
        file.execute("UPDATE store SET hint = ?", (COMING + old,))
        file.commit()
    with pytest.raises(Refused, match="not whole") as caught:
        back_up(new, tmp_path, tmp_path / "kept", CLOCK)
    assert caught.value.hint == f"cxlocal store move {new} --store {old}"


@pytest.mark.parametrize("fault", ["no store", "a file in the way"])
def test_a_backup_that_fails_says_so(fault: str, tmp_path: Path) -> None:
    home = tmp_path / "central"
    home.mkdir()
    if fault == "no store":
        with pytest.raises(Refused, match="no store to be backed up"):
            back_up(f"sqlite://{home / 'gone.db'}", home, tmp_path / "b", CLOCK)
        return
    (tmp_path / "b").write_text("")
    with pytest.raises(Trouble, match="was not made"):
        back_up(found(home, "store.db"), home, tmp_path / "b", CLOCK)
