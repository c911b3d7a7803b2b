"""What a shared folder does to a store: torn, missing, foreign and late files, full and read-only
disks, shares that are gone, that hang, or that were restored from a backup (F28–F31)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.keys import names
from cxlocal_sync.keys.cache import cache_path, discard
from cxlocal_sync.keys.folder import FolderSpace
from cxlocal_sync.keys.open import folder_store
from cxlocal_sync.keys.space import CONTENT_BYTES_MAX, SpaceError, SpaceMissing
from cxlocal_sync.keys.store import KeyStore
from numbers_kit import request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.allocation.request import Number
from cxlocal.errors import Refused, StoreNeeded
from cxlocal.exchange.contact import bind_address
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import recover_store, synchronise
from cxlocal.journal.file import Journal

WORKER = Path(__file__).with_name("worker.py")
Machine = Callable[..., Journal]
Seen = Callable[..., KeyStore]


def take(journal: Journal, store: Any, run: str, **rest: Any) -> Number:
    return obtain_number(journal, store, request(run, **rest))


def level(journal: Journal, store: Any) -> Any:
    report = synchronise(journal, store, use_breaker=False, budget_seconds=20)
    assert report.reached, report.why
    return report


def keys_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def lived_in(share: Path, machine: Machine, seen_by: Seen) -> Path:
    """A store with three numbers of a machine called *laptop*, all of it synchronised."""
    laptop, store = machine("laptop"), seen_by(share, "laptop")
    for index in range(3):
        take(laptop, store, f"r{index}")
    level(laptop, store)
    return share


def test_torn_files_are_noticed_at_every_byte(
    lived_in: Path, machine: Machine, tmp_path: Path
) -> None:
    """A machine that reads the folder for the first time never believes a torn file: it grants
    nothing, names the file, and goes on by itself once the file has arrived as a whole."""
    newcomer = machine("newcomer")
    cut = 0
    for path in keys_of(lived_in):
        key = path.relative_to(lived_in).as_posix()
        if key.startswith("contact/"):
            continue  # those of another machine are not read
        whole = path.read_bytes()
        step = max(1, len(whole) // 24)
        for length in {*range(0, len(whole), step), len(whole) - 1}:
            path.write_bytes(whole[:length])
            discard(cache_path(tmp_path / "newcomer", f"folder://{lived_in}"))
            store = folder_store(f"folder://{lived_in}", tmp_path / "newcomer")
            with pytest.raises(StoreUnreachable) as caught:
                store.exchange(_hello(), timeout=5)
            assert key in caught.value.why and "store recover" in caught.value.hint
            store.close()
            cut += 1
        path.write_bytes(whole)
        # A flipped byte in the middle is no better.
        discard(cache_path(tmp_path / "newcomer", f"folder://{lived_in}"))
        path.write_bytes(whole[: len(whole) // 2] + b"\x00" + whole[len(whole) // 2 + 1 :])
        with pytest.raises(StoreNeeded):
            take(newcomer, folder_store(f"folder://{lived_in}", tmp_path / "newcomer"), "n")
        path.write_bytes(whole)
    assert cut > 100
    store = folder_store(f"folder://{lived_in}", tmp_path / "newcomer")
    assert take(newcomer, store, "n").number == 3
    store.close()


def _hello() -> bytes:
    from cxlocal.exchange.messages import encode

    token = {"count": 0, "value": ""}
    contact = {"node": "f" * 32, "token": token, "proposal": {"count": 1, "value": "p"}}
    return encode({"protocol": 1, "contact": contact})


def test_a_damaged_log_goes_on_by_recovery(lived_in: Path, machine: Machine, seen_by: Seen) -> None:
    """The newest entry is torn for good: recovery goes on before it, above what it may have held,
    and the machines bring back what stood in it."""
    laptop, store = machine("laptop"), seen_by(lived_in, "laptop")
    last = take(laptop, store, "last")
    newest = max((lived_in / "log").rglob("0*[0-9]"), key=lambda path: (path.is_file(), path.name))
    newest.write_bytes(newest.read_bytes()[:100])
    other, its = machine("other"), seen_by(lived_in, "other")
    with pytest.raises(StoreNeeded, match="damaged"):
        take(other, its, "o0")
    with pytest.raises(StoreUnreachable):
        store.exchange(_hello(), timeout=5)
    recover_store(other, its)
    number = take(other, its, "o1").number
    assert number is not None and last.number is not None and number > last.number + 500
    for _ in range(2):
        level(laptop, store)
        level(other, its)
    assert take(laptop, store, "again").number == number + 1
    rows = [row["run"] for row in other.query("SELECT run FROM version ORDER BY number")]
    assert rows[:4] == ["r0", "r1", "r2", "last"]


def test_a_lost_entry_never_forks_the_log(lived_in: Path, machine: Machine, seen_by: Seen) -> None:
    entries = sorted(path for path in (lived_in / "log").rglob("*") if path.is_file())
    entries[1].rename(lived_in / "elsewhere")
    newcomer = machine("newcomer")
    with pytest.raises(StoreNeeded, match="missing"):
        take(newcomer, seen_by(lived_in, "newcomer"), "n")
    assert len([path for path in (lived_in / "log").rglob("*") if path.is_file()]) == (
        len(entries) - 1
    )
    (lived_in / "elsewhere").rename(entries[1])
    assert take(newcomer, seen_by(lived_in, "newcomer"), "n").number == 3


def test_foreign_and_conflicting_files_are_passed_over(
    lived_in: Path, machine: Machine, seen_by: Seen
) -> None:
    """F30: copies that a sync program made beside a file, and what else people leave."""
    for path in keys_of(lived_in):
        copy = path.with_name(f"{path.name} (conflicted copy of Ada)")
        copy.write_bytes(b"something else")
        path.with_name(f".{path.name}.swp").write_bytes(b"x")
    (lived_in / "log" / "README").mkdir()
    (lived_in / "generation").mkdir()
    (lived_in / "generation" / "2").write_text("x")
    assert take(machine("laptop"), seen_by(lived_in, "laptop"), "a").number == 3
    assert take(machine("newcomer"), seen_by(lived_in, "newcomer"), "b").number == 4


class Late:
    """A folder whose new files, written by others, are not seen at first: as on shares whose
    clients keep what they looked up."""

    def __init__(self, inner: FolderSpace, looks: int) -> None:
        self.inner, self.looks = inner, looks
        self.own: set[str] = set()
        self.seen: dict[str, int] = {}

    def _visible(self, key: str) -> bool:
        if key in self.own or key == names.MARKER:
            return True
        self.seen[key] = self.seen.get(key, 0) + 1
        return self.seen[key] > self.looks

    def get(self, key: str) -> bytes | None:
        found = self.inner.get(key)
        return found if found is None or self._visible(key) else None

    def put_new(self, key: str, content: bytes) -> bool:
        fresh = self.inner.put_new(key, content)
        if fresh:
            self.own.add(key)
        return fresh

    def put(self, key: str, content: bytes) -> None:
        self.inner.put(key, content)

    def names(self, folder: str) -> list[str]:
        return [each for each in self.inner.names(folder) if self._visible(f"{folder}/{each}")]

    def remove(self, key: str) -> None:
        self.inner.remove(key)

    def close(self) -> None:
        self.inner.close()


@pytest.mark.parametrize("looks", [1, 3, 7])
def test_files_that_are_seen_late(
    share: Path, machine: Machine, tmp_path: Path, looks: int
) -> None:
    """Whoever does not see the newest entry yet still cannot take its place."""
    journals = [machine("one"), machine("two")]
    spaces = [Late(FolderSpace(share), looks) for _ in journals]
    stores = [
        KeyStore(f"folder://{share}", tmp_path / name, lambda _, space=space: space)
        for name, space in zip(("one", "two"), spaces, strict=True)
    ]
    numbers: list[int] = []
    for turn in range(10):
        try:
            number = take(journals[turn % 2], stores[turn % 2], f"r{turn}", reserve=0).number
        except StoreNeeded as error:
            assert "arrived" in error.why or "faster" in error.why, error.why
        else:
            assert number is not None
            numbers.append(number)
    assert numbers == sorted(set(numbers)) and len(numbers) >= 8
    for journal, store in [*zip(journals, stores, strict=True)] * 2:
        assert level(journal, store).stopped == ""
    for store in stores:
        store.close()


@pytest.mark.needs("bindfs")
def test_an_unmounted_share_is_never_a_fresh_store(
    lived_in: Path, mount: Callable[..., Any], machine: Machine, seen_by: Seen
) -> None:
    """F29: the bare mount point stays bare, for machines that know the store and for new ones; the
    release goes on from the reserve, and everything arrives when the share is back."""
    there = mount(lived_in, "team")
    laptop, store = machine("laptop"), seen_by(there.point, "laptop2")
    bind_address(laptop, store.url)  # The same store, under the name of the second mount.
    level(laptop, store)
    there.unmount()
    assert os.listdir(there.point) == []
    from_reserve = take(laptop, store, "offline")
    assert (from_reserve.how, from_reserve.number) == ("reserve", 100)
    for name, journal in (("laptop2", laptop), ("newcomer", machine("newcomer"))):
        with pytest.raises(StoreUnreachable) as caught:
            seen_by(there.point, name).exchange(_hello(), timeout=5)
        assert "mounted" in caught.value.why and "store create" in caught.value.hint
        with pytest.raises(StoreUnreachable):
            seen_by(there.point, name).put_blob(sha256(b"x").hexdigest(), b"x", timeout=5)
        with pytest.raises(StoreUnreachable):
            recover_store(journal, seen_by(there.point, name))
    assert os.listdir(there.point) == []
    os.rmdir(there.point)
    with pytest.raises(StoreUnreachable, match="no folder") as caught:
        store.exchange(_hello(), timeout=5)
    assert "make the place" in caught.value.hint
    there.point.mkdir()
    there.mount()
    level(laptop, store)
    assert take(laptop, store, "online").number == 103, "above the reserve that was begun"


@pytest.mark.needs("bindfs")
def test_a_share_that_hangs_costs_the_time_allowed_only(
    lived_in: Path, mount: Callable[..., Any], machine: Machine, seen_by: Seen
) -> None:
    there = mount(lived_in, "team")
    laptop, store = machine("laptop"), seen_by(there.point, "laptop2")
    bind_address(laptop, store.url)  # The same store, under the name of the second mount.
    level(laptop, store)
    there.process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    assert take(laptop, store, "offline").how == "reserve"
    assert time.monotonic() - begun < 3.0
    begun = time.monotonic()
    report = synchronise(laptop, store, use_breaker=False, budget_seconds=1.0)
    assert not report.reached and "in time" in report.why
    assert time.monotonic() - begun < 2.0
    there.process.send_signal(signal.SIGCONT)
    time.sleep(0.3)
    level(laptop, store)
    assert take(laptop, store, "online").how == "online"


@pytest.mark.needs("bindfs")
def test_a_share_that_can_only_be_read(
    lived_in: Path, mount: Callable[..., Any], machine: Machine, seen_by: Seen
) -> None:
    there = mount(lived_in, "team", "-r")
    before = {path: path.read_bytes() for path in keys_of(lived_in)}
    laptop, store = machine("laptop"), seen_by(there.point, "laptop")
    bind_address(laptop, store.url)  # The same store, under the name of the second mount.
    assert take(laptop, store, "r9").how == "reserve"
    report = synchronise(laptop, store, use_breaker=False)
    assert not report.reached and "only be read" in report.why
    assert {path: path.read_bytes() for path in keys_of(lived_in)} == before


@pytest.mark.parametrize("seed", range(6))
def test_a_full_disk_refuses_and_recovers(
    share: Path, machine: Machine, seen_by: Seen, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F32: the disk is full from the Nth write on; nothing half is left, and it goes on after."""
    laptop, store = machine("laptop"), seen_by(share, "laptop")
    first = take(laptop, store, "first", reserve=0).number
    left = [seed]
    true_write = FolderSpace._write

    def write(space: FolderSpace, key: str, content: bytes) -> str:
        left[0] -= 1
        return true_write(space, key, content) if left[0] >= 0 else _full(space, key)

    def _full(space: FolderSpace, key: str) -> str:
        space._make_folder("tmp")
        # A real refusal of the system: /dev/full takes no byte.
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")
        raise AssertionError(key)

    with monkeypatch.context() as patch:
        patch.setattr(FolderSpace, "_write", write)
        try:
            numbers = [take(laptop, store, f"full{n}", reserve=0).number for n in range(4)]
        except StoreNeeded as error:
            numbers = []
            assert "disk is full" in error.why
    after = take(laptop, store, "after", reserve=0).number
    assert after is not None and first is not None and after > first
    assert numbers == sorted(numbers, key=lambda number: number or 0)
    assert os.listdir(share / "tmp") == []
    assert level(laptop, store).stopped == ""


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", ["link,linkat", "fsync,fdatasync", "unlink,unlinkat"])
def test_killed_at_every_step_of_a_put(
    call: str, share: Path, tmp_path: Path, machine: Machine, seen_by: Seen
) -> None:
    """F1: killed at the Nth such call; what was printed stands, the next number is higher."""
    out = tmp_path / "out"
    for nth in range(1, 8):
        with out.open("ab") as handle:
            subprocess.run(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                 "-e", f"inject={call}:signal=KILL:when={nth}",
                 sys.executable, str(WORKER), f"folder://{share}", str(tmp_path / "m"), f"m{nth}",
                 "1"],
                stdout=handle, check=False,
            )  # fmt: skip
    printed = [int(line) for line in out.read_text().split() if line.isdigit()]
    assert printed == sorted(set(printed))
    laptop = machine("m")
    number = take(laptop, seen_by(share, "m"), "after", reserve=0).number
    assert number is not None and number > max(printed, default=-1)
    level(laptop, seen_by(share, "m"))
    fresh = machine("fresh")
    level(fresh, seen_by(share, "fresh"))
    known = {row["number"] for row in fresh.query("SELECT number FROM version")}
    assert known >= set(printed)


