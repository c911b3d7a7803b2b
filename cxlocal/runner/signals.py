"""Signals that end a command: the first cancels it properly, a second ends at once what runs.

While stages run the first signal is only noted, and the loop is woken; at any other time it raises
``SignalCame`` where it meets the work, and ``Interrupted`` leaves the block. After the second the
process ends too, and what is cut off by that is found by the next command; who only wraps a command
stays to record it (``stays``).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from cxlocal.errors import Interrupted

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SignalCame(KeyboardInterrupt):
    """A signal met the work. No error of ours: nobody who handles those may take it for one."""


def note_only() -> None:
    """For ``wake`` while the end of something is being recorded: a first signal is noted, no more."""


class Signals:
    """A context manager: our handlers inside, those from before outside."""

    def __init__(self, *, stays: bool = False) -> None:
        """``stays``: signals are noted wherever they come, and none of them ends the process."""
        self._stays = stays
        self.number = 0
        """The signal that came; 0 while none has."""
        self.wake: Callable[[], None] | None = note_only if stays else None
        """Set while a loop runs that looks at ``number`` by itself."""
        self.kill: Callable[[], None] | None = None
        """Ends what was started, before a second signal ends us."""
        self._before: dict[int, Any] = {}

    @property
    def name(self) -> str:
        """``SIGTERM``; empty while none has come."""
        return signal.Signals(self.number).name if self.number else ""

    def __enter__(self) -> Self:
        for number in ENDING:
            # nohup and friends: who started us wants this one ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                try:
                    self._before[number] = signal.signal(number, self._hear)
                except ValueError:
                    break  # not the main thread: signals are somebody else's
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, SignalCame):
            raise self.interrupted() from error

    def interrupted(self, hint: str = "", **data: object) -> Interrupted:
        """The error the command ends in. ``hint``: the command that goes on."""
        return Interrupted(
            f"cancelled by {self.name}",
            why="what was going on is recorded as cancelled",
            hint=hint or "'cxlocal log' shows the run; 'cxlocal run --resume RUN' goes on with it",
            signal_number=self.number,
            **data,
        )

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.number and number == signal.SIGHUP:
            return  # A terminal that goes says so more than once, and nobody has asked twice.
        if self.number:
            if self.kill is not None:
                self.kill()
            if not self._stays:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        self.number = number
        if self.wake is None:
            raise SignalCame
        self.wake()
