"""The loop: starts the jobs of a run as soon as they may, and ends them all. One thread."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from cxlocal.domain import Outcome
from cxlocal.errors import Conflict, CxError, Refused, Undecided
from cxlocal.plan.schedule import DESTROY, PROVISION, STAGE, Job, Schedule
from cxlocal.processes import locks
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner.admission import DEPLOYS, PUBLISHES, door_of
from cxlocal.runner.attempt import run_stage
from cxlocal.runner.driver import Driver, Over
from cxlocal.runner.gates import grant_earned
from cxlocal.runner.promotions import promotions
from cxlocal.runner.signals import Signals
from cxlocal.runner.work import Program, Work
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.runner.turns import Door

WAIT_SECONDS = 600.0
"""For another run to be done with a lasting environment; who has it longer may be gone."""


class Ended(NamedTuple):
    """How the work of a run ended."""

    outcomes: dict[str, Outcome]
    """By stage, of those that ran."""
    skipped: tuple[str, ...]
    refused: CxError | None
    """Why a stage was not let in (Refused, Undecided, Conflict)."""
    problems: dict[str, CxError]
    """By stage: why those that had no outcome of their own did not come to one."""


class Engine:
    """Carries out the jobs of a schedule."""

    def __init__(self, work: Work, schedule: Schedule, *, jobs: int, signals: Signals) -> None:
        self.work = work
        self.schedule = schedule
        self.jobs = max(1, jobs)
        self.signals = signals
        self.outcomes: dict[str, Outcome] = {}
        self.refused: CxError | None = None
        self.problems: dict[str, CxError] = {}
        self._waiting: deque[Job] = deque()
        self._held = promotions(work.record) if work.plan.promotions else {}
        self._stopping = False
        self._unstarted: list[str] = []
        self._doors: dict[Job, Door] = {}
        self._waits: dict[Job, float] = {}
        """Since when a job waits for its place, in seconds of the monotonic clock."""

    def run(self) -> Ended:
        """Carry out everything; returns when nothing runs any more."""
        with Supervisor(self.work.record.journal.clock) as supervisor:
            driver = Driver(
                supervisor, self.signals, notes=self.work.notes,
                # What is being destroyed goes on being destroyed.
                goes_on=lambda job: job.kind == DESTROY,
            )  # fmt: skip
            with driver:
                self._promote()
                while self.schedule.active:
                    self._heed_signal()
                    locked_out = self._start_ready(driver)
                    if driver.active or locked_out:
                        for over in driver.wait(locks.AGAIN_SECONDS if locked_out else None):
                            self._finish(over)
        skipped = [job.name for job in self.schedule.skipped if job.kind == STAGE]
        return Ended(self.outcomes, (*self._unstarted, *skipped), self.refused, self.problems)

    def _start_ready(self, driver: Driver) -> bool:
        """Start what may start; whether something waits for a run of another process."""
        self._collect_ready()
        locked_out: list[Job] = []
        while self._waiting and driver.active < self.jobs:
            job = self._waiting.popleft()
            if self._stopping and job.kind != DESTROY:
                self.schedule.finish(job, ok=False)
                if job.kind == STAGE:
                    self._unstarted.append(job.name)
            elif not self._start(driver, job):
                locked_out.append(job)
            # What ended at once (an environment that is only a name) may have let others start.
            self._collect_ready()
        self._waiting.extend(locked_out)
        return bool(locked_out)

    def _start(self, driver: Driver, job: Job) -> bool:
        """Start a job; False while another run has the place it works in."""
        try:
            if not self._enter(job):
                return False
        except Refused as problem:
            self._finish(Over(job, None, problem))
            return True
        for over in driver.begin(job, self._program(job)):
            self._finish(over)
        return True

    def _enter(self, job: Job) -> bool:
        """Have the place to ourselves where a stage changes a lasting environment or a target. Raises Refused
        where another run had it for too long."""
        work = self.work
        place = door_of(work.plan, work.plan.stage(job.name)) if job.kind == STAGE else ""
        if not place:
            return True
        from cxlocal.runner.turns import enter

        now = work.record.journal.clock.monotonic()
        who = f"run {work.record.run[:8]}, {work.record.version}"
        does = PUBLISHES if work.plan.stage(job.name).publishes_to else DEPLOYS
        found = enter(work.record, place, job.name, who, work.turns, work.voice.warn, does)
        if isinstance(found, Refused):
            if job not in self._waits:
                self._waits[job] = now
                work.voice.note(f"{job.name} waits: {found.why} {does} {place}")
            elif now - self._waits[job] > WAIT_SECONDS:
                raise found
            return False
        self._doors[job] = work.doors[place] = found
        return True

    def _collect_ready(self) -> None:
        for job in self.schedule.ready():
            self.work.ready_at[job.name] = self.work.record.journal.clock.now_ms()
            self._waiting.append(job)

    def _program(self, job: Job) -> Program:
        plan = self.work.plan
        if job.kind == STAGE:
            stage = plan.stage(job.name)
            if job.name in self.work.repeated:
                from cxlocal.runner.repetition import repeat

                return repeat(self.work, stage)
            return run_stage(self.work, stage)
        from cxlocal.runner.environments import destroy, provision

        environment = plan.environment(job.name)
        if job.kind == PROVISION:
            return provision(self.work, environment)
        return destroy(self.work, environment, hurried=bool(self.signals.number))

    def _finish(self, over: Over) -> None:
        job: Job = over.tag
        if job in self._doors:
            door = self._doors.pop(job)
            self.work.doors.pop(self.work.plan.stage(job.name).place, None)
            door.leave()
        outcome = self._outcome(job, over)
        ok = outcome == Outcome.SUCCESS
        if job.kind == STAGE:
            self.outcomes[job.name] = outcome
            if ok:
                self.work.succeeded.add(job.name)
                ok = self._promote()
        elif not ok and job.kind == PROVISION:
            self.outcomes[f"environment {job.name}"] = outcome
        self.schedule.finish(job, ok=ok)

    def _outcome(self, job: Job, over: Over) -> Outcome:
        problem = over.problem
        if problem is None:
            return Outcome(over.value)
        if job.kind == STAGE:
            self.problems[job.name] = problem
        if isinstance(problem, Refused | Undecided | Conflict):
            self.refused = self.refused or problem
            return Outcome.FAILURE
        self.work.voice.warn(f"{job.name}: {problem.what} {problem.why}".rstrip())
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
