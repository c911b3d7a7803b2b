"""Machines, and stores in shared folders, for the tests of stores without a server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

# The kit stands beside the contract suite; test folders are no packages.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bucket_kit import credentials, seaweedfs
from cxlocal_sync.keys.open import folder_store
from cxlocal_sync.keys.store import KeyStore
from keys_kit import make_folder_store
from numbers_kit import open_journal

from cxlocal.journal.file import Journal


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., Journal]]:
    """Opens the journal of a machine by name, in a home of its own."""
    opened: list[Journal] = []

    def make(name: str = "laptop", clock: Any = None) -> Journal:
        journal = open_journal(tmp_path / name, clock)
        opened.append(journal)
        return journal

    yield make
    for journal in opened:
        journal.close()


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A shared folder that holds a store."""
    folder = tmp_path / "share"
    made = make_folder_store(folder, tmp_path / "maker")
    made.close()
    return folder


@pytest.fixture
def seen_by(tmp_path: Path) -> Iterator[Callable[..., KeyStore]]:
    """The store in a folder as the machine of that name sees it."""
    opened: list[KeyStore] = []

    def make(folder: Path, name: str = "laptop") -> KeyStore:
        store = folder_store(f"folder://{folder}", tmp_path / name)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


class NoMounts(Exception):
    """The kernel lets nobody mount a folder once more."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests with two mounts where the kernel gives none (no /dev/fuse in a container):
    a right that no package brings. pytest's last line counts what was deselected."""
    gone = [item for item in items if _mounts_twice(item)]
    if not gone or shutil.which("bindfs") is None or _can_mount():
        return
    config.hook.pytest_deselected(items=gone)
    items[:] = [item for item in items if item not in gone]


def _mounts_twice(item: pytest.Item) -> bool:
    return any("bindfs" in mark.args for mark in item.iter_markers("needs"))


def _can_mount() -> bool:
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            Mount(folder, folder / "again").unmount()
        except NoMounts:
            return False
    return True


class Mount:
    """A second view of a folder, served by a process of its own: no locks cross it."""

    def __init__(self, folder: Path, point: Path, *options: str) -> None:
        self.folder, self.point, self.options = folder, point, options
        point.mkdir(exist_ok=True)
        self.mount()

    def mount(self) -> None:
        self.process = subprocess.Popen(
            ["bindfs", "-f", *self.options, str(self.folder), str(self.point)],
            stdout=subprocess.DEVNULL,
        )
        for _ in range(2000):
            if os.path.ismount(self.point):
                return
            if self.process.poll() is not None:
                raise NoMounts(f"bindfs ended with {self.process.returncode}")
            time.sleep(0.01)
        raise AssertionError("bindfs did not mount")

    def unmount(self) -> None:
        subprocess.run(["fusermount3", "-u", "-z", str(self.point)], check=False)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Mount]]:
    """Mounts a folder once more."""
    mounted: list[Mount] = []

    def make(folder: Path, name: str, *options: str) -> Mount:
        mounted.append(Mount(folder, tmp_path / name, *options))
        return mounted[-1]

    yield make
    for each in mounted:
        each.unmount()


__all__ = ["credentials", "seaweedfs"]
