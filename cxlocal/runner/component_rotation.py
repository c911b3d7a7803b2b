"""One component on its way from the old instances to the new ones: carries out what the rule says comes next.

``cxlocal.plan.rotation`` says it; here it is done, and what was seen is remembered for the next question.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from typing import ClassVar

from cxlocal.domain import Outcome
from cxlocal.errors import Refused
from cxlocal.hooks.tool import Created, Done, Observed
from cxlocal.hooks.tool_worker import ToolOutcome
from cxlocal.plan.components import may_go_without
from cxlocal.plan.rotation import (
    CHANGING,
    FULL,
    Action,
    Deed,
    Phase,
    Resource,
    Seen,
    Wanted,
    next_action,
)
from cxlocal.plan.types import Component, RolloutStep
from cxlocal.processes.child import End
from cxlocal.runner.component_record import handle_of, intend, note_made, of_components
from cxlocal.runner.outcomes import Said
from cxlocal.runner.payer import Payer
from cxlocal.runner.placements import live
from cxlocal.runner.resources import Made, may_be_used, record_gone
from cxlocal.runner.site import Site
from cxlocal.runner.work import Launch
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

DEEDS_MAX = 10_000
"""More of them in one go are no way to an end."""
CLEARING = (Deed.DRAIN, Deed.REMOVE, Deed.GONE)
"""What comes when the weights are those of the record; after a signal it is left for another day."""
BACK = (Phase.FALLING, Phase.RETURNING)
"""What a signal does not keep from turning the weights."""
NEAR = 0.02
"""How far what a balancer shows may be from what was wanted: it may know whole numbers up to 256 only."""


class Stands(NamedTuple):
    """What the record has of a component when its deployment begins."""

    serving: tuple[Made, ...] = ()
    kept: tuple[Made, ...] = ()
    """They served until lately, and stay for a quick way back."""
    left: tuple[Made, ...] = ()
    """They serve nowhere, and nobody keeps them: what was cut off, or is due."""


class Rotation:
    """One component during one deployment."""

    lengthy: ClassVar[tuple[Deed, ...]] = CLEARING
    """What is not begun any more after a signal."""

    def __init__(
        self, site: Site, component: Component, stands: Stands, payer: Payer, *,
        known: int, deployment: str, back_to: Sequence[Made] = (),
    ) -> None:  # fmt: skip
        """``known``: the greatest turn that the record knows beside ours. ``back_to``: instances that ran before
        and are to serve again, instead of new ones."""
        self.site, self.component, self.stands = site, component, stands
        self.balancer = site.balancer(component)
        self.problem = ""
        """Why it is not to come to its cutover."""
        self.outcome = Outcome.FAILURE
        """What it comes to with that problem: an error where a tool did not do its work properly."""
        self.undrained: list[str] = []
        self.unpaid: list[tuple[Made, str]] = []
        self._payer = payer
        self._deployment = deployment
        self._steps: tuple[RolloutStep, ...] = component.rollout or (RolloutStep(weight=FULL),)
        if back_to:
            self._steps = (RolloutStep(weight=FULL),)
        steps = tuple(one.weight for one in self._steps)
        total = len(back_to) or component.count
        self._wanted = Wanted(total, site.turn, known, steps, component.overlap is not False)
        self._back_to = tuple(back_to)
        self.fresh: dict[str, Made | None] = {one.id: one for one in back_to}
        """The new ones, or those that are to serve again; None for what is made here."""
        self._hosts: dict[str, str] = {}
        self.lost: dict[str, str] = {}
        """Hosts on which nothing could be made, with the reason, where it goes on without them."""
        there = [*back_to, *(one for group in stands for one in group)]
        self._there = {one.id: one for one in there}
        self._running = set(self._there)
        self._gone: set[str] = set()
        self._paused: set[str] = set()
        self._started: set[str] = set()
        self.addresses = {one.id: one.address for one in there}
        self._well: dict[str, bool] = {}
        self._weights: Mapping[str, int] = {}
        self._fence = 0
        now_ms, drain = site.work.record.journal.clock.now_ms(), component.drain_seconds
        self._busy = {one.id for one in stands.serving} | {
            one.id for one in (*stands.kept, *stands.left) if may_be_used(one, drain, now_ms)
        }
        self._held = 0
        self.served = False
        """The new ones serve, by the record."""
        self.judged: bool | None = True
        """Whether the environment is well with them; None: it is still to be asked."""
        self.returned = False
        """The old ones serve again, by the record."""
        self.uri = ""
        """Where its balancer said that it answers."""

    def see(self, found: Observed | None) -> None:
        """What the balancer shows; None where it cannot be asked, so its weights are set anew."""
        if found is None:
            return
        self._weights = {one.id: one.weight for one in found.resources if one.weight}
        self._fence = found.turn
        self._busy |= set(self._weights)

    def see_leaving(self, found: Observed | None, serving: Collection[str]) -> None:
        """What the balancer shows of a component that left the file, once ``serving`` do. One that keeps apart what
        it spreads for each component is told; where these serve in the same place, they stay as they are."""
        self.served = True  # none of this component does
        if found is None or any(one.id in serving for one in found.resources):
            self._fence = self._wanted.turn
        else:
            self.see(found)

    def turn_back(self) -> None:
        """From now on the old ones are to serve again, and the new ones to go."""
        self.served, self.judged = False, False

    @property
    def begun(self) -> bool:
        """Whether there is anything to go back from: before the first new one nothing is turned or made."""
        return bool(self.fresh)

    @property
    def fence(self) -> int:
        """The turn that stands at the balancer."""
        return self._fence

    def go(self, phase: Phase, *until: Deed, shared: bool = True) -> Generator[Launch, End, Deed]:
        """Do what comes next until it is one of ``until``, or nothing more can be done: that deed. After a signal
        nothing is cleared any more. Raises Refused where somebody else has the turn."""
        for _ in range(DEEDS_MAX):
            action = self._next(phase, shared=shared)
            if action.deed == Deed.STOP:
                raise self._stopped()
            if action.deed in until or action.deed in (Deed.DONE, Deed.FAIL):
                return action.deed
            if self.site.cancelled and action.deed in self.lengthy:
                return action.deed
            if action.deed in CHANGING:
                self.site.work.check_turn(self.site.stage)
            yield from self._do(action, phase)
            if self.problem and phase == Phase.RISING:
                return Deed.FAIL
            if self.site.cancelled and phase not in BACK:
                return Deed.FAIL
        raise AssertionError(f"{self.component.name} comes to no end")

    def _next(self, phase: Phase, *, shared: bool) -> Action:
        action = self._asked(phase, shared=shared)
        if action.deed == Deed.ROTATE and self._fence >= self._wanted.turn and self._shows(action):
            self._weights = action.weights
            action = self._asked(phase, shared=shared)
        return action

    def _asked(self, phase: Phase, *, shared: bool) -> Action:
        seen = Seen(
            frozenset(self._running), self._well, self._weights, frozenset(self._busy), self._fence,
            0, self._held, self.judged, self.returned, shared, frozenset(self._paused),
            frozenset(self._started),
        )  # fmt: skip
        return next_action(self._wanted, self._resources(phase), seen, phase)

    def _resources(self, phase: Phase) -> list[Resource]:
        stands = self.stands
        old_serves = not self.served
        # Those that are to serve again were there before: on the way back they stay as they were.
        fresh_stays = phase in BACK
        found = [
            Resource(
                one, fresh=not (made and fresh_stays), serves=self.served,
                kept=bool(made), gone=one in self._gone,
            )
            for one, made in self.fresh.items()
        ]  # fmt: skip
        found += [
            Resource(
                one.id, serves=old_serves, kept=self.served and one.keep_seconds > 0,
                gone=one.id in self._gone,
            )
            for one in stands.serving
            if one.id not in self.fresh
        ]  # fmt: skip
        # Only the predecessor is kept: a cutover makes those before it due.
        found += [
            Resource(one.id, kept=not self.served, gone=one.id in self._gone)
            for one in stands.kept
            if one.id not in self.fresh
        ]
        return found + [
            Resource(one.id, fresh=phase in BACK, gone=one.id in self._gone)
            for one in stands.left
            if one.id not in self._gone
        ]

    def _shows(self, action: Action) -> bool:
        """Whether the balancer shows these shares, in whatever numbers."""
        return alike(self._weights, action.weights)

    def _stopped(self) -> Refused:
        return Refused(
            f"another turn stands at {self.balancer.name if self.balancer else self.component.name}",
            why=f"turn {self._fence} was written there, and nothing here knows of it: somebody changed"
            f" {self.site.environment.name} whose record is not here",
            hint="cxlocal sync brings its record; if that machine is gone: cxlocal env repair"
            f" {quoted(self.site.environment.name)}",
            name="unknown-turn",
        )

    def _do(self, action: Action, phase: Phase) -> Generator[Launch, End, None]:
        if action.deed == Deed.INTEND:
            self._intend()
        elif action.deed == Deed.CREATE:
            yield from self._create(action.resource)
        elif action.deed in (Deed.PAUSE, Deed.START):
            yield from self._switch(action, phase)
        elif action.deed == Deed.CHECK:
            yield from self._check(action.resource)
        elif action.deed == Deed.ROTATE:
            yield from self._rotate(action.weights, hurried=phase in BACK)
        elif action.deed == Deed.HOLD:
            yield from self._hold()
        elif action.deed == Deed.DRAIN:
            yield from self._drain(action.resource)
        elif action.deed == Deed.REMOVE:
            yield from self._remove(action.resource)
        elif action.deed == Deed.GONE:
            record_gone(self.site.work.record, [action.resource])
            self._gone.add(action.resource)

    def _intend(self) -> None:
        for one, host in intend(
            self.site, self.component, self.component.count, deployment=self._deployment
        ):
            self.fresh[one] = None
            self._hosts[one] = host

    def _create(self, resource: str) -> Generator[Launch, End, None]:
        site, component = self.site, self.component
        host = self._hosts.get(resource, "")

        def keep(handle: object) -> None:
            note_made(site, component, resource, host, self._deployment, handle=handle)

        found = yield from site.ask(
            component, "create", on_intend=keep, resource=resource, host=host,
            artifact=site.artifact(component), variables=site.variables_of(component),
        )  # fmt: skip
        if found.outcome != Outcome.SUCCESS:
            self._fail(self._go_without(host, found.reason or str(found.outcome)), found.outcome)
            if self.problem:
                self._running.add(resource)  # in part, maybe: it is taken away by its id
            return
        assert isinstance(found.result, Created)
        self._running.add(resource)
        if component.health and not found.result.address:
            self._fail(
                f"{component.name}: health is set, and create of {component.tool} gave no address",
                Outcome.ERROR,
            )
            return
        self._started.add(resource)
        self.addresses[resource] = found.result.address
        handle = found.handles[-1] if found.handles else None
        note_made(
            site, component, resource, host, self._deployment, handle=handle,
            address=found.result.address,
        )  # fmt: skip

    def _fail(self, why: str, outcome: Outcome) -> None:
        self.problem = why
        if why and outcome == Outcome.ERROR:
            self.outcome = outcome

    def _go_without(self, host: str, why: str) -> str:
        """Why a deployment cannot go on where nothing can be made on a host; empty where it can. What was meant
        for that host stays due: nobody knows whether something was made."""
        if self.site.cancelled or not may_go_without(self.component, {*self.lost, host}):
            return why
        self.lost[host] = why
        for one, at in self._hosts.items():
            if at == host and one not in self._running:
                self.fresh.pop(one, None)
        self._wanted = self._wanted._replace(total=len(self.fresh))
        return ""

    def _switch(self, action: Action, phase: Phase) -> Generator[Launch, End, None]:
        """Stop or start an instance, by the tool and options that it was made with."""
        one, stops = action.resource, action.deed == Deed.PAUSE
        hurried = phase in BACK
        why, outcome = yield from self._payer.tell(
            self._made(one), "stop" if stops else "start", hurried=hurried
        )
        if not why:
            (self._paused if stops else self._started).add(one)
            (self._started if stops else self._paused).discard(one)
            return
        words = "stopped" if stops else "started"
        self._fail(f"{self.component.name} {one[:8]} could not be {words}: {why}", outcome)
        if hurried or self.served:
            raise Refused(
                self.problem,
                why="old and new ones must not run at once, so those that should serve stand still",
                hint="put right what it says; the next deployment starts what is to serve",
                name="not-switched",
            )

    def _check(self, resource: str) -> Generator[Launch, End, None]:
        site, address = self.site, self.addresses.get(resource, "")
        said = yield from site.probe(self.component, [address])
        if not said.why:
            said = yield from site.check(self.component, resource, address)
        self._well[resource] = not said.why
        if not said.why and all(self._well.get(one) for one in self.fresh):
            said = yield from self._observed()
        if said.why:
            self._fail(f"{self.component.name} is not well: {said.why}", said.outcome)

    def _observed(self) -> Generator[Launch, End, Said]:
        """Which new one its own tool calls not well; empty where it calls none so, or has no such verb."""
        if not self.site.can(self.component, "observe"):
            return Said()
        found = yield from self.site.ask(self.component, "observe")
        if not isinstance(found.result, Observed):
            return self._unseen(f"{self.component.tool} cannot be asked", found)
        seen = found.result.resources
        sick = [one.id for one in seen if one.id in self.fresh and one.healthy is False]
        for one in sick:
            self._well[one] = False
        if not sick:
            return Said()
        return Said(f"observe of {self.component.tool} says so of {sick[0][:8]}", Outcome.FAILURE)

    def _unseen(self, words: str, found: ToolOutcome) -> Said:
        """What was changed and cannot be asked any more is not believed, unless somebody said to go on unobserved."""
        if self.site.work.unobserved:
            return Said()
        outcome = found.outcome if found.outcome != Outcome.SUCCESS else Outcome.ERROR
        return Said(f"{words}: {found.reason or outcome}", outcome)

    def _rotate(self, weights: Mapping[str, int], *, hurried: bool) -> Generator[Launch, End, None]:
        if self.balancer is not None:
            found = yield from self.site.ask(
                self.balancer, "rotate", component=self.component.name, behind=self.balancer.name,
                wanted=dict(weights), hurried=hurried or bool(self.site.cancelled),
                handle=handle_of(self.site, self.balancer),
                addresses={one: at for one, at in self.addresses.items() if at},
            )  # fmt: skip
            if found.outcome != Outcome.SUCCESS:
                self._fail(
                    f"{self.balancer.name} could not be turned: {found.reason}", found.outcome
                )
                if hurried or self.served:
                    raise Refused(
                        self.problem, why="which instances get something is not known",
                        hint=self._set_anew(self.balancer), name="not-turned",
                    )  # fmt: skip
                return
            if isinstance(found.result, Done):
                self.uri = str(found.result.details.get("uri", "")) or self.uri
            if not hurried and not self.served and set(weights) == set(self.fresh):
                said = yield from self._disbelieved(self.balancer, weights)
                self._fail(said.why, said.outcome)
                if self.problem:
                    self._busy |= set(weights)
                    return
        self._weights = dict(weights)
        self._busy |= set(weights)
        self._fence = max(self._fence, self._wanted.turn)

    def _set_anew(self, balancer: Component) -> str:
        """What brings a balancer to the weights of the record."""
        site = self.site
        versions = [row["version"] for row in live(site.work.record, site.instance)]
        version, place = (versions or [site.work.record.version])[-1], site.environment.name
        command = f"cxlocal deploy {quoted(version)} --to {quoted(place)}"
        if balancer.mutable and not balancer.is_given and site.can(balancer, "apply"):
            return f"{command} applies {balancer.name} and sets its weights"
        return f"see that {balancer.name} runs and can be asked, then {command} sets its weights"

    def _disbelieved(
        self, balancer: Component, weights: Mapping[str, int]
    ) -> Generator[Launch, End, Said]:
        """Why a balancer is not believed that only ``weights`` get something now; empty where it is, or says nothing
        of weights. What served is let go on that word. A way back turns weights alone, and keeps what served."""
        if self._back_to or not self.site.can(balancer, "observe"):
            return Said()
        found = yield from self.site.ask(
            balancer, "observe", component=self.component.name, behind=balancer.name,
            handle=handle_of(self.site, balancer),
        )  # fmt: skip
        if found.outcome != Outcome.SUCCESS or not isinstance(found.result, Observed):
            return self._unseen(f"{balancer.name} was turned, and cannot be asked", found)
        shown = {one.id: one.weight for one in found.result.resources if one.weight is not None}
        if not shown or alike({one: at for one, at in shown.items() if at}, weights):
            return Said()
        words = f"{balancer.name} says that it was turned, and gives traffic to others"
        return Said(words, Outcome.FAILURE)

    def _hold(self) -> Generator[Launch, End, None]:
        step, last = self._steps[self._held], self._held == len(self._steps) - 1
        addresses = [self.addresses.get(one, "") for one in self.fresh]
        said = Said()
        if step.hold_seconds or not last:
            said = yield from self.site.probe(
                self.component, addresses, hold_seconds=step.hold_seconds, within_seconds=0
            )
            for one in self.fresh:
                if not said.why:
                    address = self.addresses.get(one, "")
                    said = yield from self.site.check(self.component, one, address)
        self._held += 1
        if said.why:
            self._fail(f"{self.component.name} at {step.weight} %: {said.why}", said.outcome)

    def _drain(self, resource: str) -> Generator[Launch, End, None]:
        balancer, limit = self.balancer, self.component.drain_seconds
        self._busy.discard(resource)
        if balancer is None or not limit:
            return
        if not self.site.can(balancer, "drain"):
            yield from self.site.probe(self.component, [], hold_seconds=limit, within_seconds=0)
            self._busy &= set(self._weights)  # the time of all others is over, too
            return
        found = yield from self.site.ask(
            balancer, "drain", component=self.component.name, behind=balancer.name,
            resource=resource, limit_seconds=limit, addresses=dict(self.addresses),
            handle=handle_of(self.site, balancer),
        )  # fmt: skip
        if found.outcome != Outcome.SUCCESS and not self.site.cancelled:
            self.undrained.append(resource)

    def _remove(self, resource: str) -> Generator[Launch, End, None]:
        made = self._made(resource)
        why = yield from self._payer.take_away(made)
        self._running.discard(resource)
        if why:
            # It exists no less, and is nobody's any more: it stays due, and is named.
            self.unpaid.append((made, why))
            self._gone.add(resource)

    def _made(self, resource: str) -> Made:
        if resource not in self._there:
            self._there = {one.id: one for one in of_components(self.site)} | self._there
        return self._there[resource]


def alike(shown: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    """Whether weights are the same shares, in whatever numbers."""
    if set(shown) != set(wanted):
        return False
    total, whole = sum(shown.values()), sum(wanted.values())
    return all(abs(shown[one] / total - wanted[one] / whole) < NEAR for one in wanted)
