"""What the commands of a project share: its configuration, its store, its plugins."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.commands.context import App
from cxlocal.commands.terminal import say, warn, warn_once
from cxlocal.errors import CxError, NotSynced, Refused
from cxlocal.text import counted, quoted, utc_text
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.config.settings import Settings
    from cxlocal.config.types import Config
    from cxlocal.exchange.open import Access
    from cxlocal.exchange.store import Store
    from cxlocal.hooks.manager import Manager
    from cxlocal.journal.file import Journal
    from cxlocal.plan.types import Plan
    from cxlocal.runner.outlets import Outlets
    from cxlocal.runner.source import Machine


class Project(NamedTuple):
    """A working tree with a cx.toml, or the machine alone (``root`` and ``config`` are None)."""

    root: Path | None
    config: Config | None
    settings: Settings
    manager: Manager

    @property
    def deliverable(self) -> str | None:
        """The deliverable of this folder."""
        return None if self.config is None else self.config.deliverable.name


def load_project(app: App, *, needed: bool = False, shipped_only: bool = False) -> Project:
    """The project around the working directory, as the files there are now.

    Without a cx.toml it is the machine alone, unless ``needed``. Raises UsageError, ConfigError.
    """
    from cxlocal.config.load import read
    from cxlocal.config.settings import settings
    from cxlocal.hooks.manager import load

    root = app.project() if needed else app.find_project()
    config = None if root is None else read(str(root / "cx.toml"))
    chosen = settings(config, local=app.local(), environ=app.environ)
    manager = load(
        app.environ,
        block=() if config is None else config.plugins.block,
        no=app.blocked,
        shipped_only=shipped_only,
        warn=warn_once,
    )
    return Project(root, config, chosen, manager)


def plan_of(app: App, project: Project) -> Plan:
    """The plan of the files as they are now, bound to tools. Raises ConfigError and UsageError."""
    from cxlocal.hooks.options import check_options
    from cxlocal.hooks.registered import find_tool
    from cxlocal.plan.bind import bind
    from cxlocal.plan.resolve import resolve
    from cxlocal.runner.source import find_scheme, today

    assert project.config is not None
    resolved = resolve(project.config, today=today(app.clock))
    plan = bind(resolved, partial(find_tool, project.manager), check_options)
    find_scheme(project.manager, plan)
    return plan


def open_project_store(
    app: App, project: Project, url: str | None = None, *, journal: Journal | None = None
) -> Store:
    """The store the settings name, or ``url``. Outside a project it is the one where ``journal`` was
    met, unless the calling process names one; the store of this machine where nothing does."""
    from cxlocal.exchange.open import open_store
    from cxlocal.exchange.state import store_state

    if url is None and journal is not None and project.root is None:
        state = store_state(journal.connection)
        named = project.settings.origins["store.url"] in ("environment", "flag")
        url = None if named or not state.lineage else state.url
    return open_store(access_of(app, project), url)


def agreed(app: App, url: str, how: str) -> None:
    """Note that the person who calls this command agreed to the store at ``url``."""
    from cxlocal.exchange.agreed import agree_to

    agree_to(app.home(), url, app.environ, how=how, at=utc_text(app.clock.now_ms()))


def access_of(app: App, project: Project) -> Access:
    """What opening a store takes."""
    from cxlocal.exchange.open import Access
    from cxlocal.hooks.registered import stores

    folder = project.root or app.directory
    known = stores(project.manager)
    return Access(project.settings, known, app.home(), app.environ, folder)


def outlets_of(app: App, project: Project) -> Outlets:
    """What delivering to the sinks takes."""
    from cxlocal.runner.outlets import Outlets

    if project.root is not None and project.settings.sinks:
        # A sink of a plugin that nobody trusts is one that is not there, which is said of it.
        with suppress(Refused):
            project.manager.add_project(project.root, app.home())
    folder = project.root or app.directory
    return Outlets(
        project.settings, project.config, project.manager, app.home(), app.environ, folder
    )


def leave(journal: Journal, folder: Path) -> str:
    """Where a passing machine left what the store lacks, if it had to; never the reason why a
    command fails."""
    from cxlocal.runner.handover import leave_bundle

    try:
        packed = leave_bundle(journal, folder)
    except CxError as problem:
        warn(f"what the store lacks goes with this machine: {problem.what}: {problem.why}")
        return ""
    if packed is None:
        return ""
    say(
        f"The store has not got everything yet: {counted(packed.events, 'event waits', 'events wait')} in {packed.path}"
    )
    say(f"  keep that file; on any machine: cxlocal import {quoted(Path(packed.path).name)}")
    return packed.path


def make_machine(app: App, fresh: bool, *, anywhere: bool = False) -> Machine:
    """What the runner needs to know of this process; ``anywhere``: outside of a project, too."""
    from cxlocal.commands.voice import TerminalVoice
    from cxlocal.runner.source import Machine

    return Machine(
        root=app.find_project() or app.directory if anywhere else app.project(),
        local=app.local(),
        home=app.home(),
        environ=app.environ,
        clock=app.clock,
        ids=app.ids,
        blocked=app.blocked,
        voice=TerminalVoice(app.verbosity),
        command=" ".join(["cxlocal", *sys.argv[1:]])[:500],
        fresh=fresh,
    )


def how_to_send(bundle: str) -> str:
    """What to do about events the store lacks."""
    if not bundle:
        return "cxlocal sync --require-sync, before this machine goes away"
    return f"keep {bundle}; 'cxlocal import' of it, on any machine, brings it to the store"


def not_sent(said: str, pending: int, bundle: str) -> NotSynced:
    """What a command ends in where all should be at the store and ``pending`` events are not; ``said``: what is
    done all the same."""
    return NotSynced(
        f"{said}, and {counted(pending, 'event is', 'events are')} not at the store yet",
        why="the store could not be reached",
        hint=how_to_send(bundle),
        pending=pending,
        bundle=bundle,
    )


def bytes_here_alone(app: App, journal: Journal, said: str, *, must: bool) -> NotSynced | None:
    """What a command ends in where this machine goes away, or all ``must`` be sent, and what waits for
    somebody to go on with is nowhere else. ``said``: what is done all the same."""
    from cxlocal.journal.machine import goes_away

    if not (must or goes_away(journal)):
        return None
    from cxlocal.exchange.sync import pending
    from cxlocal.runner.outlets import logs_here_alone
    from cxlocal.runner.waiting import here_alone, words_of

    left = here_alone(journal)
    if not left:
        lost = logs_here_alone(journal, outlets_of(app, load_project(app)))
        if lost is not None and pending(journal):
            warn(lost.what)  # the events are what the command ends in
        return lost
    what, why, hint = words_of(left)
    return NotSynced(f"{said}, and {what}", why=why, hint=hint, name="bytes-not-sent")


def send_copies(
    app: App, journal: Journal, *, offline: bool = False, patient: bool = True, run: str = ""
) -> int:
    """One bounded exchange; how many events the store still lacks. A passing machine waits for
    the store as long as its patience lasts, if ``patient``. What ``run`` made elsewhere is fetched."""
    from cxlocal.exchange.sync import pending
    from cxlocal.runner import pieces_run as starting
    from cxlocal.runner.handover import fetch_bytes
    from cxlocal.runner.outlets import LOG_SECONDS, deliver_shortly, hand_over_logs

    if not offline:
        try:
            project = load_project(app)
            store = open_project_store(app, project, journal=journal)
            try:
                patience = project.settings.store_patience_seconds if patient else 0
                if patient:
                    for words in deliver_shortly(journal, outlets_of(app, project), store):
                        say(f"to be delivered: {words}")
                report = starting.send(journal, store, patience)
                if patient and report.reached:
                    hand_over_logs(journal, outlets_of(app, project), store, LOG_SECONDS)
                if run and report.reached:
                    fetch_bytes(journal, store, run)
            finally:
                store.close()
        except CxError as problem:
            warn(f"nothing was sent: {problem.what}")
    return pending(journal)
