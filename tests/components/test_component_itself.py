"""Components that rotate themselves: applied when all others are ready, and applied again where that fails.

``pytest tests/components/test_component_itself.py -s`` shows how often each step was visited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import (
    ITSELF,
    REFUSED,
    TOOLS,
    VERBS,
    Faults,
    Machine,
    Moment,
    Own,
    World,
    moments,
    run,
    started,
)
from msgspec import structs

from cxlocal.commands.foreseen import told_turns
from cxlocal.config.load import parse
from cxlocal.errors import ConfigError, Refused
from cxlocal.plan.bind import bind
from cxlocal.plan.components import components_in, turning_order
from cxlocal.plan.resolve import resolve
from cxlocal.plan.types import Component, Plan
from cxlocal.runner.work import Work


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, ITSELF)
    yield made
    made.close()


SHOP_TABLE = '[components.shop]\ntool = "own"\nartifact = "app"\n'
OWN_ONLY = ITSELF.split("[components.lb]")[0] + SHOP_TABLE


def asked(story: Any, faults: dict[Moment, str] | None = None) -> list[str]:
    """What was asked, in order, without what looks; the outcome last."""
    found: list[str] = []

    def note(moment: Moment) -> Faults:
        if moment.when == "before" and not moment.what.endswith(
            (" observe", " preview", " health")
        ):
            found.append(moment.what)
        return (faults or {}).get(moment)

    ended = run(story, note)
    return [*found, ended]


def first(what: str, nth: int = 1) -> Moment:
    return Moment(what, "before", nth)


def half_applied(machine: Machine) -> list[str]:
    """What may be changed in part, by the record."""
    rows = machine.journal.query("SELECT subject FROM open_flags WHERE kind = 'half-applied'")
    return [row["subject"] for row in rows]


def test_it_is_applied_when_all_others_are_ready(shop: World) -> None:
    one = started(shop)
    assert asked(one.deploy("0.1.1")) == [
        "db apply", "web create", "web create", "lb rotate", "lb rotate", "shop apply",
        "production check", "lb drain", "web remove", "lb drain", "web remove", "success",
    ]  # fmt: skip
    assert shop.place == "0.1.1" and shop.broken == []
    [row] = one.journal.query(
        "SELECT version, verb, weight, address FROM resources_now WHERE component = 'shop'"
    )
    assert row == {"version": "0.1.1", "verb": "apply", "weight": 100, "address": "shop:1"}
    live = one.journal.query("SELECT service, version FROM deployments_now ORDER BY service")
    assert live == [{"service": name, "version": "0.1.1"} for name in ("shop", "web")]


def check_settled(world: World, version: str) -> None:
    """One version everywhere, nothing else stands, and each machine's record says so."""
    world.exchange()
    assert world.broken == []
    assert world.place == version and set(world.running.values()) == {version}
    assert set(world.weights) == set(world.running)
    for machine in world.machines:
        assert machine.live() == f"{version}, {version}"
        assert len(machine.exist()) == len(world.running) + 1


@pytest.mark.parametrize("what", ["shop apply", "web create", "lb rotate", "shop observe"])
@pytest.mark.parametrize("fault", ["failure", "error"])
def test_what_served_is_applied_again(shop: World, what: str, fault: str) -> None:
    one = started(shop)
    old = set(shop.running)
    nth = 2 if what == "shop observe" else 1
    assert asked(one.deploy("0.1.1"), {first(what, nth): fault})[-1] in (fault, "failure")
    assert shop.place == one.live().split(", ")[0] == "0.1.0" and set(shop.weights) == old
    began = what.startswith("shop")
    assert shop.applied == ["0.1.0"] + ["0.1.1"] * (what == "shop observe") + ["0.1.0"] * began
    assert ("shop in production is at 0.1.0 again" in one.said) == began
    check_settled(shop, "0.1.0")


def test_a_version_that_the_environment_refuses_is_applied_back(shop: World) -> None:
    one = started(shop)
    story = asked(one.deploy("0.1.1"), {REFUSED: "failure"})
    assert story[story.index("production check") :][:3] == [
        "production check", "shop apply", "lb rotate",
    ]  # fmt: skip
    assert story[-1] == "failure" and shop.applied == ["0.1.0", "0.1.1", "0.1.0"]
    kinds = one.journal.query("SELECT DISTINCT kind FROM deployments_now")
    assert kinds == [{"kind": "rolledback"}]
    check_settled(shop, "0.1.0")


