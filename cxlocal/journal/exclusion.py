"""Keeping every other process from writing to a database file, also one that SQLite cannot open.

A damaged file cannot be locked through SQLite. The locks SQLite takes are plain locks on bytes of
the file (https://www.sqlite.org/fileformat2.html#the_lock_byte_page): whoever holds them all is alone
with it, whatever its content is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxlocal.clock import Clock
from cxlocal.errors import Trouble

LOCK_BYTES = (0x40000000, 512)
"""First of the bytes SQLite locks, and how many they are."""
WAIT_SECONDS = 10.0
PAUSE_SECONDS = 0.05


@contextmanager
def keep_writers_out(path: Path, clock: Clock, *, seconds: float = WAIT_SECONDS) -> Iterator[int]:
    """A handle of the file, with which nobody else reads or writes it through SQLite. Raises Trouble
    where somebody does so for ``seconds``, or has put another file in its place."""
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        deadline = clock.monotonic() + seconds
        while not _locked(handle):
            if clock.monotonic() > deadline:
                raise Trouble(
                    "the journal is in use",
                    why=f"another process has {path} open and is reading or writing it",
                    hint="wait until it ends (a run, 'cxlocal browse'), then give the command again",
                    name="journal-locked",
                )
            time.sleep(PAUSE_SECONDS)
        held, there = os.fstat(handle), os.stat(path)
        if (held.st_ino, held.st_dev) != (there.st_ino, there.st_dev):
            raise Trouble(
                "another journal has taken the place of this one",
                why=f"{path} was replaced while we waited for it",
                hint="give the command again",
                name="journal-replaced",
            )
        yield handle
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    first, count = LOCK_BYTES
    try:
        if hasattr(fcntl, "F_OFD_SETLK"):
            # Owned by the handle: no other handle of this process gives it up by being closed.
            wanted = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, first, count, 0)
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, wanted)
        else:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, count, first, os.SEEK_SET)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True
