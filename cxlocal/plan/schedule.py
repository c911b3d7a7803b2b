"""What may start when: the jobs of a run as a small machine without time or processes.

The runner asks for what is ready, starts it, and says how it ended. Per-run environments are
provisioned before their first stage and destroyed after their last one, whatever happened in
between::

    schedule = Schedule(plan, selection.now)
    while schedule.active:
        for job in schedule.ready():
            ...start it...
        schedule.finish(job, ok=True)
"""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Iterable

from cxlocal.plan.graph import before, edges
from cxlocal.plan.types import Plan
from cxlocal.values import NamedTuple

STAGE, PROVISION, DESTROY = "stage", "provision", "destroy"


class Job(NamedTuple):
    """One thing to do. ``name`` is a stage, or the environment to provision or destroy."""

    kind: str
    name: str


class Schedule:
    """The jobs of one run, each ready once everything it waits for has ended well."""

    def __init__(
        self, plan: Plan, stages: Collection[str], *, succeeded: Collection[str] = ()
    ) -> None:
        """``stages`` are to run; ``succeeded`` of them are already done (see ``still_done``)."""
        self._waits = jobs(plan, [name for name in stages if name not in succeeded])
        self._place = {job: index for index, job in enumerate(self._waits)}
        self._sorter: graphlib.TopologicalSorter[Job] = graphlib.TopologicalSorter(self._waits)
        self._sorter.prepare()
        self._bad: set[Job] = set()
        self._stopped = False
        self._running: set[Job] = set()
        self._provisioned: set[str] = set()
        self.skipped: list[Job] = []
        """Stages that did not start because something before them failed, and what belonged
        to them."""

    @property
    def active(self) -> bool:
        """Whether anything is still to be done or running."""
        return self._sorter.is_active()

    @property
    def running(self) -> frozenset[Job]:
        """Jobs handed out by ``ready`` and not yet finished."""
        return frozenset(self._running)

    def stop(self) -> None:
        """Start no further stage; environments that were provisioned are still destroyed."""
        self._stopped = True

    def ready(self) -> list[Job]:
        """Jobs that may start now, in the order of the file. Each is handed out once."""
        found: list[Job] = []
        while self._sorter.is_active():
            fresh = sorted(self._sorter.get_ready(), key=self._place.__getitem__)
            if not fresh:
                break
            for job in fresh:
                if self._may_start(job):
                    found.append(job)
                    self._running.add(job)
                else:
                    self._bad.add(job)
                    self.skipped.append(job)
                    self._sorter.done(job)
        return found

    def finish(self, job: Job, *, ok: bool) -> None:
        """Say how a job ended. What waited for one that did not end well is skipped.

        A job that was never handed out raises KeyError.
        """
        self._running.remove(job)
        if not ok:
            self._bad.add(job)
        self._sorter.done(job)

    def _may_start(self, job: Job) -> bool:
        if job.kind == DESTROY:
            return job.name in self._provisioned
        if self._stopped or any(one in self._bad for one in self._waits[job]):
            return False
        if job.kind == PROVISION:
            # Noted when handed out, not when done: half a creation is destroyed too.
            self._provisioned.add(job.name)
        return True


def jobs(plan: Plan, stages: Collection[str]) -> dict[Job, tuple[Job, ...]]:
    """Every job and what it waits for, in the order of the file."""
    per_run = {one.name for one in plan.environments if one.lifetime == "per-run"}
    found: dict[Job, tuple[Job, ...]] = {}
    inside: dict[str, list[Job]] = {}
    needed = edges(plan)
    for stage in plan.stages:
        if stage.name not in stages:
            continue
        job = Job(STAGE, stage.name)
        names: Iterable[str] = stage.waits_for
        if any(name not in stages for name in names):
            # Behind one that is done may stand another that runs again for its files.
            names = before(needed, names)
        waits = tuple(
            Job(STAGE, one.name) for one in plan.stages if one.name in names and one.name in stages
        )
        if stage.environment in per_run:
            provision = Job(PROVISION, stage.environment)
            # Created as late as its first stage allows; a later stage only adds its own waits.
            found.setdefault(provision, waits)
            inside.setdefault(stage.environment, []).append(job)
            waits += (provision,)
        found[job] = waits
    for name, users in inside.items():
        first = Job(PROVISION, name)
        found[first] = _first_waits(plan, name, stages)
        found[Job(DESTROY, name)] = (first, *users)
    return found


def _first_waits(plan: Plan, environment: str, stages: Collection[str]) -> tuple[Job, ...]:
    """What all stages of an environment that start first wait for: only what every one of them
    waits for, so that creating it early never holds up the stage that could go first."""
    users = [stage for stage in plan.stages_in(environment) if stage.name in stages]
    names = {stage.name for stage in users}
    needed = edges(plan)
    firsts = [one for one in users if not names & (before(needed, [one.name]) - {one.name})]
    common = set.intersection(*(set(stage.waits_for) for stage in firsts))
    return tuple(
        Job(STAGE, stage.name) for stage in plan.stages if stage.name in common & set(stages)
    )


def still_done(plan: Plan, stages: Collection[str], succeeded: Collection[str]) -> frozenset[str]:
    """Of the stages that succeeded before, those that need not run again when a run is resumed.

    A per-run environment is gone by then: unless all its stages are done, all of them run again.
    """
    done = frozenset(succeeded) & frozenset(stages)
    for environment in plan.environments:
        if environment.lifetime == "per-run":
            users = {stage.name for stage in plan.stages_in(environment.name)} & set(stages)
            if not users <= done:
                done -= users
    return done
