"""What a deployment of components refuses, flags and keeps, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import CONFIG, REFUSED, VERBS, Faults, Moment, World, at, lost, run, started
from msgspec import UNSET, structs

from cxlocal.commands.foreseen import told_leaving
from cxlocal.config.load import parse
from cxlocal.domain import Outcome
from cxlocal.errors import Refused, UsageError
from cxlocal.hooks.tool import Created
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.components import departed, may_go_without
from cxlocal.plan.resolve import resolve
from cxlocal.plan.types import Component
from cxlocal.runner import component_departure, reaping
from cxlocal.runner.redeploy import Shipped, as_error


def flags(world: World, who: int = 0) -> list[str]:
    rows = world.machines[who].journal.query("SELECT kind FROM flag ORDER BY kind")
    return [row["kind"] for row in rows]


def test_other_weights_are_set_anew_and_flagged(world: World) -> None:
    first = started(world)
    world.weights = {}
    assert run(first.deploy("0.1.1")) == "success"
    assert set(world.weights) == set(world.running) and "other-weights" in flags(world)


LIES = {
    "it does nothing": lambda old, new: old,
    "it keeps one that served": lambda old, new: new | dict(list(old.items())[:1]),
    "it leaves a new one out": lambda old, new: dict(list(new.items())[:1]),
    "it gives one of them less": lambda old, new: {one: 90 - 80 * n for n, one in enumerate(new)},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_balancer_that_lies_of_its_turn_is_not_believed(
    world: World, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    """What served is drained and removed on its word."""
    first = started(world)
    serving, usual = dict(world.weights), World.do

    def do(self: World, version: str, component: Any, verb: str, told: Any) -> Any:
        if verb == "rotate" and not set(told["wanted"]) & set(serving):
            told = {**told, "wanted": LIES[lie](serving, dict(told["wanted"]))}
        return usual(self, version, component, verb, told)

    with monkeypatch.context() as patch:
        patch.setattr(World, "do", do)
        assert run(first.deploy("0.1.1")) == "failure"
        assert first.live() == "0.1.0" and world.weights == serving and world.broken == []
        assert set(world.running) == set(serving), "the new ones are taken away"
        # That it need not be asked is said of one that cannot be.
        assert run(first.deploy("0.1.1", unobserved=True)) == "failure"
    assert run(first.deploy("0.1.2")) == "success"
    assert set(world.running.values()) == {"0.1.2"} and world.broken == []


def test_an_unknown_turn_stops_it(world: World) -> None:
    first = started(world)
    world.turn += 7
    before = dict(world.weights)
    assert run(first.deploy("0.1.1")) == "unknown-turn"
    assert world.weights == before and set(world.running.values()) == {"0.1.0"}
    assert first.journal.query("SELECT 1 FROM deployments_unfinished") == [], "nothing was changed"


def test_unknown_instances_stop_it(world: World) -> None:
    first = started(world)
    world.running["0f0e0d0c-0000-4000-8000-000000000001"] = "9.9.9"
    assert run(first.deploy("0.1.1")) == "found-instances"
    assert "9.9.9" in world.running.values(), "nobody takes away what nobody knows"


@pytest.mark.parametrize("who", ["web observe", "lb observe"])
def test_what_cannot_be_asked_is_changed_on_a_persons_word_alone(world: World, who: str) -> None:
    first = started(world)
    asked: list[str] = []

    def mute(moment: Moment) -> Faults:
        asked.append(moment.what)
        return "error" if moment.what == who else None

    assert run(first.deploy("0.1.1"), mute) == "not-observed"
    assert first.live() == "0.1.0" and set(world.running.values()) == {"0.1.0"}
    assert run(first.deploy("0.1.1", unobserved=True), mute) == "success"
    assert set(world.running.values()) == {"0.1.1"} and set(world.weights) == set(world.running)
    assert set(flags(world)) == {"went-unobserved"} and world.broken == []
    [open_now] = first.journal.query("SELECT kind FROM open_flags")
    assert open_now["kind"] == "went-unobserved", "its own cutover does not settle it"
    assert run(first.deploy("0.1.2", unobserved=True), mute) == "success"
    assert len(first.journal.query("SELECT kind FROM open_flags")) == 1, "the later one"
    assert run(first.deploy("0.1.3")) == "success"
    assert first.journal.query("SELECT kind FROM open_flags") == []


@pytest.mark.parametrize("order", [("db", "cache"), ("cache", "db")])
def test_a_word_for_one_component_is_for_it_alone(world: World, order: tuple[str, str]) -> None:
    """Two were changed in part in one place, and one of them in another, too."""
    first = started(world)
    journal, record = first.journal, first.begin("0.1.1")

    def said(component: str, environment: str = "production") -> None:
        draft = component_departure.half_applied(record, environment, component, "")
        record.record(draft)

    def still() -> list[str]:
        catch_up(journal)
        rows = journal.query("SELECT subject FROM open_flags WHERE kind = 'half-applied'")
        return sorted(row["subject"] for row in rows)

    for component in order:
        said(component)
    said(order[0], "staging")
    both = sorted(f"{one} in production" for one in order)
    assert still() == sorted([*both, f"{order[0]} in staging"])
    for n, component in enumerate(order):
        component_departure.settle(
            journal, "shop", "production", component, who="Ann", why="by hand"
        )
        left = [f"{one} in production" for one in order[n + 1 :]]
        assert still() == sorted([*left, f"{order[0]} in staging"])
    for component in order:
        said(component)
    assert run(first.deploy("0.1.2")) == "success"
    assert still() == [f"{order[0]} in staging"], "a deployment answers for all of its environment"


def test_what_would_destroy_something_stops(world: World) -> None:
    first = started(world)
    world.destroys = True
    assert run(first.deploy("0.1.1")) == "would-destroy"
    assert world.migrated == "0.1.0" and first.live() == "0.1.0"


def test_half_applied_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from deployments import ToySite

    from cxlocal.domain import Outcome
    from cxlocal.hooks.tool import Applied
    from cxlocal.hooks.tool_worker import ToolOutcome

    first = started(world)
    usual = ToySite.ask

    def ask(self: Any, component: Any, verb: str, /, **told: Any) -> Any:
        if verb == "apply":
            left = Applied(changed=True, last="0007", open="0008")
            return ToolOutcome(Outcome.FAILURE, "it said no", left, (), (), "")
        return (yield from usual(self, component, verb, **told))

    with monkeypatch.context() as patch:
        patch.setattr(ToySite, "ask", ask)
        assert run(first.deploy("0.1.1")) == "failure"
    assert flags(world) == ["half-applied"]
    with pytest.raises(UsageError) as refused:
        component_departure.settle(first.journal, "shop", "production", "lb", who="Ann", why="no")
    assert refused.value.why == "db is"
    open_flags = "SELECT kind FROM open_flags WHERE kind <> 'deployment-failed'"
    assert first.journal.query(open_flags) == [{"kind": "half-applied"}]
    with monkeypatch.context() as patch:
        patch.setattr(ToySite, "ask", ask)
        for at_last in (False, True):
            component_departure.settle(
                first.journal, "shop", "production", "db", who="Ann", why="0008 by hand"
            )
            assert first.journal.query(open_flags) == []
            with pytest.raises(UsageError):
                component_departure.settle(
                    first.journal, "shop", "production", "db", who="Ann", why="twice"
                )
            if not at_last:
                assert run(first.deploy("0.1.1")) == "failure", "it is not left out since"
                assert first.journal.query(open_flags) == [{"kind": "half-applied"}]
    assert flags(world) == ["half-applied", "half-applied", "settled-by-hand", "settled-by-hand"]
    last = first.journal.query("SELECT text FROM flag ORDER BY raised_at")[-1]
    assert last["text"] == "db in production is whole again, Ann says: 0008 by hand"
    text = first.journal.query("SELECT text FROM flag ORDER BY raised_at")[0]
    assert "after 0007, at 0008" in text["text"]
    assert first.live() == "0.1.0" and set(world.running.values()) == {"0.1.0"}
    assert run(first.deploy("0.1.1")) == "success"


def test_what_serves_must_stay_well(world: World) -> None:
    first = started(world)
    assert run(first.deploy("0.1.1"), at("web health", "failure", 2)) == "failure"
    assert first.live() == "0.1.0" and set(world.running.values()) == {"0.1.0"}
    # What was not well before need not be well afterwards: a repair can be deployed.
    faults = {Moment("web health", "before", 1): "failure"}
    assert run(first.deploy("0.1.1"), faults.get) == "success"


def test_what_came_back_is_removed_again(world: World) -> None:
    first = started(world)
    old = dict(world.running)
    assert run(first.deploy("0.1.1")) == "success"
    world.running |= old  # its creation was under way on a machine that stood still
    assert run(first.deploy("0.1.2")) == "success"
    assert set(world.running.values()) == {"0.1.2"}


def test_the_balancer_that_cannot_be_turned_back_is_said(world: World) -> None:
    first = started(world)

    def fault(moment: Moment) -> Faults:
        return "failure" if moment.what == "lb rotate" and moment.when == "before" else None

    assert run(first.deploy("0.1.1"), fault) == "failure"
    assert first.live() == "0.1.0" and set(world.weights) <= set(world.running)


def test_a_first_version_that_is_refused_serves_nobody(world: World) -> None:
    first = world.machines[0]
    assert run(first.deploy("0.1.0"), {REFUSED: "failure"}.get) == "failure"
    assert world.weights == {} and world.running == {} and first.exist() == set()
    assert first.live() == ""
    [row] = first.journal.query("SELECT words, why FROM deployments_unfinished")
    assert row["words"] == "0.1.0 failed here" and "it says no" in row["why"]
    assert run(first.deploy("0.1.1")) == "success"
    assert first.journal.query("SELECT 1 FROM deployments_unfinished") == []


def test_a_version_that_is_refused_is_taken_back(world: World) -> None:
    first = started(world)
    old = dict(world.weights)
    assert run(first.deploy("0.1.1"), {REFUSED: "failure"}.get) == "failure"
    assert world.weights == old and set(world.running) == set(old) == first.exist()
    [row] = first.journal.query(
        "SELECT version, kind, reason, artifact_sha256 FROM deployments_now"
    )
    assert (row["version"], row["kind"], row["artifact_sha256"]) == (
        "0.1.0",
        "rolledback",
        "0" * 64,
    )
    assert row["reason"] == "0.1.1 was refused: production is not well: it says no"
    [failed] = first.journal.query("SELECT version, outcome, settled FROM deployment_attempt"
                                   " WHERE outcome IS NOT NULL")  # fmt: skip
    assert failed == {"version": "0.1.1", "outcome": "failed", "settled": 1}
    assert "what was changed in place stays as it is: db" in first.said


@pytest.mark.parametrize("well", [True, False])
def test_what_serves_again_is_judged_again(world: World, well: bool) -> None:
    first = started(world)
    old = dict(world.weights)
    again = Moment("production check", "before", 2)
    assert run(first.deploy("0.1.1"), {REFUSED: "failure", again: None if well else "failure"}.get)
    assert world.weights == old and first.live() == "0.1.0", "there is nothing else to go to"
    words = "production is not well with 0.1.0 either: it says no"
    [row] = first.journal.query("SELECT reason FROM stage_run WHERE outcome = 'failure'")
    assert (words in row["reason"], words in first.said) == (not well, not well)


def test_what_was_changed_in_place_alone_serves_on(world: World) -> None:
    leaves(world, CONFIG[: CONFIG.index("[components.lb]")])
    first = started(world)
    assert run(first.deploy("0.1.1"), {REFUSED: "failure"}.get) == "failure"
    assert first.live() == world.migrated == "0.1.1", "nobody changed it back"
    [row] = first.journal.query("SELECT reason FROM stage_run WHERE outcome = 'failure'")
    assert "it was changed in place; cxlocal rollback production deploys it again" in row["reason"]


def test_what_is_refused_serves_on_where_the_old_are_not_well(world: World) -> None:
    first = started(world)
    old = set(world.weights)

    def fault(moment: Moment) -> Faults:
        sick = moment.what == "web health" and first.live() == "0.1.1"
        return "failure" if sick or moment == REFUSED else None

    assert run(first.deploy("0.1.1"), fault) == "failure"
    assert first.live() == "0.1.1" and not set(world.weights) & old
    assert old <= set(world.running), "whoever looks into it finds both"
    assert run(first.deploy("0.1.2")) == "success"
    assert set(world.running.values()) == {"0.1.2"}


def test_a_way_back_is_judged_and_stays(keeping: World) -> None:
    first = keeping.machines[0]
    one = first.begin("0.1.0")
    assert run(first.deploy("0.1.0", record=one)) == "success"
    assert run(first.deploy("0.1.1")) == "success"
    ended = run(first.deploy("0.1.0", record=one, back=True), {REFUSED: "failure"}.get)
    assert ended == "failure" and first.live() == "0.1.0"
    assert {keeping.running[one] for one in keeping.weights} == {"0.1.0"}


HOSTS = 'count = 4\nhosts = ["a", "b"]'


@pytest.mark.parametrize(
    ("least", "unreached", "ended"),
    [
        ("", {"b"}, "failure"),
        ("\nmin_hosts = 2", {"b"}, "failure"),
        ("\nmin_hosts = 1", {"b"}, "success"),
        ("\nmin_hosts = 1", {"a"}, "success"),
        ("\nmin_hosts = 1", {"a", "b"}, "failure"),
    ],
)
def test_hosts_that_cannot_be_reached(
    world: World, least: str, unreached: set[str], ended: str
) -> None:
    leaves(world, CONFIG.replace("count = 2", HOSTS + least))
    first = started(world)
    old = set(world.running)
    assert len(old) == 4
    world.unreached = unreached
    assert run(first.deploy("0.1.1")) == ended
    assert world.broken == [] and set(world.weights) <= set(world.running)
    if ended == "failure":
        assert set(world.weights) == old and first.live() == "0.1.0"
    else:
        assert {world.running[one] for one in world.weights} == {"0.1.1"} and len(
            world.weights
        ) == 2
        assert "host-left-out" in flags(world) and first.live() == "0.1.1"
        assert [one for one in reaping.standing(first.journal) if one.due and one.host in unreached]
    world.unreached = set()
    assert run(first.deploy("0.1.2")) == "success"
    assert set(world.running.values()) == {"0.1.2"} and len(world.weights) == 4
    assert first.exist() == set(world.running)
    assert first.journal.query("SELECT kind FROM open_flags") == []


@pytest.mark.parametrize(
    ("hosts", "count", "least", "lost", "goes_on"),
    [
        ((), 2, UNSET, {""}, False),
        (("a", "b"), 2, UNSET, {"b"}, False),
        (("a", "b"), 2, 1, {"b"}, True),
        (("a", "b"), 2, 1, {"a", "b"}, False),
        (("a", "b"), 1, 1, {"a"}, False),
        (("a", "b"), 1, 1, {"b"}, True),
        (("a", "b", "c"), 6, 2, {"b"}, True),
        (("a", "b", "c"), 6, 2, {"b", "c"}, False),
        (("a", "a", "b"), 3, 1, {"a"}, True),
        (("a", "b"), 2, 3, {"b"}, False),
    ],
)
def test_what_a_component_may_go_without(
    hosts: tuple[str, ...], count: int, least: Any, lost: set[str], goes_on: bool
) -> None:
    one = Component(name="web", tool="toy", hosts=hosts, count=count, min_hosts=least)
    assert may_go_without(one, lost) is goes_on


def leaves(world: World, config: str) -> None:
    world.plan = resolve(parse(config))


WITHOUT_DB = CONFIG.replace(
    '[components.db]\nmutable = true\ntool = "toy"\n', ""
).replace('needs = ["db"]\n', "")  # fmt: skip


@pytest.fixture(params=["made by its tool", "only changed"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that a tool made, so that it owes its end; and one that its tool only changes."""
    if request.param == "made by its tool":
        monkeypatch.setitem(VERBS, "db", (*VERBS["db"], "provision", "destroy"))
    return str(request.param)


