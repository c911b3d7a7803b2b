"""The processes of a service: its first one, and those it has started itself.

A server with workers is a group of processes, and the first may end before the others: a shell
that starts the real server ends at once on SIGTERM. Whoever is left would hold the port and go on
serving the old version.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cxlocal.hooks.running import Identity, alive, identity
from cxlocal_plugins.local_service.install import VENV

LINUX = sys.platform.startswith("linux")
ENDED_STATES = (b"Z", b"X", b"x")
"""Of proc_pid_stat(5): nothing it could still do."""


def left(first: Identity, folder: Path) -> frozenset[Identity]:
    """What is alive of the service whose release lies in ``folder``.

    ``first`` leads the group. Where it is gone its number may be somebody else's by now, so the
    others are known by their environment, which names the folder. Only Linux tells that. A process
    that ends loses its environment first: wait for those that were seen, not for nobody to be found.
    """
    found = {first} if alive(first.pid, first.start) else set()
    if LINUX:
        found |= _group_of(first.pid, folder)
    return frozenset(found)


def _group_of(group: int, folder: Path) -> set[Identity]:
    mark = os.fsencode(folder / VENV)
    of_group = (
        identity(int(place.name))
        for place in Path("/proc").iterdir()
        if place.name.isdecimal() and _group(place) == group and mark in _environment(place)
    )
    return {each for each in of_group if each is not None}


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
