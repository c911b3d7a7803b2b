"""A deployment of components that fails, errs, is killed or cancelled at every step, and who goes on after it.

``pytest tests/components/test_component_faults.py -s`` shows how often each was visited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deployments import REFUSED, Faults, Machine, Moment, World, moments, run, started

from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused, Trouble
from cxlocal.events.document import Draft, Event
from cxlocal.hooks.tool import Tool
from cxlocal.hooks.tool_worker import ToolOutcome
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner import (
    component_deployment,
    component_record,
    orphans,
    payer,
    reaping,
    recovery,
)
from cxlocal.runner.lent_checkouts import LentCheckouts
from cxlocal.runner.payer import Payer
from cxlocal.runner.place_doors import PlaceDoors
from cxlocal.runner.record import RunRecord
from cxlocal.runner.resources import Made, may_be_used
from cxlocal.runner.turns import Door
from cxlocal.runner.work import Work
from cxlocal.text import parse_utc


def at(where: Moment, fault: str) -> Callable[[Moment], Faults]:
    return lambda moment: fault if moment == where else None


def check_settled(world: World, version: str) -> None:
    """One version serves, nothing else stands, and the record says so on every machine."""
    world.exchange()
    assert world.broken == []
    assert set(world.running.values()) == {version}
    assert set(world.weights) == set(world.running) and len(world.running) == 2
    for machine in world.machines:
        assert machine.live() == version
        assert machine.exist() == set(world.running)


STEPS = {
    "what runs there is observed": ("web observe", "lb observe"),
    "the bytes are brought": ("bytes fetch",),
    "mutable components are previewed": ("db preview",),
    "they are applied": ("db apply",),
    "instances are made": ("web create",),
    "they are asked": ("web health",),
    "weights are turned, held": ("lb rotate",),
    "the environment is asked": ("production check",),
    "the old ones are drained": ("lb drain",),
    "the old ones are taken away": ("web remove",),
}
"""Of the page environments.md, as they are here. Right before and after the cutover something is asked, too."""
FAULTS = ("kill", "failure", "error", "cancel")


def fetch(work: Work) -> Any:
    """The bytes are brought by a tool: whatever keeps it from that, they are not here."""
    fault = yield Moment("bytes fetch", "before", 1)
    if fault is not None:
        work.artifacts.clear()


@pytest.mark.timeout(240)
def test_every_step_every_fault_every_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(component_deployment, "fetch_missing", fetch)
    base = World(tmp_path / "base")
    assert run(base.machines[0].deploy("0.1.0")) == "success"
    stops = moments(base, "0.1.1")
    base.close()
    visited: Counter[tuple[str, str, str]] = Counter()
    number = 0
    for fault in FAULTS:
        for where in stops:
            if fault != "kill" and where.when == "after":
                continue
            for who in (0, 1):
                number += 1
                tell(World(tmp_path / f"w{number}"), where, fault, who)
                visited[where.what, fault, ("itself", "the other")[who]] += 1
    for (what, fault, who), count in sorted(visited.items()):
        print(f"{what:14} {fault:8} {who:10} {count}")
    steps = [one for step in STEPS.values() for one in step]
    assert set(visited) == set(product(steps, FAULTS, ("itself", "the other")))


@pytest.mark.parametrize(
    ("problem", "ended"),
    [(Trouble("the journal is damaged"), "error"), (OSError(28, "no space left"), "error"),
     (Refused("the turn was taken", name="turn-taken"), "turn-taken")],
)  # fmt: skip
def test_a_cutover_that_cannot_be_recorded_goes_back(
    world: World, monkeypatch: pytest.MonkeyPatch, problem: Exception, ended: str
) -> None:
    """Trouble turns the weights back; where somebody else has the turn, whatever is to be done they do."""
    first = started(world)
    old = set(world.running)

    def record_cutover(*args: Any, **rest: Any) -> None:
        raise problem

    with monkeypatch.context() as here:
        here.setattr(component_record, "record_cutover", record_cutover)
        assert run(first.deploy("0.1.1")) == ended
    assert world.broken == [] and first.live() == "0.1.0" and old <= set(world.running)
    if ended == "error":
        assert set(world.weights) == set(world.running) == old == first.exist()
    world.exchange()
    assert run(world.machines[1].deploy("0.1.2")) == "success"
    check_settled(world, "0.1.2")


def tell(world: World, where: Moment, fault: str, who: int) -> None:
    first = world.machines[0]
    assert run(first.deploy("0.1.0")) == "success"
    world.exchange()
    old = set(world.running)
    ended = run(first.deploy("0.1.1"), at(where, fault))
    new = {one for one, version in world.running.items() if version == "0.1.1"}
    words = f"{fault} {where.when} {where.what} {where.nth}: {ended}"
    assert world.broken == [], words
    assert world.weights and set(world.weights) <= set(world.running), words
    live = first.live()
    if live == "0.1.0":
        assert old <= set(world.running), f"{words}: an old one is gone before the cutover"
        if fault != "kill":
            assert set(world.weights) == old, f"{words}: weights are not back"
            assert fault == "cancel" or not new, f"{words}: new ones are left"
    else:
        assert live == "0.1.1" and set(world.weights) == new, words
    if fault == "kill" and who == 1:
        world.exchange()
    goes_on = world.machines[who]
    if fault != "kill":
        world.exchange()
    assert run(goes_on.deploy("0.1.2")) == "success", f"{words}; {goes_on.said}"
    check_settled(world, "0.1.2")
    world.close()


@pytest.mark.timeout(240)
def test_every_step_of_the_way_back(tmp_path: Path) -> None:
    """The environment refuses what serves; on the way back everything fails, is killed or cancelled."""
    base = World(tmp_path / "base")
    assert run(base.machines[0].deploy("0.1.0")) == "success"
    stops = moments(base, "0.1.1", refused=True)
    assert base.machines[0].live() == "0.1.0" and set(base.running.values()) == {"0.1.0"}
    base.close()
    back = stops[stops.index(REFUSED) + 1 :]
    assert {one.what for one in back} >= {"web health", "lb rotate", "web remove"}
    number = 0
    for fault in ("kill", "failure", "cancel"):
        for where in back:
            if fault != "kill" and where.when == "after":
                continue
            for who in (0, 1):
                number += 1
                world = World(tmp_path / f"w{number}")
                tell_back(world, where, fault, who)
                world.close()


def tell_back(world: World, where: Moment, fault: str, who: int) -> None:
    first = world.machines[0]
    assert run(first.deploy("0.1.0")) == "success"
    world.exchange()
    faults = {REFUSED: "failure", where: fault}
    ended = run(first.deploy("0.1.1"), faults.get)
    words = f"{fault} {where}: {ended}"
    assert ended == ("killed" if fault == "kill" else "failure"), words
    assert world.broken == [] and world.weights, words
    if fault != "kill" and where.what != "lb rotate":
        # Whatever serves by the record gets everything, and nothing else does.
        assert {world.running[one] for one in world.weights} == {first.live()}, words
    world.exchange()
    assert run(world.machines[who].deploy("0.1.2")) == "success", f"{words}; {first.said}"
    check_settled(world, "0.1.2")


@pytest.mark.timeout(240)
def test_killed_at_every_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right before and right after each commit: intents, addresses, the cutover, what is gone, the end."""
    usual = RunRecord.record
    count = {"left": 10_000}

    def record(self: RunRecord, *drafts: Draft) -> list[Event]:
        count["left"] -= 1
        if not count["left"]:
            raise Killed
        found = usual(self, *drafts)
        count["left"] -= 1
        if not count["left"]:
            raise Killed
        return found

    monkeypatch.setattr(RunRecord, "record", record)
    for number in range(1, 100):
        world = World(tmp_path / f"w{number}")
        count["left"] = 10_000
        assert run(world.machines[0].deploy("0.1.0")) == "success"
        world.exchange()
        started = world.machines[0].begin("0.1.1")
        count["left"] = number
        ended = "killed"
        with suppress(Killed):
            ended = run(world.machines[0].deploy("0.1.1", record=started))
        count["left"] = 10_000
        assert world.broken == [] and set(world.weights) <= set(world.running), number
        live = {"0.1.0": {"0.1.0"}, "0.1.1": {"0.1.1"}}[world.machines[0].live()]
        assert live <= set(world.running.values()), number
        world.exchange()
        assert run(world.machines[number % 4 > 1].deploy("0.1.2")) == "success"
        check_settled(world, "0.1.2")
        world.close()
        if ended == "success":
            break
    assert number >= 18, "each commit was met"


