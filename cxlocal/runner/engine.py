"""The loop: starts the steps of a run as soon as they may, and ends them all. One thread."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from cxlocal.domain import Outcome
from cxlocal.errors import Conflict, CxError, Refused, Undecided
from cxlocal.plan.schedule import DESTROY, PROVISION, STAGE, Schedule, Step
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner import locks
from cxlocal.runner.admission import hold, lasting_place
from cxlocal.runner.attempt import run_stage
from cxlocal.runner.driver import Driver, Over
from cxlocal.runner.gates import grant_earned
from cxlocal.runner.promotions import promotions
from cxlocal.runner.signals import Signals
from cxlocal.runner.work import Program, Work


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
        self._waiting: deque[Step] = deque()
        self._held = promotions(work.record) if work.plan.promotions else {}
        self._stopping = False
        self._unstarted: list[str] = []
        self._locks: dict[Step, locks.Lock] = {}
        self._told: set[Step] = set()

    def run(self) -> Ended:
        """Carry out everything; returns when nothing runs any more."""
        with Supervisor(self.work.record.journal.clock) as supervisor:
            driver = Driver(
                supervisor, self.signals, notes=self.work.notes,
                # What is being destroyed is a debt being paid: that goes on.
                goes_on=lambda step: step.kind == DESTROY,
            )  # fmt: skip
            with driver:
                self._promote()
                while self.schedule.active:
                    self._heed_signal()
                    locked_out = self._start_ready(driver)
                    if driver.active or locked_out:
                        for over in driver.wait(locks.AGAIN_SECONDS if locked_out else None):
                            self._finish(over)
        skipped = [step.name for step in self.schedule.skipped if step.kind == STAGE]
        return Ended(self.outcomes, (*self._unstarted, *skipped), self.refused)

    def _start_ready(self, driver: Driver) -> bool:
        """Start what may start; whether something waits for a run of another process."""
        self._collect_ready()
        locked_out: list[Step] = []
        while self._waiting and driver.active < self.jobs:
            step = self._waiting.popleft()
            if self._stopping and step.kind != DESTROY:
                self.schedule.finish(step, ok=False)
                if step.kind == STAGE:
                    self._unstarted.append(step.name)
            elif not self._lock(step):
                locked_out.append(step)
            else:
                for over in driver.begin(step, self._program(step)):
                    self._finish(over)
            # What ended at once (an environment that is only a name) may have let others start.
            self._collect_ready()
        self._waiting.extend(locked_out)
        return bool(locked_out)

    def _lock(self, step: Step) -> bool:
        """Have the place to ourselves where a stage deploys into a lasting environment."""
        plan, record = self.work.plan, self.work.record
        place = lasting_place(plan, plan.stage(step.name)) if step.kind == STAGE else None
        if place is None:
            return True
        who = f"run {record.run[:8]}, {record.version}"
        lock = hold(record.journal, plan.deliverable, place.name, who, self.work.voice.warn)
        if lock is None:
            if step not in self._told:
                self._told.add(step)
                other = locks.holder(
                    locks.environment_lock(self.work.home, plan.deliverable, place.name)
                )
                self.work.voice.note(f"{step.name} waits: {other} deploys into {place.name}")
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

    def _finish(self, over: Over) -> None:
        step: Step = over.tag
        if step in self._locks:
            self._locks.pop(step).release()
        outcome = self._outcome(step, over)
        ok = outcome == Outcome.SUCCESS
        if step.kind == STAGE:
            self.outcomes[step.name] = outcome
            if ok:
                self.work.succeeded.add(step.name)
                ok = self._promote()
        elif not ok and step.kind == PROVISION:
            self.outcomes[f"environment {step.name}"] = outcome
        self.schedule.finish(step, ok=ok)

    def _outcome(self, step: Step, over: Over) -> Outcome:
        problem = over.problem
        if problem is None:
            return Outcome(over.value)
        if isinstance(problem, Refused | Undecided | Conflict):
            self.refused = self.refused or problem
            return Outcome.FAILURE
        self.work.voice.warn(f"{step.name}: {problem.what} {problem.why}".rstrip())
        return Outcome.ERROR

    def _promote(self) -> bool:
        """Record what has been earned; False where that was refused."""
        try:
            for name in grant_earned(self.work, self._held):
                self.work.voice.note(f"promoted to {name}")
        except CxError as problem:
            self.refused = self.refused or problem
            return False
        return True

    def _heed_signal(self) -> None:
        if not self.signals.number or self._stopping:
            return
        self._stopping = True
        self.schedule.stop()
        self.work.voice.warn(f"{self.signals.name}: stopping; once more ends at once")