def test_weights_stay_where_what_served_cannot_be_applied_again(shop: World) -> None:
    one = started(shop)
    faults = {REFUSED: "failure", first("shop apply", 2): "failure"}
    assert asked(one.deploy("0.1.1"), faults)[-1] == "failure"
    assert {shop.running[each] for each in shop.weights} == {"0.1.1"}, "as the record says"
    assert one.live() == "0.1.1, 0.1.1" and half_applied(one) == ["shop in production"]
    assert run(one.deploy("0.1.2")) == "success"
    check_settled(shop, "0.1.2")


def test_a_turn_that_is_lost_on_the_way_back_ends_it(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, taken = started(shop), []

    def check_turn(self: Work, stage: Any) -> None:
        if taken:
            raise Refused(
                "the turn was taken", why="another machine has it", hint="look", name="turn-taken"
            )

    monkeypatch.setattr(Work, "check_turn", check_turn)

    def fault(moment: Moment) -> Faults:
        taken.extend([moment] if moment == REFUSED else [])
        return "failure" if moment == REFUSED else None

    assert run(one.deploy("0.1.1"), fault) == "turn-taken"


def test_the_turn_is_asked_right_before_whatever_is_applied(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Work, "check_turn", lambda *asked: told.append("turn"))

    def note(moment: Moment) -> None:
        if moment.when == "before":
            told.append(moment.what)

    assert run(shop.machines[0].deploy("0.1.0"), note) == "success"
    applied = [at for at, what in enumerate(told) if what.endswith(" apply")]
    assert len(applied) == 2 and all(told[at - 1] == "turn" for at in applied), told


def test_a_first_one_that_fails_is_destroyed(shop: World) -> None:
    one = shop.machines[0]
    assert asked(one.deploy("0.1.0"), {first("shop apply"): "failure"})[-1] == "failure"
    assert shop.place == "" and one.live() == "" and one.exist() == set() == set(shop.running)
    assert run(one.deploy("0.1.1")) == "success"
    check_settled(shop, "0.1.1")


def test_one_that_the_environment_refuses_first_is_destroyed(shop: World) -> None:
    one = shop.machines[0]
    assert asked(one.deploy("0.1.0"), {REFUSED: "failure"})[-1] == "failure"
    assert shop.place == "" and one.live() == "" and one.exist() == set()


@pytest.mark.parametrize("lifetime", ["lasting", "per-run"])
@pytest.mark.parametrize(
    "where", [first("shop apply"), first("shop observe"), REFUSED], ids=lambda one: one.what
)
def test_one_that_no_tool_takes_away_stays_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lifetime: str, where: Moment
) -> None:
    """A first one that fails is said before, wherever it is made: so whoever ends the environment knows of it."""
    monkeypatch.setitem(VERBS, "shop", ("preview", "apply", "observe"))
    monkeypatch.delattr(Own, "destroy")
    world = World(tmp_path, OWN_ONLY.replace('check = "true"', f'check = "true"\nlifetime = "{lifetime}"'))  # fmt: skip
    one = world.machines[0]
    faults = {where: "failure", first("shop destroy"): "failure"}
    assert run(one.deploy("0.1.0"), faults.get) == "failure", one.said
    rows = one.journal.query("SELECT component FROM resources_now WHERE verb = 'apply'")
    assert rows == [{"component": "shop"}] and one.live() == ""
    flags = one.journal.query("SELECT subject FROM open_flags WHERE kind = 'not-removed'")
    assert [row["subject"] for row in flags] == list(one.exist())
    world.close()


def test_a_rollback_turns_weights_and_applies(tmp_path: Path) -> None:
    world = World(tmp_path, ITSELF.replace("count = 2", 'count = 2\nkeep_old = "1h"'))
    one = world.machines[0]
    before = one.begin("0.1.0")
    assert run(one.deploy("0.1.0", record=before)) == "success"
    assert run(one.deploy("0.1.1")) == "success"
    back = asked(one.deploy("0.1.0", record=before, back=True))
    assert back == ["lb rotate", "shop apply", "production check", "success"]
    assert world.place == "0.1.0" and one.live() == "0.1.0, 0.1.0" and world.broken == []
    again = asked(one.deploy("0.1.2"), {first("shop apply"): "failure"})
    assert again[-1] == "failure" and world.place == "0.1.0"
    world.close()


