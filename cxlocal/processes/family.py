"""Which processes a program has begun: by descent, by session, and by a mark in their environment.

A process group is left by whoever likes (``timeout``, ``setsid``, every shell with job control), and
what left it would go on after it was said to have ended. So everything that is to be ended is found
here:

- **descent**: the program's children and theirs. On Linux we are their *subreaper*: what loses its
  parent becomes our child and not that of process 1, so it stays in sight.
- **session**: whatever shares a session with one of them, and is not in ours.
- **mark**: a random word that the program was given in its environment, and that all it starts
  inherit. It is read from where the system keeps the environment a process was started with.

Nothing here decides *that* something is to end. That is said at a time limit, a signal, after a
kill -9 and at the end of an environment; what a successful stage left running is left alone.

What it may miss is in docs/running.md: what another program starts on a stage's behalf (a container,
a unit of systemd), and elsewhere than on Linux a process that has lost its parents, begun a session
and cleared its environment.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cxlocal.clock import Clock, SystemClock, SystemIds
from cxlocal.processes.start import run_captured
from cxlocal.values import NamedTuple

MARK = "CXLOCAL_MARK"
"""The variable. It holds words between colons: of the run, the environment and the program, and
those of the stage we run in, if we do."""

_ASK_SECONDS = 5.0
"""For ``ps``, which answers within milliseconds."""

KILL_SECONDS = 1.0
"""How long killed members are awaited before they are said to be left."""

_PAUSE_SECONDS = 0.01
"""Between two looks at what was told to end."""

# Compiled when first used: most stages are never looked for.
_MARK_IN_TEXT = rf"(?:^|\s){MARK}=([0-9A-Za-z:]+)"
_WORD = r"[0-9a-f]{16,64}"


class Process(NamedTuple):
    """One process as the system shows it."""

    pid: int
    parent: int
    group: int
    session: int
    start: str
    """As in ``Identity``."""
    name: str
    marks: frozenset[str]

    @property
    def words(self) -> str:
        """For people: ``4711 (postgres)``."""
        return f"{self.pid} ({self.name})"


class Sought(NamedTuple):
    """What tells the family of one program."""

    marks: frozenset[str]
    """One of these in its environment makes a process a member."""
    leaders: frozenset[tuple[int, str]] = frozenset()
    """Pid and start of processes known to belong to it."""
    sessions: frozenset[int] = frozenset()
    """Sessions known to belong to it."""
    spared: frozenset[str] = frozenset()
    """One of these in its environment keeps a process out."""


def word(token: str) -> str:
    """``token`` if it may be a word of a mark: what is read from files is looked at first."""
    return token if re.fullmatch(_WORD, token) else ""


def marked(environ: Mapping[str, str], *words: str) -> str:
    """The value for ``MARK``: what ``environ`` holds already, and ``words``."""
    return ":".join(part for part in (environ.get(MARK, ""), *words) if part)


def members(seen: Sequence[Process], sought: Sought, spare: Collection[int]) -> list[Process]:
    """The processes of a family among all. Pure.

    ``spare`` are the pids that are none of it and begin none: ourselves and what we stand on. Their
    sessions are no evidence either.
    """
    foreign = {one.session for one in seen if one.pid in spare}
    sessions = set(sought.sessions) - foreign
    found: dict[int, Process] = {}
    grown = True
    while grown:
        grown = False
        for one in seen:
            if one.pid in found or one.pid in spare or one.marks & sought.spared:
                continue
            if (
                one.marks & sought.marks
                or (one.pid, one.start) in sought.leaders
                or one.parent in found
                or one.session in sessions
            ):
                found[one.pid] = one
                sessions |= {one.session} - foreign
                grown = True
    return list(found.values())


def ourselves(seen: Sequence[Process]) -> frozenset[int]:
    """This process, its parents up to the first, and process 1. Pure but for the pid."""
    parents = {one.pid: one.parent for one in seen}
    found = {0, 1}
    pid = os.getpid()
    while pid not in found:
        found.add(pid)
        pid = parents.get(pid, 0)
    return frozenset(found)


class Family:
    """The processes of one program, or of several. It keeps in mind whom it has seen: who loses its
    parent, its session and its mark between two looks is a member all the same."""

    def __init__(
        self,
        sought: Sought,
        *,
        claim: Callable[[Sequence[Process]], Iterable[Process]] = lambda seen: (),
    ) -> None:
        """``claim`` names further members among all processes."""
        self.sought = sought
        self._claim = claim

    def living(self) -> list[Process]:
        """Who is alive now."""
        seen = snapshot()
        known = self.sought.leaders | {(one.pid, one.start) for one in self._claim(seen)}
        found = members(seen, self.sought._replace(leaders=known), ourselves(seen))
        known |= {(one.pid, one.start) for one in found}
        self.sought = self.sought._replace(leaders=known)
        return found

    def forget_sessions(self) -> None:
        """The leader of the session was waited for: its number says nothing any more."""
        self.sought = self.sought._replace(sessions=frozenset())

    def ask(self) -> None:
        """SIGTERM for everybody, once: to some programs a second one means at once."""
        found = self.living()
        send(found, signal.SIGTERM)
        send(found, signal.SIGCONT)  # A suspended process cannot hear SIGTERM.

    def kill(self, clock: Clock, seconds: float) -> list[Process]:
        """SIGKILL for everybody, and for what they begin meanwhile; who is left after ``seconds``.

        With 0 nobody is waited for, and nobody new is looked for.
        """
        until = clock.monotonic() + seconds
        killed: set[tuple[int, str]] = set()
        while True:
            found = self.living()
            fresh = [one for one in found if (one.pid, one.start) not in killed]
            send(fresh, signal.SIGKILL)
            killed |= {(one.pid, one.start) for one in fresh}
            if not found or clock.monotonic() >= until:
                return found
            if not fresh:
                time.sleep(_PAUSE_SECONDS)

    def end(self, clock: Clock, *, grace_seconds: float, seconds: float) -> list[Process]:
        """SIGTERM, after the grace SIGKILL; who is left even so. Waits for it."""
        self.ask()
        until = clock.monotonic() + grace_seconds
        while self.living():
            if clock.monotonic() >= until:
                return self.kill(clock, seconds)
            time.sleep(_PAUSE_SECONDS)
        return []


def traced(environ: Mapping[str, str]) -> tuple[dict[str, str], Callable[[int], None]]:
    """For a program that is asked something (``run_captured``): its environment with a mark of its
    own, and what kills it, by its pid, with all it has begun."""
    token = SystemIds().token()

    def kill(pid: int) -> None:
        sought = Sought(frozenset([token]), sessions=frozenset([pid]))
        Family(sought).kill(SystemClock(), KILL_SECONDS)

    return {**environ, MARK: marked(environ, token)}, kill


def send(found: Iterable[Process], number: int) -> None:
    """Send a signal to each; what is gone or not ours to signal is passed over."""
    for one in found:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(one.pid, number)


# what the system tells


def snapshot(*, by_ps: bool = not sys.platform.startswith("linux")) -> list[Process]:
    """Every process that has not ended. ``by_ps``: ask ``ps`` (macOS) and not /proc."""
    if by_ps:
        return _from_ps()
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    return [one for name in names if name.isdecimal() and (one := _from_proc(int(name)))]


def _from_proc(pid: int) -> Process | None:
    """proc_pid_stat(5); None for none and for zombies."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is the program's name in parentheses and may itself hold ") ".
    name, _, rest = stat.partition(b"(")[2].rpartition(b") ")
    fields = rest.split()
    if fields[0] in (b"Z", b"X"):
        return None
    parent, group, session = (int(field) for field in fields[1:4])
    start = fields[19].decode("ascii")
    return Process(
        pid, parent, group, session, start, name.decode("utf-8", "replace"), _marks_in_proc(pid)
    )


