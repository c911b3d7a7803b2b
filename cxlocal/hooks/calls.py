"""One call of one plugin in our own process: limited, caught, its answer checked."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, TypeVar

import pluggy

from cxlocal.errors import Interrupted
from cxlocal.hooks.checks import RESULT_CHECKS
from cxlocal.hooks.implementations import Mistake

Result = TypeVar("Result")

CALL_SECONDS = 30.0
"""For one call of one plugin in our own process. Work that takes longer belongs into a verb."""


def call(
    impl: pluggy.HookImpl, hook: str, arguments: Mapping[str, Any], *, check: bool = True
) -> Any:
    """The answer of one plugin, None when it has none. Raises Mistake naming hook and file. ``check`` is
    false for what our own tests have looked at."""
    function: Callable[..., Any] = impl.function
    given = {name: arguments[name] for name in impl.argnames}

    def ask() -> tuple[Any, str]:
        answer = function(**given)
        # A generator does its work, and raises, while it is read.
        answer = list(answer) if hasattr(answer, "__next__") else answer
        # To look at what a plugin made can run its code, too.
        return answer, RESULT_CHECKS[hook](answer) if check else ""

    where = f"hook {hook} in {file_of(function)}"
    try:
        answer, problem = guarded(CALL_SECONDS, ask)
    except Mistake as mistake:
        raise Mistake(f"{where}: {mistake}") from mistake
    if problem:
        raise Mistake(f"{where}: {problem}")
    return answer


def guarded(seconds: float, function: Callable[[], Result], *, heeds: bool = False) -> Result:
    """Call code of a plugin. Whatever it does wrong becomes a Mistake. ``heeds``: a signal that ends the command
    leaves it a second."""
    try:
        return limited(seconds, function, heeds=heeds)
    except (KeyboardInterrupt, Interrupted):
        raise
    except OutOfTime as error:
        raise Mistake(str(error)) from error
    except BaseException as error:  # sys.exit in a plugin must not end us
        import traceback  # only where something is wrong

        last = traceback.extract_tb(error.__traceback__)[-1:]
        at = f" ({os.path.basename(last[0].filename)} line {last[0].lineno})" if last else ""
        words = " ".join(str(error).split())
        text = f"{type(error).__name__}: {words}" if words else type(error).__name__
        raise Mistake(f"{text}{at}") from error


def file_of(function: Callable[..., Any]) -> str:
    """The file a function stands in."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code.co_filename if code is not None else "?"


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command, as in ``runner.signals``, which lies above."""
_AGAIN_SECONDS = 0.5
"""Between further alarms, should the code swallow the first."""


class OutOfTime(BaseException):
    """Raised inside the code that took too long. Not an Exception, so that it is rarely caught."""


HEEDED_SECONDS = 1.0
"""For code that is at work when a signal comes to end the command."""


def limited(seconds: float, function: Callable[[], Result], *, heeds: bool = False) -> Result:
    """Call ``function``; raise OutOfTime when it is not done after ``seconds``. ``heeds``: nor soon after a
    signal that ends the command.

    An alarm that somebody else has set rings later by the time we took.
    """
    why, spared = f"no answer within {seconds:.0f} s", 0.0

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(why)

    def hurry(number: int, frame: FrameType | None) -> None:
        nonlocal why, spared
        heard[number](number, frame)
        left, again = signal.getitimer(signal.ITIMER_REAL)
        if left > HEEDED_SECONDS:
            why = f"no answer within {HEEDED_SECONDS:.0f} s after {signal.Signals(number).name}"
            spared += left - HEEDED_SECONDS
            signal.setitimer(signal.ITIMER_REAL, HEEDED_SECONDS, again)

    try:
        previous = signal.signal(signal.SIGALRM, ring)
    except ValueError:
        return function()  # Not the main thread: no signals here, so no limit either.
    heard: dict[int, Callable[[int, FrameType | None], Any]] = {}
    for one in _ENDING if heeds else ():
        handler = signal.getsignal(one)
        if callable(handler):  # what the system does by itself (ending us, or nothing) stays
            heard[one] = handler
    for number in heard:
        signal.signal(number, hurry)
    earlier, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SECONDS)
    try:
        return function()
    finally:
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        for number, handler in heard.items():
            signal.signal(number, handler)
        if earlier:
            spent = max(0.0, seconds - spared - left)
            signal.setitimer(signal.ITIMER_REAL, max(0.001, earlier - spent), interval)
