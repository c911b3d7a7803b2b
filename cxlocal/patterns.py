"""Regular expressions that are compiled when they are first used.

A run defines some sixty and uses twenty; compiling one takes as long as reading a small module.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _Late:
    """Stands for the compiled pattern, and keeps what it was asked for."""

    def __init__(self, text: Any, flags: int) -> None:
        self._given = text, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(*self._given), name)
        setattr(self, name, found)
        return found


def compile_late(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """The pattern ``text``, for whoever calls its methods. ``re.error`` is raised at the first call."""
    return cast("re.Pattern[AnyStr]", _Late(text, flags))
