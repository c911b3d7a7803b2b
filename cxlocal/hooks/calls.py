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


def guarded(seconds: float, function: Callable[[], Result]) -> Result:
    """Call code of a plugin, for so long at most. Whatever it does wrong becomes a Mistake."""
    return caught(lambda: limited(seconds, function))


def caught(function: Callable[[], Result]) -> Result:
    """Call code of a plugin. Whatever it raises becomes a Mistake."""
    try:
        return function()
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


_AGAIN_SECONDS = 0.5
"""Between further alarms, should the code swallow the first."""


class OutOfTime(BaseException):
    """Raised inside the code that took too long. Not an Exception, so that it is rarely caught."""


def limited(seconds: float, function: Callable[[], Result]) -> Result:
    """Call ``function``; raise OutOfTime when it is not done after ``seconds``.

    An alarm that somebody else has set rings later by the time we took.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"no answer within {seconds:.0f} s")

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
