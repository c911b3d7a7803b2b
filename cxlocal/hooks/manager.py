"""Plugins: found, loaded one by one, checked, and called so that none can harm the others.

pluggy keeps the registry and the order of calls. The calls themselves are made here, one plugin at
a time: under a time limit, every exception caught, every answer checked. A plugin that fails is
named with its distribution, warned of once and left out; CXLOCAL_STRICT_PLUGINS=1 makes that an
error instead. Nothing is imported before the first hook is called, and then only once.

Shipped plugins come first in the list and last in the calls, so that an installed one is asked
before ours.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pluggy

from cxlocal.errors import ConfigError, Refused
from cxlocal.extras import how_to_install
from cxlocal.hooks import specs
from cxlocal.hooks.calls import call, guarded
from cxlocal.hooks.exits import forbid
from cxlocal.hooks.found import SHIPPED, Found, Shipped, installed
from cxlocal.hooks.implementations import Mistake, check_hooks, first_result
from cxlocal.hooks.load import PluginPlace, imported, module_from_bytes
from cxlocal.hooks.open_stage import OpenStage
from cxlocal.hooks.plugin_row import NOT_INSTALLED, LeftOut, PluginRow, absent_plugin
from cxlocal.hooks.stage_view import GateAnswer, GateQuestion, StageView
from cxlocal.hooks.trust import FOLDER, ProjectFile, ProjectPlugins, read_project
from cxlocal.processes.stdout import is_ours, set_aside

LOAD_SECONDS = 20.0
"""For importing one plugin. Large ones (cloud SDKs) need a few seconds on a slow disk."""


class Manager:
    """The plugins of one command."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        left_out: Mapping[str, str],
        shipped_only: bool,
        warn: Callable[[str], None],
    ) -> None:
        """``left_out``: names of plugins or of distributions, with what leaves each out."""
        self._registry = pluggy.PluginManager(specs.PROJECT)
        self._registry.add_hookspecs(specs)
        self._rows: dict[str, PluginRow] = {}
        self._environ = environ
        self._warn = warn
        self._strict = environ.get("CXLOCAL_STRICT_PLUGINS", "") not in ("", "0")
        self._silent: set[tuple[str, str]] = set()
        self._installed: list[Found] = []
        self._targets = {row.name: row.module for row in SHIPPED}
        """Where the plugins that are no files of a project are imported from."""
        self.left_out: list[LeftOut] = []
        """The plugins that somebody left out of this command."""
        self._hidden: list[tuple[str, str]] = []
        """Plugins whose name another one has, and the words for that."""
        self._project_digest = ""
        self.registered: dict[str, dict[str, Any]] = {}
        """What ``cxlocal.hooks.registered`` keeps here, by hook and name."""
        for row in SHIPPED:
            state = "not loaded"
            if how := left_out.get(row.name):
                state = "blocked"
                self.left_out.append(LeftOut(row.name, "cxlocal", "", how))
            self._rows[row.name] = PluginRow(
                row.name, "cxlocal", "", row.hooks, "shipped", state, "", ""
            )
        self._list_installed(environ, left_out, shipped_only)

    @property
    def rows(self) -> list[PluginRow]:
        """Every plugin, loaded as far as this command loads any."""
        for shipped in SHIPPED:
            self._load_shipped(shipped)
        self._load_installed()
        return list(self._rows.values())

    def require(self, names: Iterable[str]) -> None:
        """Have each of these plugins loaded, named by itself or by its distribution. Raises
        Refused, name ``plugin-required``, for one that is not here, broken or left out."""
        for name in names:
            for shipped in SHIPPED:
                if shipped.name == name:
                    self._load_shipped(shipped)
            self._load_installed()
            found = [row for row in self._rows.values() if name in (row.name, row.distribution)]
            absent = [row for row in found if row.state != "loaded"]
            if absent or not found:
                raise absent_plugin(name, absent[0] if absent else None, self.left_out)

    @property
    def has_others(self) -> bool:
        """Some plugin that is not shipped takes part."""
        rows = self._rows.values()
        return any(r.origin != "shipped" and r.state in ("loaded", "not loaded") for r in rows)

    def each(self, hook: str, only: str = "", **arguments: Any) -> list[tuple[str, Any]]:
        """Ask every plugin, or ``only`` a shipped one: its name and answer, where it has one. Wrong answers
        are left out."""
        return list(self._answers(hook, arguments, only))

    def first(self, hook: str, **arguments: Any) -> Any | None:
        """Ask until one answers."""
        assert first_result(hook), f"{hook} gives a list"
        return next((answer for _, answer in self._answers(hook, arguments)), None)

    def _answers(
        self, hook: str, arguments: Mapping[str, Any], only: str = ""
    ) -> Iterator[tuple[str, Any]]:
        for impl in self._implementations(hook, only):
            try:
                shipped = self._rows[impl.plugin_name].origin == "shipped"
                answer = call(impl, hook, arguments, check=not shipped)
            except Mistake as mistake:
                self._break(impl.plugin_name, str(mistake))
                continue
            if answer is not None:
                yield impl.plugin_name, answer

    def gate(self, question: GateQuestion) -> list[GateAnswer]:
        """Every opinion. A gate that fails or talks nonsense is *undecided*, never silent; so is a
        plugin that could not be loaded and may be a gate."""
        answers: list[GateAnswer] = []
        for impl in self._implementations("cxlocal_gate"):
            try:
                answer = call(impl, "cxlocal_gate", {"question": question})
            except Mistake as mistake:
                reason = f"plugin {impl.plugin_name}: {mistake}"
                answer = GateAnswer(impl.plugin_name, "undecided", reason)
            if answer is not None:
                answers.append(answer)
        return answers + [
            GateAnswer(name, "undecided", f"plugin {name} may be a gate, and {why}")
            for name, why in self._unheard()
        ]

    def _unheard(self) -> Iterator[tuple[str, str]]:
        """Plugins that may have something to say about a gate, and why they cannot."""
        yield from self._hidden
        for row in self._rows.values():
            # What a plugin implements is known once it was loaded; it can break later, too.
            if row.state == "broken" and (not row.hooks or "cxlocal_gate" in row.hooks):
                way = f"-p no:{row.name} leaves it out, and that is recorded"
                yield row.name, f"could not be loaded: {row.error} ({way})"

    def open_stage(self, view: StageView) -> OpenStage:
        """Start the wrappers of a stage; ``close`` the result when it has ended."""
        return OpenStage(list(self._implementations("cxlocal_run_stage")), view, self.complain)

    def event_recorded(self, event: Any) -> None:
        """Tell observers. What goes wrong there changes nothing."""
        for impl in self._implementations("cxlocal_event_recorded"):
            try:
                call(impl, "cxlocal_event_recorded", {"event": event})
            except Mistake as mistake:
                self.complain(impl.plugin_name, "cxlocal_event_recorded", str(mistake))

    def complain(self, plugin: str, hook: str, error: str) -> None:
        """Warn of an observer once, and do not ask it again in this process."""
        self._silent.add((plugin, hook))
        self._rows[plugin] = self._rows[plugin]._replace(error=error)
        self._say(plugin, error)

    def reject(self, plugin: str, error: str) -> None:
        """Leave a plugin out from now on, because of what it registered."""
        self._break(plugin, error)

    def add_project(self, root: Path | ProjectPlugins, home: Path) -> None:
        """Load the plugins of a project, from the folder of its cx.toml or as they were read. They
        are part of the process, so nothing goes on without them.

        Raises Refused, name ``untrusted-plugins``, unless their digest was trusted on this machine,
        and ConfigError when one is broken.
        """
        project = root if isinstance(root, ProjectPlugins) else read_project(root / FOLDER)
        if not project.files:
            return
        from cxlocal.config.agreement import trusted

        if project.digest not in trusted(home, self._environ):
            self._note_project(project, "untrusted")
            raise Refused(
                f"{project.folder} holds {len(project.files)} plugin{'s'[: len(project.files) > 1]}"
                " that nobody has trusted here",
                why="they are code of the repository and would run with your rights;"
                f" their digest is {project.digest}",
                hint="read them, then: cxlocal trust   (in CI: CXLOCAL_TRUST="
                + project.digest
                + ")",
                name="untrusted-plugins",
                digest=project.digest,
            )
        if self._project_digest == project.digest:
            return
        self._note_project(project, "not loaded")
        for file in project.files:
            self._load_own(project, file)
        self._project_digest = project.digest
        self.registered.clear()

    def _load_own(self, project: ProjectPlugins, file: ProjectFile) -> None:
        module = f"cxlocal_project_{project.digest[7:19]}_{file.name}"
        self._load(file.name, partial(module_from_bytes, module, file.path, file.source))

    def list_project(self, root: Path, home: Path) -> None:
        """Only list the plugins of a working tree."""
        from cxlocal.config.agreement import trusted

        project = read_project(root / FOLDER)
        allowed = project.digest in trusted(home, self._environ)
        self._note_project(project, "not loaded" if allowed else "untrusted")

    # loading

    def _note_project(self, project: ProjectPlugins, state: str) -> None:
        for file in project.files:
            if file.name in self._rows and self._rows[file.name].origin != "project":
                raise ConfigError(
                    f"{file.path}: another plugin is already called {file.name}",
                    why="each plugin is known by its name",
                    hint="rename the file",
                    name="plugin-name-taken",
                )
            self._rows[file.name] = PluginRow(
                file.name, "", "", (), "project", state, "", str(file.path)
            )

    def _list_installed(
        self, environ: Mapping[str, str], left_out: Mapping[str, str], shipped_only: bool
    ) -> None:
        wanted = environ.get("CXLOCAL_LOAD_PLUGINS")
        names = None if wanted is None else wanted.replace(",", " ").split()
        for found in installed(sys.path):
            how = left_out.get(found.name) or left_out.get(found.distribution) or ""
            if names is not None and not {found.name, found.distribution} & set(names):
                how = how or "CXLOCAL_LOAD_PLUGINS"
            if how:
                self.left_out.append(LeftOut(found.name, found.distribution, found.version, how))
            if found.name in self._rows:
                if not how:
                    self._hide(found, self._rows[found.name])
                continue
            state = "blocked" if how else "not loaded"
            self._rows[found.name] = PluginRow(
                found.name, found.distribution, found.version, (), "installed", state, "", ""
            )
            self._targets[found.name] = found.target
            if not how and not shipped_only:
                self._installed.append(found)

    def _hide(self, found: Found, other: PluginRow) -> None:
        """A plugin whose name another one has is not loaded."""
        words = f"{other.distribution} {other.version} has a plugin of that name"
        self._say(f"{found.name} of {found.distribution}", words)
        way = f"-p no:{found.distribution} leaves it out, and that is recorded"
        self._hidden.append((f"{found.name} of {found.distribution}", f"{words} ({way})"))

    def _load_installed(self) -> None:
        while self._installed:
            found = self._installed.pop(0)
            self._load(found.name, partial(imported, found.target))

    def _load_shipped(self, shipped: Shipped) -> None:
        if self._rows[shipped.name].state == "not loaded":
            self._load(shipped.name, partial(imported, shipped.module))

    def load_installed(self, name: str) -> PluginRow:
        """Load one installed plugin by name (``cxlocal plugins`` does it in a process apart)."""
        for found in [one for one in self._installed if one.name == name]:
            self._installed.remove(found)
            self._load(name, partial(imported, found.target))
        return self._rows[name]

    def load_own(self, folder: Path, allowed: Container[str], name: str) -> PluginRow:
        """Load one plugin of a project by name, likewise, if somebody trusts the files there."""
        project = read_project(folder)
        free = project.digest in allowed
        self._note_project(project, "not loaded" if free else "untrusted")
        for file in project.files:
            if free and file.name == name:
                with contextlib.suppress(ConfigError):  # the row says it
                    self._load_own(project, file)
        return self._rows[name]

    def row(self, name: str) -> PluginRow:
        """What is known of one plugin by now; it is not loaded for that."""
        return self._rows[name]

    def found_at(self, name: str) -> PluginPlace:
        """Where a worker finds a plugin that is loaded here."""
        if name in self._targets:
            return PluginPlace(self._targets[name])
        module: Any = self._registry.get_plugin(name)
        source: bytes = module.__cxlocal_source__
        return PluginPlace(module.__name__, module.__file__, source.decode("latin-1"))

    def place(self, name: str) -> int:
        """Where a plugin stands in the list: shipped ones, installed ones, those of the project."""
        return list(self._rows).index(name)

    def _load(self, name: str, importing: Callable[[], object]) -> None:
        file = self._rows[name].file
        if self._rows[name].origin != "shipped":
            # What it prints, now or later, is not the data of this command; nor is it its to end.
            if is_ours():
                forbid()
            set_aside()
        try:
            plugin = guarded(LOAD_SECONDS, importing)
            file = str(getattr(plugin, "__file__", "") or sys.modules[_module(plugin)].__file__)
            self._rows[name] = self._rows[name]._replace(file=file)
            hooks = check_hooks(plugin, file)
            self._registry.register(plugin, name)
        except (Mistake, pluggy.PluginValidationError, ValueError) as problem:
            if isinstance(problem.__cause__, ModuleNotFoundError) and name in _EXTRAS:
                self._rows[name] = self._rows[name]._replace(
                    state=NOT_INSTALLED, error=how_to_install(_EXTRAS[name])
                )
            else:
                self._break(name, str(problem))
        else:
            self._rows[name] = self._rows[name]._replace(hooks=hooks, state="loaded")

    def _break(self, name: str, error: str) -> None:
        row = self._rows[name] = self._rows[name]._replace(state="broken", error=error)
        if self._registry.get_plugin(name) is not None:
            self._registry.unregister(name=name)
        if row.origin == "project":
            raise ConfigError(
                f"plugin {row.file} of this project is broken",
                why=error,
                hint="correct it, push, and trust it anew: cxlocal trust",
                name="broken-plugin",
            )
        if self._strict:
            raise ConfigError(
                f"plugin {row.shown} is broken",
                why=error,
                hint=f"correct it, or leave it out: -p no:{name}",
                name="broken-plugin",
                plugin=name,
            )
        self._say(row.shown, f"{error}; it is left out (for good: -p no:{name})")

    def _say(self, plugin: str, error: str) -> None:
        self._warn(f"plugin {plugin}: {error}")

    def _implementations(self, hook: str, only: str = "") -> Iterator[pluggy.HookImpl]:
        """The functions to call, in pluggy's order, installed ones before shipped ones."""
        for shipped in SHIPPED:
            if hook in shipped.hooks and only in ("", shipped.name):
                self._load_shipped(shipped)
        if not only:
            self._load_installed()
        found = [
            one
            for one in reversed(getattr(self._registry.hook, hook).get_hookimpls())
            if only in ("", one.plugin_name)
        ]
        yield from sorted(
            (one for one in found if (one.plugin_name, hook) not in self._silent),
            key=lambda one: (
                one.trylast - one.tryfirst,
                self._rows[one.plugin_name].origin == "shipped",
            ),
        )


_EXTRAS = {row.name: row.extra for row in SHIPPED if row.extra}


def load(
    environ: Mapping[str, str],
    *,
    block: Sequence[str] = (),
    no: Sequence[str] = (),
    shipped_only: bool = False,
    warn: Callable[[str], None],
) -> Manager:
    """The plugins of this command. Imports none yet.

    ``block`` is ``[plugins] block``, ``no`` what ``-p no:NAME`` gave: names of plugins or of
    distributions. ``shipped_only`` for the commands that must work whatever is installed (doctor,
    plugins, config, journal, help). ``warn`` shows a line to a person. CXLOCAL_LOAD_PLUGINS limits
    installed plugins to those named in it (empty: none).
    """
    left_out = {name: "[plugins] block" for name in block} | {name: f"-p no:{name}" for name in no}
    return Manager(environ, left_out=left_out, shipped_only=shipped_only, warn=warn)


def _module(plugin: object) -> str:
    return getattr(plugin, "__module__", None) or type(plugin).__module__