@pytest.mark.parametrize(
    ("component", "way"),
    [("web", "env destroy production "), ("cache", "env release production cache")],
)
def test_what_cannot_be_destroyed_alone_is_told_with_the_way(
    world: World, component: str, way: str
) -> None:
    first = started(world)
    nobody: Any = None  # no tool is begun
    with pytest.raises(UsageError) as raised:
        component_departure.destroy(first.journal, nobody, "shop", "production", component, None)
    assert way in raised.value.hint


def test_a_mutable_component_that_leaves_stops_the_deployment(world: World, database: str) -> None:
    first = started(world)
    before = dict(world.running)
    leaves(world, WITHOUT_DB)
    assert run(first.deploy("0.1.1")) == "component-left"
    assert world.running == before and first.live() == "0.1.0", "nothing was changed"
    world.exchange()
    assert run(world.machines[1].deploy("0.1.1")) == "component-left", "whoever deploys"
    with pytest.raises(UsageError):
        component_departure.release(first.journal, "shop", "production", "cache", "no such one")
    component_departure.release(first.journal, "shop", "production", "db", "others have it")
    assert first.journal.query("SELECT DISTINCT component, gone_how, gone_why FROM resource"
                               " WHERE component = 'db'") == [
        {"component": "db", "gone_how": "released", "gone_why": "others have it"}
    ]  # fmt: skip
    assert run(first.deploy("0.1.1")) == "success" and world.migrated == "0.1.0"
    leaves(world, CONFIG)
    assert run(first.deploy("0.1.2")) == "success" and world.migrated == "0.1.2"
    leaves(world, WITHOUT_DB)
    assert run(first.deploy("0.1.3")) == "component-left", "it came back, and has left again"


