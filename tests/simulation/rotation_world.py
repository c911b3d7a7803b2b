"""Two machines, a store, a balancer and the instances behind it, in memory, for the rule of rotation.

A command is a generator that stops right before and right after everything it does, so that whoever tells
the story can kill it there, stop it and let it go on later, or let the other machine come between. Every
machine has its own log of events, which reaches the other one by the store alone. After each change the
balancer is looked at; what must never be is a ``Broken``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping
from typing import NamedTuple

from cxlocal.plan.rotation import (
    CHANGING,
    Action,
    Deed,
    Phase,
    Resource,
    Seen,
    Wanted,
    next_action,
    shares,
)

Rule = Callable[..., Action]
Moment = tuple[Deed, str]
Command = Generator[Moment, None, bool]
STEPS = (50, 100)
TOTAL = 2
DEEDS_MAX = 200
"""More of them in one go are no way to an end."""


class Broken(AssertionError):
    """Something that must never be."""


class Event(NamedTuple):
    """What a machine says for good."""

    kind: str
    deployment: str
    resource: str = ""
    turn: int = 0
    resources: tuple[str, ...] = ()


FIRST = [
    Event("began", "one", turn=1),
    *(Event("intended", "one", f"one-{at}") for at in (1, 2)),
    Event("cutover", "one", turn=1, resources=("one-1", "one-2")),
    Event("ended", "one", turn=1),
]


class Log(dict[Event, None]):
    """Events in the order in which they came to be known here, each once."""

    def standing(self) -> dict[str, Event]:
        """The cutovers that count: of two ends of one deployment that of the higher turn does."""
        ends = [one for one in self if one.kind in ("cutover", "returned", "failed")]
        last = {
            one.deployment: one
            for one in sorted(ends, key=lambda one: (one.turn, one.kind == "returned"))
        }
        return {name: one for name, one in last.items() if one.kind != "failed"}

    def live(self) -> Event:
        """The cutover of what is live."""
        return max(self.standing().values(), key=lambda one: one.turn)

    def made(self) -> dict[str, str]:
        """Every instance that was intended, with its deployment."""
        return {one.resource: one.deployment for one in self if one.kind == "intended"}

    def gone(self) -> set[str]:
        """Those that are gone for good."""
        return {one.resource for one in self if one.kind == "gone"}

    def disputed(self, turn: int) -> bool:
        """Whether two drew the same turn while the store was away."""
        return sum(one.kind == "began" and one.turn == turn for one in self) > 1

    def open(self) -> list[str]:
        """Deployments that have not come to their cutover, and of which nobody said that they failed."""
        over = {one.deployment for one in self if one.kind in ("cutover", "failed")}
        return [
            one.deployment for one in self if one.kind == "began" and one.deployment not in over
        ]


class Machine:
    """One journal."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.log = Log(dict.fromkeys(world.first))
        self.sent = set(world.first)
        self.cut_off = False
        self.stopped: set[str] = set()
        self.started: set[str] = set()
        """Of those that the deployment now under way stopped, or made or started."""

    @property
    def reaches(self) -> bool:
        """Whether the store answers it."""
        return self.world.store_up and not self.cut_off

    def say(self, event: Event) -> None:
        """Append, and send at once where the store answers."""
        self.log[event] = None
        self.send()

    def send(self) -> None:
        if self.reaches:
            self.world.store.update(self.log)
            self.sent |= set(self.log)

    def sync(self) -> None:
        """Send, and learn what others sent."""
        self.send()
        if self.reaches:
            self.log.update(self.world.store)

    def draw(self) -> int:
        """The next turn: of the store, or one more than all that is known here."""
        world = self.world
        known = max(world.fence, *(one.turn for one in self.log))
        if not self.reaches:
            return known + 1
        world.turn = max(world.turn, known) + 1
        return world.turn

    def weights(self) -> Mapping[str, int]:
        """What whoever deploys now knows of where traffic goes."""
        return self.world.weights

    def taken_back(self, turn: int, deployment: str) -> Generator[Moment, None, bool]:
        """What was cut off before goes back; False where it could not."""
        for other in self.log.open():
            if other != deployment and not (yield from self._back(other, turn)):
                return False
        return True

    def resources(
        self, deployment: str, phase: Phase, before: Event | None = None
    ) -> list[Resource]:
        """All that exist by the record, and those it has as gone that are seen. ``before``: what is to serve
        again."""
        gone, live = self.log.gone(), before or self.log.live()
        turns = {one.deployment: one.turn for one in self.log if one.kind == "began"}
        disputed = self.log.disputed(live.turn)
        return [
            Resource(
                one,
                fresh=maker == deployment,
                serves=one in live.resources,
                kept=disputed and turns.get(maker) == live.turn,
                gone=one in gone,
            )
            for one, maker in self.log.made().items()
            if one not in gone or one in self.world.running
        ]

    def deploy(self, deployment: str) -> Command:
        """One deployment, from its turn to its end; False where it went back or stopped."""
        world = self.world
        world.crowded = bool(world.active)
        world.active.append(deployment)
        try:
            return (yield from self._deploy(deployment))
        finally:
            world.active.remove(deployment)

    def _deploy(self, deployment: str) -> Command:
        self.stopped, self.started = set(), set()
        # First the turn, then the news: what is cut over by whoever had the turn before is known.
        turn = self.draw()
        self.sync()
        for one in sorted(self.world.running - set(self.log.made())):
            # No journal knows them: 'env repair' says so, and they are due.
            self.say(Event("intended", "found", one))
        self.say(Event("began", deployment, turn=turn))
        if not (yield from self.taken_back(turn, deployment)):
            return False
        world, old = self.world, self.log.live()
        after = yield from self._go(deployment, turn, Phase.RISING)
        if after == Deed.FAIL:
            yield from self._back(deployment, turn)
            return False
        if after != Deed.CUTOVER:
            return False
        after = yield from self._go(deployment, turn, Phase.SETTLING)
        if after == Deed.FAIL:
            after = yield from self._go(deployment, turn, Phase.RETURNING, old)
            if (
                after == Deed.DONE
                and deployment == self.log.live().deployment
                and (self.log.live().kind != "returned")
            ):
                raise Broken("it went back, and the record says that it serves")
            return False
        if after == Deed.DONE and deployment in world.refused and world.settled(turn):
            raise Broken("a version serves on that the environment refused")
        return after == Deed.DONE

    def _back(self, deployment: str, turn: int) -> Command:
        done = (yield from self._go(deployment, turn, Phase.FALLING)) == Deed.DONE
        if done:
            self.say(Event("failed", deployment, turn=turn))
        return done

    def _go(
        self, deployment: str, turn: int, phase: Phase, before: Event | None = None
    ) -> Generator[Moment, None, Deed]:
        world = self.world
        known = max(one.turn for one in self.log if one.turn != turn)
        wanted = Wanted(world.total, turn, known, world.steps, world.overlap, world.itself)
        well: dict[str, bool] = {}
        held = 0
        judged: bool | None = None
        returned = False
        for _ in range(DEEDS_MAX):
            told = max(world.fence, world.turn if self.reaches else 0)
            shared = self.log.live() in self.sent
            seen = Seen(frozenset(world.running), well, self.weights(), frozenset(world.busy),
                        world.fence, told, held, judged, returned, shared,
                        frozenset(self.stopped), frozenset(self.started))  # fmt: skip
            resources = self.resources(deployment, phase, before)
            action = world.rule(wanted, resources, seen, phase)
            deed = action.deed
            if deed in CHANGING and told > turn:
                raise Broken(f"{deed} by whose turn is over")
            if deed in (Deed.DONE, Deed.STOP, Deed.FAIL):
                if deed == Deed.DONE and world.settled(turn):
                    world.check_traffic()
                    world.check_at_work([one.id for one in resources if one.serves])
                return deed
            yield deed, "before"
            if deed == Deed.CHECK:
                well[action.resource] = action.resource not in world.sick
            elif deed == Deed.HOLD:
                held += 1
            elif deed == Deed.JUDGE:
                judged = deployment not in world.refused
            elif deed == Deed.INTEND:
                number = 1 + sum(made == deployment for made in self.log.made().values())
                self.say(Event("intended", deployment, f"{deployment}-{number}"))
            elif deed == Deed.GONE:
                self.say(Event("gone", deployment, action.resource))
            elif before is not None and deed == Deed.CUTOVER:
                if world.settled(turn) and world.at - set(before.resources):
                    raise Broken("recorded as gone back while the new ones still get something")
                self.say(Event("returned", deployment, turn=turn, resources=before.resources))
                returned = True
            elif deed == Deed.CUTOVER:
                fresh = tuple(one.id for one in resources if one.fresh)
                if held < len(world.steps):
                    raise Broken("cut over before each step was held")
                if len(fresh) < world.total:
                    raise Broken("cut over to fewer than were wanted")
                if world.settled(turn) and world.at - set(fresh):
                    raise Broken("cut over while the old still get something")
                self.say(Event("cutover", deployment, turn=turn, resources=fresh))
            else:
                world.change(self, turn, action)
                if deed == Deed.PAUSE:
                    self.stopped.add(action.resource)
                    self.started.discard(action.resource)
                elif deed in (Deed.CREATE, Deed.START):
                    self.started.add(action.resource)
                    self.stopped.discard(action.resource)
            yield deed, "after"
            if deed == Deed.CUTOVER and before is None:
                return deed
        raise Broken("it comes to no end")


