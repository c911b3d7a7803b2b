"""The number reaches the bytes: the version is written into the checkout before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxlocal.numbers.stamp import Stamped
    from cxlocal.plan.types import Plan


def stamp(plan: Plan, folder: Path, version: str) -> list[Stamped]:
    """Write ``version`` at every stamp of the plan below ``folder``. Raises ConfigError."""
    if not plan.version.stamp:
        return []
    from cxlocal.numbers.stamp import Stamp, apply_stamps

    stamps = [Stamp(one.file, one.key, one.pattern) for one in plan.version.stamp]
    return apply_stamps(folder, stamps, version)


def check(plan: Plan, folder: Path) -> None:
    """Raise ConfigError where a stamp would not find its place, before a number is taken."""
    if plan.version.stamp:
        from cxlocal.numbers.stamp import Stamp, check_stamps

        check_stamps(folder, [Stamp(one.file, one.key, one.pattern) for one in plan.version.stamp])