@pytest.mark.parametrize(
    ("config", "environment", "component", "still"),
    [
        (CONFIG, "production", "db", True),
        (CONFIG, "production", "lb", True),
        (CONFIG, "production", "web", False),
        (CONFIG, "elsewhere", "db", False),
        (WITHOUT_DB, "production", "db", False),
        (
            CONFIG + '[environments.production.components.db.with]\nurl = "db:1"\n',
            "production", "db", False,
        ),
    ],
)  # fmt: skip
def test_what_the_file_still_changes_is_not_released(
    config: str, environment: str, component: str, still: bool
) -> None:
    plan = resolve(parse(config))
    if not still:
        component_departure.refuse_present(plan, environment, component)
        return
    with pytest.raises(UsageError) as refused:
        component_departure.refuse_present(plan, environment, component)
    assert f"take [components.{component}] out" in refused.value.hint


def test_a_mutable_component_is_called_otherwise(
    world: World, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = started(world)
    made = {one.id for one in reaping.standing(first.journal) if one.component == "db"}
    monkeypatch.setitem(VERBS, "data", VERBS["db"])
    renamed = CONFIG.replace("[components.db]", "[components.data]").replace('["db"]', '["data"]')
    leaves(world, renamed)
    assert run(first.deploy("0.1.1")) == "component-left"
    leaves(world, renamed.replace("[components.data]", '[components.data]\nwas = "db"'))
    assert run(first.deploy("0.1.1")) == "success" and world.migrated == "0.1.1"
    now = [one for one in reaping.standing(first.journal) if one.component in ("db", "data")]
    assert {one.id for one in now} == made, "it is the same, and not a second one"
    assert {one.component for one in now} == ({"data"} if made else set())
    leaves(world, renamed)
    assert run(first.deploy("0.1.2")) == "success", "from then on it has that name alone"


RENAMED = CONFIG.replace("[components.web]", "[components.app]")
UNSPREAD = RENAMED.replace('behind = "lb"\n', "").replace(
    "rollout = [{ weight = 50 }, { weight = 100 }]\n", ""
)


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize(
    ("config", "verbs", "one_for_all"),
    [
        (RENAMED, VERBS["lb"], False),
        (UNSPREAD, VERBS["lb"], False),
        (RENAMED, VERBS["lb"], True),
        (RENAMED, ("rotate", "drain"), True),
    ],
    ids=["beside the new", "alone", "one list", "one list that cannot be asked"],
)
def test_instances_of_a_component_that_left_are_turned_out_and_drained(
    world: World, monkeypatch: pytest.MonkeyPatch, config: str, verbs: tuple[str, ...],
    one_for_all: bool, who: int,
) -> None:  # fmt: skip
    monkeypatch.setitem(VERBS, "lb", verbs)
    monkeypatch.setitem(VERBS, "app", VERBS["web"])
    world.one_for_all = one_for_all
    started(world)
    world.exchange()
    old = set(world.running)
    leaves(world, config)
    order: list[str] = []

    def note(moment: Moment) -> Faults:
        if moment.when == "after" and moment.what != "lb observe":
            order.append(moment.what)
        return None

    assert run(world.machines[who].deploy("0.1.1"), note) == "success"
    assert world.broken == [] and not old & set(world.running)
    assert set(world.weights) == (set(world.running) if config == RENAMED else set())
    assert set(world.drained) == old, "as it was configured, before they went"
    assert order[-4:] == ["lb drain", "web remove"] * 2, "once the new ones served"
    assert world.machines[who].exist() == set(world.running)


def test_instances_of_a_component_that_left_are_found_after_a_kill(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = started(world)
    old = set(world.running)
    assert told_leaving(first.begin("0.1.1"), "production") == []
    monkeypatch.setitem(VERBS, "app", VERBS["web"])
    leaves(world, RENAMED)
    [line] = told_leaving(first.begin("0.1.1"), "production")
    assert "web in production is in the file no more: 2 instances" in line
    assert run(first.deploy("0.1.1"), at("production check", "kill")) == "killed"
    assert old <= set(world.weights), "nobody came to turn them out"
    assert run(first.deploy("0.1.2")) == "success"
    assert set(world.drained) >= old and world.broken == []
    assert set(world.weights) == set(world.running) == first.exist()


def test_a_component_that_left_serves_again_where_the_new_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = started(world)
    before = dict(world.weights)
    monkeypatch.setitem(VERBS, "app", VERBS["web"])
    leaves(world, RENAMED)
    assert run(first.deploy("0.1.1"), at("production check", "failure")) == "failure"
    assert world.weights == before and set(world.running.values()) == {"0.1.0"}
    assert first.live() == "0.1.0" and world.broken == []


@pytest.mark.parametrize(
    ("now", "standing", "before", "accounted", "left"),
    [
        ((), (), (), (), []),
        ((), ("db",), (), (), ["db"]),
        ((), (), ("db",), (), ["db"]),
        ((), ("db",), ("db",), (), ["db"]),
        ((), (), ("db",), ("db",), []),
        ((), ("db",), (), ("db",), ["db"]),
        (("db",), ("db",), ("db",), (), []),
        (("data was db",), ("db",), ("db",), (), []),
        (("data",), ("db",), ("db",), (), ["db"]),
        (("db",), ("db", "cache"), ("db", "lb"), (), ["cache", "lb"]),
        ((), (), ("db given",), (), []),
        ((), (), ("web replaced",), (), []),
    ],
)
def test_what_has_departed(
    now: tuple[str, ...], standing: tuple[str, ...], before: tuple[str, ...],
    accounted: tuple[str, ...], left: list[str],
) -> None:  # fmt: skip
    assert departed(map(named, now), standing, map(named, before), accounted) == left


def named(words: str) -> Component:
    name, _, more = words.partition(" ")
    return Component(
        name=name, tool="toy", mutable=more != "replaced",
        options={"url": "there"} if more == "given" else {},
        was=more.removeprefix("was ") if more.startswith("was ") else UNSET,
    )  # fmt: skip


KEPT = CONFIG.replace("count = 2", 'count = 2\nkeep_old = "1h"')


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, KEPT)
    yield made
    made.close()


def test_only_the_ones_right_before_are_kept(keeping: World) -> None:
    first = keeping.machines[0]
    for version in ("0.1.0", "0.1.1", "0.1.2"):
        assert run(first.deploy(version)) == "success"
    assert sorted(set(keeping.running.values())) == ["0.1.1", "0.1.2"]
    assert set(keeping.weights) == {one for one, v in keeping.running.items() if v == "0.1.2"}
    assert reaping.standing(first.journal) and not [
        one for one in reaping.standing(first.journal) if one.due
    ]
    keeping.clock.ms += 3600_000
    due = [one for one in reaping.standing(first.journal) if one.due]
    assert {one.id for one in due} == {one for one, v in keeping.running.items() if v == "0.1.1"}


def test_a_rollback_turns_weights_alone(keeping: World) -> None:
    first = keeping.machines[0]
    one = first.begin("0.1.0")
    assert run(first.deploy("0.1.0", record=one)) == "success"
    old = dict(keeping.weights)
    assert run(first.deploy("0.1.1")) == "success"
    asked: list[str] = []

    def note(moment: Moment) -> Faults:
        asked.append(moment.what)
        return None

    assert run(first.deploy("0.1.0", record=one, back=True), note) == "success"
    assert set(keeping.weights) == set(old) and first.live() == "0.1.0"
    assert not {"db apply", "db preview", "web create", "web remove"} & set(asked)
    assert len(keeping.running) == 4, "the way forward again is as quick"


def test_a_rollback_makes_anew_what_is_not_well(keeping: World) -> None:
    first = keeping.machines[0]
    one = first.begin("0.1.0")
    assert run(first.deploy("0.1.0", record=one)) == "success"
    old = set(keeping.running)
    assert run(first.deploy("0.1.1")) == "success"
    ended = run(first.deploy("0.1.0", record=one, back=True), at("web health", "failure"))
    assert ended == "success" and first.live() == "0.1.0"
    assert not set(keeping.weights) & old


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (("0.1.1",), ("0.1.1",), "what is live in production was not changed in the record"),
        ((), (), "what is live in production was not changed in the record"),
        (("0.1.3",), ("0.1.2",), "what is live in production is 0.1.2 by the record"),
        (("0.1.3",), (), "what is live in production is nothing by the record"),
    ],
)
def test_what_is_live_after_a_deployment_that_failed_is_said(
    before: tuple[str, ...], now: tuple[str, ...], words: str
) -> None:
    stages = {"live": Outcome.FAILURE}
    shipped = Shipped(
        "4f1c22aa", "shop", "0.1.2", "production", Outcome.FAILURE, stages, "", before, now
    )
    error = as_error(shipped, "cxlocal show")
    assert error is not None and error.what == f"live did not succeed; {words}"