def test_where_the_way_back_is_closed_that_is_said(shop: World) -> None:
    one = started(shop)
    shop.closed = "the commit is not here"
    assert asked(one.deploy("0.1.1"), {first("shop apply"): "failure"})[-1] == "failure"
    assert "shop in production could not go back to 0.1.0: the commit is not here" in one.said
    assert shop.place == "in part" and one.live() == "0.1.0, 0.1.0"
    assert half_applied(one) == ["shop in production"]
    assert run(one.deploy("0.1.2")) == "success", "nobody is kept from deploying by it"
    check_settled(shop, "0.1.2")
    assert half_applied(one) == []


def test_after_a_signal_nothing_is_applied(shop: World) -> None:
    one = started(shop)
    assert asked(one.deploy("0.1.1"), {first("shop apply"): "cancel"})[-1] == "cancel"
    assert shop.applied == ["0.1.0"] and shop.place == "in part"
    assert half_applied(one) == ["shop in production"]
    story = asked(one.deploy("0.1.2"), {first("web create"): "failure"})
    assert story.index("shop apply") < story.index("db apply"), "what is live comes first"
    assert shop.place == "0.1.0"
    assert run(one.deploy("0.1.2")) == "success"
    check_settled(shop, "0.1.2")


def test_apply_is_not_believed_where_it_can_be_asked(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = started(shop)
    usual = World.apply_itself

    def lies(self: World, version: str, verb: str, told: Any) -> Any:
        done = usual(self, version, verb, told)
        self.place = "0.1.0"
        return done

    monkeypatch.setattr(World, "apply_itself", lies)
    assert run(one.deploy("0.1.1")) == "failure" and one.live() == "0.1.0, 0.1.0"


def test_what_was_changed_outside_is_flagged(shop: World) -> None:
    one = started(shop)
    shop.place = "9.9.9"
    assert run(one.deploy("0.1.1")) == "success"
    assert any("shop is at 9.9.9, the journal says 0.1.0" in each for each in one.said)


def test_one_alone_says_where_it_answers_and_is_repaired(tmp_path: Path) -> None:
    world = World(tmp_path, OWN_ONLY)
    one, other = world.machines
    assert asked(one.deploy("0.1.0")) == ["db apply", "shop apply", "production check", "success"]
    assert one.journal.query("SELECT service, uri FROM deployments_now") == [
        {"service": "shop", "uri": "shop:1"}
    ]
    runs = {version: other.begin(version) for version in ("0.1.0", "0.1.1")}
    assert run(other.deploy("0.1.1", record=runs["0.1.1"], repair=True)) == "not-live"
    assert asked(other.deploy("0.1.0", record=runs["0.1.0"], repair=True)) == ["success"]
    assert other.live() == "0.1.0" and len(other.exist()) == 1
    assert run(other.deploy("0.1.1", record=runs["0.1.1"])) == "success" and world.broken == []
    world.close()


def test_what_is_to_be_applied_is_here_before_weights_are_turned(tmp_path: Path) -> None:
    world = World(tmp_path, ITSELF.replace("count = 2", 'count = 2\nkeep_old = "1h"'))
    one = world.machines[0]
    before = one.begin("0.1.0")
    assert run(one.deploy("0.1.0", record=before)) == run(one.deploy("0.1.1")) == "success"
    world.lacks_bytes = True
    assert asked(one.deploy("0.1.0", record=before, back=True)) == ["error"]
    assert world.place == "0.1.1" and one.live() == "0.1.1, 0.1.1"
    world.close()


def test_a_repair_asks_it_at_which_version_it_is(shop: World) -> None:
    one = started(shop)
    other = shop.machines[1]
    runs = {version: other.begin(version) for version in ("0.1.0", "0.1.1")}
    assert run(other.deploy("0.1.1", record=runs["0.1.1"], repair=True)) == "not-live"
    assert run(other.deploy("0.1.0", record=runs["0.1.0"], repair=True)) == "success"
    assert shop.applied == ["0.1.0"], "nothing is applied"
    assert other.live() == "0.1.0, 0.1.0" and len(other.exist()) == 3
    assert run(other.deploy("0.1.1", record=runs["0.1.1"])) == "success"
    assert shop.place == "0.1.1" and one.said is not other.said


def tell(world: World, where: Moment, fault: str, who: int) -> None:
    one = started(world)
    world.exchange()
    old = set(world.running)
    ended = run(one.deploy("0.1.1"), {where: fault}.get)
    words = f"{fault} {where}: {ended}"
    assert world.broken == [], words
    live = one.live().split(", ")[0]
    if live == "0.1.0":
        assert old <= set(world.running), words
        if fault in ("failure", "error"):
            assert world.place == "0.1.0", f"{words}: it is not back"
    elif fault != "kill":
        assert world.place == live == "0.1.1", words
    world.exchange()
    goes_on = world.machines[who]
    assert run(goes_on.deploy("0.1.2")) == "success", f"{words}; {goes_on.said}"
    check_settled(world, "0.1.2")


def stops_of(folder: Path, *, refused: bool = False) -> list[Moment]:
    base = World(folder, ITSELF)
    assert run(base.machines[0].deploy("0.1.0")) == "success"
    found = moments(base, "0.1.1", refused=refused)
    base.close()
    return found


OWN = ("shop apply", "shop observe", "lb rotate", "production check")
"""Where it matters that one rotates itself; the other steps are those of any deployment."""


@pytest.mark.timeout(240)
def test_at_every_step_every_fault(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Whoever goes on, there is one version in the end. Each step where one rotates itself; with --all each of all."""
    everything = pytestconfig.getoption("--all")
    visited: Counter[tuple[str, str, int]] = Counter()
    for where in stops_of(tmp_path / "base"):
        if not everything and where.what not in OWN:
            continue
        for fault in ("kill", "failure", "error", "cancel"):
            if fault != "kill" and where.when == "after":
                continue
            for who in (0, 1):
                world = World(tmp_path / f"w{visited.total()}", ITSELF)
                tell(world, where, fault, who)
                world.close()
                visited[where.what, fault, who] += 1
    for (what, fault, who), count in sorted(visited.items()):
        print(f"{what:16} {fault:8} {('itself', 'the other')[who]:10} {count}")
    assert {what for what, _, _ in visited} >= set(OWN)


@pytest.mark.timeout(240)
def test_at_every_step_of_the_way_back(tmp_path: Path) -> None:
    """The environment refuses it; on the way back it is killed, fails, or is cancelled."""
    stops = stops_of(tmp_path / "base", refused=True)
    back = [one for one in stops[stops.index(REFUSED) + 1 :] if one.what in OWN]
    assert "shop apply" in {one.what for one in back}
    number = 0
    for where in back:
        for fault in ("kill", "failure", "cancel"):
            if fault != "kill" and where.when == "after":
                continue
            for who in (0, 1):
                number += 1
                world = World(tmp_path / f"w{number}", ITSELF)
                one = started(world)
                world.exchange()
                run(one.deploy("0.1.1"), {REFUSED: "failure", where: fault}.get)
                assert world.broken == [], (where, fault)
                world.exchange()
                assert run(world.machines[who].deploy("0.1.2")) == "success", (where, fault)
                check_settled(world, "0.1.2")
                world.close()


def test_the_record_is_looked_at_by_whoever_goes_on(shop: World) -> None:
    """Killed in the middle of apply: what is live is applied again first, whatever comes of the rest."""
    one = started(shop)
    shop.exchange()
    assert run(one.deploy("0.1.1"), {Moment("shop apply", "after", 1): "kill"}.get) == "killed"
    assert shop.place == "0.1.1" and one.live() == "0.1.0, 0.1.0"
    shop.exchange()
    other = shop.machines[1]
    assert run(other.deploy("0.1.2"), {first("web create"): "failure"}.get) == "failure"
    assert shop.place == "0.1.0" and other.live() == "0.1.0, 0.1.0"
    check_settled(shop, "0.1.0")


STAGE = """
cx = 1
[deliverable]
name = "shop"
[stages]
build = { command = "true", produces = { app = "app.txt" } }
live = { tool = "own", environment = "production", needs = ["build"] }
[environments]
production = {}
"""


def test_a_stage_whose_tool_applies_an_artifact_rotates_itself(tmp_path: Path) -> None:
    """It is the same component, so it goes back as that does; without an artifact it is changed in place."""
    [own] = components_in(bound(STAGE), "production")
    assert (own.name, own.rotates_itself, own.mutable) == ("shop", True, False)
    [bare] = components_in(bound(STAGE.replace(', needs = ["build"]', "")), "production")
    assert (bare.rotates_itself, bare.mutable) == (False, True)
    for number, (where, fault) in enumerate(
        (where, fault) for where in (first("shop apply"), first("shop observe", 2))
        for fault in ("failure", "kill")
    ):  # fmt: skip
        world = World(tmp_path / f"w{number}", STAGE)
        one, other = world.machines
        assert run(one.deploy("0.1.0")) == "success"
        run(one.deploy("0.1.1"), {where: fault}.get)
        if fault == "failure":
            assert world.place == one.live() == "0.1.0", where
        world.exchange()
        assert run(other.deploy("0.1.2"), {first("shop apply", 2): "failure"}.get) in (
            "success", "failure",
        )  # fmt: skip
        world.exchange()
        assert world.broken == [] and world.place == other.live() == one.live(), (where, fault)
        assert len(one.exist()) == len(other.exist()) == 1
        world.close()


def bound(config: str) -> Plan:
    return bind(resolve(parse(config)), TOOLS.__getitem__, lambda *asked: None)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ('behind = "lb"', "a balancer has no instances to weigh"),
        ("rollout = [{ weight = 50 }, { weight = 100 }]", "there are no weights"),
        ("count = 2", "how many of it there are its own tool says"),
        ('hosts = ["a"]', "where it runs its own tool says"),
        ("overlap = false", "whether two of it run at once"),
        ('keep_old = "1h"', "going back applies that version again"),
        ('drain = "5s"', "what is under way its own tool lets end"),
    ],
)
def test_what_has_no_meaning_for_it_is_refused(key: str, why: str) -> None:
    name = key.split()[0]
    for config in (
        ITSELF.replace(SHOP_TABLE, SHOP_TABLE + key + "\n"),
        ITSELF.replace(
            "[environments.production]\n",
            f"[environments.production]\ncomponents.shop = {{ {key} }}\n",
        ),
    ):
        if name in ("behind", "overlap") and "components.shop = {" in config:
            continue  # an environment cannot say that at all
        with pytest.raises(ConfigError) as refused:
            bound(config)
        assert refused.value.what.endswith(
            f"{name} is for what has instances, and this one rotates itself"
        )
        assert why in (refused.value.why or "") and f"take {name} out" in (refused.value.hint or "")


def test_nobody_waits_for_what_it_says(shop: World) -> None:
    early = ITSELF.replace('needs = ["db"]', 'needs = ["db", "shop"]\nenv = { A = "{component.shop.url}" }')  # fmt: skip
    with pytest.raises(ConfigError, match="it wants what shop says, which rotates itself"):
        bound(early)
    there = '\n[environments.production.components.web]\nenv = { A = "{component.shop.url}" }\n'  # fmt: skip
    with pytest.raises(ConfigError, match="web in production.*it wants what shop says"):
        bound(ITSELF.replace('needs = ["db"]', 'needs = ["db", "shop"]') + there)
    late = ITSELF + '[components.more]\ntool = "own"\nartifact = "app"\nneeds = ["shop"]\nenv = { A = "{component.shop.url}" }\n'  # fmt: skip
    assert [one.name for one in turning_order(bound(late).shared_components)][-2:] == ["shop", "more"]  # fmt: skip


def test_without_an_artifact_it_has_to_be_said_what_it_is() -> None:
    plan = bound(ITSELF)
    assert [one.name for one in plan.shared_components if one.rotates_itself] == ["shop"]
    assert bind(plan, TOOLS.__getitem__, lambda *asked: None) == plan
    with pytest.raises(ConfigError) as refused:
        bound(ITSELF.replace(SHOP_TABLE, SHOP_TABLE.replace('artifact = "app"\n', "")))
    assert "name the artifact that it applies, and it rotates itself" in (refused.value.hint or "")
    mutable = bound(ITSELF.replace(SHOP_TABLE, SHOP_TABLE + "mutable = true\n"))
    assert not any(one.rotates_itself for one in mutable.shared_components), "as it says"


@pytest.mark.parametrize(
    ("needs", "order"),
    [
        ("a b* c", "a c b*"),
        ("a b* c>b", "a b* c>b"),
        ("a* b>a c* d", "d a* b>a c*"),
        ("a* b>a c>b d", "d a* b>a c>b"),
        ("a b c", "a b c"),
    ],
)
def test_what_rotates_itself_comes_last_but_for_what_needs_it(needs: str, order: str) -> None:
    """``b*`` rotates itself, ``c>b`` needs b."""
    words = {}
    for word in needs.split():
        name, _, other = word.partition(">")
        one = Component(name=name.rstrip("*"), tool="t", needs=(other,) if other else ())
        words[one.name] = word, structs.replace(one, itself=True) if "*" in name else one
    found = turning_order(each for _, each in words.values())
    assert " ".join(words[one.name][0] for one in found) == order


def test_it_is_told_before() -> None:
    lines = told_turns(bound(ITSELF), "production", {}, None)
    assert (
        "shop in production: applied when all others are ready; what serves is applied again where the"
        " deployment fails"
    ) in lines