@pytest.mark.needs("strace")
def test_a_folder_without_hard_links(share: Path, tmp_path: Path) -> None:
    """Sticks have none: an exclusive rename does it; where there is none either, it is refused."""
    for extra, expected in ((), "0\n1\n"), (("-e", "inject=renameat2:error=EINVAL"), "neither"):
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=link,linkat,renameat2",
             "-e", "inject=link,linkat:error=EPERM", *extra,
             sys.executable, str(WORKER), f"folder://{share}", str(tmp_path / "m"),
             f"m{len(extra)}", "2"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert expected in done.stdout, done.stdout + done.stderr


def test_a_folder_restored_from_a_backup(
    lived_in: Path, machine: Machine, seen_by: Seen, tmp_path: Path
) -> None:
    """F31, P11: nothing is granted until recovered, then above all that was used."""
    shutil.copytree(lived_in, tmp_path / "backup")
    laptop, other = machine("laptop"), machine("other")
    store, its = seen_by(lived_in, "laptop"), seen_by(lived_in, "other")
    lost = [take(laptop, store, f"lost{index}").number for index in range(2)]
    lost.append(take(other, its, "lost-too").number)
    level(laptop, store)
    shutil.rmtree(lived_in)
    shutil.copytree(tmp_path / "backup", lived_in)
    offline = take(laptop, store, "offline")
    assert offline.how == "reserve"
    assert "lost part of its memory" in level(laptop, store).stopped
    with pytest.raises(StoreNeeded, match="lost part of its memory"):
        take(other, its, "refused", kept=False)
    recover_store(laptop, store)
    number = take(other, its, "after").number
    assert number is not None and number > max(each for each in lost if each is not None) + 500
    for journal, view in ((laptop, store), (other, its)) * 2:
        report = level(journal, view)
    assert (report.pending, report.stopped) == (0, "")
    runs = [
        {row["run"] for row in journal.query("SELECT run FROM version")}
        for journal in (laptop, other)
    ]
    assert runs[0] == runs[1] >= {"r0", "lost0", "lost1", "lost-too", "offline", "after"}


