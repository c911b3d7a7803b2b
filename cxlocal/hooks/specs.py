"""The hooks, in the order of a release's life.

Names begin with ``cxlocal_``. Implementations take any subset of the arguments named here, by
keyword. This file is the source of the hook page in the docs.
"""

# Specifications have no bodies: what they return is said for those who implement them.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from cxlocal.values import Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import click

    from cxlocal.events.document import Event
    from cxlocal.exchange.store import Store
    from cxlocal.hooks.place import Place
    from cxlocal.hooks.report import ReportReader
    from cxlocal.hooks.sink import Sink
    from cxlocal.hooks.stage_view import GateAnswer, GateQuestion, StageView
    from cxlocal.hooks.tool import Tool
    from cxlocal.numbers.schemes import Scheme

PROJECT = "cxlocal"

Function = TypeVar("Function", bound=Callable[..., Any])


class Marker(Protocol):
    """What ``hookimpl`` is: a decorator, with or without options in parentheses."""

    @overload
    def __call__(self, function: Function) -> Function: ...
    @overload
    def __call__(
        self,
        *,
        wrapper: bool = False,
        tryfirst: bool = False,
        trylast: bool = False,
        optionalhook: bool = False,
    ) -> Callable[[Function], Function]: ...


def _marker(attribute: str, **defaults: object) -> Any:
    """A decorator that leaves its options on a function, where pluggy looks for them.

    pluggy's own markers do the same. These do not import it: a plugin is also loaded by worker
    processes that call a tool and no hook, and they must start fast (a test compares the two).
    """

    def mark(function: Any = None, **options: object) -> Any:
        def leave(marked: Any) -> Any:
            setattr(marked, attribute, {**defaults, **options})
            return marked

        return leave if function is None else leave(function)

    return mark


class SpecMarker(Protocol):
    """What ``hookspec`` is."""

    @overload
    def __call__(self, function: Function) -> Function: ...
    @overload
    def __call__(self, *, firstresult: bool = False) -> Callable[[Function], Function]: ...


hookspec: SpecMarker = _marker(
    f"{PROJECT}_spec", firstresult=False, historic=False, warn_on_impl=None, warn_on_impl_args=None
)
hookimpl: Marker = _marker(
    f"{PROJECT}_impl",
    wrapper=False,
    hookwrapper=False,
    optionalhook=False,
    tryfirst=False,
    trylast=False,
    specname=None,
)


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
def cxlocal_register_stores() -> Mapping[str, Callable[[str, Path], Store]]:
    """Store back ends by URL scheme: what makes a store of (url, home folder)."""


@hookspec(firstresult=True)
def cxlocal_identify_ci(environ: Mapping[str, str]) -> Place | None:
    """Which CI server this process runs on, or None. First answer wins. Pure: only ``environ``."""


@hookspec(firstresult=True)
def cxlocal_resolve_revision(repository: Path, name: str) -> str | None:
    """Turn a name given to ``--revision`` (a ticket, a change number) into a commit id, or None.
    Called before git is asked."""


@hookspec
def cxlocal_gate(question: GateQuestion) -> GateAnswer | None:
    """Say allow, deny or undecided before a stage that requires a promotion, a deploy, a publication to a
    target or a promotion. Every answer is recorded. None: no opinion."""


@hookspec
def cxlocal_run_stage(stage: StageView) -> Iterator[None]:
    """Around every stage run, for tracing and notification. Write it as a wrapper
    (``hookimpl(wrapper=True)``): the code after ``yield`` gets the ``StageResult``. It can observe;
    it cannot change a result."""


@hookspec
def cxlocal_event_recorded(event: Event) -> None:
    """After an event is durable in the journal of this machine. Late is possible, twice is
    possible after a crash, lost is not an error: whatever must not lose anything is a sink
    (``cxlocal_register_sinks``). An exception is recorded once and changes nothing."""


@hookspec
def cxlocal_register_sinks() -> Iterable[type[Sink]]:
    """Sinks by class: where logs, figures, events and traces are delivered to (``docs/sinks.md``). Called
    when something is to be delivered, and never while stages run."""