def test_what_a_failed_create_made_is_taken_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = started(world)
    old, usual = set(world.running), World.do

    def do(self: World, version: str, component: Any, verb: str, told: Any) -> Any:
        done = usual(self, version, component, verb, told)
        return "it failed after it had made it" if verb == "create" else done

    monkeypatch.setattr(World, "do", do)
    assert run(first.deploy("0.1.1")) == "failure"
    assert set(world.running) == set(world.weights) == first.exist() == old
    ended = run(first.deploy("0.1.1"), lambda m: "failure" if m.what == "web remove" else None)
    assert ended == "failure" and "not-removed" in [
        row["kind"] for row in first.journal.query("SELECT kind FROM flag")
    ]
    [left] = set(world.running) - old
    assert [one.id for one in reaping.standing(first.journal) if one.due] == [left]


class Toy(Tool):
    """What can be done in that world; what is done there ``ask`` does."""

    name, api = "toy", 2

    def create(self) -> None: ...

    def remove(self) -> None: ...

    def rotate(self) -> None: ...

    def drain(self) -> None: ...

    def observe(self) -> None: ...


class Hasty(Toy):
    """It cannot tell whether anything is under way."""

    drain = None  # type: ignore[assignment]  # what its base has, it has not


def reap(
    world: World, machine: Machine, patch: pytest.MonkeyPatch, *, mute: bool = False,
    tool: type[Toy] = Toy,
) -> list[tuple[Made, str]]:  # fmt: skip
    """``cxlocal env reap`` in this process: the record and the rule are the real ones. What is left, and why."""

    def ask(self: Payer, made: Made, tool: type[Tool], verb: str, **told: Any) -> Any:
        yield from ()
        if mute and verb == "observe":
            return ToolOutcome(Outcome.ERROR, "it is away", None, (), (), "")
        component = next(one for one in world.plan.components if one.name == made.component)
        what = {"resource": made.id, "host": made.host, **told}
        return ToolOutcome(Outcome.SUCCESS, "", world.do("", component, verb, what), (), (), "")

    for run_id in [row["id"] for row in machine.journal.query(UNENDED)]:
        record = RunRecord.attach(machine.journal, run_id)
        orphans._end_stages(record, world.clock.now_ms(), Outcome.ERROR, "it was killed")
        orphans.finish_run(record, Outcome.ERROR, "it was killed", seconds=0)
    catch_up(machine.journal)
    voice = SimpleNamespace(note=machine.said.append, warn=machine.said.append)
    place = SimpleNamespace(voice=voice, clock=world.clock, environ={}, root=machine.home)
    with patch.context() as here:
        here.setattr(Payer, "_ask", ask)
        here.setattr(payer, "find_tool", lambda manager, name: tool)
        here.setattr(recovery, "_manager", lambda machine: None)
        doors = PlaceDoors(machine.journal, None, "env reap", machine.said.append)
        return recovery.pay_due(machine.journal, place, doors=doors)  # type: ignore[arg-type]  # no more of a machine is asked