def test_a_lost_folder_is_made_again_only_when_told(
    lived_in: Path, machine: Machine, seen_by: Seen
) -> None:
    laptop, store = machine("laptop"), seen_by(lived_in, "laptop")
    shutil.rmtree(lived_in)
    lived_in.mkdir()
    with pytest.raises(StoreUnreachable):
        recover_store(laptop, store)
    lineage = laptop.one("SELECT lineage FROM store_state")["lineage"]
    assert store.create(lineage=lineage) == lineage
    assert "lost part of its memory" in level(laptop, store).stopped
    recover_store(laptop, store)
    number = take(laptop, store, "after").number
    assert number is not None and number > 500
    assert {row["run"] for row in laptop.query("SELECT run FROM version")} >= {"r0", "after"}
    other = machine("other")
    level(other, seen_by(lived_in, "other"))
    assert {row["run"] for row in other.query("SELECT run FROM version")} >= {"r0", "r1", "r2"}


def test_a_copy_may_be_thrown_away_and_damaged(
    lived_in: Path, machine: Machine, seen_by: Seen, tmp_path: Path
) -> None:
    laptop, store = machine("laptop"), seen_by(lived_in, "laptop")
    cache = cache_path(tmp_path / "laptop", store.url)
    assert cache.is_file()
    cache.unlink()
    assert take(laptop, store, "a").number == 3
    cache.write_bytes(b"garbage" * 1000)
    assert take(laptop, seen_by(lived_in, "laptop"), "b").number == 4
    with open(cache, "r+b") as file:
        file.truncate(5000)
    assert take(laptop, seen_by(lived_in, "laptop"), "c").number == 5
    assert level(laptop, seen_by(lived_in, "laptop")).stopped == ""


