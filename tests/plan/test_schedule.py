"""What may start when: order, failures, environments, resume. Any graph, any way of ending."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.plan.schedule import DESTROY, PROVISION, STAGE, Job, Schedule, jobs, still_done
from cxlocal.plan.types import Environment, Plan, Stage


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Graphs without circles: a stage waits only for some that stand before it."""
    count = draw(st.integers(1, 8))
    places = st.sampled_from(["", "", "one", "two", "lasting"])
    stages = [
        Stage(
            name=f"s{index}",
            waits_for=tuple(f"s{other}" for other in range(index) if draw(st.integers(0, 2)) == 0),
            environment=draw(places),
        )
        for index in range(count)
    ]
    shuffled = draw(st.permutations(stages))
    return Plan(
        deliverable="x",
        stages=tuple(shuffled),
        environments=(
            Environment(name="one", lifetime="per-run"),
            Environment(name="two", lifetime="per-run"),
            Environment(name="lasting"),
        ),
    )


def play(
    plan: Plan, schedule: Schedule, draw: st.DataObject
) -> tuple[list[Job], list[Job], set[Job]]:
    """Run to the end, every job ending as it may, in any order. Started, ended, failed."""
    started: list[Job] = []
    ended: list[Job] = []
    failed: set[Job] = set()
    running: list[Job] = []
    while schedule.active:
        fresh = schedule.ready()
        started += fresh
        running += fresh
        if not running:
            assert not schedule.active
            break
        job = running.pop(draw.draw(st.integers(0, len(running) - 1)))
        if job.kind == STAGE:
            for name in plan.stage(job.name).waits_for:
                assert Job(STAGE, name) in ended
                assert Job(STAGE, name) not in failed
        ok = draw.draw(st.integers(0, 3)) > 0
        if not ok:
            failed.add(job)
        if draw.draw(st.integers(0, 15)) == 0:
            schedule.stop()
        schedule.finish(job, ok=ok)
        ended.append(job)
    return started, ended, failed


@settings(deadline=None, max_examples=100)
@given(plans(), st.data())
def test_every_step_is_started_once_or_skipped(plan: Plan, data: st.DataObject) -> None:
    names = [stage.name for stage in plan.stages]
    schedule = Schedule(plan, names)
    started, ended, failed = play(plan, schedule, data)
    assert sorted(started) == sorted(ended)
    assert len(set(started)) == len(started)
    everything = set(jobs(plan, names))
    assert set(started) | set(schedule.skipped) == everything
    assert not set(started) & set(schedule.skipped)
    for job in started:
        if job.kind == STAGE and plan.stage(job.name).environment in ("one", "two"):
            provision = Job(PROVISION, plan.stage(job.name).environment)
            assert ended.index(provision) < ended.index(job)
            assert provision not in failed
    for name in ("one", "two"):
        assert (Job(PROVISION, name) in started) == (Job(DESTROY, name) in started)
        if Job(DESTROY, name) in started:
            after = started[started.index(Job(DESTROY, name)) :]
            assert not [
                s for s in after if s.kind == STAGE and plan.stage(s.name).environment == name
            ]


@settings(deadline=None, max_examples=100)
@given(plans())
def test_without_failures_everything_runs(plan: Plan) -> None:
    schedule = Schedule(plan, [stage.name for stage in plan.stages])
    done: list[str] = []
    while schedule.active:
        ready = schedule.ready()
        assert ready or schedule.running
        for job in ready:
            if job.kind == STAGE:
                assert set(plan.stage(job.name).waits_for) <= set(done)
            schedule.finish(job, ok=True)
            done.append(job.name if job.kind == STAGE else "")
    assert schedule.skipped == []
    assert set(done) - {""} == {stage.name for stage in plan.stages}