def test_a_rollback_that_fails_leaves_what_served(keeping: World) -> None:
    first = keeping.machines[0]
    one = first.begin("0.1.0")
    assert run(first.deploy("0.1.0", record=one)) == "success"
    assert run(first.deploy("0.1.1")) == "success"
    before, there = dict(keeping.weights), dict(keeping.running)
    assert (
        run(first.deploy("0.1.0", record=one, back=True), at("lb rotate", "failure")) == "failure"
    )
    assert set(keeping.weights) == set(before)
    assert keeping.running == there, "kept ones stay kept"
    assert first.live() == "0.1.1"


def test_what_nobody_can_remove_is_forgotten_on_a_persons_word(keeping: World) -> None:
    first = keeping.machines[0]
    for version in ("0.1.0", "0.1.1"):
        assert run(first.deploy(version)) == "success"
    serving = next(iter(keeping.weights))
    old = next(one for one, v in keeping.running.items() if v == "0.1.0")
    with pytest.raises(Refused):
        reaping.forget(first.journal, serving, "no")
    with pytest.raises(UsageError):
        reaping.forget(first.journal, "ffffffff", "no")
    reaping.forget(first.journal, old, "the host was scrapped")
    row = first.journal.one("SELECT gone_how, gone_why FROM resource WHERE id = ?", (old,))
    assert row == {"gone_how": "given up", "gone_why": "the host was scrapped"}


