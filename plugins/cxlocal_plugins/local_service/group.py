"""The processes of a service: its first one, and those it has started itself.

A server with workers is a group of processes, and the first may end before the others: a shell
that starts the real server ends at once on SIGTERM. Whoever is left would hold the port and go on
serving the old version.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cxlocal.hooks.running import Identity, alive
from cxlocal_plugins.local_service.install import VENV

LINUX = sys.platform.startswith("linux")
ENDED_STATES = (b"Z", b"X", b"x")
"""Of proc_pid_stat(5): nothing it could still do."""


def is_left(first: Identity, folder: Path) -> bool:
    """Whether anything of the service whose release lies in ``folder`` is still alive.

    ``first`` leads the group. Where it is gone its number may be somebody else's by now, so the
    others are known by their environment, which names the folder. Only Linux tells that.
    """
    return alive(first.pid, first.start) or (LINUX and _is_group_left(first.pid, folder))


def _is_group_left(group: int, folder: Path) -> bool:
    mark = os.fsencode(folder / VENV)
    return any(
        _group(place) == group and mark in _environment(place)
        for place in Path("/proc").iterdir()
        if place.name.isdecimal()
    )


def _group(place: Path) -> int:
    """The process group; 0 for none and for what has ended."""
    try:
        stat = (place / "stat").read_bytes()
    except OSError:
        return 0  # It ended while we looked.
    # The second field is the program's name in parentheses and may itself hold ") ".
    state, _, group = stat[stat.rfind(b")") + 2 :].split()[:3]
    return 0 if state in ENDED_STATES else int(group)


def _environment(place: Path) -> bytes:
    try:
        return (place / "environ").read_bytes()
    except OSError:
        return b""  # It ended, or it is not ours.
