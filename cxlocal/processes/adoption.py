"""Orphans among our descendants, on Linux: they are given to us, and we say whose they are.

A program that lost its parent, began a session and cleared its environment can be told by nothing
but its parent, which is we, and by when it began: if one program of ours ran then, it is that one's.
If several did, it is nobody's, and that is said.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from cxlocal.processes.family import Process
from cxlocal.processes.identity import Identity, identity, read_of_system
from cxlocal.processes.start import own_pids

_SET_CHILD_SUBREAPER = 36
"""Of prctl(2), Linux 3.4."""


class Adoption:
    """Makes this process the one to whom orphans are given, until it is closed."""

    def __init__(self) -> None:
        self.active = _become_subreaper(True)
        """False on macOS, in some sandboxes, and once closed: then there are no orphans here."""
        self.unclear: dict[str, list[Process]] = {}
        """By mark: orphans that may be that program's, and may be another's."""
        self._periods: dict[str, tuple[int, int | None]] = {}
        self._zombies: frozenset[int] = frozenset()

    def begin(self, mark: str, known: Identity | None) -> None:
        """A program has begun; None for one that has ended already."""
        if known is not None:
            self._periods[mark] = (int(known.start), None)

    def over(self, mark: str) -> None:
        """It has ended."""
        self.unclear.pop(mark, None)
        if mark in self._periods:
            self._periods[mark] = (self._periods[mark][0], _ticks())

    def claim(self, mark: str, seen: Sequence[Process]) -> Iterable[Process]:
        """The orphans among ``seen`` that only this program can have begun."""
        if mark not in self._periods:
            return []
        found: list[Process] = []
        self.unclear[mark] = []
        began = self._periods[mark][0]
        for one in _given(seen):
            running = [name for name in self._periods if self._ran(name, int(one.start))]
            older = any(int(o.start) < began for o in seen if o.session == one.session)
            if one.marks & self._periods.keys() or mark not in running or older:
                continue
            (found if running == [mark] else self.unclear[mark]).append(one)
        return found

    def tidy(self) -> None:
        """Let go of orphans that have ended: nobody else would, and each keeps a number. One that a
        plugin started is left to it for a while."""
        if self.active:
            found = frozenset(_zombies())
            for pid in found & self._zombies:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            self._zombies = found

    def close(self) -> None:
        """Be given no more."""
        self.tidy()
        if self.active:
            _become_subreaper(False)
            self.active = False

    def _ran(self, mark: str, at: int) -> bool:
        began, ended = self._periods[mark]
        return began <= at and (ended is None or at <= ended)


def _become_subreaper(on: bool) -> bool:
    """Whether it could be done."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        answer: int = ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)
    except (OSError, AttributeError):
        return False
    return answer == 0


def _given(seen: Sequence[Process]) -> list[Process]:
    """Those that are our children and were not started by us. What a plugin starts in our own
    session is its own affair."""
    own, session = own_pids(), os.getsid(0)
    return [
        one
        for one in seen
        if one.parent == os.getpid() and one.pid not in own and one.session != session
    ]


def _zombies() -> set[int]:
    """Ended children that nothing here waits for."""
    own = own_pids()
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found |= {int(pid) for pid in task.read_bytes().split()}
    # identity() takes a zombie for none.
    return {pid for pid in found - own if identity(pid) is None}


def _ticks() -> int:
    """Now, as Linux counts when processes began: in clock ticks since the boot."""
    seconds = float(read_of_system("/proc/uptime").split()[0])
    return int(seconds * os.sysconf("SC_CLK_TCK"))
