"""One call of one plugin in our own process: limited, caught, its answer checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from cxlocal.errors import Interrupted
from cxlocal.hooks.checks import RESULT_CHECKS
from cxlocal.hooks.implementations import Mistake
from cxlocal.hooks.limits import OutOfTime, limited

if TYPE_CHECKING:
    import pluggy

Result = TypeVar("Result")

CALL_SECONDS = 30.0
"""For one call of one plugin in our own process. Work that takes longer belongs into a verb."""


def call(impl: pluggy.HookImpl, hook: str, arguments: Mapping[str, Any]) -> Any:
    """The answer of one plugin, None when it has none. Raises Mistake naming hook and file."""
    function: Callable[..., Any] = impl.function
    given = {name: arguments[name] for name in impl.argnames}

    def ask() -> Any:
        answer = function(**given)
        # A generator does its work, and raises, while it is read.
        return list(answer) if hasattr(answer, "__next__") else answer

    where = f"hook {hook} in {file_of(function)}"
    try:
        answer = guarded(CALL_SECONDS, ask)
    except Mistake as mistake:
        raise Mistake(f"{where}: {mistake}") from mistake
    if answer is not None and (problem := RESULT_CHECKS[hook](answer)):
        raise Mistake(f"{where}: {problem}")
    return answer


def guarded(seconds: float, function: Callable[[], Result]) -> Result:
    """Call code of a plugin. Whatever it does wrong becomes a Mistake."""
    try:
        return limited(seconds, function)
    except (KeyboardInterrupt, Interrupted):
        raise
    except OutOfTime as error:
        raise Mistake(f"no answer within {seconds:.0f} s") from error
    except BaseException as error:  # sys.exit in a plugin must not end us
        import traceback  # only where something is wrong

        last = traceback.extract_tb(error.__traceback__)[-1:]
        at = f" ({os.path.basename(last[0].filename)} line {last[0].lineno})" if last else ""
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise Mistake(f"{text}{at}") from error


def file_of(function: Callable[..., Any]) -> str:
    """The file a function stands in."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code.co_filename if code is not None else "?"