UNENDED = "SELECT id FROM run WHERE finished_at IS NULL"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("refused", [False, True])
def test_killed_at_every_step_and_reaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """Whatever has traffic stays, whichever side of the cutover and of the way back it was killed on."""
    base = World(tmp_path / "base")
    assert run(base.machines[0].deploy("0.1.0")) == "success"
    stops = moments(base, "0.1.1", refused=refused)
    base.close()
    stops = stops[stops.index(REFUSED) + 1 :] if refused else stops
    left = 0
    for number, where in enumerate(stops):
        world = World(tmp_path / f"w{number}")
        first = world.machines[0]
        assert run(first.deploy("0.1.0")) == "success"
        faults = {REFUSED: "failure", where: "kill"} if refused else {where: "kill"}
        assert run(first.deploy("0.1.1"), faults.get) == "killed"
        before, there = dict(world.weights), set(world.running)
        reap(world, first, monkeypatch, mute=True)
        assert set(world.running) == there, f"{where}: taken away unasked"
        reap(world, first, monkeypatch)
        assert world.broken == [] and world.weights == before, where
        assert before and set(before) <= set(world.running), where
        serving = {one.id for one in reaping.standing(first.journal) if one.serves}
        assert serving & there <= set(world.running), where
        left += set(before) != serving
        assert not [
            one for one in reaping.standing(first.journal) if one.due and one.id not in before
        ], where
        assert run(first.deploy("0.1.2")) == "success", where
        check_settled(world, "0.1.2")
        world.close()
    assert left, "some had traffic that the record does not tell of"


