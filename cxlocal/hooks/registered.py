"""What plugins register, each under a name that belongs to one plugin alone.

A name belongs to us or to a shipped plugin, else to the plugin that comes first in the list; a second one
with that name is left out with a warning. To replace what is shipped, leave out its plugin (``-p no:NAME``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cxlocal.config.problems import suggestion
from cxlocal.errors import ConfigError
from cxlocal.hooks.found import SHIPPED
from cxlocal.hooks.plugin_row import NOT_INSTALLED
from cxlocal.numbers.schemes import SCHEMES
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.exchange.store import Store
    from cxlocal.hooks.load import PluginPlace
    from cxlocal.hooks.manager import Manager
    from cxlocal.hooks.report import ReportReader
    from cxlocal.hooks.sink import Sink
    from cxlocal.hooks.tool import Tool
    from cxlocal.numbers.schemes import Scheme


class Kind(NamedTuple):
    """One kind of what can be registered."""

    words: str
    """What one is called, before its name."""
    named: Callable[[Any], Iterable[tuple[str, Any]]]
    """The names in an answer of the hook, each with what has it."""
    ours: Mapping[str, Any] = {}
    """What is there without any plugin."""


FORMER = ", for interface "
TOOLS = "cxlocal_register_tools"
SCHEMES_HOOK = "cxlocal_register_version_schemes"
READERS = "cxlocal_register_report_readers"
STORES = "cxlocal_register_stores"
SINKS = "cxlocal_register_sinks"

KINDS: Mapping[str, Kind] = {
    TOOLS: Kind("tool", lambda answer: [(one.name, one) for one in answer]),
    SCHEMES_HOOK: Kind(
        "version scheme", lambda answer: [(one.name, one) for one in answer], SCHEMES
    ),
    READERS: Kind("report format", lambda answer: [(one.format, one) for one in answer]),
    STORES: Kind("store for", lambda answer: list(answer.items())),
    SINKS: Kind("sink for", lambda answer: [(name, one) for one in answer for name in one.schemes]),
}
"""By the hook that registers it. These hooks can be called at any time to see whether they answer properly."""


class FoundReader(NamedTuple):
    """A reader of reports, and where a worker finds its plugin."""

    reader: ReportReader
    place: PluginPlace
    shipped: bool
    """It is ours: what it reads is bounded, and it raises nothing."""


class Held(NamedTuple):
    """What stands under one name, and the plugin that brought it."""

    made: Any
    plugin: str


def tools(manager: Manager) -> dict[str, type[Tool]]:
    """Every tool by its name."""
    return _made(manager, TOOLS)


def schemes(manager: Manager) -> dict[str, Scheme]:
    """Every version scheme by its name."""
    return _made(manager, SCHEMES_HOOK)


def readers(manager: Manager) -> dict[str, FoundReader]:
    """Every report reader by its format."""
    return {
        form: FoundReader(
            held.made,
            manager.found_at(held.plugin),
            shipped=manager.row(held.plugin).origin == "shipped",
        )
        for form, held in registered(manager, READERS).items()
    }


def stores(manager: Manager) -> dict[str, Callable[..., Store]]:
    """What opens a store, by the scheme of its URL."""
    return _made(manager, STORES)


def sinks(manager: Manager) -> dict[str, type[Sink]]:
    """Every sink by the scheme of its addresses."""
    return _made(manager, SINKS)


def _made(manager: Manager, hook: str) -> dict[str, Any]:
    return {name: held.made for name, held in registered(manager, hook).items()}


def registered(manager: Manager, hook: str, only: str = "") -> dict[str, Held]:
    """What there is of one kind, by name; that of ``only`` one shipped plugin. Found once, until a plugin is
    added."""
    table = manager.registered.get(hook + only)
    if table is None:
        kind = KINDS[hook]
        table = {name: Held(made, "") for name, made in kind.ours.items()}
        for plugin, answer in sorted(
            manager.each(hook, only), key=lambda one: manager.place(one[0])
        ):
            _take(manager, table, plugin, hook, answer)
        manager.registered[hook + only] = table
    return table


def _take(manager: Manager, table: dict[str, Held], plugin: str, hook: str, answer: object) -> None:
    kind = KINDS[hook]
    added: list[str] = []
    for name, made in kind.named(answer):
        if held := table.get(name):
            for taken in added:
                del table[taken]
            manager.reject(
                plugin,
                f"hook {hook} in {_file(manager, plugin)}: "
                + taken_words(f"{kind.words} {name}", _file(manager, held.plugin)),
            )
            return
        table[name] = Held(made, plugin)
        added.append(name)


def taken_words(what: str, file: str) -> str:
    """What is said of a name that another plugin has. Pure."""
    return f"a {what} is already there, from {file}: choose another name, or leave that plugin out"


def _file(manager: Manager, plugin: str) -> str:
    return manager.row(plugin).file if plugin else "cxlocal itself"


def gives(manager: Manager) -> dict[str, tuple[str, ...]]:
    """What each plugin brings, in words, by its name; which shows every wrong registration, too."""
    found: dict[str, tuple[str, ...]] = {}
    for hook, kind in KINDS.items():
        for name, held in registered(manager, hook).items():
            words = f"{kind.words} {name}{_former(held.made)}"
            found[held.plugin] = (*found.get(held.plugin, ()), words)
    return found


def _former(made: Any) -> str:
    """What is said of what was made for an interface that is served and not the newest; empty for others."""
    if not isinstance(made, type) or "api" not in dir(made):
        return ""
    newest = made.__mro__[-2].api  # type: ignore[attr-defined]  # that of the base, ``Tool`` or ``Sink``
    return "" if made.api == newest else f"{FORMER}{made.api}"  # type: ignore[attr-defined]


def find_tool(manager: Manager, name: str) -> type[Tool]:
    """The tool of that name. Raises ConfigError, which also names plugins that are left out."""
    # A name that is shipped is nobody else's. Plugins of others are loaded all the same: what is wrong is said.
    giver = next((one.name for one in SHIPPED if name in one.tools), "")
    if giver and not manager.has_others and (own := registered(manager, TOOLS, giver).get(name)):
        made: type[Tool] = own.made
        return made
    known = tools(manager)
    if name in known:
        return known[name]
    absent = [
        f"{row.name} ({row.state})"
        for row in manager.rows
        if row.state in ("broken", "blocked", "untrusted", NOT_INSTALLED)
    ]
    bring = [row.error for row in manager.rows if (row.name, row.state) == (name, NOT_INSTALLED)]
    raise ConfigError(
        f"there is no tool {name!r}",
        why=f"plugins that are left out: {', '.join(absent)}" if absent else "",
        hint=bring[0]
        if bring
        else suggestion(name, sorted(known), what="tool")
        + "; a tool of your own is a plugin, installed or in .cx/plugins (docs/own-tool.md)",
        name="no-such-tool",
        tool=name,
    )