def test_what_a_lost_journal_made_is_found_again(world: World) -> None:
    started(world)
    other, runs = lost(world, "0.1.0")
    assert run(other.deploy("0.1.1")) == "found-instances"
    assert run(other.deploy("0.1.0", record=runs["0.1.0"], repair=True)) == "success"
    assert other.live() == "0.1.0" and other.exist() == set(world.running) == set(world.weights)
    assert "found-instances" in flags(world, 1)
    assert run(other.deploy("0.1.1")) == "success"
    assert set(world.running.values()) == {"0.1.1"} and other.exist() == set(world.running)


def test_a_canary_of_a_lost_journal_goes_the_way_that_is_said(world: World) -> None:
    first = started(world)
    old = set(world.weights)
    assert (
        run(
            first.deploy("0.1.1"),
            lambda m: "kill" if m == Moment("lb rotate", "after", 1) else None,
        )
        == "killed"
    )
    assert old < set(world.weights)
    other, runs = lost(world, "0.1.0", "0.0.9")
    assert run(other.deploy("0.0.9", record=runs["0.0.9"], repair=True)) == "not-live"
    assert run(other.deploy("0.1.0", record=runs["0.1.0"], repair=True)) == "success"
    assert set(world.weights) == set(world.running) == old, "the canary is taken away"


