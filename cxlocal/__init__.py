"""cxlocal: a release process that you carry with you.

What is public here: ``open_run`` for Python programs that report a run, ``hookimpl`` for plugins,
and the errors. Each is imported when it is first asked for: the command line starts by importing
this package and needs none of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""As typing has it, whose import every start of the command line would pay for."""

if TYPE_CHECKING:
    from cxlocal.api import Run, StageWork, open_run
    from cxlocal.errors import (
        ConfigError,
        Conflict,
        CxError,
        Interrupted,
        JournalDamaged,
        NotSignedIn,
        NotSynced,
        OutcomeFailure,
        Refused,
        StoreNeeded,
        Trouble,
        Undecided,
        UsageError,
    )  # fmt: skip
    from cxlocal.hooks.specs import hookimpl

__all__ = [
    "ConfigError",
    "Conflict",
    "CxError",
    "Interrupted",
    "JournalDamaged",
    "NotSignedIn",
    "NotSynced",
    "OutcomeFailure",
    "Refused",
    "Run",
    "StageWork",
    "StoreNeeded",
    "Trouble",
    "Undecided",
    "UsageError",
    "hookimpl",
    "open_run",
]

_HOMES = {"Run": "cxlocal.api", "StageWork": "cxlocal.api", "open_run": "cxlocal.api",
          "hookimpl": "cxlocal.hooks.specs"}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES.get(name, "cxlocal.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