SHOP = Plan(
    deliverable="shop",
    stages=(
        Stage(name="build"),
        Stage(name="unit", waits_for=("build",)),
        Stage(name="up", waits_for=("build",), environment="test"),
        Stage(name="smoke", waits_for=("up", "unit"), environment="test"),
        Stage(name="docs", waits_for=("smoke",)),
    ),
    environments=(Environment(name="test", lifetime="per-run"),),
)
NAMES = [stage.name for stage in SHOP.stages]


def started(schedule: Schedule) -> list[tuple[str, str]]:
    return [tuple(job) for job in schedule.ready()]


def test_the_environment_lives_from_its_first_to_its_last_stage() -> None:
    schedule = Schedule(SHOP, NAMES)
    assert started(schedule) == [("stage", "build")]
    schedule.finish(Job(STAGE, "build"), ok=True)
    assert started(schedule) == [("stage", "unit"), ("provision", "test")]
    schedule.finish(Job(STAGE, "unit"), ok=True)
    assert started(schedule) == []
    schedule.finish(Job(PROVISION, "test"), ok=True)
    assert started(schedule) == [("stage", "up")]
    schedule.finish(Job(STAGE, "up"), ok=True)
    assert started(schedule) == [("stage", "smoke")]
    schedule.finish(Job(STAGE, "smoke"), ok=True)
    assert started(schedule) == [("stage", "docs"), ("destroy", "test")]


def test_a_failed_creation_is_destroyed_too() -> None:
    schedule = Schedule(SHOP, ["build", "up"])
    schedule.ready()
    schedule.finish(Job(STAGE, "build"), ok=True)
    schedule.ready()
    schedule.finish(Job(PROVISION, "test"), ok=False)
    assert started(schedule) == [("destroy", "test")]
    assert schedule.skipped == [Job(STAGE, "up")]


def test_after_a_stop_only_destruction_starts() -> None:
    schedule = Schedule(SHOP, NAMES)
    schedule.ready()
    schedule.finish(Job(STAGE, "build"), ok=True)
    schedule.ready()
    schedule.stop()
    schedule.finish(Job(STAGE, "unit"), ok=True)
    schedule.finish(Job(PROVISION, "test"), ok=True)
    assert started(schedule) == [("destroy", "test")]


def test_a_step_that_was_not_handed_out_cannot_end() -> None:
    with pytest.raises(KeyError):
        Schedule(SHOP, NAMES).finish(Job(STAGE, "docs"), ok=True)


def test_resuming_runs_a_per_run_environment_again_unless_it_was_finished() -> None:
    assert still_done(SHOP, NAMES, ["build", "unit", "up"]) == {"build", "unit"}
    assert still_done(SHOP, NAMES, ["build", "unit", "up", "smoke"]) == {
        "build", "unit", "up", "smoke",
    }  # fmt: skip
    assert still_done(SHOP, ["build", "up"], ["build", "up", "unit"]) == {"build", "up"}


def test_what_stands_behind_a_stage_that_is_done_is_waited_for() -> None:
    """It runs again for its files, and whoever needs the other needs those."""
    plan = Plan(
        deliverable="x",
        stages=(
            Stage(name="compile"), Stage(name="pack", waits_for=("compile",)),
            Stage(name="sign", waits_for=("pack",)), Stage(name="other"),
            Stage(name="last", waits_for=("sign", "other")),
        ),
    )  # fmt: skip
    schedule = Schedule(plan, ["compile", "other", "last"])
    assert [job.name for job in schedule.ready()] == ["compile", "other"]
    schedule.finish(Job(STAGE, "other"), ok=True)
    assert schedule.ready() == []
    schedule.finish(Job(STAGE, "compile"), ok=True)
    assert [job.name for job in schedule.ready()] == ["last"]


def test_a_resumed_schedule_starts_where_it_stopped() -> None:
    schedule = Schedule(SHOP, NAMES, succeeded=still_done(SHOP, NAMES, ["build", "unit", "up"]))
    assert started(schedule) == [("provision", "test")]
    schedule.finish(Job(PROVISION, "test"), ok=True)
    assert started(schedule) == [("stage", "up")]
