"""The tools that plugins bring, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxlocal.config.problems import suggestion
from cxlocal.errors import ConfigError

if TYPE_CHECKING:
    from cxlocal.hooks.manager import Manager
    from cxlocal.hooks.tool import Tool

_HOOK = "cxlocal_register_tools"


def tools(manager: Manager) -> dict[str, type[Tool]]:
    """Every tool by its name.

    A name belongs to the shipped tool, else to the plugin that comes first in the list; a
    second plugin with a tool of that name is left out with a warning. To replace a shipped tool,
    leave out its plugin (``-p no:NAME``).
    """
    if manager.tool_table is None:
        table: dict[str, tuple[type[Tool], str]] = {}
        registered = manager.each(_HOOK)
        order = [row.name for row in manager.rows]
        registered.sort(key=lambda one: order.index(one[0]))
        for plugin, classes in registered:
            _take(manager, table, plugin, list(classes))
        manager.tool_table = table
    return {name: found for name, (found, _) in manager.tool_table.items()}


def _take(
    manager: Manager,
    table: dict[str, tuple[type[Tool], str]],
    plugin: str,
    classes: list[type[Tool]],
) -> None:
    for tool in classes:
        holder = table.get(tool.name)
        if holder is not None:
            for name in [name for name, (_, owner) in table.items() if owner == plugin]:
                del table[name]
            manager.reject(
                plugin,
                f"hook {_HOOK} in {_file(manager, plugin)}: a tool named {tool.name!r} is"
                f" already there, from {_file(manager, holder[1])}",
            )
            return
        table[tool.name] = (tool, plugin)


def _file(manager: Manager, plugin: str) -> str:
    return next((row.file for row in manager.rows if row.name == plugin), plugin)


def find_tool(manager: Manager, name: str) -> type[Tool]:
    """The tool of that name. Raises ConfigError, which also names plugins that are left out."""
    known = tools(manager)
    if name in known:
        return known[name]
    absent = [
        f"{row.name} ({row.state})"
        for row in manager.rows
        if row.state in ("broken", "blocked", "untrusted")
    ]
    raise ConfigError(
        f"there is no tool {name!r}",
        why=f"plugins that are left out: {', '.join(absent)}" if absent else "",
        hint=suggestion(name, sorted(known), what="tool")
        + "; a tool of your own is a plugin, installed or in .cx/plugins (docs/own-tool.md)",
        name="no-such-tool",
        tool=name,
    )
