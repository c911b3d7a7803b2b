"""The loop: starts the steps of a run as soon as they may, serves their programs, ends them all.

One thread, one selector. Steps are generators (``work.Program``): the loop starts what they yield
and hands them how it ended.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from cxlocal.domain import Outcome
from cxlocal.errors import Conflict, CxError, Refused, Undecided
from cxlocal.plan.schedule import DESTROY, PROVISION, STAGE, Schedule, Step
from cxlocal.processes.start import kill_group
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner import locks, orphans
from cxlocal.runner.attempt import run_stage
from cxlocal.runner.gates import grant_earned
from cxlocal.runner.promotions import promotions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cxlocal.processes.child import Child, End
    from cxlocal.runner.signals import Signals
    from cxlocal.runner.work import Launch, Program, Work

CANCEL_GRACE_SECONDS = 3.0
"""Between SIGTERM and SIGKILL for stages when a signal ends the run. With 4 s for debts and 2 s for
the last push everything is recorded and sent within 10 s."""


class Ended(NamedTuple):
    """How the work of a run ended."""

    outcomes: dict[str, Outcome]
    """By stage, of those that ran."""
    skipped: tuple[str, ...]
    refused: CxError | None
    """Why a stage was not let in (Refused, Undecided, Conflict)."""


class Engine:
    """Carries out the steps of a schedule."""

    def __init__(self, work: Work, schedule: Schedule, *, jobs: int, signals: Signals) -> None:
        self.work = work
        self.schedule = schedule
        self.jobs = max(1, jobs)
        self.signals = signals
        self.outcomes: dict[str, Outcome] = {}
        self.refused: CxError | None = None
        self._programs: dict[Step, Program] = {}
        self._waiting: deque[Step] = deque()
        self._held = promotions(work.record) if work.plan.promotions else {}
        self._stopping = False
        self._unstarted: list[str] = []
        self._locks: dict[Step, locks.Lock] = {}
        self._told: set[Step] = set()

    def run(self) -> Ended:
        """Carry out everything; returns when nothing runs any more."""
        supervisor = Supervisor(self.work.record.journal.clock)
        self.signals.wake = supervisor.wake
        self.signals.kill = lambda: kill_all(supervisor)
        try:
            with supervisor:
                self._promote()
                while self.schedule.active:
                    self._heed_signal(supervisor)
                    locked_out = self._start_ready(supervisor)
                    if self._programs or locked_out:
                        for end in supervisor.wait(locks.AGAIN_SECONDS if locked_out else None):
                            self._advance(supervisor, end)
        finally:
            self.signals.wake = note_only
            self.signals.kill = None
        skipped = [step.name for step in self.schedule.skipped if step.kind == STAGE]
        return Ended(self.outcomes, (*self._unstarted, *skipped), self.refused)

    def _start_ready(self, supervisor: Supervisor) -> bool:
        """Start what may start; whether something waits for a run of another process."""
        self._collect_ready()
        locked_out: list[Step] = []
        while self._waiting and len(self._programs) < self.jobs:
            step = self._waiting.popleft()
            if self._stopping and step.kind != DESTROY:
                self.schedule.finish(step, ok=False)
                if step.kind == STAGE:
                    self._unstarted.append(step.name)
            elif not self._lock(step):
                locked_out.append(step)
            else:
                self._programs[step] = self._program(step)
                self._go_on(supervisor, step, next)
            # What ended at once (an environment that is only a name) may have let others start.
            self._collect_ready()
        self._waiting.extend(locked_out)
        return bool(locked_out)

    def _lock(self, step: Step) -> bool:
        """Have the place to ourselves where a stage deploys into a lasting environment."""
        stage = self.work.plan.stage(step.name) if step.kind == STAGE else None
        if stage is None or stage.kind != "deploy" or not stage.environment:
            return True
        if self.work.plan.environment(stage.environment).lifetime != "lasting":
            return True
        path = locks.environment_lock(self.work.home, self.work.plan.deliverable, stage.environment)
        lock = locks.take(path, f"run {self.work.record.run[:8]}, {self.work.record.version}")
        if lock is None:
            if step not in self._told:
                self._told.add(step)
                who = locks.holder(path)
                self.work.voice.note(f"{step.name} waits: {who} deploys into {stage.environment}")
            return False
        self._locks[step] = lock
        return True

    def _collect_ready(self) -> None:
        for step in self.schedule.ready():
            self.work.ready_at[step.name] = self.work.record.journal.clock.now_ms()
            self._waiting.append(step)

    def _program(self, step: Step) -> Program:
        plan = self.work.plan
        if step.kind == STAGE:
            return run_stage(self.work, plan.stage(step.name))
        from cxlocal.runner.environments import destroy, provision

        environment = plan.environment(step.name)
        if step.kind == PROVISION:
            return provision(self.work, environment)
        return destroy(self.work, environment, hurried=bool(self.signals.number))

    def _advance(self, supervisor: Supervisor, end: End) -> None:
        step = end.child.tag
        assert isinstance(step, Step)
        self._go_on(supervisor, step, lambda program: program.send(end))

    def _go_on(
        self, supervisor: Supervisor, step: Step, resume: Callable[[Program], Launch]
    ) -> None:
        """Let a step run to its next program, or to its end."""
        program = self._programs[step]
        try:
            launch = resume(program)
            child = start(launch, program, supervisor, step)
            if self._stopping and step.kind != DESTROY:
                # A retry or a second verb, begun after the signal: it ends as the others do.
                supervisor.stop(child, self.signals.name, grace_seconds=CANCEL_GRACE_SECONDS)
            self._note(child)
        except StopIteration as stop:
            self._finish(step, stop.value)
        except (Refused, Undecided, Conflict) as problem:
            self.refused = self.refused or problem
            self._finish(step, Outcome.FAILURE)
        except CxError as problem:
            self.work.voice.warn(f"{step.name}: {problem.what} {problem.why}".rstrip())
            self._finish(step, Outcome.ERROR)

    def _note(self, child: Child) -> None:
        known = child.identity
        if known is not None:
            orphans.note_child(self.work.workspace.folder, known.pid, known.start)

    def _finish(self, step: Step, outcome: Outcome) -> None:
        del self._programs[step]
        if step in self._locks:
            self._locks.pop(step).release()
        ok = outcome == Outcome.SUCCESS
        if step.kind == STAGE:
            self.outcomes[step.name] = outcome
            if ok:
                self.work.succeeded.add(step.name)
                ok = self._promote()
        elif not ok and step.kind == PROVISION:
            self.outcomes[f"environment {step.name}"] = outcome
        self.schedule.finish(step, ok=ok)

    def _promote(self) -> bool:
        """Record what has been earned; False where that was refused."""
        try:
            for name in grant_earned(self.work, self._held):
                self.work.voice.note(f"promoted to {name}")
        except CxError as problem:
            self.refused = self.refused or problem
            return False
        return True

    def _heed_signal(self, supervisor: Supervisor) -> None:
        if not self.signals.number or self._stopping:
            return
        self._stopping = True
        self.schedule.stop()
        self.work.voice.warn(f"{self.signals.name}: stopping; once more ends at once")
        for child in supervisor.children:
            # What is being destroyed is a debt being paid: that goes on.
            if not (isinstance(child.tag, Step) and child.tag.kind == DESTROY):
                supervisor.stop(child, self.signals.name, grace_seconds=CANCEL_GRACE_SECONDS)


def start(
    launch: Launch, program: Generator[Launch, End, Any], supervisor: Supervisor, tag: object
) -> Child:
    """Start what a program asks for; it is told of what cannot be started, and may ask for else."""
    while True:
        try:
            return launch(supervisor, tag)
        except CxError as problem:
            launch = program.throw(problem)


def note_only() -> None:
    """What a first signal does while the end of a run is being recorded: it is noted, no more."""


def kill_all(supervisor: Supervisor) -> None:
    """Kill every running child's group at once."""
    for child in supervisor.children:
        kill_group(child.pid)


def drive(program: Generator[Launch, End, Any], supervisor: Supervisor) -> Any:
    """Carry out one program to its end, with nothing beside it; what it returns."""
    try:
        launch = next(program)
        while True:
            start(launch, program, supervisor, "alone")
            ends: list[End] = []
            while not ends:
                ends = supervisor.wait(None)
            launch = program.send(ends[0])
    except StopIteration as stop:
        return stop.value
