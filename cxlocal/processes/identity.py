"""Which process is meant: a pid alone is not enough, because pids are used again.

A process is known by its pid *and* the time it started, within one boot of one machine (and one pid
namespace: a container counts its own pids). A zombie has ended: nothing it could still do concerns
us, so it counts as dead.

Linux is asked through ``/proc``, macOS through ``ps`` and ``sysctl``. Both give a start time that is
only ever compared for equality.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cxlocal.errors import Trouble
from cxlocal.processes.start import run_captured
from cxlocal.values import NamedTuple

_ASK_SECONDS = 5.0
"""Limit for ``ps`` and ``sysctl`` on macOS, which answer within milliseconds."""

_SYSTEM_BYTES = 8192
"""More than one of these files holds."""

_LINUX = sys.platform.startswith("linux")


class Identity(NamedTuple):
    """One process of one boot."""

    pid: int
    start: str
    """When it started, as the system words it: clock ticks since boot on Linux, a date on macOS."""


def identity(pid: int) -> Identity | None:
    """The process that has this pid now, or None when there is none (or only a zombie)."""
    found = _proc_start(pid) if _LINUX else _ps_start(pid)
    return Identity(pid, found) if found else None


def own_identity() -> Identity:
    """This process. Raises Trouble where the system does not tell."""
    found = identity(os.getpid())
    if found is None:
        raise Trouble(
            "this process cannot be told apart from others",
            why="no /proc and no ps",
            hint="mount /proc, or install ps (Debian: apt install procps)",
        )
    return found


def alive(pid: int, start: str) -> bool:
    """Whether the process that had ``pid`` and began at ``start`` is still running."""
    found = identity(pid)
    return found is not None and found.start == start


def boot() -> str:
    """What a pid is relative to: this boot of this machine, and this pid namespace.

    Compare it before trusting a recorded pid. Empty where the system does not tell.
    """
    if not _LINUX:
        return _ask(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"])
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot_id} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _proc_start(pid: int) -> str:
    """Field 22 of /proc/PID/stat (proc_pid_stat(5)); empty for none and for zombies."""
    try:
        stat = read_of_system(f"/proc/{pid}/stat")
    except OSError:
        return ""
    # The second field is the program's name in parentheses and may itself hold ") ".
    fields = stat[stat.rfind(b")") + 2 :].split()
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")


def read_of_system(path: str) -> bytes:
    """A short file of ``/proc``, in one call. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _SYSTEM_BYTES)
    finally:
        os.close(descriptor)


def _ps_start(pid: int) -> str:
    """The ``lstart`` of ps; empty for none and for zombies."""
    # Two options: in "stat=,lstart=" everything after the first "=" would be a heading on BSD.
    answer = _ask(["/bin/ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)])
    state, _, start = answer.partition(" ")
    return "" if state.startswith("Z") else " ".join(start.split())


def _ask(argv: list[str]) -> str:
    # LC_ALL: the date is compared as text, so its language must not change between two commands.
    answer = run_captured(
        argv, cwd=Path("/"), env={"LC_ALL": "C", "TZ": "UTC"}, timeout_seconds=_ASK_SECONDS
    )
    return answer.stdout.decode("utf-8", "replace").strip() if answer.code == 0 else ""
