"""No plugin ends the process of a command: what it began would be cut off, with an exit code that says nothing of it.

A call that ends a process at once, past every handler of ours, raises what any other mistake of a plugin raises. In the
processes that a plugin itself divides off, and in the workers of tools, these calls do what they always do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

ENDING = ("_exit", "execv", "execve")
"""All others of their kind in ``os`` come down to these."""


class ForbiddenExit(BaseException):
    """A plugin wanted to end us. Not an Exception, so that it is rarely caught."""


def forbid() -> None:
    """From now on, in this process. A second call does nothing."""
    # ``os`` has them from there, and from there a plugin can have them too.
    system = sys.modules["posix"]
    for name in ENDING:
        real = getattr(system, name)
        if not isinstance(real, partial):
            refusing = partial(_refuse, real, name, os.getpid())
            setattr(system, name, refusing)
            setattr(os, name, refusing)


def _refuse(real: Callable[..., Any], name: str, here: int, *given: Any, **named: Any) -> Any:
    if os.getpid() != here:
        return real(*given, **named)
    raise ForbiddenExit(f"it called os.{name}, which would have ended cxlocal")
