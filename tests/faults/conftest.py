"""Disks that lose power, fail or fill up; writers killed at a chosen call; and the question whether a
journal still accounts for everything.

The writer works on an ext4 file system in an image file. Killing it at its Nth write, sync,
truncate or unlink and copying the image at that moment, while the file system is still mounted,
gives exactly what the disk would hold if power had gone: what was synced, and nothing else. The
copy is then mounted (its own journal replays) and looked at.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.exchange.own_tables import verify
from cxlocal.journal.file import Journal

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # Test folders are no packages.

KILLED = "KILLED"
IMAGE_MEGABYTES = 24
# Long enough that nothing reaches the image on its own during a test.
COMMIT_SECONDS = 600


def call(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def _copy(image: Path, to: Path) -> None:
    """An image is mostly holes: only what was written is copied."""
    call("cp", "--sparse=auto", image, to)


class Disk:
    """An ext4 image, mounted. ``after_power_cut`` shows what a copy of it holds now."""

    def __init__(self, folder: Path) -> None:
        self.image, self.mount = folder / "disk.img", folder / "mnt"
        self.copy_image, self.copy_mount = folder / "copy.img", folder / "copy"
        self.mount.mkdir()
        self.copy_mount.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_MEGABYTES * 1024 * 1024)
        call("mkfs.ext4", "-q", "-F", self.image)

    def power_on(self) -> None:
        call("mount", "-o", f"loop,commit={COMMIT_SECONDS}", self.image, self.mount)

    def power_off(self) -> None:
        call("umount", self.mount)

    def reset(self, saved: Path) -> None:
        """Begin again from a saved state of the image."""
        _copy(saved, self.image)

    def save(self, saved: Path) -> None:
        """Keep the state of the image, for ``reset``."""
        _copy(self.image, saved)

    def cut(self) -> None:
        """Take the image as it is at this moment."""
        _copy(self.image, self.copy_image)

    def look(self) -> Path:
        """Mount what a power cut left; the file system's own journal is replayed by that."""
        call("mount", "-o", "loop", self.copy_image, self.copy_mount)
        return self.copy_mount

    def look_away(self) -> None:
        call("umount", self.copy_mount)

    def close(self) -> None:
        for place in (self.mount, self.copy_mount):
            subprocess.run(["umount", str(place)], check=False, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.close()


def _load(name: str, path: Path) -> Any:
    """A helper module of the tests, which are no packages."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


# The deliverable that the tests of the runner release.
shop = _load("cxlocal_test_shop", HERE.parent / "runner" / "conftest.py").shop


class Ended(NamedTuple):
    """How a writer on a failing disk ended: what it had printed, and whether it was killed."""

    printed: list[int]
    killed: bool


class FailingDisk:
    """Calls that write below a folder, made by a command and all it starts, fail from one of them
    on, or are the end of who makes them: see failing_disk.c."""

    FULL_FOR = 1_000_000
    """A full disk stays full; a broken one fails once."""

    def __init__(self, library: Path, counter: Path) -> None:
        self.library, self.counter = library, counter

    def environ(self, under: Path, error: str, at: int) -> dict[str, str]:
        """Variables for the command. ``error``: its name, or ``KILLED``. ``at`` is the number of the call,
        from 1; 0 only counts."""
        self.counter.write_bytes(bytes(struct.calcsize("l")))
        number = -signal.SIGKILL if error == KILLED else getattr(errno, error)
        calls = self.FULL_FOR if number == errno.ENOSPC else 1
        return {
            "LD_PRELOAD": str(self.library),
            "FAILING_DISK_UNDER": str(under),
            "FAILING_DISK_COUNTER": str(self.counter),
            "FAILING_DISK_AT": str(at or 2**40),
            "FAILING_DISK_CALLS": str(calls),
            "FAILING_DISK_ERROR": str(number),
        }

    def run(self, script: Path, home: Path, at: int, error: str) -> Ended:
        """Run a writer of ``home`` up to a call; only its calls on the disk count."""
        done = subprocess.run(
            [sys.executable, str(script), str(home)], capture_output=True, text=True, timeout=50,
            env={**os.environ, **self.environ(home, error, at)}, check=False,
        )  # fmt: skip
        return Ended([int(line) for line in done.stdout.split()], done.returncode < 0)

    def count(self) -> int:
        """Calls of the last command."""
        return int(struct.unpack("l", self.counter.read_bytes())[0])


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the library of a C file beside this one, for LD_PRELOAD."""

    def make(name: str) -> Path:
        library = tmp_path_factory.mktemp("preloaded") / f"{name}.so"
        call("gcc", "-shared", "-fPIC", "-O1", "-o", library, HERE / f"{name}.c", "-ldl")
        return library

    return make


@pytest.fixture
def failing_disk(preloaded: Callable[[str], Path], tmp_path: Path) -> FailingDisk:
    return FailingDisk(preloaded("failing_disk"), tmp_path / "calls")


def _account(home: Path) -> list[int]:
    """The numbers in use, in the order they were taken, after asking whether the journal in
    ``home`` is whole and no number was used twice."""
    with Journal.open(home / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal:
        assert verify(journal).findings == []
        assert journal.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = journal.query(
            "SELECT number, run FROM version WHERE number IS NOT NULL ORDER BY sequence"
        )
    numbers = [row["number"] for row in rows]
    assert numbers == sorted(set(numbers))
    return numbers


@pytest.fixture
def account() -> Callable[[Path], list[int]]:
    """Checks a journal; gives the numbers in use."""
    return _account
