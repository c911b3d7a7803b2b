"""Two machines, a store, and one that stands still at every step while the other goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cxlocal_sync.stores.sqlite import SqliteStore
from deployments import VERBS, Machine, Moment, World, moments, run

from cxlocal.exchange.sync import synchronise
from cxlocal.runner.contact import turns_of
from cxlocal.runner.turns import Turns, open_turns, take


class Both:
    """A world whose machines share a store."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        (folder / "store").mkdir()
        self.store = SqliteStore("sqlite:", folder / "store")

    def turns(self, machine: Machine) -> Turns:
        return Turns(machine.journal, self.store, machine.said.append)

    def sync(self, machine: Machine) -> None:
        report = synchronise(machine.journal, self.store, budget_seconds=5)
        assert report.reached and not report.pending, report

    def deploy(self, machine: Machine, version: str) -> Any:
        return machine.deploy(version, turns=self.turns(machine))

    def close(self) -> None:
        self.store.close()
        self.world.close()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    made = Both(tmp_path)
    yield made
    made.close()


def tell(both: Both, where: Moment) -> str:
    """The first machine stands still there; its turn is taken, the other one deploys, the first goes on."""
    world = both.world
    one, two = world.machines
    assert run(both.deploy(one, "0.1.0")) == "success"
    both.sync(two)
    story = both.deploy(one, "0.1.1")
    moment = next(story)
    while moment != where:
        moment = story.send(None)
    both.sync(two)
    for row in open_turns(two.journal, "shop", "production"):
        take(two.journal, row, "it looks dead", {"id": "Bob", "how": "said"})
    assert run(both.deploy(two, "0.1.2")) == "success", two.said
    serving = dict(world.weights)
    ended = run(story)
    assert world.weights == serving, f"{where}: who stood still turned weights: {ended}"
    assert set(serving) <= set(world.running) and world.broken == [], where
    both.sync(one)
    both.sync(two)
    assert run(both.deploy(two, "0.1.3")) == "success", two.said
    both.sync(two)
    both.sync(one)
    assert set(world.running.values()) == {"0.1.3"} and set(world.weights) == set(world.running)
    assert one.live() == two.live() == "0.1.3" and one.exist() == two.exist() == set(world.running)
    return ended


@pytest.mark.timeout(240)
def test_who_stood_still_changes_nothing_afterwards(tmp_path: Path) -> None:
    base = World(tmp_path / "base")
    assert run(base.machines[0].deploy("0.1.0")) == "success"
    stops = moments(base, "0.1.1")
    base.close()
    ends = []
    for number, where in enumerate(stops):
        both = Both(tmp_path / f"w{number}")
        ends.append(tell(both, where))
        both.close()
    # It had not changed anything yet, had, or was already through.
    refused = {"turn-taken", "unknown-turn", "found-instances"}
    assert {"success", "failure", *refused} >= set(ends)
    assert set(ends) & refused and "success" in ends


def test_who_lost_its_turn_at_the_cutover_did_not_succeed(both: Both) -> None:
    assert tell(both, Moment("production check", "before", 1)) == "turn-taken"
    one = both.world.machines[0]
    [row] = one.journal.query("SELECT outcome, reason FROM stage_run WHERE outcome <> 'success'")
    assert row["outcome"] == "failure" and "0.1.2 is live there" in row["reason"]
    assert "0.1.1 is not what counts in production" in row["reason"]


def test_the_other_one_waits_for_its_turn(both: Both) -> None:
    one, two = both.world.machines
    story = both.deploy(one, "0.1.0")
    next(story)
    both.sync(two)
    assert run(both.deploy(two, "0.1.1")) == "environment-busy"
    assert run(story) == "success"
    both.sync(two)
    assert run(both.deploy(two, "0.1.1")) == "success"


@pytest.mark.parametrize("observed", [True, False])
def test_who_deploys_offline_leaves_the_old_ones_for_those_who_know_nothing(
    both: Both, monkeypatch: pytest.MonkeyPatch, observed: bool
) -> None:
    if not observed:
        monkeypatch.setitem(VERBS, "lb", ("rotate", "drain"))
        monkeypatch.setitem(VERBS, "web", ("create", "remove"))
    one, two = both.world.machines
    assert run(both.deploy(one, "0.1.0")) == "success"
    both.sync(two)
    offline = Turns(one.journal, None, one.said.append)
    assert run(one.deploy("0.1.1", turns=offline)) == "success"
    assert "the store gives no turn" in " ".join(one.said)
    assert sorted(both.world.running.values()) == ["0.1.0", "0.1.0", "0.1.1", "0.1.1"]
    ended = run(both.deploy(two, "0.1.2"))
    assert ended in (("unknown-turn", "found-instances") if observed else ("success", "failure"))
    assert both.world.broken == [], "every request finds an instance, whoever goes on"
    both.sync(one)
    both.sync(two)
    assert run(both.deploy(one, "0.1.3")) == "success"
    both.sync(two)
    assert run(both.deploy(two, "0.1.4")) == "success"
    assert set(both.world.running.values()) == {"0.1.4"} and both.world.broken == []


@pytest.mark.parametrize(("url", "others"), [("https://store.example", True), ("", False)])
def test_without_the_store_nobody_knows_unless_there_is_nobody(
    both: Both, url: str, others: bool
) -> None:
    source: Any = SimpleNamespace(settings=SimpleNamespace(store_url=url))
    one = both.world.machines[0]
    turns = turns_of(one.journal, None, source, one.said.append, "")
    assert (turns is not None) is others
    assert turns is None or not turns.learn()


def test_while_the_store_does_not_know_of_a_cutover_the_old_ones_stay(both: Both) -> None:
    one = both.world.machines[0]
    assert run(both.deploy(one, "0.1.0")) == "success"
    turns = both.turns(one)
    story = one.deploy("0.1.1", turns=turns)
    moment = next(story)
    while moment.what != "lb rotate":
        moment = story.send(None)
    turns._answers = False  # the store goes away in the middle
    assert run(story) == "success"
    assert sorted(both.world.running.values()) == ["0.1.0", "0.1.0", "0.1.1", "0.1.1"]
    assert {both.world.running[one] for one in both.world.weights} == {"0.1.1"}
    assert "the old ones stay" in " ".join(one.said)
    assert run(both.deploy(one, "0.1.2")) == "success"
    assert set(both.world.running.values()) == {"0.1.2"}
