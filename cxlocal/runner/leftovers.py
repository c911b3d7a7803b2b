"""What a command that was cut off left running, and how the next one knows it.

A file says which programs were begun, and which have ended by themselves; what those left running
stays. A run has it beside its checkout, a deployment beside the lock of its environment, a stage of
single commands beside its own. Nothing is believed of it but words and numbers: a stage may have written to it.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.processes import locks
from cxlocal.processes.family import Family, Sought, word
from cxlocal.runner.noted import ENDING, STAGES
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.clock import Clock
    from cxlocal.processes.child import Child, End

KILL_SECONDS = 2.0
"""How long killed leftovers are awaited before they are said to be left."""

GRACE_SECONDS = 2.0
"""For what still runs in an environment when its end has come."""

HURRIED_SECONDS = 0.5
"""The same after a signal."""


class Ended(NamedTuple):
    """What became of what ran in an environment."""

    ran: bool
    """Something did."""
    left: tuple[str, ...]
    """In words what could not be ended."""


class Notes:
    """Keeps the file of one command that carries out stages."""

    def __init__(self, path: Path, token: str) -> None:
        """``token`` is the word that all its programs have in their mark: noted before the first
        of them begins, so that none is missed."""
        self._path = path
        self._add(f"word {token}")

    def began(self, child: Child) -> None:
        """A program runs."""
        known = child.identity
        if known is not None:
            self._add(f"began {child.mark} {known.pid} {known.start}")

    def ended(self, end: End) -> None:
        """It has ended, and whatever it left running may stay."""
        if not end.left:
            self._add(f"ended {end.child.mark}")

    def _add(self, line: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o666)
        try:
            os.write(descriptor, line.encode("ascii") + b"\n")
        finally:
            os.close(descriptor)


def of_run(folder: Path) -> Path:
    """The file of a run, by its folder."""
    return folder / ENDING


def left_by(path: Path) -> Family:
    """The processes of a dead command, by what it noted in the file ``path``."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except FileNotFoundError:
        lines = []
    words: set[str] = set()
    ended: set[str] = set()
    began: dict[str, tuple[int, str]] = {}
    for line in lines:
        what, _, rest = line.partition(" ")
        mark, _, process = rest.partition(" ")
        if not word(mark):
            continue
        if what == "word":
            # Another command took the run up: what earlier ones left was dealt with then.
            words = {mark}
        elif what == "ended":
            ended.add(mark)
        elif what == "began" and (pid := process.partition(" ")[0]).isdecimal():
            began[mark] = int(pid), process.partition(" ")[2]
    leaders = frozenset(one for mark, one in began.items() if mark not in ended)
    return Family(Sought(frozenset(words), leaders, spared=frozenset(ended)))


def end_left(path: Path, clock: Clock) -> tuple[str, ...]:
    """Kill what a dead command left running, and forget what could be; in words what could not."""
    if not path.exists():
        return ()
    left = left_by(path).kill(clock, KILL_SECONDS)
    if not left:
        path.unlink(missing_ok=True)
    return tuple(one.words for one in left)


def end_unlocked(home: Path, clock: Clock) -> tuple[str, ...]:
    """The same for deployments and for stages of single commands: those whose lock is free are dead."""
    left: list[str] = []
    locked = home / "locks"
    for path in (*locked.glob(f"*.{ENDING}"), *locked.glob(f"{STAGES}/*.{ENDING}")):
        lock = locks.take(path.with_name(path.name.removesuffix(f".{ENDING}")), "a tidy-up")
        if lock is not None:
            left += end_left(path, clock)
            lock.release()
    return tuple(left)


def place_word(home: Path, deliverable: str, instance: str) -> str:
    """The word in the mark of everything that is begun in one environment of this machine."""
    return sha256(f"{home.resolve()}\n{deliverable}\n{instance}".encode()).hexdigest()[:32]


def end_place(
    home: Path, deliverable: str, instance: str, clock: Clock, *, hurried: bool = False
) -> Ended:
    """End what still runs in an environment that has come to its end."""
    found = Family(Sought(frozenset([place_word(home, deliverable, instance)])))
    ran = bool(found.living())
    grace = HURRIED_SECONDS if hurried else GRACE_SECONDS
    left = found.end(clock, grace_seconds=grace, seconds=KILL_SECONDS)
    return Ended(ran, tuple(one.words for one in left))
