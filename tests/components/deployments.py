"""Deployments of components in this process: real journals and the real steps, tools and instances in memory.

A deployment stops right before and right after everything it asks of a tool, so that whoever tells the story can
let it fail there, kill it, leave it standing, or let another machine go on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from cxlocal.clock import Clock, SystemIds
from cxlocal.config.load import parse
from cxlocal.domain import Actor, Outcome
from cxlocal.errors import CxError, Refused, Trouble
from cxlocal.exchange.receive import take_event
from cxlocal.hooks.place import Place
from cxlocal.hooks.tool import (
    Applied,
    ArtifactRef,
    Created,
    Done,
    Observed,
    ObservedResource,
    Previewed,
    Tool,
)
from cxlocal.hooks.tool_worker import ToolOutcome
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.bind import bind
from cxlocal.plan.freeze import freeze
from cxlocal.plan.resolve import resolve
from cxlocal.plan.types import Component, Plan, Stage
from cxlocal.processes.log import StageLog
from cxlocal.runner.component_deployment import Deployment
from cxlocal.runner.component_look import Halt
from cxlocal.runner.outcomes import Said
from cxlocal.runner.queued import RunFacts
from cxlocal.runner.record import RunRecord, Version
from cxlocal.runner.resources import Made
from cxlocal.runner.site import Site
from cxlocal.runner.turns import Door, Turns, enter, knock
from cxlocal.runner.work import Work, Worked

CONFIG = """
cx = 1
[deliverable]
name = "shop"
[stages]
build = { command = "true", produces = { app = "app.txt" } }
live = { kind = "deploy", environment = "production", needs = ["build"] }
[environments.production]
check = "true"
[components.db]
mutable = true
tool = "toy"
[components.lb]
mutable = true
tool = "toy"
[components.web]
tool = "toy"
artifact = "app"
count = 2
needs = ["db"]
behind = "lb"
health = "tcp"
rollout = [{ weight = 50 }, { weight = 100 }]
"""
VERBS = {
    "db": ("preview", "apply"),
    "lb": ("rotate", "drain", "observe"),
    "web": ("create", "remove", "observe"),
    "shop": ("preview", "apply", "observe", "destroy"),
}
ITSELF = (
    CONFIG
    + """
