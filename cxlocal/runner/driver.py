"""Carries out stages: starts what they ask for, serves it, hands them how it ended.

Stages are generators (``work.Program``). Whoever has several of them side by side (a run) and
whoever has one (a deployment, a question to an environment, a wrapped command) drives them here, so
that limits, signals and trouble mean the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from cxlocal.errors import CxError
from cxlocal.processes.supervisor import Supervisor
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.clock import Clock
    from cxlocal.processes.child import Child, End
    from cxlocal.runner.leftovers import Notes
    from cxlocal.runner.signals import Signals
    from cxlocal.runner.work import Launch

CANCEL_GRACE_SECONDS = 3.0
"""Between SIGTERM and SIGKILL for stages when a signal ends the run. With 4 s for taking away what was made and
2 s for the last push everything is recorded and sent within 10 s."""

AT_ONCE_SECONDS = 0.5
"""How long killed programs are looked after when a second signal comes."""


class Over(NamedTuple):
    """One program that has come to its end."""

    tag: Any
    value: Any
    """What it returned."""
    problem: CxError | None = None
    """What it raised instead."""


class Driver:
    """A context manager: inside it signals are heeded between two steps of the programs."""

    def __init__(
        self,
        supervisor: Supervisor,
        signals: Signals | None = None,
        *,
        notes: Notes | None = None,
        goes_on: Callable[[Any], bool] = lambda tag: False,
        grace_seconds: float | None = CANCEL_GRACE_SECONDS,
    ) -> None:
        """``goes_on`` tells whose programs a signal does not end; without ``signals`` none does,
        and who is interrupted ends everything by leaving. ``grace_seconds`` None: each program's own.
        """
        self.supervisor = supervisor
        self.signals = signals
        self._notes = notes
        self._goes_on = goes_on
        self._grace_seconds = grace_seconds
        self._programs: dict[Any, Generator[Launch, End, Any]] = {}
        self._heeded = False
        self._before: tuple[Callable[[], None] | None, Callable[[], None] | None] = (None, None)

    @property
    def active(self) -> int:
        """How many programs run."""
        return len(self._programs)

    def __enter__(self) -> Self:
        if self.signals is not None:
            self._before = self.signals.wake, self.signals.kill
            self.signals.wake, self.signals.kill = self.supervisor.wake, self._kill_all
        return self

    def __exit__(self, *_: object) -> None:
        if self.signals is not None:
            self.signals.wake, self.signals.kill = self._before

    def begin(self, tag: Any, program: Generator[Launch, End, Any]) -> list[Over]:
        """Let a program go as far as its first start; empty unless that was its end."""
        self._programs[tag] = program
        return self._go_on(tag, partial(next, program))

    def wait(self, timeout_seconds: float | None = None) -> list[Over]:
        """Serve everything until something has ended or a signal has come; which programs are over."""
        self._heed()
        over: list[Over] = []
        for end in self.supervisor.wait(self._watch(timeout_seconds)):
            if self._notes is not None:
                self._notes.ended(end)
            tag = end.child.tag
            over += self._go_on(tag, partial(self._programs[tag].send, end))
        return over

    def _go_on(self, tag: Any, resume: Callable[[], Launch]) -> list[Over]:
        program = self._programs[tag]
        try:
            child = self._start(resume(), program, tag)
        except StopIteration as stop:
            over = Over(tag, stop.value)
        except CxError as problem:
            over = Over(tag, None, problem)
        else:
            if self._notes is not None:
                self._notes.began(child)
            if self._heeded and not self._goes_on(tag) and not child.goes_on:
                # A retry or a second verb, begun after the signal: it ends as the others do.
                self._stop(child)
            return []
        del self._programs[tag]
        return [over]

    def _start(self, launch: Launch, program: Generator[Launch, End, Any], tag: Any) -> Child:
        """Start what a program asks for; it is told of what cannot be started, and may ask for
        something else."""
        while True:
            try:
                return launch(self.supervisor, tag)
            except CxError as problem:
                launch = program.throw(problem)

    def _heed(self) -> None:
        if self.signals is None or not self.signals.number or self._heeded:
            return
        self._heeded = True
        for child in self.supervisor.children:
            if not self._goes_on(child.tag) and not child.goes_on:
                self._stop(child)

    def _watch(self, timeout_seconds: float | None) -> float | None:
        """Stop what nobody is to wait for any more; for how long to wait until that is asked again."""
        for child in self.supervisor.children:
            vigil = child.vigil
            if vigil is None or child.stopping:
                continue
            if not vigil.seconds() and (why := vigil.ask()):
                self.supervisor.stop(child, why)
            elif timeout_seconds is None or vigil.seconds() < timeout_seconds:
                timeout_seconds = vigil.seconds()
        return timeout_seconds

    def _stop(self, child: Child) -> None:
        assert self.signals is not None
        self.supervisor.stop(child, self.signals.name, grace_seconds=self._grace_seconds)

    def _kill_all(self) -> None:
        """What a second signal does first."""
        for child in self.supervisor.children:
            child.family.kill(self.supervisor.clock, AT_ONCE_SECONDS)


def drive(
    program: Generator[Launch, End, Any],
    supervisor: Supervisor,
    signals: Signals | None = None,
    **options: Any,
) -> Any:
    """Carry out one program to its end, with nothing beside it; what it returns. Raises what it
    raises."""
    with Driver(supervisor, signals, **options) as driver:
        over = driver.begin("alone", program)
        while not over:
            over = driver.wait()
    if over[0].problem is not None:
        raise over[0].problem
    return over[0].value


def drive_apart(program: Generator[Launch, End, Any], clock: Clock) -> Any:
    """Carry out one program that may have nothing to start, to its end; what it returns. Raises what it raises. Who
    is interrupted ends everything by leaving."""
    try:
        launch = next(program)
        with Supervisor(clock) as supervisor:
            while True:
                child = launch(supervisor, "alone")
                ends = supervisor.wait(None)
                launch = program.send(next(end for end in ends if end.child is child))
    except StopIteration as stop:
        return stop.value