@pytest.mark.parametrize("tool", [Toy, Hasty])
def test_what_was_to_be_drained_is_not_cut_by_reap(
    world: World, monkeypatch: pytest.MonkeyPatch, tool: type[Toy]
) -> None:
    """A balancer that can drain does; with another one an instance has its time, and goes after it."""
    first = world.machines[0]
    assert run(first.deploy("0.1.0")) == "success"
    assert run(first.deploy("0.1.1"), at(Moment("lb drain", "before", 1), "kill")) == "killed"
    old, drained = set(world.running) - set(world.weights), len(world.drained)
    reap(world, first, monkeypatch, tool=tool)
    assert set(world.running) & old == (set() if tool is Toy else old) and world.broken == []
    world.clock.ms += 30_000
    world.used.clear()  # nothing takes longer here
    reap(world, first, monkeypatch, tool=tool)
    assert set(world.running) == set(world.weights)
    assert len(world.drained) == drained + (2 if tool is Toy else 0)


@pytest.mark.parametrize("problem", [Refused, Trouble])
@pytest.mark.parametrize(
    "where", [(Door, "check"), (payer, "record_gone"), (LentCheckouts, "__exit__")]
)
@pytest.mark.parametrize("nth", [0, 1])
def test_what_comes_between_leaves_what_is_not_gone_yet(
    world: World, monkeypatch: pytest.MonkeyPatch, nth: int, where: tuple[Any, str],
    problem: type[CxError],
) -> None:  # fmt: skip
    """Two are due. Whatever keeps it from going on is the reason of those that stand, and of no other."""
    first = world.machines[0]
    assert run(first.deploy("0.1.0")) == "success"
    assert run(first.deploy("0.1.1"), at(Moment("web remove", "before", 1), "kill")) == "killed"
    real, asked = getattr(*where), []

    def fails(*told: Any) -> Any:
        asked.append(told)
        if len(asked) == nth + 1:
            raise problem("it stops here", why="somebody was there", hint="none", name="stops")
        return real(*told)

    monkeypatch.setattr(*where, fails)
    left = reap(world, first, monkeypatch)
    there = {one.id for one in reaping.standing(first.journal) if one.due}
    assert len(asked) > nth and {one.id for one, _ in left} == there and len(left) == len(there)
    assert all("it stops here" in why for _, why in left)
    assert left or problem is Refused or any("it stops here" in one for one in first.said)


@pytest.mark.parametrize(
    ("released_at", "used"),
    [("", True), ("2026-11-30T12:00:00.000Z", True), ("2026-11-30T11:59:30.001Z", True),
     ("2026-11-30T11:59:30.000Z", False), ("2026-11-30T12:10:00.000Z", True)],
)  # fmt: skip
def test_how_long_requests_may_be_under_way(released_at: str, used: bool) -> None:
    """Its time to drain, by the clock of whoever would take it away; nobody knows of what never served."""
    now = parse_utc("2026-11-30T12:00:00.000Z")
    made: Any = SimpleNamespace(released_at=released_at)
    assert may_be_used(made, 30, now) is used


class Killed(BaseException):
    """As by kill -9: nobody catches it."""
