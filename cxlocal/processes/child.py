"""A running child, and how it ended. Values; the supervisor does the work."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from cxlocal.clock import Clock
from cxlocal.processes.family import Family, Process, Sought
from cxlocal.processes.identity import Identity, identity
from cxlocal.text import duration_text
from cxlocal.values import NamedTuple, Protocol

if TYPE_CHECKING:
    from cxlocal.processes.channel import Channel
    from cxlocal.processes.forker import Forked


class Sink(Protocol):
    """Where output goes."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Must not raise: a full disk ends a log, not the work."""


class Vigil(Protocol):
    """Tells when nobody is to wait for a child any more."""

    def seconds(self) -> float:
        """Until it is asked again; 0 for now."""

    def ask(self) -> str:
        """Why the child is to be stopped; empty where it may go on."""


class Child:
    """A program that was started. Attributes without ``_`` are for readers."""

    def __init__(
        self,
        process: subprocess.Popen[bytes] | Forked,
        *,
        sink: Sink,
        channel: Channel | None,
        tag: object,
        mark: str,
        claim: Callable[[Sequence[Process]], Iterable[Process]],
        timeout_seconds: float | None,
        grace_seconds: float,
        started_ms: int,
        started: float,
    ) -> None:
        assert process.stdout is not None
        self.pid = process.pid
        self.tag = tag
        self.mark = mark
        """The word in its environment that nothing but it and what it starts have."""
        sought = Sought(frozenset([mark]), sessions=frozenset([process.pid]))
        self.family = Family(sought, claim=claim)
        """It, and everything it has begun."""
        self.started_ms = started_ms
        self.timeout_seconds = timeout_seconds
        self.grace_seconds = grace_seconds
        self.timed_out = False
        self.cancelled = ""
        self.goes_on = False
        """A signal that ends everything else lets it come to its end."""
        self.vigil: Vigil | None = None
        self._process = process
        self._sink = sink
        self._channel = channel
        self._writing = False
        self._started = started
        self._output = process.stdout.fileno()
        self._exit_fd = -1
        self._exited = False
        self._over: tuple[int, float] | None = None
        self._status: int | None = None
        self._deadline = float("inf") if timeout_seconds is None else started + timeout_seconds
        self._kill_at = float("inf")
        self._killed = False
        self._give_up_at = float("inf")
        self._linger_until: float | None = None
        self._look_at = 0.0
        self._look_pause = 0.0
        self._identity: Identity | None = None

    def collect(self) -> tuple[int, int]:
        """As ``os.waitpid`` with WNOHANG. Raises ChildProcessError."""
        if isinstance(self._process, subprocess.Popen):
            return os.waitpid(self.pid, os.WNOHANG)
        return self._process.collect()

    def note_end(self, clock: Clock) -> None:
        """Keep when it ended, if it is seen to have: whoever waits for it may be busy."""
        if self._over is None and self._exit_fd >= 0:
            ended = select.poll()
            ended.register(self._exit_fd, select.POLLIN)
            if ended.poll(0):
                self._over = clock.now_ms(), clock.monotonic()

    def ended_at(self, clock: Clock) -> tuple[int, float]:
        """When it ended, in milliseconds of the epoch and by the monotonic clock: now, unless it went by itself and
        that was noted."""
        if self._over is not None and not self.stopping:
            return self._over
        return clock.now_ms(), clock.monotonic()

    def begin_anew(self, clock: Clock) -> None:
        """Its time limit counts from now on: it has done one of several things."""
        if self.timeout_seconds is not None:
            self._deadline = clock.monotonic() + self.timeout_seconds

    @property
    def stopping(self) -> bool:
        """It was told to end."""
        return self.timed_out or bool(self.cancelled)

    @property
    def identity(self) -> Identity | None:
        """Which process it is, for telling an orphan from a stranger later. None once it ended."""
        if self._identity is None and self._status is None:
            self._identity = identity(self.pid)
        return self._identity


class End(NamedTuple):
    """How a child ended."""

    child: Child
    code: int | None
    """Its exit status; None when a signal ended it or nobody knows."""
    signal: int | None
    timed_out: bool
    """It was stopped at its time limit."""
    cancelled: str
    """Why it was cancelled; empty when it was not."""
    started_ms: int
    finished_ms: int
    seconds: float
    held_open: bool
    """A process it left in the background still holds its output; what that prints is lost."""
    left: tuple[str, ...] = ()
    """What should have ended with it and could not be made to: ``4711 (postgres)``."""

    @property
    def ok(self) -> bool:
        """It ended by itself and said 0."""
        return self.code == 0 and not self.timed_out and not self.cancelled

    @property
    def words(self) -> str:
        """The end in words, without a full stop."""
        left = f"; still running: {', '.join(self.left)}" if self.left else ""
        return f"{self._words}{left}"

    @property
    def _words(self) -> str:
        if self.timed_out:
            return f"time limit of {duration_text(self.child.timeout_seconds or 0)} reached"
        if self.cancelled:
            return f"cancelled: {self.cancelled}"
        if self.code is not None:
            return f"exit code {self.code}"
        if self.signal is not None:
            return f"ended by {_signal_name(self.signal)}"
        return f"process {self.child.pid} could not be ended, or its end was not seen"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def expect_ends() -> None:
    """Undo an inherited "ignore" of SIGCHLD, under which no exit status can ever be collected."""
    if signal.getsignal(signal.SIGCHLD) is not signal.SIG_IGN:
        return
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    except ValueError:
        return  # Not the main thread: ends are then reported as not seen, never as success.
