"""A component that rotates itself: its tool brings one version in the place of another, and there is only one place.

So the way back is to apply what served before once more: its commit, its bytes, its options. While a resource of the
component stands that does not serve, the place may be at either; whoever comes next applies what is live first.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused
from cxlocal.hooks.tool import Applied, Observed, ObservedResource
from cxlocal.hooks.tool_worker import ToolOutcome
from cxlocal.plan.components import components_of
from cxlocal.plan.rotation import FULL, Action, Deed, Phase, Resource
from cxlocal.plan.types import Component, Stage
from cxlocal.processes.child import End
from cxlocal.runner import component_record as recorded
from cxlocal.runner.component_rotation import BACK, Rotation, Stands
from cxlocal.runner.fetching import fetch_missing
from cxlocal.runner.needed import lacking
from cxlocal.runner.outcomes import Said
from cxlocal.runner.payer import Payer, words_of
from cxlocal.runner.placements import live
from cxlocal.runner.products import artifacts
from cxlocal.runner.record import RunRecord
from cxlocal.runner.resources import Made, record_gone
from cxlocal.runner.site import Site
from cxlocal.runner.work import Launch
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

BEFORE = "before"
"""A side that no resource stands for: what served when nobody said so of it."""
NOT_BACK = "not-taken-back"


class Former(NamedTuple):
    """What serves of a component there, as it can be applied again."""

    version: str
    record: RunRecord | None = None
    """Its run; None where that, or its plan, is not here."""
    stage: Stage | None = None
    component: Component | None = None
    """By its own plan."""

    @property
    def rotated(self) -> bool:
        """By that it rotated itself, and was not changed in place."""
        return self.component is not None and self.component.rotates_itself


def former_of(site: Site, component: Component) -> Former | None:
    """What serves of a component in an environment, also where it was changed in place until now; None for nothing."""
    rows = live(site.work.record, site.instance)
    names = (component.name, component.was or component.name)
    own = [row for row in rows if row["service"] in names]
    for row in reversed(own or rows):
        found = _planned(site, component, row["version_run"])
        # One that rotated itself has a row of its own, or was destroyed since.
        if found is not None and (own or not found.rotated):
            return found
    return Former(own[-1]["version"]) if own else None


def look_back(
    site: Site, component: Component
) -> Generator[Launch, End, tuple[Former | None, str]]:
    """What serves of it, and why that could not be applied again: nobody is kept from deploying by that, so it is
    said."""
    before = former_of(site, component)
    why = "" if before is None else (yield from _closed(site, before))
    if before is not None and why and not site.work.repair:
        site.work.voice.warn(
            f"{component.name} in {site.environment.name} could not go back to {before.version}: {why}"
        )
    return before, why


def _closed(site: Site, before: Former) -> Generator[Launch, End, str]:
    """Empty where it could, as far as can be told beforehand."""
    record, component, stage = before.record, before.component, before.stage
    if record is None or component is None or stage is None:
        return "its plan is not here"
    try:
        site.work.require_own(record)
        wanted = (*component.secrets, *site.environment.secrets, *site.tool(component).secrets)
        if missing := [one for one in wanted if one not in site.work.secrets]:
            return f"it needs {', '.join(missing)}, which this version does not list"
        if not site.can(component, "apply"):
            return f"{component.tool} cannot apply"
        if lacking(record.journal, record.run):
            yield from fetch_missing(site.as_of(record, stage).work)
        named = [one.name for one in lacking(record.journal, record.run)]
        if component.artifact in named:
            return f"the bytes of its {component.artifact} are not here"
        return site.unreachable(record.revision)
    except (CxError, OSError) as problem:
        return words_of(problem)


def _planned(site: Site, component: Component, run: str | None) -> Former | None:
    record = RunRecord.find(site.work.record.journal, run) if run else None
    try:
        plan = None if record is None else record.find_plan()
    except CxError:
        plan = None  # One of a newer cxlocal says nothing here.
    place = site.environment.name
    if record is None or plan is None or place not in [one.name for one in plan.environments]:
        return None
    names = (component.name, component.was or component.name)
    for stage in plan.stages_in(place):
        for one in components_of(plan, stage) if stage.rotates else ():
            if one.name in names and one.in_place and not one.is_given:
                return Former(record.version, record, stage, one)
    return None


class OwnRotation(Rotation):
    """It during one deployment."""

    lengthy = (Deed.APPLY, Deed.REMOVE)

    def __init__(
        self, site: Site, component: Component, payer: Payer, *, known: int, deployment: str,
        before: Former | None, closed: str, shown: Observed | None,
    ) -> None:  # fmt: skip
        """``before``: what serves; ``closed``: why that could not be applied again, empty where it could;
        ``shown``: what its tool said before anything was changed."""
        there = [
            one for one in recorded.of_components(site)
            if one.in_place
            and one.component in (component.name, component.was or component.name)
        ]  # fmt: skip
        serving = [one for one in there if one.serves]
        left = [one for one in there if not one.serves and one.verb == recorded.APPLY]
        super().__init__(
            site, component, Stands(tuple(serving[:1]), left=tuple(left)), payer,
            known=known, deployment=deployment,
        )  # fmt: skip
        self._wanted = self._wanted._replace(itself=True, total=1)
        self.before, self.closed = before, closed
        self.doubtful = False
        """It may be at a version that the record does not tell."""
        stood = [one for one in there if one not in left]
        self._there |= {one.id: one for one in stood}
        self._old = "" if before is None else stood[0].id if stood else BEFORE
        self._others = [one.id for one in stood if one.id != self._old]
        self._sides: list[str] = []
        self.strangers: tuple[Made, ...] = ()
        """What becomes known by the cutover of a repair."""
        other = shown is not None and before is not None and shown.version != before.version
        self._weights = {self._old: FULL} if self._old and not (left or other) else {}
        self._fence = shown.turn if shown else 0
        if site.work.repair:
            self._find()

    @property
    def begun(self) -> bool:
        """Where it stands only its tool can tell."""
        return True

    def _find(self) -> None:
        """A repair: it is there, and somebody says at which version."""
        version = self.site.work.record.version
        found = [one for one in self._there.values() if one.version == version]
        made = found[0] if found else recorded.stranger(
            self.site, self.component, ObservedResource(id=recorded.new_id(self.site), version=version),
            verb=recorded.APPLY,
        )  # fmt: skip
        self.strangers = () if found else (made,)
        self._there[made.id] = self.fresh[made.id] = made
        self._sides, self._weights, self._well = [made.id], {made.id: FULL}, {made.id: True}
        self._others = [one for one in (self._old, *self._others) if one and one != made.id]
        self._old = ""

    def take_back(self) -> Generator[Launch, End, None]:
        """Apply what is live where somebody was cut off, before anything else. Where that cannot be done it is said:
        what is applied next takes the place of both. Raises Refused where somebody else has the turn."""
        live = self.before and self.before.record
        if not self.stands.left or live is None or live.run == self.site.work.record.run:
            return
        try:
            yield from self.go(Phase.FALLING)
        except Refused as problem:
            if problem.name != NOT_BACK:
                raise
            self.site.work.voice.warn(problem.what)

    @property
    def url(self) -> str:
        """Where it answers, as its tool says; empty where that says nothing."""
        return next((self.addresses.get(one, "") for one in self._sides), "")

    def see(self, found: Observed | None) -> None:
        """There are no weights to be seen."""

    def go(self, phase: Phase, *until: Deed, shared: bool = True) -> Generator[Launch, End, Deed]:
        """As for all. Raises Refused where it could not be applied again."""
        deed = yield from super().go(phase, *until, shared=shared)
        if deed == Deed.APPLY and phase in BACK and deed not in until:
            raise self._not_back("nothing is applied after a signal")
        return deed

    def _resources(self, phase: Phase) -> list[Resource]:
        def one(id: str, *, fresh: bool = False, serves: bool = False, kept: bool = False) -> Resource:  # fmt: skip
            return Resource(id, fresh, serves, kept, id in self._gone)

        found = [one(each, fresh=True, serves=self.served) for each in self._sides]
        found += [one(self._old, serves=not self.served)] if self._old else []
        found += [one(each, kept=not self.served) for each in self._others]
        left = [each.id for each in self.stands.left if each.id not in (*self._sides, *self._gone)]
        return found + [one(each, fresh=phase in BACK) for each in left]

    def _do(self, action: Action, phase: Phase) -> Generator[Launch, End, None]:
        if action.deed == Deed.GONE:
            self._gone.add(action.resource)
            if action.resource in self._there or action.resource in self.fresh:
                how = "taken over" if self._weights else "removed"
                record_gone(self.site.work.record, [action.resource], how)
        elif action.deed == Deed.APPLY:
            # From here on nobody knows at which it is, until one was applied as a whole.
            self._weights = {}
            if action.resource in self._sides:
                yield from self._come(action.resource)
            else:
                yield from self._go_back(action.resource)
        else:
            yield from super()._do(action, phase)

    def _intend(self) -> None:
        [(one, _)] = recorded.intend(
            self.site, self.component, 1, verb=recorded.APPLY, deployment=self._deployment
        )
        self.fresh[one], self._sides = None, [one]

    def _come(self, side: str) -> Generator[Launch, End, None]:
        """Apply this version."""
        site, component = self.site, self.component

        def keep(handle: object) -> None:
            recorded.note_made(
                site, component, side, "", self._deployment, handle=handle, verb=recorded.APPLY
            )

        self._running.add(side)
        if not self._old and site.can(component, "provision"):
            made = yield from site.ask(component, "provision", on_intend=keep, resource=side)
            if made.outcome != Outcome.SUCCESS:
                self._fail(f"{component.name}: {made.reason or made.outcome}", made.outcome)
                return
        found = yield from self._applied(site, component, side, keep)
        if found.outcome != Outcome.SUCCESS:
            self._fail(f"{component.name}: {found.reason or found.outcome}", found.outcome)
            if isinstance(found.result, Applied) and not found.result.changed and self._old:
                self._weights = {self._old: FULL}
            return
        assert isinstance(found.result, Applied)
        site.hear(component, found.result.outputs, found.secrets)
        self.doubtful = False
        self._weights, url = {side: FULL}, found.result.outputs.get("url", "")
        self.addresses[side] = url
        if component.health and not url:
            self._fail(
                f"{component.name}: health is set, and apply of {component.tool} said no url",
                Outcome.ERROR,
            )
        if side in self.fresh:
            recorded.note_made(
                site, component, side, "", self._deployment, address=url, verb=recorded.APPLY,
                handle=found.handles[-1] if found.handles else recorded.handle_of(site, component),
            )  # fmt: skip

    def _go_back(self, side: str) -> Generator[Launch, End, None]:
        """Apply once more what served before. Raises Refused where that could not be done."""
        site, before = self.site, self.before
        assert before is not None, "nothing is gone back to where nothing served"
        why = self.closed
        if not why:
            try:
                why = yield from self._apply_again(before, side)
            except (CxError, OSError) as problem:
                why = words_of(problem)
        if why:
            raise self._not_back(why)
        self.doubtful, self._weights = False, {side: FULL}
        site.work.voice.note(
            f"{self.component.name} in {site.environment.name} is at {before.version} again"
        )

    def _apply_again(self, before: Former, side: str) -> Generator[Launch, End, str]:
        assert before.record is not None and before.stage is not None and before.component is not None  # fmt: skip
        there = self.site.as_of(before.record, before.stage)
        yield from fetch_missing(there.work)
        there.work.artifacts |= artifacts(before.record)
        found = yield from self._applied(there, before.component, side, lambda handle: None)
        self.site.cancelled = self.site.cancelled or there.cancelled
        return "" if found.outcome == Outcome.SUCCESS else found.reason or str(found.outcome)

    def _applied(
        self, site: Site, component: Component, side: str, keep: recorded.Keep
    ) -> Generator[Launch, End, ToolOutcome]:
        made = self._there.get(side)
        handle = made.handle if made else recorded.handle_of(self.site, self.component)
        return (
            yield from site.ask(
                component, "apply", on_intend=keep, artifact=site.artifact(component), handle=handle,
                resource="" if side == BEFORE else side,
                variables=site.variables_of(component),
            )
        )  # fmt: skip

    def _not_back(self, why: str) -> Refused:
        self.doubtful = True
        place, version = self.site.environment.name, self.before.version if self.before else ""
        return Refused(
            f"{self.component.name} in {place} could not be taken back to {version}: {why}",
            why="it rotates itself, so it may be at either version, or at both in part",
            hint="put right what it says; the next deployment applies what is live first: cxlocal deploy"
            f" {quoted(version)} --to {quoted(place)}",
            name=NOT_BACK,
        )

    def _observed(self) -> Generator[Launch, End, Said]:
        """What its tool says against it; empty for nothing, or where it cannot tell."""
        site, component, version = self.site, self.component, self.site.work.record.version
        if not site.can(component, "observe"):
            return Said()
        found = yield from site.ask(
            component, "observe", resource=self._sides[0],
            handle=recorded.handle_of(site, component),
        )  # fmt: skip
        if not isinstance(found.result, Observed):
            return self._unseen("it was applied, and cannot be asked", found)
        if found.result.healthy is False:
            return Said(f"observe of {component.tool} says so", Outcome.FAILURE)
        if found.result.version not in ("", version):
            words = f"it was applied, and observe of {component.tool} says {found.result.version}"
            return Said(words, Outcome.FAILURE)
        return Said()


def own_rotations(rotations: Sequence[Rotation]) -> list[OwnRotation]:
    """Those of components that rotate themselves."""
    return [one for one in rotations if isinstance(one, OwnRotation)]
