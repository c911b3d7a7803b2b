"""``overlap = false``: the old ones are stopped before the new ones are made, and start again where these fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import CONFIG, REFUSED, VERBS, Faults, Moment, World, moments, run, started
from msgspec import UNSET
from test_component_faults import reap

from cxlocal.commands.foreseen import told_turns
from cxlocal.config.load import parse
from cxlocal.errors import ConfigError
from cxlocal.plan.resolve import resolve

WORKERS = CONFIG.replace('behind = "lb"\n', "overlap = false\n").replace(
    "rollout = [{ weight = 50 }, { weight = 100 }]\n", ""
)
KEPT = WORKERS.replace("overlap = false", 'overlap = false\nkeep_old = "1h"')


@pytest.fixture(autouse=True)
def verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "web", ("create", "remove", "observe", "stop", "start"))


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, WORKERS)
    yield made
    made.close()


def asked(story: Any, fault: Callable[[Moment], Faults] = lambda moment: None) -> list[str]:
    """What was asked of the instances, in order, and the outcome last."""
    found: list[str] = []

    def note(moment: Moment) -> Faults:
        if moment.when == "before" and moment.what.startswith(("web ", "production ")):
            found.append(moment.what.removeprefix("web "))
        return fault(moment)

    ended = run(story, note)
    return [*found, ended]


def test_the_old_ones_are_stopped_first(workers: World) -> None:
    first = started(workers)
    assert asked(first.deploy("0.1.1")) == [
        "observe", "health", "health", "stop", "stop", "create", "create", "health", "health",
        "observe", "production check", "remove", "remove", "success",
    ]  # fmt: skip
    assert workers.broken == [] and set(workers.running.values()) == {"0.1.1"}
    assert workers.at_work == set(workers.running)


@pytest.mark.parametrize(("what", "nth"), [("web create", 1), ("web create", 2), ("web health", 3)])
def test_where_the_new_fail_the_old_are_started_again(workers: World, what: str, nth: int) -> None:
    first = started(workers)
    old = set(workers.running)
    fault = {Moment(what, "before", nth): "failure"}
    assert asked(first.deploy("0.1.1"), fault.get)[-1] == "failure"
    assert workers.at_work == old == set(workers.running) == first.exist()
    assert first.live() == "0.1.0" and workers.broken == []


def test_a_version_that_is_refused_gives_its_place_back(workers: World) -> None:
    first = started(workers)
    old = set(workers.running)
    assert asked(first.deploy("0.1.1"), {REFUSED: "failure"}.get)[-8:-1] == [
        "stop", "stop", "start", "start", "remove", "remove", "production check",
    ]  # fmt: skip
    assert workers.at_work == old == set(workers.running) and first.live() == "0.1.0"
    assert workers.broken == []


def test_what_cannot_be_stopped_lets_nothing_start(workers: World) -> None:
    first = started(workers)
    old = set(workers.running)
    stops = [Moment("web stop", "before", nth) for nth in (3, 4)]
    faults: dict[Moment, str] = {Moment("web health", "before", 3): "failure"} | dict.fromkeys(
        stops, "failure"
    )
    assert asked(first.deploy("0.1.1"), faults.get)[-1] == "failure"
    assert not workers.at_work & old and workers.broken == [], "never both"
    assert asked(first.deploy("0.1.2"))[-1] == "success"
    assert set(workers.running.values()) == {"0.1.2"} and workers.broken == []


def test_a_way_back_starts_what_stands_still(tmp_path: Path) -> None:
    world = World(tmp_path, KEPT)
    first = world.machines[0]
    one = first.begin("0.1.0")
    assert run(first.deploy("0.1.0", record=one)) == "success"
    old = set(world.running)
    assert run(first.deploy("0.1.1")) == "success"
    new = set(world.running) - old
    assert world.at_work == new
    back = asked(first.deploy("0.1.0", record=one, back=True))
    assert back == [
        "observe", "stop", "stop", "start", "start", "health", "health", "observe", "production check",
        "success",
    ]  # fmt: skip
    assert world.at_work == old and set(world.running) == old | new and world.broken == []
    failed = asked(first.deploy("0.1.2"), {Moment("web create", "before", 1): "failure"}.get)
    assert failed[-1] == "failure" and world.at_work == old and world.broken == []
    world.close()


@pytest.mark.parametrize(
    ("where", "stays"),
    [
        (Moment("web create", "after", 1), True),
        (Moment("web health", "before", 4), True),
        (Moment("production check", "before", 1), False),
        (Moment("web remove", "before", 1), False),
    ],
)
def test_reap_leaves_what_runs_in_the_place_of_the_stopped(
    workers: World, monkeypatch: pytest.MonkeyPatch, where: Moment, stays: bool
) -> None:
    first = started(workers)
    old = set(workers.running)
    assert run(first.deploy("0.1.1"), {where: "kill"}.get) == "killed"
    there = dict(workers.running)
    reap(workers, first, monkeypatch)
    if stays:
        assert workers.running == there, "it may be all that runs"
    else:
        assert set(workers.running) == set(there) - old, "what was stopped at the cutover is due"
    assert run(first.deploy("0.1.2")) == "success"
    assert set(workers.running.values()) == {"0.1.2"} and workers.broken == []


@pytest.mark.timeout(240)
def test_at_every_step_every_fault(tmp_path: Path) -> None:
    """Whoever goes on: never two versions at once, and in the end one that does its work."""
    base = World(tmp_path / "base", WORKERS)
    assert run(base.machines[0].deploy("0.1.0")) == "success"
    stops = moments(base, "0.1.1")
    base.close()
    told = [(where, "kill", who) for where in stops for who in (0, 1)]
    told += [
        (where, fault, 0) for where in stops if where.when == "before"
        for fault in ("failure", "cancel")
    ]  # fmt: skip
    for number, (where, fault, who) in enumerate(told):
        world = World(tmp_path / f"w{number}", WORKERS)
        first = started(world)
        world.exchange()
        old = set(world.running)
        ended = run(first.deploy("0.1.1"), {where: fault}.get)
        words = f"{fault} {where}: {ended}"
        if fault != "kill" and where.what != "web stop":
            serving = {one for one, version in world.running.items() if version == first.live()}
            assert world.at_work == serving and (old == serving or first.live() == "0.1.1"), words
        world.exchange()
        goes_on = world.machines[who]
        assert run(goes_on.deploy("0.1.2")) == "success", f"{words}; {goes_on.said}"
        assert world.broken == [], words
        assert set(world.running.values()) == {"0.1.2"}, words
        assert world.at_work == set(world.running) == goes_on.exist(), words
        world.close()
    assert {where.what for where, _, _ in told} >= {"web stop", "web create", "web remove"}


def test_the_gap_is_said() -> None:
    [line] = told_turns(resolve(parse(WORKERS)), "production", {}, {"web": 0})
    assert line == (
        "web in production: 2 new instances, made once the old ones are stopped: until they run nothing of it"
        " does"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("overlap = false", 'overlap = false\nbehind = "lb"'), "stands behind nothing"),
        (('[components.db]\n', '[components.db]\noverlap = false\n'), "is for what is replaced"),
    ],
)  # fmt: skip
def test_it_is_for_what_stands_behind_nothing(change: tuple[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve(parse(WORKERS.replace(*change)))
    assert words in str(refused.value)


def test_a_plan_without_it_is_as_it_was() -> None:
    plans = [
        resolve(parse(CONFIG)),
        resolve(parse(CONFIG.replace("count", "overlap = true\ncount"))),
    ]
    assert plans[0] == plans[1]
    assert {one.overlap for one in plans[0].shared_components} == {UNSET}