def test_one_store_in_one_place(lived_in: Path, machine: Machine, seen_by: Seen) -> None:
    with pytest.raises(Refused, match="already"):
        seen_by(lived_in, "other").create()
    laptop, store = machine("laptop"), seen_by(lived_in, "laptop")
    marker = (lived_in / names.MARKER).read_bytes()
    (lived_in / names.MARKER).unlink()
    with pytest.raises(Refused, match="left of another store"):
        seen_by(lived_in, "other").create()
    lineage = laptop.one("SELECT lineage FROM store_state")["lineage"]
    seen_by(lived_in, "other").create(lineage=lineage)
    assert (lived_in / names.MARKER).read_bytes() == marker
    assert take(laptop, store, "goes-on").number == 3
    shutil.rmtree(lived_in)
    lived_in.mkdir()
    seen_by(lived_in, "other").create()
    with pytest.raises(Refused) as caught:
        synchronise(laptop, store, use_breaker=False)
    assert caught.value.name == "wrong-lineage"


def test_a_damaged_blob_is_mended_when_it_comes_again(
    lived_in: Path, machine: Machine, seen_by: Seen
) -> None:
    store = seen_by(lived_in, "laptop")
    content = b"report" * 1000
    digest = sha256(content).hexdigest()
    store.put_blob(digest, content, timeout=5)
    (lived_in / names.blob_key(digest)).write_bytes(content[:100])
    assert store.get_blob(digest, timeout=5) is None
    store.put_blob(digest, content, timeout=5)
    assert store.get_blob(digest, timeout=5) == content


