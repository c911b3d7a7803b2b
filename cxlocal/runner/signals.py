"""Signals that end a run: the first cancels it properly, a second ends the process at once.

While stages run the first signal is only noted, and the loop is woken; at any other time it raises
``SignalCame`` where it meets the work, and ``Interrupted`` leaves the block. What is cut off by the
second is found by the next command.
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


class Signals:
    """A context manager: our handlers inside, those from before outside."""

    def __init__(self) -> None:
        self.number = 0
        """The signal that came; 0 while none has."""
        self.wake: Callable[[], None] | None = None
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
                self._before[number] = signal.signal(number, self._hear)
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
        if self.number:
            if self.kill is not None:
                self.kill()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.number = number
        if self.wake is None:
            raise SignalCame
        self.wake()
