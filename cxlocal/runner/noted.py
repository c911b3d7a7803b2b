"""Where it is noted what a command has begun, for whoever comes after a kill -9 (``leftovers``).

Commands that only report import this, so it imports nothing of ours.
"""

from __future__ import annotations

from pathlib import Path

ENDING = "processes"
"""Of such a file: beside the checkout of a run, or beside the lock of what is carried out."""

STAGES = "stages"
"""The folder, among the locks, of those that stages of single commands hold."""


def of_locked(lock: Path) -> Path:
    """The file that says what the holder of a lock has begun."""
    return lock.with_name(f"{lock.name}.{ENDING}")
