"""Instances that no record knows: a repair, and a deployment on a person's word, in this process."""

from __future__ import annotations

from typing import Any

import pytest
from deployments import REFUSED, Moment, World, at, lost, run, started

from cxlocal.runner.record import RunRecord


def stranger(world: World, weight: int = 0, version: str = "9.9.9") -> str:
    one = f"0f0e0d0c-0000-4000-8000-{len(world.running):012}"
    world.running[one] = version
    if weight:
        world.weights[one] = weight
    return one


def watched(world: World, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """What a balancer is told, each time."""
    usual, told_all = World.do, []

    def do(self: World, version: str, component: Any, verb: str, told: Any) -> Any:
        if verb == "rotate":
            told_all.append({one: weight for one, weight in told["wanted"].items() if weight})
        return usual(self, version, component, verb, told)

    monkeypatch.setattr(World, "do", do)
    return told_all


@pytest.mark.parametrize("knows", ["all but that one", "nothing"])
@pytest.mark.parametrize("fault", ["", "lb rotate", "web remove"])
def test_a_repair_turns_to_what_serves_first(
    world: World, monkeypatch: pytest.MonkeyPatch, knows: str, fault: str
) -> None:
    first = started(world)
    one, record = first, first.begin("0.1.0")
    if knows == "nothing":
        one, runs = lost(world, "0.1.0")
        record = runs["0.1.0"]
    serving, left = dict(world.weights), stranger(world)
    rotated = watched(world, monkeypatch)
    ended = run(one.deploy("0.1.0", record=record, repair=True), lambda moment: "failure"
                if moment.what == fault and moment.when == "before" else None)  # fmt: skip
    assert all(set(weights) == set(serving) for weights in rotated), rotated
    assert set(world.weights) == set(serving) and world.broken == []
    assert (left in world.running) is bool(fault)
    assert ended == ("failure" if fault == "lb rotate" else "success")
    again = run(one.deploy("0.1.0", record=record, repair=True))
    assert again == "success" and set(world.running) == set(serving) == one.exist()


@pytest.mark.parametrize("fault", ["refused", "lb rotate", "killed as it looks", "kill"])
def test_a_repair_that_comes_to_nothing_makes_nothing_known(world: World, fault: str) -> None:
    started(world)
    other, runs = lost(world, "0.1.0", "0.0.9")
    serving = set(world.weights)
    if fault == "refused":
        assert run(other.deploy("0.0.9", record=runs["0.0.9"], repair=True)) == "not-live"
    else:
        what = "web observe" if fault == "killed as it looks" else "lb rotate"
        ends = {Moment(what, "before", 1): "failure" if fault == "lb rotate" else "kill"}
        ended = run(other.deploy("0.1.0", record=runs["0.1.0"], repair=True), ends.get)
        assert ended in ("failure", "killed")
    assert other.exist() == set()
    assert run(other.deploy("0.1.1"), at("web create", "failure")) == "found-instances"
    assert set(world.running) == set(world.weights) == serving and world.broken == []


@pytest.mark.parametrize("tells", ["lb", "web"])
def test_what_a_lost_version_left_is_taken_over_on_a_persons_word(
    world: World, monkeypatch: pytest.MonkeyPatch, tells: str
) -> None:
    """Another machine deployed 0.1.1 and burnt: not even the run is known here."""
    world.tell_addresses = {tells}
    first = started(world)
    world.exchange()
    other = world.machines[1]
    assert run(first.deploy("0.1.1")) == "success"
    serving, idle = set(world.weights), stranger(world)
    known = other.journal.one("SELECT id FROM run WHERE version = '0.1.0'")
    record = RunRecord.attach(other.journal, known["id"])
    assert run(other.deploy("0.1.0", record=record, repair=True)) == "not-live"
    back = other.deploy("0.1.0", record=record, back=True, unobserved=True)
    assert run(back) == "found-instances", "a way back leads to what is known"
    rotated = watched(world, monkeypatch)
    # What serves is asked first, before something is changed in place.
    for fault, nth in (("web create", 1), ("web health", 2), ("lb rotate", 1)):
        ended = run(other.deploy("0.1.2", unobserved=True), at(fault, "failure", nth))
        assert ended == "failure" and world.broken == []
        assert serving | {idle} == set(world.running) and set(world.weights) == serving, fault
    assert run(other.deploy("0.1.2", unobserved=True), at("lb rotate", "kill", 2)) == "killed"
    assert run(other.deploy("0.1.2")) == "found-instances", "nobody said so"
    assert serving < set(world.running)
    assert run(other.deploy("0.1.2", unobserved=True)) == "success"
    assert set(world.running.values()) == {"0.1.2"} and other.exist() == set(world.running)
    assert set(world.weights) == set(world.running) and world.broken == [] and all(rotated)
    assert run(other.deploy("0.1.3")) == "success"


@pytest.mark.parametrize("fault", ["", "web health", "lb rotate"])
def test_what_the_record_has_as_serving_and_gets_nothing_is_not_turned_to(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A machine that burnt had cut over, and had not yet taken the old ones away."""
    first = started(world)
    old = set(world.weights)
    world.exchange()
    assert run(first.deploy("0.1.1"), at("lb drain", "kill")) == "killed"
    serving, other = set(world.weights), world.machines[1]
    assert old < set(world.running) and not old & serving
    rotated = watched(world, monkeypatch)
    ended = run(
        other.deploy("0.1.2", unobserved=True), at(fault, "failure", 2 if "health" in fault else 1)
    )
    assert world.broken == [] and not any(old & set(weights) for weights in rotated), rotated
    if fault:
        assert ended == "failure" and set(world.weights) == serving
        return
    assert ended == "success" and set(world.running.values()) == {"0.1.2"}
    assert set(world.weights) == set(world.running) == other.exist()


@pytest.mark.parametrize("tells", ["lb", "web"])
def test_what_a_repair_makes_known_is_known_with_its_address(world: World, tells: str) -> None:
    started(world)
    other, runs = lost(world, "0.1.0")
    world.tell_addresses = {tells}
    assert run(other.deploy("0.1.0", record=runs["0.1.0"], repair=True)) == "success"
    world.tell_addresses = set()
    assert run(other.deploy("0.1.1")) == "success" and world.broken == []


def test_who_refuses_what_took_over_from_strangers_serves_on(world: World) -> None:
    started(world)
    other = world.machines[1]
    ended = run(other.deploy("0.1.2", unobserved=True), {REFUSED: "failure"}.get)
    assert ended == "failure" and other.live() == "0.1.2", "nothing here can say what served"
    assert {world.running[one] for one in world.weights} == {"0.1.2"} and world.broken == []
    assert run(other.deploy("0.1.3")) == "success"
    assert set(world.running.values()) == {"0.1.3"}
