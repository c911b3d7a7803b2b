"""A repair: what serves where nothing spreads it, ways out that lead somewhere, and nothing to be repaired."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import CONFIG, VERBS, Machine, World, at, run
from test_component_strangers import stranger, watched

from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.record import RunRecord
from cxlocal.runner.unfinished import telling, unfinished

WORKER = """
[components.worker]
tool = "toy"
artifact = "app"
keep_old = "1h"
"""
BOTH = CONFIG.replace("count = 2", 'count = 2\nkeep_old = "1h"') + WORKER


@pytest.fixture(autouse=True)
def verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "worker", ("create", "remove", "observe"))


@pytest.fixture
def both(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, BOTH)
    yield made
    made.close()


def of(world: World, component: str, version: str) -> list[str]:
    """What runs of a component and version."""
    return [
        one for one, each in world.running.items()
        if each == version and world.made[one] == component
    ]  # fmt: skip


def put_back(world: World) -> tuple[Machine, dict[str, RunRecord]]:
    """0.1.0 was live, 0.1.1 is: a machine that knows of the first deployment and of both runs."""
    first, other = world.machines
    assert run(first.deploy("0.1.0")) == "success"
    world.exchange()
    assert run(first.deploy("0.1.1")) == "success"
    known = other.journal.one("SELECT id FROM run WHERE version = '0.1.0'")
    runs = {"0.1.0": RunRecord.attach(other.journal, known["id"]), "0.1.1": other.begin("0.1.1")}
    return other, runs


def _stopped(world: World) -> None:
    world.sick |= set(of(world, "worker", "0.1.0"))


def _gone(world: World) -> None:
    for one in of(world, "worker", "0.1.0"):
        world.running.pop(one)
        world.at_work.discard(one)


def _beside(world: World) -> None:
    """Both run."""


@pytest.mark.parametrize("old", [_stopped, _gone, _beside])
def test_of_what_stands_behind_nothing_what_runs_serves(
    both: World, old: Callable[[World], None]
) -> None:
    other, runs = put_back(both)
    old(both)
    assert run(other.deploy("0.1.0", record=runs["0.1.0"], repair=True)) == "not-live"
    assert other.refused is not None
    assert other.refused.hint == "cxlocal env repair production --live 0.1.1"
    assert run(other.deploy("0.1.1", record=runs["0.1.1"], repair=True)) == "success"
    assert {both.running[one] for one in both.weights} == {"0.1.1"}
    assert set(both.running) <= other.exist(), "those before are kept, as their own file says"
    assert other.live() == "0.1.1, 0.1.1" and both.broken == []
    assert run(other.deploy("0.1.2")) == "success"
    assert set(both.running.values()) == {"0.1.1", "0.1.2"}


@pytest.mark.parametrize("how", ["stopped", "gone"])
def test_what_stands_still_does_not_serve(both: World, how: str) -> None:
    other, runs = put_back(both)
    for one in of(both, "worker", "0.1.1"):
        if how == "stopped":
            both.sick.add(one)
        else:
            both.running.pop(one)
            both.at_work.discard(one)
    there = dict(both.running), dict(both.weights)
    for version, record in runs.items():
        assert run(other.deploy(version, record=record, repair=True)) == "not-live"
        assert other.refused is not None
        words = rf"cxlocal deploy {version} --to production --unobserved makes new"
        assert re.match(words, other.refused.hint), "what serves is of two versions"
    assert (both.running, both.weights) == there
    assert run(other.deploy("0.1.1", record=runs["0.1.1"], unobserved=True)) == "success"
    assert {both.running[one] for one in both.weights} == {"0.1.1"} and both.broken == []
    assert other.exist() == set(both.running) and other.live() == "0.1.1, 0.1.1"


VERSIONS = ("0.1.0", "0.1.1", "0.1.2")


@pytest.mark.parametrize("web", VERSIONS)
@pytest.mark.parametrize("workers", [(), ("0.1.0",), ("0.1.2",), ("0.1.0", "0.1.1"), VERSIONS])
def test_a_hint_leads_to_a_repair_or_to_a_deployment(
    both: World, web: str, workers: tuple[str, ...]
) -> None:
    first = both.machines[0]
    runs = {version: first.begin(version) for version in VERSIONS}
    both.made |= {f"web-{web}": "web", **{f"worker-{one}": "worker" for one in workers}}
    both.running |= {f"web-{web}": web, **{f"worker-{one}": one for one in workers}}
    both.weights, both.of = {f"web-{web}": 100}, {f"web-{web}": "web"}
    for begin in VERSIONS:
        asked, version = [begin], begin
        while run(first.deploy(version, record=runs[version], repair=True), _looks) == "not-live":
            assert first.refused is not None
            found = re.fullmatch(r"cxlocal env repair production --live (\S+)", first.refused.hint)
            if found is None:
                assert first.refused.hint.startswith(f"cxlocal deploy {version} --to production")
                assert web not in workers
                break
            version = found[1]
            assert version not in asked, asked
            asked.append(version)
        assert len(asked) <= 2 and (web not in workers or version == web)


def _looks(moment: Any) -> str | None:
    """Only looked for: it comes to nothing where it would change something."""
    return "failure" if moment.what == "lb rotate" else None


def test_an_older_version_is_allowed_in_so_many_words(both: World) -> None:
    first = both.machines[0]
    older, record = first.begin("0.1.0"), first.begin("0.1.1")
    catch_up(first.journal)
    for one in (older, record):
        first.journal.connection.execute(
            "INSERT INTO version (deliverable, line, number, text, run, sort_key)"
            " VALUES ('shop', '0.1', ?, ?, ?, ?)",
            (one.number, one.version, one.run, one.version),
        )
    assert run(first.deploy("0.1.1", record=record)) == "success"
    assert run(first.deploy("0.1.0", record=older, repair=True)) == "not-live"
    assert first.refused is not None
    assert first.refused.hint == "cxlocal env repair production --live 0.1.1"
    for one in of(both, "worker", "0.1.1"):
        both.running.pop(one)
        both.at_work.discard(one)
    assert run(first.deploy("0.1.0", record=older, repair=True)) == "not-live"
    assert "--to production --allow-older makes" in first.refused.hint


def _nothing(world: World) -> None:
    """All is as the record says."""


def _weights(world: World) -> None:
    world.weights = {one: 10 * nth for nth, one in enumerate(world.weights, 1)}


def _unknown(world: World) -> None:
    stranger(world)


def _turn(world: World) -> None:
    world.turn += 3


def _kept_too_long(world: World) -> None:
    world.pass_seconds(3600)


CHANGES: list[tuple[Callable[[World], None], bool]] = [
    (_nothing, False), (_weights, True), (_unknown, True), (_turn, True), (_kept_too_long, True),
]  # fmt: skip


@pytest.mark.parametrize(("change", "acts"), CHANGES)
def test_a_repair_changes_nothing_where_the_record_is_right(
    both: World, monkeypatch: pytest.MonkeyPatch, change: Callable[[World], None], acts: bool
) -> None:
    first = both.machines[0]
    assert run(first.deploy("0.1.0")) == "success"
    record = first.begin("0.1.1")
    assert run(first.deploy("0.1.1", record=record)) == "success"
    kept = {*of(both, "web", "0.1.0"), *of(both, "worker", "0.1.0")}
    change(both)
    rotated, count = watched(both, monkeypatch), "SELECT count(*) AS n FROM deployment"
    before = dict(both.running), dict(both.weights), both.turn, first.journal.one(count)
    assert run(first.deploy("0.1.1", record=record, repair=True)) == "success"
    assert bool(rotated) is acts and first.live() == "0.1.1, 0.1.1"
    after = both.running, both.weights, both.turn, first.journal.one(count)
    assert (after == before) is not acts
    assert acts or kept < set(both.running)
    assert run(first.deploy("0.1.1", record=record, repair=True)) == "success"
    assert len(rotated) == acts, "once is enough"


@pytest.mark.parametrize(
    ("fault", "advised"),
    [("web health", False), ("lb rotate", False), ("kill", True), ("web remove", True)],
)
def test_a_way_back_is_advised_only_where_something_is_left(
    both: World, fault: str, advised: bool
) -> None:
    first = both.machines[0]
    assert run(first.deploy("0.1.0")) == "success"
    if fault == "kill":
        assert run(first.deploy("0.1.1"), at("lb rotate", "kill")) == "killed"
    else:
        left = fault == "web remove"

        def failing(moment: Any) -> str | None:
            ends = moment.what in (fault, "web check") or (left and moment.what == "lb rotate")
            nth = moment.nth == (3 if moment.what == "web health" else 1)
            return "failure" if ends and nth and moment.when == "before" else None

        assert run(first.deploy("0.1.1"), failing) == "failure"
    [line, way] = telling(unfinished(first.journal))
    assert "0.1.0 is live" in line
    assert ("cxlocal rollback" in way) is advised
    assert advised or way == "  all that it made was taken away; 0.1.0 serves on"


def test_where_components_answer_is_said_of_what_stands_behind_a_balancer(tmp_path: Path) -> None:
    config = BOTH.replace('check = "true"', 'check = "true"\nuri = "http://shop"')
    world = World(tmp_path, config)
    first = world.machines[0]
    assert run(first.deploy("0.1.0")) == "success"
    rows = first.journal.query("SELECT service, uri FROM deployments_now ORDER BY service")
    assert [(row["service"], row["uri"] or "") for row in rows] == [
        ("web", "http://shop"), ("worker", ""),
    ]  # fmt: skip
    world.close()


def test_what_no_record_knows_is_told_beforehand_in_the_same_words(both: World) -> None:
    first, other = both.machines
    assert run(first.deploy("0.1.0")) == "success"
    record = other.begin("0.1.2")
    assert run(other.foresee("0.1.2", record=record, unobserved=True)) == "success"
    told = list(other.said)
    assert len(told) == 2 and all("once the new ones serve" in one for one in told), told
    record.muted = False
    other.said.clear()
    assert run(other.deploy("0.1.2", record=record, unobserved=True)) == "success"
    assert other.said[: len(told)] == told
