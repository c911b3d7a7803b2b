"""A time limit for code of plugins that runs in our own process.

Verbs of tools run in workers, which can be killed. What remains here (registering, gates,
observers) is short, and a plugin that hangs in it must not take the run with it: an alarm
interrupts it. Code that blocks all signals, or a thread other than the main one, is out of reach.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")

_AGAIN_SECONDS = 0.5
"""Between further alarms, should the code swallow the first."""


class OutOfTime(BaseException):
    """Raised inside the code that took too long. Not an Exception, so that it is rarely caught."""


def limited(seconds: float, function: Callable[[], Result]) -> Result:
    """Call ``function``; raise OutOfTime when it is not done after ``seconds``.

    An alarm that somebody else has set rings later by the time we took.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    try:
        previous = signal.signal(signal.SIGALRM, ring)
    except ValueError:
        return function()  # Not the main thread: no signals here, so no limit either.
    earlier, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)
    try:
        return function()
    finally:
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if earlier:
            spent = max(0.0, seconds - left)
            signal.setitimer(signal.ITIMER_REAL, max(0.001, earlier - spent), interval)