[components.shop]
tool = "own"
artifact = "app"
"""
)
"""One more, which rotates itself."""


class Whatever(Tool):
    """What the plan is bound to: what is asked of it the world does."""

    name = "toy"

    def create(self) -> None: ...
    def remove(self) -> None: ...
    def rotate(self) -> None: ...
    def apply(self) -> None: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...


class Own(Tool):
    """The same, for what rotates itself."""

    name = "own"

    def apply(self) -> None: ...
    def observe(self) -> None: ...
    def destroy(self) -> None: ...


TOOLS: dict[str, type[Tool]] = {"toy": Whatever, "own": Own}


class Moment(NamedTuple):
    """Where a deployment stands."""

    what: str
    """Component and verb."""
    when: str
    """before or after."""
    nth: int


Faults = str | None


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.ms = 1_795_400_000_000

    def now_ms(self) -> int:
        self.ms += 1
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


def address_of(resource: str) -> str:
    """Where an instance answers."""
    return f"{resource}:80"


class World:
    """What is outside of the journals."""

    def __init__(self, folder: Path, config: str = CONFIG, clock: Clock | None = None) -> None:
        self.folder = folder
        self.clock = clock or Hand()
        self.plan: Plan = bind(resolve(parse(config)), TOOLS.__getitem__, lambda *asked: None)
        self.running: dict[str, str] = {}
        self.weights: dict[str, int] = {}
        self.at_work: set[str] = set()
        """What runs and was not stopped."""
        self.alone = any(one.overlap is False for one in self.plan.shared_components)
        self.made: dict[str, str] = {}
        """Of which component an instance was made."""
        self.one_for_all = False
        """The balancer has one list, whatever component it is told of."""
        self.of: dict[str, str] = {}
        """For which component the balancer was told of an instance."""
        self.drained: list[str] = []
        self.used: set[str] = set()
        """Instances that had traffic and were not drained since: requests may be under way there."""
        self.turn = 0
        self.migrated = ""
        self.tell_addresses = {"lb", "web"}
        """Components whose instances are observed with their addresses."""
        self.place = ""
        """The version that the one that rotates itself is at."""
        self.applied: list[str] = []
        self.closed = ""
        """Why nothing can be checked out."""
        self.lacks_bytes = False
        self.sick: set[str] = set()
        """Instances that their tool calls not well, or that stand still."""
        self.secret: tuple[tuple[str, str], ...] = ()
        """What the database says in secret."""
        self.unreached: set[str] = set()
        """Hosts that nobody can reach now."""
        self.destroys = False
        self.refuses = ""
        self.down = False
        """The balancer does not run."""
        self.broken: list[str] = []
        """What must never be, and was."""
        self.machines = [Machine(self, name) for name in ("one", "two")]

    def pass_seconds(self, seconds: float) -> None:
        """It is later by so much, in stories whose clock is moved by hand."""
        assert isinstance(self.clock, Hand)
        self.clock.ms += round(seconds * 1000)

    def close(self) -> None:
        for machine in self.machines:
            machine.journal.close()

    def exchange(self) -> None:
        """Everybody hears of everything."""
        for one in self.machines:
            for other in self.machines:
                if one is not other:
                    events = [event for _, event in all_events(one.journal)]
                    with other.journal.write() as transaction:
                        for event in events:
                            take_event(transaction, event, 1)
                    catch_up(other.journal)

    def look(self) -> None:
        """Every request finds an instance that runs."""
        bad = [one for one in self.weights if one not in self.running]
        if bad:
            self.broken.append(f"requests go to {bad}")

    def shown(self, component: Component, one: str) -> str:
        """The address of an instance, where the component tells it."""
        return address_of(one) if component.name in self.tell_addresses else ""

    def begin(self, one: str) -> None:
        """One does its work from now on."""
        self.at_work.add(one)
        versions = {self.running[each] for each in self.at_work}
        if self.alone and len(versions) > 1:
            self.broken.append(f"{versions} are at work at once")

    def do(self, version: str, component: Component, verb: str, told: Mapping[str, Any]) -> Any:
        """Carry out a verb; text for a failure."""
        one = told.get("resource", "")
        if told.get("host") in self.unreached and verb in ("create", "remove"):
            return f"{told['host']} cannot be reached"
        if component.name == "lb" and self.down:
            if verb == "observe":
                return Observed(healthy=False, turn=self.turn)
            if verb != "apply":
                return "lb does not run"
        if verb == "create":
            self.running[one], self.made[one] = version, component.name
            self.begin(one)
            return Created(address=address_of(one))
        if verb == "remove":
            if one in self.weights:
                self.broken.append(f"{one} was removed under way")
            if one in self.used & set(self.running):
                self.broken.append(f"{one} was removed, and nobody drained it")
            self.running.pop(one, None)
            self.at_work.discard(one)
        elif verb == "stop":
            self.at_work.discard(one)
        elif verb == "start":
            self.begin(one)
        elif verb == "rotate":
            if told["turn"] < self.turn:
                return f"turn {self.turn} is written here"
            others = {
                k: v for k, v in self.weights.items()
                if not self.one_for_all and self.of[k] != told["component"]
            }  # fmt: skip
            wanted = {k: v for k, v in told["wanted"].items() if v}
            if lost := [one for one in wanted if told["addresses"].get(one) != address_of(one)]:
                self.broken.append(f"nobody says where {lost} answer")
            self.of |= dict.fromkeys(wanted, told["component"])
            self.weights, self.turn = {**others, **wanted}, told["turn"]
            self.used |= set(wanted)
            self.look()
        elif verb == "drain":
            self.drained.append(one)
            self.used.discard(one)
        elif component.name == "shop" and verb == "observe":
            return Observed(version=self.place)
        elif verb == "observe" and component.name == "lb":
            found = tuple(
                ObservedResource(id=k, weight=v, address=self.shown(component, k))
                for k, v in self.weights.items()
                if self.one_for_all or self.of.get(k, told["component"]) == told["component"]
            )
            return Observed(resources=found, turn=self.turn)
        elif verb == "observe":
            return Observed(
                resources=tuple(
                    ObservedResource(
                        id=k,
                        version=v,
                        address=self.shown(component, k),
                        healthy=False if k in self.sick else None,
                    )
                    for k, v in self.running.items()
                    if self.made.get(k, component.name) == component.name
                )
            )
        elif verb == "preview":
            return Previewed(changes=("change it",), destroys=self.destroys, refuses=self.refuses)
        elif component.name == "shop":
            return self.apply_itself(version, verb, told)
        elif verb == "apply" and component.name == "lb":
            self.down = False
            return Applied(changed=True)
        elif verb == "apply":
            self.migrated = version
            return Applied(outputs={"url": "db:1"}, changed=True)
        return Done()

    def apply_itself(self, version: str, verb: str, told: Mapping[str, Any]) -> Any:
        """What rotates itself: applied when the others are ready, and never unsaid."""
        if verb == "destroy":
            self.place = ""
            return Done()
        if told["turn"] < self.turn:
            return f"turn {self.turn} is written here"
        if "web" in [one.name for one in self.plan.shared_components] and (
            list(self.running.values()).count(version) < 2
        ):
            self.broken.append(f"{version} was applied, and the others were not ready")
        self.place = version
        self.applied.append(version)
        return Applied(outputs={"url": "shop:1"})


class ToySite(Site):
    """Asks the world, and stops before and after that."""

    world: World
    seen: dict[str, int]

    def tool(self, component: Component) -> type[Tool]:
        return Tool

    def can(self, component: Component, verb: str) -> bool:
        return verb in VERBS[component.name]

    def _stop(self, what: str, when: str) -> Generator[Any, Any, Faults]:
        nth = self.seen[what] if when == "after" else self.seen.get(what, 0) + 1
        self.seen[what] = nth
        said = yield Moment(what, when, nth)
        if said == "cancel":
            self.cancelled = "SIGTERM"
        return said

    def ask(self, component: Component, verb: str, /, **told: Any) -> Any:  # type: ignore[override]
        what = f"{component.name} {verb}"
        fault = yield from self._stop(what, "before")
        told = {"turn": self.turn, **told}
        if fault in ("failure", "error", "cancel") and not (
            fault == "cancel" and told.get("hurried")
        ):
            reason = f"{what} came to a {fault}"
            if verb == "drain" and fault != "cancel":
                self.world.used.discard(told["resource"])  # its time is over
            left = Applied(changed=False) if verb == "apply" else None
            if what == "shop apply":
                self.world.place, left = "in part", None
            return ToolOutcome(Outcome(fault), reason, left, (), (), "")
        if what == "shop apply":
            self._look_whether_said()
        result = self.world.do(self.work.record.version, component, verb, told)
        yield from self._stop(what, "after")
        if isinstance(result, str):
            return ToolOutcome(Outcome.FAILURE, result, None, (), (), "")
        secrets = dict(self.world.secret) if verb == "apply" else {}
        return ToolOutcome(Outcome.SUCCESS, "", result, (), (), "", secrets)

    def _look_whether_said(self) -> None:
        """Whoever comes after a kill has to know that something may have been applied."""
        if not self.work.record.journal.query(UNSETTLED):
            self.world.broken.append("it was applied to, and the record did not say so before")

    def unreachable(self, revision: str) -> str:
        return self.world.closed

    def as_of(self, record: RunRecord, stage: Stage) -> ToySite:
        home = self.work.workspace.folder
        work = toy_work(record, home, self.work.voice, back=not self.work.back)
        there = ToySite(work, stage, self.attempt, home, self.log, {})
        there.world, there.seen, there.turn = self.world, self.seen, self.turn
        return there

    def probe(self, component: Component, addresses: Sequence[str], **rest: Any) -> Any:
        if not [one for one in addresses if one]:
            return Said()
        fault = yield from self._stop(f"{component.name} health", "before")
        if fault in ("failure", "error", "cancel"):
            return Said(f"{component.name} does not answer", Outcome(fault))
        return Said()

    def judge(self, uri: str) -> Any:
        fault = yield from self._stop("production check", "before")
        return Said() if fault is None else Said("it says no", Outcome(fault))

    def payer(self) -> Any:
        return SimpleNamespace(take_away=self._take_away, tell=self._tell)

    def _take_away(self, made: Made) -> Any:
        return (yield from self._tell(made, made.taken_by)).why

    def _tell(self, made: Made, verb: str, *, hurried: bool = False) -> Any:
        component = Component(name=made.component, tool=made.tool)
        found = yield from self.ask(
            component, verb, resource=made.id, host=made.host, hurried=hurried
        )
        return Said(found.reason, found.outcome)


UNSETTLED = "SELECT 1 FROM resources_now WHERE component = 'shop' AND verb = 'apply' AND NOT serves"


class ToyWork(Work):
    """There are no commits to compare plans with."""

    def require_own(self, record: RunRecord) -> None: ...


def toy_work(record: RunRecord, home: Path, voice: Any, *, back: bool) -> Work:
    """What a deployment needs, without a checkout."""
    work = ToyWork(
        record=record, manager=None, workspace=SimpleNamespace(folder=home),  # type: ignore[arg-type]  # all that is asked of it
        environ={}, voice=voice, secrets={}, readers={},
    )  # fmt: skip
    work.back = back
    work.artifacts["app"] = ArtifactRef(name="app", path=home / "app", sha256="0" * 64, size=1)
    return work


class Machine:
    """One journal."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.home = world.folder / name
        self.journal = Journal.open(self.home / "journal.db", clock=world.clock, ids=SystemIds())
        # Nobody pulls a plug here, and a disk that is busy would make this slow.
        self.journal.connection.execute("PRAGMA synchronous = OFF")
        self.said: list[str] = []
        self.refused: CxError | None = None
        """What refused the last deployment."""
        self.number = 0

    def begin(self, version: str) -> RunRecord:
        """A run of its own for each version."""
        content, digest = freeze(self.world.plan)
        place = Place(kind="laptop")
        facts = RunFacts("release", Actor("Ann <ann@example.org>", "said"), place, content, digest)
        record = RunRecord.begin(self.journal, self.world.plan, facts)
        self.number += 1
        with self.journal.write() as transaction:
            record.start(transaction, Version(version, "0.1", self.number, "online"))
        return record

    def deploy(
        self, version: str, *, record: RunRecord | None = None, back: bool = False,
        repair: bool = False, turns: Turns | None = None, unobserved: bool = False,
    ) -> Generator[Moment, Faults, str]:  # fmt: skip
        """One deployment; its outcome, or the name of what refused it."""
        record = record or self.begin(version)
        door = enter(record, "production", "live", "deploy", turns, self.said.append)
        if isinstance(door, Refused):
            return door.name
        try:
            return (yield from self._deploy(record, door, back, repair, unobserved))
        finally:
            door.lock.release()

    def foresee(
        self, version: str, *, record: RunRecord | None = None, back: bool = False, unobserved: bool = False,
    ) -> Generator[Moment, Faults, str]:  # fmt: skip
        """What the same deployment would be refused for, or end in before it changes anything."""
        record = record or self.begin(version)
        if refused := knock(record, "production", None):
            return refused.name
        record.muted = True
        site = self._site(self._work(record, back), record.plan.stage("live"), 1)
        site.work.unobserved = unobserved
        try:
            # The toys answer with moments where tools are launched.
            yield from Deployment(site).prepare()  # type: ignore[misc]
        except Halt as halt:
            return str(halt.outcome)
        finally:
            site.log.close()
        return "success"

    def _site(self, work: Work, stage: Stage, attempt: int) -> ToySite:
        name = f"live-{work.record.run}-{attempt}"
        log = StageLog.create(self.home / "logs", name, masker=work.masker)
        site = ToySite(work, stage, attempt, self.home, log, {})
        site.world, site.seen = self.world, {}
        return site

    def _deploy(
        self, record: RunRecord, door: Door, back: bool, repair: bool, unobserved: bool
    ) -> Generator[Moment, Faults, str]:
        stage = record.plan.stage("live")
        attempt = 1 + max([one.attempt for one in record.attempts().get("live", [])], default=0)
        now = self.world.clock.now_ms()
        record.stage_started(stage, attempt, ready_at_ms=now, instance="production")
        work = self._work(record, back)
        work.repair, work.unobserved = repair, unobserved
        work.doors["production"] = door
        site = self._site(work, stage, attempt)
        try:
            worked = yield from Deployment(site).carry_out()  # type: ignore[misc]
        except Trouble as problem:
            # As any stage around which something goes wrong.
            worked = Worked(Outcome.ERROR, str(problem), now, now)
        finally:
            site.log.close()
        record.stage_finished(
            stage, attempt, worked.outcome, worked.reason, started_ms=now, details=worked.details
        )
        if door.turns is not None and door.turn is not None:
            door.turns.give_back(record, door.turn)
        self.refused = worked.refused
        if worked.refused is not None:
            return worked.refused.name
        return str(worked.outcome)

    def _work(self, record: RunRecord, back: bool) -> Work:
        voice = SimpleNamespace(note=self.said.append, warn=self.said.append)
        work = toy_work(record, self.home, voice, back=back)
        if self.world.lacks_bytes:
            work.artifacts.clear()
        return work

    def live(self) -> str:
        """The version that serves, by the record; versions where that is disputed."""
        catch_up(self.journal)
        rows = self.journal.query("SELECT version FROM deployments_now ORDER BY version")
        return ", ".join(row["version"] for row in rows)

    def exist(self) -> set[str]:
        """Instances that exist, by the record."""
        catch_up(self.journal)
        sql = "SELECT resource FROM resources_now WHERE verb <> 'provision'"
        return {row["resource"] for row in self.journal.query(sql)}