@pytest.mark.parametrize(("what", "nth"), [("web create", 2), ("web health", 3), ("lb rotate", 2)])
def test_what_fails_before_its_cutover_leaves_nothing(world: World, what: str, nth: int) -> None:
    first = started(world)
    old = set(world.running)
    assert run(first.deploy("0.1.1"), at(what, "failure", nth)) == "failure"
    assert set(world.running) == set(world.weights) == first.exist() == old
    assert first.live() == "0.1.0"


def test_what_a_balancer_made_durable_is_known_to_its_later_verbs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VERBS, "lb", (*VERBS["lb"], "provision", "apply", "destroy"))
    usual, handles = World.do, []

    def do(self: World, version: str, component: Any, verb: str, told: Any) -> Any:
        if component.name == "lb" and verb in ("provision", "apply"):
            told["on_intend"]({"root": "/srv/lb", "by": verb})
        elif component.name == "lb":
            handles.append((verb, told.get("handle")))
        return usual(self, version, component, verb, told)

    monkeypatch.setattr(World, "do", do)
    first = started(world)
    rotated = [handle for verb, handle in handles if verb == "rotate"]
    assert rotated and all(one == {"root": "/srv/lb", "by": "apply"} for one in rotated)
    made = [one for one in reaping.standing(first.journal) if one.component == "lb"]
    assert [(one.verb, one.taken_by, one.due) for one in made] == [("provision", "destroy", False)]
    assert run(first.deploy("0.1.1")) == "success"
    assert len([one for one in reaping.standing(first.journal) if one.component == "lb"]) == 1


