"""Datasette plugins of other distributions that raise: whose it was, and how to leave it out."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType

from pluggy import HookimplMarker, PluginManager

from cxlocal.errors import Trouble

OURS = "cxlocal"
"""The distribution of our own pages."""
_WATCHER = "cxlocal-watcher"
WATCHERS: list[Callable[[BaseException], None]] = []
"""Called with what is raised while a page is made, which Datasette turns into a page of status 500."""


@contextlib.contextmanager
def left_out(names: Collection[str]) -> Iterator[None]:
    """While Datasette is imported, and loads all plugins there are: leave those of the distributions
    ``names`` out, which may raise when they are imported. It has no setting for that in 0.65."""
    entries = {entry for _, name, entry in _entries() if name in names or entry in names}
    original = PluginManager.load_setuptools_entrypoints

    def load(self: PluginManager, group: str, name: str | None = None) -> int:
        for entry in entries if group == "datasette" else ():
            self.set_blocked(entry)
        return original(self, group, name)

    PluginManager.load_setuptools_entrypoints = load  # type: ignore[method-assign]
    try:
        yield
    finally:
        PluginManager.load_setuptools_entrypoints = original  # type: ignore[method-assign]


def watch_plugins() -> None:
    """Let Datasette tell ``WATCHERS``. Once for a process: its plugins belong to the process, too."""

    def handle_exception(exception: BaseException) -> None:
        """Whatever a page raises; Datasette's own answers, such as 404, have a status."""
        if not hasattr(exception, "status"):
            for tell in WATCHERS:
                tell(exception)

    pm: PluginManager = sys.modules["datasette.plugins"].pm
    if not pm.has_plugin(_WATCHER):
        watcher = ModuleType(_WATCHER)  # Datasette asks its plugins for the name of a module
        setattr(watcher, handle_exception.__name__, HookimplMarker("datasette")(handle_exception))
        pm.register(watcher, _WATCHER)


def blame(problem: BaseException, what: str, name: str = "page-plugin") -> Trouble:
    """The error that names the plugin, where it is one of another distribution."""
    others = {package: distribution for package, distribution, _ in _entries()}
    culprit = next((others[package] for package in _raised_in(problem) if package in others), "")
    why = f"{type(problem).__name__}: {problem}"
    out = [culprit] if culprit else sorted(set(others.values()))
    flags = "".join(f" -p no:{one}" for one in out)
    return Trouble(
        f"the Datasette plugin {culprit} raises" if culprit else what,
        why=f"{what}: {why}" if culprit else why,
        hint=f"cxlocal{flags} browse   leaves {'it' if culprit else 'the plugins of others'} out"
        if out
        else "install Datasette again: pip install --force-reinstall datasette",
        name=name,
    )


def _raised_in(problem: BaseException | None) -> Iterator[str]:
    """The packages in which it was raised, innermost first."""
    for _ in range(10):
        if problem is None:
            return
        if isinstance(problem, ImportError) and problem.name:
            yield problem.name.partition(".")[0]
        if isinstance(problem, SyntaxError) and problem.filename:
            yield Path(problem.filename).stem
        for frame, _ in reversed(list(traceback.walk_tb(problem.__traceback__))):
            yield str(frame.f_globals.get("__name__", "")).partition(".")[0]
        problem = problem.__cause__ or problem.__context__


def _entries() -> Iterator[tuple[str, str, str]]:
    """(package, distribution, entry) of each installed plugin of Datasette that is not ours."""
    for found in distributions(path=sys.path):
        for entry in found.entry_points:
            if entry.group == "datasette":
                name = str(found.metadata["Name"])
                if name != OURS:
                    package = entry.value.partition(":")[0].partition(".")[0].strip()
                    yield package, name, entry.name
