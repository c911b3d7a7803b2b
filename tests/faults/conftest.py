"""A disk that loses power, and a writer that is killed at a chosen system call.

The writer works on an ext4 file system in an image file. Killing it at its Nth write, sync,
truncate or unlink and copying the image at that moment, while the file system is still mounted,
gives exactly what the disk would hold if power had gone: what was synced, and nothing else. The
copy is then mounted (its own journal replays) and looked at.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

IMAGE_MEGABYTES = 24
# Long enough that nothing reaches the image on its own during a test.
COMMIT_SECONDS = 600
CALLS = "write,pwrite64,fdatasync,fsync,ftruncate,unlink,unlinkat,rename"


def call(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


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
        shutil.copyfile(saved, self.image)

    def cut(self) -> None:
        """Take the image as it is at this moment."""
        shutil.copyfile(self.image, self.copy_image)

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


class Killed(NamedTuple):
    """How a writer under strace ended: what it had printed, and whether it was killed."""

    printed: list[str]
    killed: bool


def _run_to_call(script: Path, argument: Path, number: int, action: str = "signal=KILL") -> Killed:
    """Run a writer; at its Nth system call of ``CALLS`` that touches a file under ``argument``,
    do ``action``. Only calls on the disk count: the interpreter's own start is the same each time.
    """
    command = [
        "strace", "-f", "-qq", "-o", "/dev/null", "-P", str(argument / "journal.db"),
        "-P", str(argument / "journal.db-journal"), "-P", str(argument),
        "-e", f"trace={CALLS}", "-e", f"inject={CALLS}:{action}:when={number}",
        sys.executable, str(script), str(argument),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    return Killed(done.stdout.split(), done.returncode in (-9, 137))


@pytest.fixture
def run_to_call() -> Callable[..., Killed]:
    """Runs a writer up to its Nth system call on a disk."""
    return _run_to_call
