"""A balancer that was killed, lost or never made: whoever deploys brings it back before anything is turned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import deployments
import pytest
from deployments import CONFIG, VERBS, Faults, Machine, Moment, World, run, started

from cxlocal.errors import CxError
from cxlocal.runner import component_deployment

KEPT = CONFIG.replace("count = 2", 'count = 2\nkeep_old = "1h"')


@pytest.fixture(autouse=True)
def applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A balancer that can be applied."""
    monkeypatch.setitem(deployments.VERBS, "lb", ("apply", *VERBS["lb"]))


@pytest.fixture
def kept(tmp_path: Path) -> Any:
    made = World(tmp_path, KEPT)
    yield made
    made.close()


def note_into(said: list[str]) -> Callable[[Moment], Faults]:
    def note(moment: Moment) -> Faults:
        if moment.when == "before":
            said.append(moment.what)
        return None

    return note


def fall(world: World, how: str) -> None:
    """It is killed and remembers what it was told, or is gone with all of that."""
    world.down = True
    if how == "lost":
        world.weights, world.turn = {}, 0


def versions(world: World) -> set[str]:
    assert world.broken == [] and not world.down
    return {world.running[one] for one in world.weights}


@pytest.mark.parametrize("how", ["killed", "lost"])
@pytest.mark.parametrize("who", ["the same version", "another one", "repair", "rollback"])
def test_whoever_deploys_brings_it_back(kept: World, how: str, who: str) -> None:
    first, order = kept.machines[0], list[str]()
    records = {one: first.begin(one) for one in ("0.1.0", "0.1.1", "0.1.2")}
    for one in ("0.1.0", "0.1.1"):
        assert run(first.deploy(one, record=records[one])) == "success"
    fall(kept, how)
    version, told = {
        "the same version": ("0.1.1", {}), "another one": ("0.1.2", {}),
        "repair": ("0.1.1", {"repair": True}), "rollback": ("0.1.0", {"back": True}),
    }[who]  # fmt: skip
    did = run(first.deploy(version, record=records[version], **told), note_into(order))
    assert did == "success", first.said
    assert versions(kept) == {version} and first.live() == version
    assert order.index("lb apply") < order.index("lb rotate")
    assert order.count("lb apply") == 1 and ("db apply" in order) == (not told)
    assert any("lb does not run" in one for one in first.said)
    flags = [row["kind"] for row in first.journal.query("SELECT kind FROM flag")]
    assert "other-weights" not in flags


def test_one_that_runs_is_applied_in_its_order(world: World) -> None:
    first, order = started(world), list[str]()
    assert run(first.deploy("0.1.1"), note_into(order)) == "success"
    applied = [one for one in order if one.endswith("apply")]
    assert applied == ["db apply", "lb apply"]
    assert not any("does not run" in one for one in first.said)


def test_what_it_needs_is_applied_before_it(tmp_path: Path) -> None:
    table = "[components.lb]\n"
    world = World(tmp_path, CONFIG.replace(table, f'{table}needs = ["db"]\n'))
    first, order = started(world), list[str]()
    fall(world, "lost")
    assert run(first.deploy("0.1.1"), note_into(order)) == "success"
    assert [one for one in order if one in ("db apply", "lb apply", "lb rotate")][:3] == [
        "db apply", "lb apply", "lb rotate",
    ]  # fmt: skip
    world.close()


def test_shows_nothing_although_something_serves(world: World) -> None:
    """One that cannot say that it does not run."""
    first, order = started(world), list[str]()
    world.weights, world.turn = {}, 0
    assert run(first.deploy("0.1.1"), note_into(order)) == "success"
    assert versions(world) == {"0.1.1"} and order.index("lb apply") < order.index("db apply")


@pytest.mark.parametrize("fault", ["failure", "error", "cancel"])
@pytest.mark.parametrize("how", ["killed", "lost"])
def test_where_it_cannot_be_brought_back_nothing_is_changed(
    world: World, fault: str, how: str
) -> None:
    first = started(world)
    fall(world, how)
    there, weights, order = dict(world.running), dict(world.weights), list[str]()
    note = note_into(order)

    def fail(moment: Moment) -> Faults:
        note(moment)
        return fault if moment.what == "lb apply" and moment.when == "before" else None

    assert run(first.deploy("0.1.1"), fail) == fault
    assert (world.running, world.weights, world.migrated) == (there, weights, "0.1.0")
    assert first.live() == "0.1.0" and order[-1] == "lb apply"
    assert run(first.deploy("0.1.2")) == "success"
    assert versions(world) == {"0.1.2"} and set(world.running) == set(world.weights)


@pytest.mark.timeout(120)
def test_every_fault_on_the_way(tmp_path: Path) -> None:
    """Killed or failed until a new one is made (then all is as ever): the next deployment settles it."""

    def fallen(folder: Path) -> tuple[World, Machine]:
        world = World(folder)
        first = started(world)
        fall(world, "lost")
        return world, first

    base, first = fallen(tmp_path / "base")
    stops: list[Moment] = []
    assert run(first.deploy("0.1.1"), lambda moment: stops.append(moment)) == "success"
    base.close()
    stops = stops[: 1 + stops.index(Moment("web create", "before", 1))]
    assert {"lb apply", "lb rotate", "db apply"} <= {one.what for one in stops}
    for number, where in enumerate(stops):
        for fault in ("kill",) if where.when == "after" else ("kill", "failure"):
            world, first = fallen(tmp_path / f"{number}-{fault}")
            run(first.deploy("0.1.1"), {where: fault}.get)
            assert world.broken == [], (where, fault)
            live = first.live()
            assert live in set(world.running.values()), (where, fault)
            assert run(first.deploy("0.1.2")) == "success", (where, fault, first.said)
            assert versions(world) == {"0.1.2"} == set(world.running.values())
            world.close()


@pytest.mark.parametrize("what", ["db apply", "lb apply"])
@pytest.mark.parametrize("fault", ["failure", "error", "cancel"])
def test_what_was_never_made_is_not_turned(world: World, what: str, fault: str) -> None:
    """A new environment in which something fails before its balancer was there."""
    first, order = world.machines[0], list[str]()
    world.down = True
    note = note_into(order)

    def fail(moment: Moment) -> Faults:
        note(moment)
        return fault if (moment.what, moment.when) == (what, "before") else None

    assert run(first.deploy("0.1.0"), fail) == fault
    assert "lb rotate" not in order and world.running == {}
    assert not any("turned" in one for one in first.said)
    assert run(first.deploy("0.1.1")) == "success" and versions(world) == {"0.1.1"}


@pytest.mark.parametrize("can", [True, False], ids=["applied", "not applied"])
def test_the_way_out_is_a_command(world: World, monkeypatch: pytest.MonkeyPatch, can: bool) -> None:
    """Where weights cannot be set although it seems to run."""
    hints: list[str] = []

    def words(problem: CxError) -> str:
        hints.append(problem.hint)
        return problem.what

    monkeypatch.setattr(component_deployment, "words_of", words)
    first = started(world)
    if not can:
        monkeypatch.setitem(deployments.VERBS, "lb", tuple(VERBS["lb"][1:]))
    world.weights = dict.fromkeys(list(world.weights)[:1], 100)
    at = {Moment("lb rotate", "before", 1): "error"}
    assert run(first.deploy("0.1.1"), at.get) == "not-turned"
    command = "cxlocal deploy 0.1.0 --to production"
    assert hints[-1] == (
        f"{command} applies lb and sets its weights" if can
        else f"see that lb runs and can be asked, then {command} sets its weights"
    )  # fmt: skip