class World:
    """What is outside of the journals."""

    first, total, steps, itself = FIRST, TOTAL, STEPS, False

    def __init__(self, rule: Rule = next_action, seed: int = 0, *, overlap: bool = True) -> None:
        self.rule, self.overlap = rule, overlap
        self.chance = random.Random(seed)
        self.store = Log(dict.fromkeys(self.first))
        self.store_up = True
        self.turn = self.fence = 1
        self.running = {"one-1", "one-2"}
        self.at_work = set(self.running)
        """What runs and was not stopped."""
        self.active: list[str] = []
        """Deployments that are under way, or stand still in the middle."""
        self.crowded = False
        """Another one was, when the last one began: what it does late nobody keeps from running beside ours."""
        self.busy = set(self.running)
        self.sick: set[str] = set()
        self.refused: set[str] = set()
        """Deployments that the environment does not agree with, once they serve."""
        self.weights: dict[str, int] = shares(("one-1", "one-2"), (), 100)
        self.machines = [self.machine(name) for name in "ab"]

    def machine(self, name: str) -> Machine:
        """One that deploys here."""
        return Machine(self, name)

    @property
    def at(self) -> set[str]:
        """Where traffic goes."""
        return set(self.weights)

    def change(self, who: Machine, turn: int, action: Action) -> None:
        """Something happens outside."""
        one = action.resource
        if action.deed == Deed.CREATE:
            if not any(one in machine.log.made() for machine in self.machines) and one not in (
                self.store.made()
            ):
                raise Broken(f"{one} was made, and nobody had said so before")
            self.running.add(one)
            self.begin(one)
        elif action.deed == Deed.START:
            self.begin(one)
        elif action.deed == Deed.PAUSE:
            self.at_work.discard(one)
        elif action.deed == Deed.ROTATE:
            if self.fence > turn:
                return  # the balancer refuses: somebody else had the turn since
            self.weights, self.fence = dict(action.weights), turn
            self.busy |= set(self.weights)
            self.check_traffic()
        elif action.deed == Deed.DRAIN:
            if one not in self.weights:
                self.busy.discard(one)
        elif action.deed == Deed.REMOVE:
            if one in self.weights or one in self.busy:
                raise Broken(f"{one} was removed under way")
            self.running.discard(one)
            self.at_work.discard(one)
        else:
            raise Broken(f"{action.deed} is nothing that can be done outside")

    def begin(self, one: str) -> None:
        """One does its work from now on, where it is there."""
        if one in self.running:
            self.at_work.add(one)
        versions = {each.partition("-")[0] for each in self.at_work}
        if not self.overlap and len(versions) > 1 and not self.crowded:
            raise Broken(f"{sorted(versions)} are at work at once")

    def check_at_work(self, serving: list[str]) -> None:
        """What serves is at work, where nobody came between."""
        if not self.overlap and not self.crowded and not self.at_work >= set(serving):
            raise Broken(f"{serving} should be at work, and {sorted(self.at_work)} are")

    def check_traffic(self) -> None:
        """Every request finds an instance that runs and is well."""
        bad = [one for one in self.weights if one not in self.running or one in self.sick]
        if bad or not self.weights:
            raise Broken(f"requests go to {bad or 'nobody'}")

    def settled(self, turn: int) -> bool:
        """Whether the balancer is of this turn, and one machine alone drew it."""
        logs = (self.store, *(machine.log for machine in self.machines))
        everything = Log(dict.fromkeys(one for log in logs for one in log))
        return self.fence == turn and not everything.disputed(turn)

    def restart_balancer(self) -> None:
        """It forgets its weights; the turn was written down."""
        self.weights = {}

    def agreed(self) -> tuple[str, ...]:
        """What both machines say serves. Raises Broken where they differ, or where something else is left in their record."""
        first, second = self.machines
        if set(first.log) != set(second.log):
            raise Broken("the machines know different things")
        serving = first.log.live().resources
        if second.log.live().resources != serving:
            raise Broken("the machines say different things")
        if set(first.log.made()) - first.log.gone() != set(serving):
            raise Broken("the record holds what is not there")
        return serving

    def check_end(self) -> None:
        """All is over and everybody has heard of everything: one version serves, nothing is forgotten."""
        serving = self.agreed()
        if self.weights != shares(serving, (), 100):
            raise Broken(f"{self.weights} is not what the record says: {serving}")
        if self.running != set(serving):
            raise Broken(f"forgotten: {sorted(self.running ^ set(serving))}")
        if self.at_work != set(serving):
            raise Broken(f"{sorted(self.at_work)} is at work, and {sorted(serving)} should be")
        self.check_traffic()
