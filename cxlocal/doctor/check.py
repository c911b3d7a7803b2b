"""What a check says, and the verdict over all of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cxlocal.values import NamedTuple

OK = "ok"
NOTE = "note"
"""Worth knowing; stops nothing."""
BAD = "bad"
"""Must be mended."""


PLUGIN = "plugin "
"""How the name of a check of one plugin begins."""


class Check(NamedTuple):
    """One thing that was tried."""

    name: str
    state: str
    """ok, note or bad."""
    found: str
    """What was found, in words."""
    to_do: str = ""
    """The command or step that mends it."""
    offline: bool = False
    """Whether a release without the store needs it."""


class Readiness(NamedTuple):
    """Whether an offline release would work now, and why not."""

    ready: bool
    because: tuple[str, ...]
    without: tuple[str, ...] = ()
    """Plugins that are broken: a release goes on without them."""

    def sentence(self) -> str:
        """The last line of ``doctor``."""
        if self.ready:
            without = f", without {', '.join(self.without)}" if self.without else ""
            return f"Ready for an offline release: yes{without}"
        return f"Ready for an offline release: no, because {'; '.join(self.because)}"


def readiness(checks: Sequence[Check]) -> Readiness:
    """Ready only if everything an outage needs was tried and is here."""
    missing = tuple(
        f"{check.name}: {check.found}" for check in checks if check.offline and check.state == BAD
    )
    broken = tuple(
        check.name.removeprefix(PLUGIN)
        for check in checks
        if check.name.startswith(PLUGIN) and check.state == BAD
    )
    return Readiness(not missing, missing, broken)