@pytest.mark.parametrize(
    ("health", "address", "healthy", "ended", "reason"),
    [
        ("tcp", "", None, "error", "web: health is set, and create of toy gave no address"),
        ("/", "", True, "error", "web: health is set, and create of toy gave no address"),
        ("tcp", "host:1", False, "failure", "web is not well: observe of toy says so of"),
        ("", "", False, "failure", "web is not well: observe of toy says so of"),
        ("", "", None, "success", ""),
        ("tcp", "host:1", True, "success", ""),
    ],
)
def test_an_instance_is_well_by_its_address_and_by_its_own_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, health: str, address: str,
    healthy: bool | None, ended: str, reason: str,
) -> None:  # fmt: skip
    world = World(
        tmp_path, CONFIG.replace('health = "tcp"', f'health = "{health}"' if health else "")
    )
    usual, one = World.do, world.machines[0]

    def do(self: World, version: str, component: Any, verb: str, told: Any) -> Any:
        done = usual(self, version, component, verb, told)
        if verb == "create":
            return Created(address=address)
        if verb == "observe" and component.name == "web":
            return structs.replace(
                done,
                resources=tuple(structs.replace(each, healthy=healthy) for each in done.resources),
            )
        return done

    monkeypatch.setattr(World, "do", do)
    assert run(one.deploy("0.1.1")) == ended
    [row] = one.journal.query("SELECT reason FROM stage_run")
    assert (row["reason"] or "").startswith(reason)
    assert bool(world.weights) == bool(world.running) == (ended == "success")
    world.close()


@pytest.mark.parametrize("verb", ["create", "rotate"])
@pytest.mark.parametrize("ended", ["error", "failure"])
def test_trouble_of_a_tool_is_an_error_and_its_no_a_failure(
    world: World, verb: str, ended: str
) -> None:
    fault = at(f"{'lb' if verb == 'rotate' else 'web'} {verb}", ended)
    assert run(world.machines[0].deploy("0.1.1"), fault) == ended
    assert world.running == {} and world.broken == []
