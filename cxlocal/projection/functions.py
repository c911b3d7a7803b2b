"""Functions that make SQL on a journal short: ``cxlocal sql`` and the pages know the same. Pure."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable

from cxlocal.events.hybrid import COUNTER_BITS
from cxlocal.patterns import compile_late
from cxlocal.projection.statistics import add_statistics
from cxlocal.text import duration_text, utc_text

_VERSION = compile_late(
    r"v?(\d{1,18}(?:\.\d{1,18}){0,5})(?:-?((?:[A-Za-z]|(?<=-)\d)[0-9A-Za-z.-]*))?(?:\+[0-9A-Za-z.+-]*)?",
    re.ASCII,
)
NUMBERS = 4
"""Of a version, as its key has them: 1.2 and 1.2.0 are one."""


def human_duration(seconds: object) -> str | None:
    """``human_duration(185)`` is ``3 min 5 s``; NULL for what is not a number."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return ("-" if seconds < 0 else "") + duration_text(abs(seconds))


def hlc_time(clock: object) -> str | None:
    """The UTC time in a value of ``event.clock``; NULL for what cannot be one."""
    if not isinstance(clock, int) or clock < 0:
        return None
    try:
        return utc_text(clock >> COUNTER_BITS)
    except (ValueError, OverflowError, OSError):
        return None


def semver_key(version: object) -> str | None:
    """A text by which versions sort as Semantic Versioning orders them (2.9 before 2.10, a pre-release before
    its release); NULL for what is no version of numbers."""
    found = (
        _VERSION.fullmatch(version) if isinstance(version, str) and len(version) <= 200 else None
    )
    if found is None:
        return None
    numbers = [int(one) for one in found[1].split(".")]
    numbers += [0] * (NUMBERS - len(numbers))
    base = ".".join(f"{one:018d}" for one in numbers)
    if not found[2]:
        return base + "~"
    parts = found[2].split(".")
    return f"{base}-" + ".".join(
        f"0{int(one):018d}" if one.isdigit() and len(one) <= 18 else f"1{one}" for one in parts
    )


def in_order(versions: Iterable[str]) -> list[str]:
    """Versions, each once, as ``semver_key`` orders them; what is no version of numbers comes first, as text."""
    return sorted(set(versions), key=lambda one: (semver_key(one) or "", one))


FUNCTIONS = ("median(x)", "percentile(x, 90)", "human_duration(seconds)", "semver_key(version)", "hlc_time(clock)")  # fmt: skip
"""What there is, as it is called."""


def add_functions(connection: sqlite3.Connection) -> None:
    """Make all known to a connection, with those of ``statistics``."""
    add_statistics(connection)
    for function in (human_duration, hlc_time, semver_key):
        connection.create_function(function.__name__, 1, function, deterministic=True)
