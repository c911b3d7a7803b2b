"""Who holds a file open: for messages that name the process in the way."""

from __future__ import annotations

import os
from pathlib import Path

HOLDERS_MAX = 3
"""A message names at most this many processes."""


def describe_holders(path: Path) -> str:
    """``process 4711 (datasette …)`` for the processes that have ``path`` open, ourselves excluded.

    Uses /proc where there is one; elsewhere, and for processes of other users, it can only say
    that one exists.
    """
    found = [f"process {pid} ({command})" for pid, command in _holders(path)]
    return ", ".join(found[:HOLDERS_MAX]) or "a process that could not be identified"


def _holders(path: Path) -> list[tuple[int, str]]:
    try:
        wanted = os.stat(path)
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    return [(pid, _command(pid)) for pid in pids if pid != os.getpid() and _has_open(pid, wanted)]


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            if os.path.samestat(os.stat(f"{folder}/{descriptor}"), wanted):
                return True
        except OSError:
            continue
    return False


def _command(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "?"
    return raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()[:80]