def _marks_in_proc(pid: int) -> frozenset[str]:
    try:
        environ = b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return frozenset()  # It ended, or it is somebody else's.
    value = environ.partition(f"\0{MARK}=".encode())[2].partition(b"\0")[0]
    return frozenset(value.decode("ascii", "replace").split(":")) - {""}


def _from_ps() -> list[Process]:
    """One question for all: the environment stands behind the arguments."""
    # BSD has -E for it, procps an "e" without a dash.
    shown = "-axwwE" if sys.platform == "darwin" else "axwwe"
    columns = ("pid", "ppid", "pgid", "stat", "lstart", "command")
    argv = ["/bin/ps", shown, *(part for one in columns for part in ("-o", f"{one}="))]
    # LC_ALL: the date is compared as text. Its answer to identity() must be the same.
    environ = {"LC_ALL": "C", "TZ": "UTC"}
    answer = run_captured(argv, cwd=Path("/"), env=environ, timeout_seconds=_ASK_SECONDS)
    lines = answer.stdout.decode("utf-8", "replace").splitlines()
    return [one for line in lines if (one := _from_line(line))]


def _from_line(line: str) -> Process | None:
    # pid, parent, group, state, five words of a date, command
    fields = line.split(maxsplit=9)
    if len(fields) < 9 or fields[3].startswith("Z"):
        return None
    command = fields[9] if len(fields) > 9 else ""
    found = re.search(_MARK_IN_TEXT, command)
    pid, parent, group = (int(field) for field in fields[:3])
    name = os.path.basename(command.partition(" ")[0])
    marks = frozenset(found[1].split(":")) - {""} if found else frozenset()
    try:
        session = os.getsid(pid)
    except OSError:
        session = group  # It ended, or the system keeps it to itself.
    return Process(pid, parent, group, session, " ".join(fields[4:9]), name, marks)
