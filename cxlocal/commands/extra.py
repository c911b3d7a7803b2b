"""Commands that plugins bring (hook ``cxlocal_register_commands``).

They are asked for only when a name is not our own, or when the list in ``--help`` is drawn on a
machine where some distribution offers plugins. Finding that out by reading ``entry_points.txt``
costs a tenth of importing ``importlib.metadata``, which would double the time of ``--help``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import click

from cxlocal.commands.table import COMMANDS
from cxlocal.errors import ConfigError
from cxlocal.hooks.found import installed
from cxlocal.processes.stdout import give_back


def offered_by_plugins(root: click.Group, ctx: click.Context) -> list[tuple[str, str]]:
    """Name and sentence of each plugin's command, for the list in the help."""
    if not installed(sys.path):
        return []
    register_plugin_commands(root, ctx)
    return [
        (name, found.get_short_help_str(60))
        for name, found in root.commands.items()
        if name not in COMMANDS  # a name of ours is ours: this one could never be called
    ]


def register_plugin_commands(root: click.Group, ctx: click.Context) -> None:
    """Let every plugin add its commands to ``root``.

    A plugin that cannot be loaded, or that raises, is named in a warning and left out: it never
    keeps a command of ours, or of another plugin, from running.
    """
    from cxlocal.commands.terminal import warn, warn_once
    from cxlocal.hooks.manager import load

    values = ctx.find_root().params.get("plugins") or ()
    left_out = [value.removeprefix("no:") for value in values]
    blocked = _blocked_here(warn)
    if blocked is None:
        return
    manager = load(os.environ, block=blocked, no=left_out, warn=warn_once)
    manager.each("cxlocal_register_commands", cli=root)
    # What follows is one of their commands, or the list of them.
    give_back()


def _blocked_here(warn: Callable[[str], None]) -> Sequence[str] | None:
    """``[plugins] block`` of the nearest cx.toml; None if it cannot be read.

    Then no plugin is loaded at all: one of them might be the one that is blocked.
    """
    from cxlocal.config.locate import find_config

    path = find_config(os.getcwd())
    if path is None:
        return ()
    from cxlocal.config.load import read

    try:
        return read(path).plugins.block
    except ConfigError as error:
        warn(f"commands of plugins are left out: {error.what}")
        return None
