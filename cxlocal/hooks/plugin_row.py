"""What is known of one plugin, and why one takes no part."""

from __future__ import annotations

from collections.abc import Iterable

from cxlocal.errors import Refused
from cxlocal.values import NamedTuple

NOT_INSTALLED = "not installed"
"""The state of a shipped plugin whose libraries are not here; the error is the command that brings them."""


class PluginRow(NamedTuple):
    """One plugin, as ``cxlocal plugins`` shows it."""

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...]
    origin: str
    """shipped, installed or project."""
    state: str
    """loaded, blocked, broken, untrusted, not installed, or not loaded (nobody has asked for it yet)."""
    error: str
    file: str
    gives: tuple[str, ...] = ()
    """What it registers, in words (``tool mine``), as far as somebody looked."""

    @property
    def shown(self) -> str:
        """How messages name it: with its distribution, where it has one."""
        origin = f"{self.distribution} {self.version}".strip()
        return f"{self.name} ({origin})" if origin else self.name


class LeftOut(NamedTuple):
    """A plugin that is here and takes no part, because somebody said so."""

    name: str
    distribution: str
    version: str
    how: str
    """What left it out: ``-p no:NAME``, ``[plugins] block``, ``CXLOCAL_LOAD_PLUGINS``."""


def absent_plugin(name: str, row: PluginRow | None, left_out: Iterable[LeftOut]) -> Refused:
    """Why a required plugin does not take part."""
    if row is None:
        what, hint = "is not installed here", f"install {name} where cxlocal is installed"
    elif row.state == "broken":
        what, hint = f"is broken: {row.error}", "correct it, or install another release of it"
    else:
        how = [one.how for one in left_out if one.name == row.name]
        what, hint = f"was left out by {(how or [row.state])[0]}", "do not leave it out"
    return Refused(
        f"plugin {name} {what}",
        why="this project requires it ([plugins] require in cx.toml)",
        hint=f"{hint}; 'cxlocal plugins' shows what is there",
        name="plugin-required",
        plugin=name,
    )
