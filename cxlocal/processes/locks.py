"""What two runs on one machine must not do at once: deploy into one lasting environment, or work
in one working tree.

The lock is the system's own (flock(2)): it ends with the process that holds it, however that ends.
The file says who holds it, for whoever waits.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from cxlocal.domain import path_part
from cxlocal.private import make_folder
from cxlocal.values import NamedTuple

AGAIN_SECONDS = 0.5
"""Between two tries of a run that waits for another to finish its deployment."""


class Lock(NamedTuple):
    """A lock that is held until ``release``."""

    handle: int

    def release(self) -> None:
        """Let others in."""
        os.close(self.handle)


def take(path: Path, who: str) -> Lock | None:
    """The lock at ``path``, or None while somebody else has it. ``who`` is told to them."""
    make_folder(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    os.ftruncate(handle, 0)
    os.pwrite(handle, who.encode("utf-8", "backslashreplace")[:500], 0)
    return Lock(handle)


def is_held(path: Path) -> bool:
    """Whether somebody has the lock now."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def holder(path: Path) -> str:
    """Who has the lock, as they put it."""
    try:
        return path.read_text("utf-8", "replace").strip() or "another run"
    except OSError:
        return "another run"


def environment_lock(home: Path, deliverable: str, environment: str) -> Path:
    """The lock of a lasting environment."""
    return home / "locks" / f"{path_part(deliverable)}.{path_part(environment)}"