def run(
    story: Generator[Moment, Faults, str], fault: Callable[[Moment], Faults] = lambda moment: None
) -> str:
    """Carry a deployment out; ``fault`` says what happens where. ``kill`` ends it without a word."""
    answer: Faults = None
    try:
        while True:
            moment = story.send(answer) if answer is not None else next(story)
            answer = fault(moment)
            if answer == "kill":
                story.close()
                return "killed"
    except StopIteration as stop:
        return str(stop.value)
    except CxError as problem:
        return problem.name


REFUSED = Moment("production check", "before", 1)
"""Where the environment is asked, after the cutover."""


def moments(world: World, version: str, *, refused: bool = False) -> list[Moment]:
    """Every moment of a deployment that meets no fault, or is refused by the environment alone."""
    found: list[Moment] = []

    def note(moment: Moment) -> Faults:
        found.append(moment)
        return "failure" if refused and moment == REFUSED else None

    assert run(world.machines[0].deploy(version), note) == ("failure" if refused else "success")
    return found


def at(what: str, fault: str, nth: int = 1) -> Callable[[Moment], Faults]:
    return lambda moment: fault if moment == Moment(what, "before", nth) else None


def started(world: World) -> Machine:
    first = world.machines[0]
    assert run(first.deploy("0.1.0")) == "success"
    return first


def lost(world: World, *versions: str) -> tuple[Machine, dict[str, RunRecord]]:
    """Another machine, which knows of the runs and of nothing that was done."""
    other = world.machines[1]
    return other, {version: other.begin(version) for version in versions}
