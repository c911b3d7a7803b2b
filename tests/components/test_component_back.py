"""Going back: what is kept is turned to, the rest is made anew, and what is changed in place stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import CONFIG, VERBS, Machine, Moment, World, run
from test_component_strangers import watched

from cxlocal.commands.foreseen import kept_seconds, told_turns
from cxlocal.config.load import parse
from cxlocal.plan.resolve import resolve
from cxlocal.runner import reaping
from cxlocal.runner.component_departure import release
from cxlocal.runner.record import RunRecord
from cxlocal.runner.redeploy import versions_live
from cxlocal.runner.resources import record_gone

NAMES_URL = CONFIG.replace("count = 2", 'count = 2\nenv = { DATABASE_URL = "{component.db.url}" }')


def web_kept(time: str, config: str = CONFIG) -> str:
    return config.replace("count = 2", f'count = 2\nkeep_old = "{time}"')


def worker(time: str) -> str:
    return f'[components.worker]\ntool = "toy"\nartifact = "app"\nkeep_old = "{time}"\n'


@pytest.fixture(autouse=True)
def verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "worker", ("create", "remove", "observe"))
    monkeypatch.setitem(VERBS, "db", ("preview", "apply"))


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Callable[[str], World]]:
    made: list[World] = []

    def begin(config: str) -> World:
        made.append(World(tmp_path / str(len(made)), config))
        return made[-1]

    yield begin
    for one in made:
        one.close()


def two(world: World, config: str = "") -> tuple[Machine, RunRecord]:
    """0.1.0 was live and 0.1.1 is, whose file is ``config``."""
    first = world.machines[0]
    old = first.begin("0.1.0")
    assert run(first.deploy("0.1.0", record=old)) == "success"
    if config:
        world.plan = resolve(parse(config))
        if "components.db" not in config:
            release(first.journal, "shop", "production", "db", "others have it")
    assert run(first.deploy("0.1.1")) == "success"
    first.said.clear()
    return first, old


def asked_of(story: Any) -> tuple[list[str], str]:
    """What was asked, in order, and the outcome."""
    asked: list[str] = []

    def note(moment: Moment) -> None:
        if moment.when == "before":
            asked.append(moment.what)

    ended = run(story, note)
    return asked, ended


STAYS = "what was changed in place stays as it is: db"


@pytest.mark.parametrize("keep", ["0s", "1h"])
def test_what_is_changed_in_place_stays_on_either_way_back(
    worlds: Callable[[str], World], keep: str
) -> None:
    world = worlds(web_kept(keep, NAMES_URL))
    first, old = two(world)
    assert run(first.foresee("0.1.0", record=old, back=True)) == "success"
    assert STAYS in first.said
    old.muted = False
    first.said.clear()
    asked, ended = asked_of(first.deploy("0.1.0", record=old, back=True))
    assert ended == "success" and first.live() == "0.1.0" and STAYS in first.said
    assert "db apply" not in asked and world.migrated == "0.1.1"
    assert ("web create" in asked) is (keep == "0s")
    # What it left it knows as well, for the next one.
    assert run(first.deploy("0.1.2")) == "success" and world.migrated == "0.1.2"


@pytest.mark.parametrize("why", ["secret", "not recorded", "not there before", "gone"])
def test_what_cannot_be_left_is_said(worlds: Callable[[str], World], why: str) -> None:
    config = NAMES_URL
    world = worlds(config)
    if why == "secret":
        world.secret = (("password", "open-sesame"),)
    without = CONFIG.replace('[components.db]\nmutable = true\ntool = "toy"\n', "").replace(
        'needs = ["db"]\n', ""
    )
    first, old = two(world, without if why == "not there before" else "")
    if why == "not recorded":
        first.journal.connection.execute("UPDATE stage_run SET details = NULL")
    if why == "gone":
        rows = first.journal.query("SELECT resource FROM resources_now WHERE component = 'db'")
        record_gone(old, [row["resource"] for row in rows])
        assert rows
    words = "asked to go back to 0.1.0 in place, which may change it: db"
    assert run(first.foresee("0.1.0", record=old, back=True)) == "success"
    assert words in first.said and STAYS not in first.said
    old.muted = False
    first.said.clear()
    asked, ended = asked_of(first.deploy("0.1.0", record=old, back=True))
    assert ended == "success" and words in first.said and "db apply" in asked


def test_new_instances_are_told_what_was_left(
    worlds: Callable[[str], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = worlds(NAMES_URL)
    first, old = two(world)
    usual, told = World.do, []

    def do(self: World, version: str, component: Any, verb: str, given: Any) -> Any:
        if verb == "create":
            told.append(given["variables"])
        return usual(self, version, component, verb, given)

    monkeypatch.setattr(World, "do", do)
    assert run(first.deploy("0.1.0", record=old, back=True)) == "success"
    assert told == [{"DATABASE_URL": "db:1"}] * 2


@pytest.mark.parametrize("keep", ["0s", "1h"])
def test_a_balancer_that_fell_is_brought_back_and_the_rest_stays(
    worlds: Callable[[str], World], monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    monkeypatch.setitem(VERBS, "lb", ("apply", *VERBS["lb"]))
    world = worlds(web_kept(keep, NAMES_URL))
    first, old = two(world)
    world.down = True
    asked, ended = asked_of(first.deploy("0.1.0", record=old, back=True))
    assert ended == "success" and not world.down and world.broken == []
    assert "lb apply" in asked and "db apply" not in asked and STAYS in first.said
    # What the database said is known to the next one as well.
    known = first.journal.one("SELECT id FROM run WHERE version = '0.1.1'")
    world.pass_seconds(3700)
    world.used &= set(world.weights)
    again = first.deploy("0.1.1", record=RunRecord.attach(first.journal, known["id"]), back=True)
    asked, ended = asked_of(again)
    assert ended == "success" and "web create" in asked and "db apply" not in asked


@pytest.mark.parametrize(
    ("before", "after", "seconds", "stays"),
    [
        ("0s", "3m", 0, False), ("3m", "0s", 0, True), ("3m", "0s", 179, True), ("3m", "0s", 181, False),
        ("3m", "1h", 181, False), ("1h", "3m", 181, True), ("0s", "0s", 0, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["web", "worker"])
def test_instances_are_kept_as_long_as_their_own_file_says(
    worlds: Callable[[str], World], name: str, before: str, after: str, seconds: int, stays: bool
) -> None:
    """The record, who takes away, the dry run and the way back agree."""
    files = {
        time: web_kept(time) if name == "web" else web_kept("1d") + worker(time)
        for time in (before, after)
    }
    world = worlds(files[before])
    first, old = two(world, files[after])
    was = [one for one, v in world.running.items() if v == "0.1.0" and world.made[one] == name]
    assert bool(was) is (before != "0s"), "who is to go at once is gone at once"
    world.pass_seconds(seconds)
    if seconds:
        world.used -= set(was)  # longer than any request takes
    rows = [one for one in reaping.standing(first.journal) if one.id in was]
    assert all(one.due is not stays for one in rows) and bool(was) >= stays
    asked, ended = asked_of(first.deploy("0.1.0", record=old, back=True))
    assert ended == "success" and (f"{name} create" in asked) is not stays
    why = f"{name} is made anew: none that served before is kept"
    assert (why in first.said) is not stays
    assert world.broken == []


@pytest.mark.parametrize(("web", "hands"), [("1h", "0s"), ("0s", "1h")])
def test_what_is_kept_is_turned_to_and_the_rest_is_made(
    worlds: Callable[[str], World], web: str, hands: str
) -> None:
    world = worlds(web_kept(web) + worker(hands))
    first, old = two(world)
    there = set(world.running)
    asked, ended = asked_of(first.deploy("0.1.0", record=old, back=True))
    made = "worker" if hands == "0s" else "web"
    assert ended == "success" and {one for one in asked if one.endswith("create")} == {
        f"{made} create"
    }
    assert f"{made} is made anew: none that served before is kept" in first.said
    assert STAYS in first.said and "db apply" not in asked
    assert {world.made[one] for one in set(world.running) - there} == {made}
    assert {world.running[one] for one in world.weights} == {"0.1.0"} and world.broken == []
    assert first.live() == "0.1.0, 0.1.0" and versions_live(old, "production") == ("0.1.0",)


@pytest.mark.parametrize("fault", ["kill", "failure"])
def test_a_way_back_in_part_fails_at_any_step(worlds: Callable[[str], World], fault: str) -> None:
    config = web_kept("1h") + worker("0s")
    world = worlds(config)
    first, old = two(world)
    seen: list[Moment] = []
    run(first.deploy("0.1.0", record=old, back=True), lambda moment: seen.append(moment))
    for where in [one for one in seen if one.when == "before"][::2]:
        world = worlds(config)
        first, old = two(world)
        run(first.deploy("0.1.0", record=old, back=True), {where: fault}.get)
        assert world.broken == [] and world.weights, where
        assert run(first.deploy("0.1.2")) == "success", where
        assert world.broken == [] and set(world.running) <= first.exist(), where
        assert {world.running[one] for one in world.weights} == {"0.1.2"}, where
        workers = {v for one, v in world.running.items() if world.made[one] == "worker"}
        assert workers == {"0.1.2"}, where


@pytest.mark.parametrize(
    ("keys", "kept", "words"),
    [
        ('behind = "lb"', {}, "2 new instances, turned in behind lb at once"),
        ('behind = "lb"', {"web": 180}, "turned in behind lb at once, the old ones kept for 3 min"),
        ('behind = "lb"\nkeep_old = "1h"', {"web": 0}, "2 new instances, turned in behind lb at once"),
        ("", {}, "2 new instances"),
        ("", {"web": 0}, "2 new instances, beside the old ones until these are taken away"),
        ("", {"web": 180}, "2 new instances, beside the old ones, which are kept for 3 min"),
        ("", None, "2 new instances, beside the old ones until these are taken away"),
        ("overlap = false", {}, "2 new instances"),
        ("overlap = false", {"web": 0},
         "made once the old ones are stopped: until they run nothing of it does"),
    ],
)  # fmt: skip
def test_of_old_ones_is_spoken_where_some_serve(
    keys: str, kept: dict[str, int] | None, words: str
) -> None:
    config = CONFIG.replace('behind = "lb"', keys).replace(
        "rollout = [{ weight = 50 }, { weight = 100 }]\n", ""
    )
    [line] = told_turns(resolve(parse(config)), "production", {}, kept)
    assert line.endswith(words) and line.startswith("web in production: 2 new instances"), line


def test_how_long_what_serves_is_kept_is_read_from_the_record(
    worlds: Callable[[str], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = worlds(web_kept("3m") + worker("0s"))
    first = world.machines[0]
    record = first.begin("0.1.0")
    assert kept_seconds(record, "production") == {}
    assert run(first.deploy("0.1.0", record=record)) == "success"
    assert kept_seconds(record, "production") == {"web": 180, "worker": 0}
    rotated = watched(world, monkeypatch)
    assert run(first.deploy("0.1.1")) == "success" and rotated
