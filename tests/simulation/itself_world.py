"""The same two machines, with one component that rotates itself: a place that is at one version, or between two.

Each version that it was to come to is a side, which is said before anything is applied. What was begun and not done
leaves the place between: ``""``.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

from rotation_world import Broken, Event, Machine, Moment, Rule, World

from cxlocal.plan.rotation import Action, Deed, Phase, Resource, next_action

FIRST = [
    Event("began", "one", turn=1),
    Event("intended", "one", "one-1"),
    Event("cutover", "one", turn=1, resources=("one-1",)),
    Event("ended", "one", turn=1),
]
BACK = (Phase.FALLING, Phase.RETURNING)


class OwnMachine(Machine):
    """One journal."""

    known: Mapping[str, int]
    """At which side the place is as a whole, as far as the deployment now under way knows."""

    def standing(self) -> dict[str, str]:
        """Sides that are said and not gone, with their deployments."""
        gone = self.log.gone()
        return {one: maker for one, maker in self.log.made().items() if one not in gone}

    def weights(self) -> Mapping[str, int]:
        return self.known

    def taken_back(self, turn: int, deployment: str) -> Generator[Moment, None, bool]:
        live = self.log.live().resources
        # It is looked at once, before anything is changed.
        settled = set(self.standing()) == set(live)
        self.known = dict.fromkeys(live, 100) if settled and self.world.at == set(live) else {}
        done = settled or (yield from self._go("", turn, Phase.FALLING)) == Deed.DONE
        for other in self.log.open() if done else ():
            if other != deployment:
                self.say(Event("failed", other, turn=turn))
        return done

    def resources(
        self, deployment: str, phase: Phase, before: Event | None = None
    ) -> list[Resource]:
        live = before or self.log.live()
        turns = {one.deployment: one.turn for one in self.log if one.kind == "began"}
        disputed = self.log.disputed(live.turn)
        found = []
        for one, maker in self.standing().items():
            serves = one in live.resources
            kept = disputed and not serves and turns.get(maker) == live.turn
            fresh = (not serves and not kept) if phase in BACK else maker == deployment
            found.append(Resource(one, fresh=fresh, serves=serves, kept=kept))
        return found


class OwnWorld(World):
    """What is outside of the journals: the place, and the turn that was last written there."""

    first, total, steps, itself = FIRST, 1, (100,), True

    def __init__(self, rule: Rule = next_action, seed: int = 0) -> None:
        super().__init__(rule, seed)
        self.place = "one-1"
        self.running, self.busy, self.at_work, self.weights = set(), set(), set(), {}

    def machine(self, name: str) -> OwnMachine:
        return OwnMachine(self, name)

    @property
    def at(self) -> set[str]:
        return {self.place}

    def change(self, who: Machine, turn: int, action: Action) -> None:
        if action.deed != Deed.APPLY:
            raise Broken(f"{action.deed} is nothing that is done with what rotates itself")
        assert isinstance(who, OwnMachine)
        if action.resource not in self._said():
            raise Broken(f"{action.resource} was applied, and nobody had said so before")
        who.known = {}
        if self.fence > turn:
            return  # the place refuses: somebody else had the turn since
        self.place, self.fence = action.resource, turn
        who.known = {action.resource: 100}

    def begin_to_change(self, turn: int) -> None:
        """Somebody is killed while it is applied."""
        if self.fence <= turn:
            self.place, self.fence = "", turn

    def _said(self) -> set[str]:
        logs = (self.store, *(machine.log for machine in self.machines))
        return {one for log in logs for one in log.made()}

    def check_traffic(self) -> None:
        """It is at something, as a whole, and that is well."""
        if not self.place or self.place in self.sick:
            raise Broken(f"it is at {self.place or 'nothing whole'}")

    def check_at_work(self, serving: list[str]) -> None:
        """Where nobody came between, it is at what is to serve."""
        if not self.crowded and self.at != set(serving):
            raise Broken(f"it is at {self.place}, and {serving} should serve")

    def check_end(self) -> None:
        """All is over and everybody has heard of everything: it is at what the record says, and nothing else stands."""
        serving = self.agreed()
        if self.at != set(serving):
            raise Broken(f"it is at {self.place}, and the record says {serving}")
