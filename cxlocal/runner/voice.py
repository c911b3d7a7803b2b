"""What the engine says while it works: to people by way of whoever implements ``Voice``.

The engine prints nothing. The command line writes lines; a test collects them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxlocal.values import NamedTuple, Protocol

if TYPE_CHECKING:
    from cxlocal.processes.echo import Echo


NUMBER_FROM = {
    "online": "number from the store",
    "own": "number from this machine's own store",
    "reserve": "number from the reserve, not yet confirmed",
    "lent": "number lent by another machine, not yet confirmed",
    "suffix": "made up without the store, not yet confirmed",
    "rehearsal": "no number: nothing is promoted or published",
}
"""How a number was come by, in words."""


class Opening(NamedTuple):
    """What is known when a run begins to work."""

    title: str
    kind: str
    version: str
    how: str
    """Where the number came from: online, reserve, lent, suffix or rehearsal."""
    own_store: bool
    """Nobody but this machine can use the store."""
    why_offline: str
    """Why the store gave none; empty when it did."""
    run: str
    commit: str
    branch: str
    subject: str
    proof: str
    uncommitted: tuple[str, ...]
    changes: str
    """``4 commits since 2.7.3``; empty when there was none before."""
    stages: tuple[str, ...]
    kept: tuple[str, ...]
    """Stages that succeeded before (resume)."""
    resumed: bool
    """The run began earlier."""
    final_of: str = ""
    """The pre-release that becomes final."""
    absent: tuple[str, ...] = ()
    """Submodules that the commit itself leaves out."""
    back: tuple[str, ...] = ()
    """How the working files of stages that are done come back (resume)."""
    edited: bool = False
    """The cx.toml that lies here is not the one of the run."""
    withheld: tuple[tuple[str, str], ...] = ()
    """Stages that a rehearsal leaves out, and why."""


class Ending(NamedTuple):
    """How one attempt of a stage, or of the work on an environment, ended."""

    name: str
    outcome: str
    seconds: float
    reason: str
    attempt: int
    last: bool
    """False where a retry follows."""
    log: str
    """Path of the log file; empty when there is none."""
    more: tuple[str, ...] = ()
    """Further lines: which caches were there."""


class Voice(Protocol):
    """Where words go."""

    def opening(self, said: Opening) -> None:
        """The run has its version and begins."""

    def started(self, name: str, attempt: int) -> None:
        """A stage begins."""

    def ended(self, said: Ending) -> None:
        """A stage ended."""

    def note(self, text: str) -> None:
        """A line worth reading."""

    def warn(self, text: str) -> None:
        """A line that must be read."""

    def warn_once(self, text: str) -> None:
        """The same, but where the command has said these words before."""

    def echo(self, stage: str) -> Echo | None:
        """Where the output of a stage is shown while it runs; None: only in its log."""
