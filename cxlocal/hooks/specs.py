"""The hooks, in the order of a release's life.

Names begin with ``cxlocal_``. Implementations take any subset of the arguments named here, by
keyword. This file is the source of the hook page in the docs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import click

    from cxlocal.events.document import Event
    from cxlocal.exchange.store import Store
    from cxlocal.hooks.place import Place
    from cxlocal.hooks.report import ReportReader
    from cxlocal.hooks.task import GateQuestion, GateAnswer, TaskResult, TaskView
    from cxlocal.hooks.tool import Tool
    from cxlocal.numbers.schemes import Scheme

PROJECT = "cxlocal"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def cxlocal_register_commands(cli: click.Group) -> None:
    """Add commands to the command line. Called when a command line starts that is not one of the
    recovery commands (doctor, plugins, config, journal, help)."""


@hookspec
def cxlocal_register_tools() -> Iterable[type[Tool]]:
    """Tools by class. Called once before a plan that names tools is checked."""


@hookspec
def cxlocal_register_version_schemes() -> Iterable[Scheme]:
    """Version schemes beside semver, pep440, calver and counter."""


@hookspec
def cxlocal_register_report_readers() -> Iterable[ReportReader]:
    """Readers of report formats. Called before the first report of a run is read."""


@hookspec
def cxlocal_register_stores() -> Mapping[str, type[Store]]:
    """Store back ends by URL scheme."""


@hookspec(firstresult=True)
def cxlocal_identify_ci(environ: Mapping[str, str]) -> Place | None:
    """Which CI server this process runs on, or None. First answer wins. Pure: only ``environ``."""


@hookspec(firstresult=True)
def cxlocal_resolve_revision(repository: Path, name: str) -> str | None:
    """Turn a name given to ``--revision`` (a ticket, a change number) into a commit id, or None.
    Called before git is asked."""


@hookspec
def cxlocal_gate(question: GateQuestion) -> GateAnswer | None:
    """Say allow, deny or undecided before a stage that requires a promotion, a deploy or a
    promotion. Every answer is recorded. None: no opinion."""


@hookspec
def cxlocal_run_task(task: TaskView) -> Iterator[None]:
    """Around every task run, for tracing and notification. Write it as a wrapper
    (``hookimpl(wrapper=True)``): the code after ``yield`` gets the ``TaskResult``. It can observe;
    it cannot change a result."""


@hookspec
def cxlocal_event_recorded(event: Event) -> None:
    """After an event is durable in the journal of this machine. Late is possible, twice is
    possible after a crash, lost is not an error: sinks that must not lose anything read the
    journal. An exception is recorded once and changes nothing."""


@hookspec
def cxlocal_register_sinks() -> Iterable[object]:
    """Sinks: objects with ``name`` and ``write(event)`` that receive events in order and at least
    once (a cursor in the journal remembers how far each one is)."""
