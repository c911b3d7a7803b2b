"""Who is waiting for a number just now.

A process that asks the store holds a shared lock from before it asks until its number is in the
journal. Whoever wants to give up numbers whose answer was lost takes the lock alone first, so a
number on its way is never given up under the hands of the process that asked. The kernel lets go
of the lock when a process dies. This is courtesy, not safety: the asking process checks again in
the transaction that uses the number.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_NAME = "asking.lock"


@contextmanager
def asking(home: Path) -> Iterator[None]:
    """Hold the lock together with others that ask."""
    handle = os.open(home / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextmanager
def nobody_asks(home: Path) -> Iterator[bool]:
    """True while no process of this machine is waiting for a number."""
    handle = os.open(home / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(handle)


def _lock(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: the check in the transaction remains
    return True