def test_everybody_who_may_use_the_folder_may_use_what_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "group"
    folder.mkdir()
    folder.chmod(0o2770)
    old = os.umask(0o077)
    try:
        space = FolderSpace(folder)
        assert space.put_new("log/1/2", b"x")
        space.close()
    finally:
        os.umask(old)
    assert (folder / "log" / "1").stat().st_mode & 0o7777 == 0o2770
    assert (folder / "log" / "1" / "2").stat().st_mode & 0o777 == 0o660


def test_what_killed_processes_left_is_swept(share: Path) -> None:
    left = share / "tmp" / "left"
    left.write_bytes(b"half")
    young = share / "tmp" / "young"
    young.write_bytes(b"half")
    os.utime(left, (1, 1))
    space = FolderSpace(share)
    space.put_new("probe/x", b"x")
    space.close()
    assert not left.exists() and young.exists()


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "folder", "long"])
def test_what_is_no_file_of_a_store_is_not_read(kind: str, share: Path) -> None:
    """At once, and within what the longest content needs."""
    key = share / "tmp" / "key"
    if kind == "pipe":
        os.mkfifo(key)
    elif kind == "folder":
        key.mkdir()
    elif kind == "long":
        with key.open("wb") as file:
            file.truncate(CONTENT_BYTES_MAX + 1)
    elif kind == "device":
        (share / "dev").symlink_to("/dev")
        key = share / "dev" / "zero"
    else:
        key.symlink_to("/dev/zero")
    space = FolderSpace(share)
    with pytest.raises(SpaceError):
        space.get(key.relative_to(share).as_posix())
    space.close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpaceMissing):
        FolderSpace(tmp_path / "nowhere").put_new("a/b", b"x")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpaceError):
        FolderSpace(tmp_path / "file").get("a")
