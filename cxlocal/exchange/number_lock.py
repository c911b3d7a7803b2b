"""One process of a machine asks for a number at a time.

A process that asks the store holds a lock from before it asks until its number is in the journal,
so that numbers arrive in the order they were granted in. Whoever wants to give up numbers whose
answer was lost takes the lock too: a number on its way is never given up under the hands of the
process that asked. The kernel lets go of the lock when a process dies.

This is courtesy, not safety. A process that is stopped while it holds the lock must not keep the
others from their releases, so the wait is bounded and they go on without it; the transaction that
uses a number checks again whatever the lock would have made sure of.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxlocal.clock import Clock

FILE_NAME = "asking.lock"

PAUSE_SECONDS = 0.004
"""Between two tries for the lock: about what getting a number from a store nearby takes."""


@contextmanager
def asking(journal: Path, clock: Clock, wait_seconds: float) -> Iterator[bool]:
    """Hold the lock of the journal at that path; False where it was not had within
    ``wait_seconds``."""
    handle = _open(journal)
    try:
        deadline = clock.monotonic() + wait_seconds
        while not (held := _lock(handle)) and clock.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
        yield held
    finally:
        os.close(handle)


@contextmanager
def nobody_asks(journal: Path) -> Iterator[bool]:
    """True, and the lock held, while no process of this journal is waiting for a number."""
    handle = _open(journal)
    try:
        yield _lock(handle)
    finally:
        os.close(handle)


def _open(journal: Path) -> int:
    return os.open(journal.with_name(FILE_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: the check in the transaction remains
    return True
