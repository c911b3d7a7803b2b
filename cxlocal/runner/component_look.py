"""What an environment of components shows before anything is changed, compared with the record."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cxlocal.domain import Outcome
from cxlocal.errors import Refused
from cxlocal.hooks.tool import Observed
from cxlocal.plan.types import Component
from cxlocal.processes.child import End
from cxlocal.projection.functions import in_order
from cxlocal.runner import component_record as recorded
from cxlocal.runner.component_rotation import Rotation, Stands
from cxlocal.runner.deployment import known_of, note_observed
from cxlocal.runner.payer import machine_of
from cxlocal.runner.placements import live
from cxlocal.runner.resources import Made, is_of_home
from cxlocal.runner.site import Site
from cxlocal.runner.work import Launch
from cxlocal.text import counted, quoted
from cxlocal.values import NamedTuple

SERVING_SECONDS = 5.0
"""In which what serves, or is to serve again, must answer."""


MADE_HERE = "SELECT 1 FROM run WHERE deliverable = ? AND version = ? LIMIT 1"


class Halt(Exception):
    """A deployment that is not to come to its cutover."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome, self.reason = outcome, reason


class Looked(NamedTuple):
    """What an environment showed before anything was changed."""

    balancers: dict[str, Observed]
    """By the component whose instances stand behind one."""
    returned: tuple[tuple[Component, str], ...] = ()
    """Instances that the record has as gone, and that are there."""
    there: Mapping[str, frozenset[str]] = MappingProxyType({})
    """What is there, by component; of those that can be asked."""
    strangers: tuple[Made, ...] = ()
    """Instances that no record knows, where a person said to go on with them."""
    itself: Mapping[str, Observed] = MappingProxyType({})
    """What components that rotate themselves said."""
    away: frozenset[str] = frozenset()
    """Instances that serve in another home, where a person said to go on without them."""

    def with_balancer(self, component: str, shown: Observed | None) -> Looked:
        """The same, with what the balancer of ``component`` shows by now."""
        others = {name: one for name, one in self.balancers.items() if name != component}
        return self._replace(balancers=others if shown is None else {**others, component: shown})


def with_strangers(stands: Stands, looked: Looked, component: str) -> Stands:
    """What gets traffic serves, whether a record knows it or not; where that cannot be seen, what the record says
    and is there, or else what no record knows. The rest goes after the cutover, and so does what should serve and is
    not there."""
    shown = looked.balancers.get(component)
    turned = {one.id for one in shown.resources if one.weight} if shown else set()
    mine = {one.id for one in looked.strangers}
    there = looked.there.get(component, frozenset())
    strange = [one for one in stands.left if one.id in mine]
    known = [one for one in stands.serving if one.id in there]
    serving = [one for one in (*known, *strange) if one.id in turned] or known or strange
    rest = [one for one in (*stands.serving, *strange) if one not in serving]
    return Stands(
        tuple(serving),
        (*stands.kept, *rest),
        tuple(one for one in stands.left if one.id not in mine),
    )


class Lookout:
    """Asks the tools of an environment what runs there."""

    def __init__(self, site: Site, flag: Callable[[str, str], None]) -> None:
        self.site = site
        self._flag = flag
        self.replaced = [one for one in site.components if not one.in_place]
        self.itself = [one for one in site.components if one.rotates_itself]
        self._away: set[str] = set()

    def look(self) -> Generator[Launch, End, Looked]:
        """What runs there, by its labels, compared with the record."""
        site, balancers, returned = self.site, {}, []
        there: dict[str, frozenset[str]] = {}
        strangers: list[Made] = []
        known = recorded.of_components(site)
        first = not any(one.serves for one in known)
        for one in self.replaced:
            seen = (yield from self.observe(one)) if site.can(one, "observe") else None
            if seen is not None:
                there[one.name] = frozenset(each.id for each in seen.resources)
                gone, unknown = self._compare(one, there[one.name], known)
                returned += [(one, each) for each in gone]
                strangers += [
                    recorded.stranger(site, one, each)
                    for each in seen.resources
                    if each.id in unknown
                ]
            balancer = site.balancer(one)
            if balancer is not None and site.can(balancer, "observe"):
                seen_there = yield from self.observe(balancer, behind=one, needed=not first)
                if seen_there is not None:
                    balancers[one.name] = seen_there
                    told = {each.id: each.address for each in seen_there.resources}
                    strangers = [
                        each._replace(address=each.address or told.get(each.id, ""))
                        for each in strangers
                    ]
        itself = yield from self._look_at_itself(known)
        yield from self._look_at_own(itself)
        away = frozenset(self._away)
        return Looked(balancers, tuple(returned), there, tuple(strangers), itself, away)

    def _look_at_itself(self, known: Sequence[Made]) -> Generator[Launch, End, dict[str, Observed]]:
        """What components that rotate themselves say they are at, where they were deployed and can tell."""
        site, found = self.site, {}
        for one in self.itself:
            rows = [
                row for row in live(site.work.record, site.instance) if row["service"] == one.name
            ]
            if not site.can(one, "observe") or not (rows or site.work.repair):
                continue
            seen = yield from self.observe(one)
            if seen is None:
                continue
            found[one.name] = seen
            expected = {row["version"] for row in rows} | {
                made.version for made in known if made.component == one.name
            }
            if rows and seen.version not in expected and not site.stage.tool:
                self._flag(
                    "changed-outside",
                    f"{site.environment.name} was changed outside: {one.name} is at"
                    f" {seen.version or 'nothing'}, the journal says {', '.join(in_order(expected))}",
                )
        return found

    def _look_at_own(self, itself: Mapping[str, Observed]) -> Generator[Launch, End, None]:
        """What the tool of a stage says of a lasting environment where that has deployed in place."""
        site = self.site
        [one, *_] = site.components
        if not site.stage.tool or not one.in_place or not site.can(one, "observe"):
            return
        if known := known_of(site.work.record, site.instance, site.stage):
            asked = one.rotates_itself  # so it was just now
            seen = itself.get(one.name) if asked else (yield from self.observe(one))
            note_observed(site.work, site.environment, known, seen, "")

    def observe(
        self, component: Component, *, behind: Component | None = None, needed: bool = True
    ) -> Generator[Launch, End, Observed | None]:
        told: dict[str, Any] = (
            {} if behind is None else {"component": behind.name, "behind": component.name}
        )
        if one := recorded.standing_of(self.site, component):
            told |= {"handle": one.handle, **({} if behind else {"resource": one.id})}
        found = yield from self.site.ask(component, "observe", **told)
        if isinstance(found.result, Observed):
            return found.result
        if found.outcome == Outcome.CANCEL:
            raise Halt(Outcome.CANCEL, found.reason)
        if not needed:
            return None
        place, version = self.site.environment.name, self.site.work.record.version
        words = f"{component.name} could not be asked what runs in {place}"
        why = found.reason or str(found.outcome)
        if self.site.work.unobserved:
            self._flag("went-unobserved", f"{words}, and was changed all the same: {why}")
            return None
        again = f"cxlocal deploy {quoted(version)} --to {quoted(place)} --unobserved"
        if self.site.work.back:
            again = f"cxlocal rollback {quoted(place)} --to {quoted(version)} --unobserved"
        hint = f"{self._remedy(component)}; nothing was changed"
        if version:  # a run that nobody began has none
            hint += f". Where it cannot be: {again}"
        raise Refused(words, why=why, hint=hint, name="not-observed")

    def _remedy(self, component: Component) -> str:
        missing = self.site.missing_programs(component)
        if missing:
            return f"install {' and '.join(missing)}, or add the folder of it to PATH"
        return "put right what it says"

    def _compare(
        self, component: Component, ids: frozenset[str], known: Sequence[Made]
    ) -> tuple[list[str], list[str]]:
        """Instances that the record has as gone, and those that no record knows. Raises Refused for these where
        nobody said to go on with them."""
        site = self.site
        mine = {one.id for one in known if one.component == component.name}
        gone = recorded.gone_among(site.work.record.journal, ids - mine)
        found = sorted(ids - mine - gone)
        if found and (site.work.repair or (site.work.unobserved and not site.work.back)):
            self._flag(
                "found-instances",
                f"{counted(len(found), 'instance')} of {component.name} in {site.environment.name} stood in"
                f" no journal: {', '.join(found)}",
            )
        elif found:
            raise Refused(
                f"{counted(len(found), 'instance')} of {component.name} in {site.environment.name}"
                " stand in no journal here",
                why=f"{', '.join(found[:3])}: a machine whose record is not here made them",
                hint="cxlocal sync brings its record; if that machine is gone: cxlocal env repair"
                f" {quoted(site.environment.name)}",
                name="found-instances",
            )
        lost = [
            one for one in known
            if one.component == component.name and one.serves and one.id not in ids
        ]  # fmt: skip
        journal = site.work.record.journal
        away = [one for one in lost if site.tool(component).here and not is_of_home(journal, one)]
        if away and site.environment.lifetime == "lasting":
            self._refuse_away(component, away[0])
            self._away |= {one.id for one in away}
        missing = [one.id for one in lost if one not in away]
        if missing:
            self._flag(
                "changed-outside",
                f"{site.environment.name} was changed outside: {', '.join(missing)} of"
                f" {component.name} should serve and is not there",
            )
        return sorted(gone), found

    def _refuse_away(self, component: Component, made: Made) -> None:
        """Raise Refused where what serves lives in the home that made it, and this is another one: it would serve on
        there, and nobody here could end it. Unless somebody said to go on without."""
        site = self.site
        place, version = site.environment.name, site.work.record.version
        host = machine_of(site.work.record.journal, made.node)
        words = f"{component.name} of {place} lives in another home, on {host}"
        if site.work.unobserved:
            self._flag(
                "went-unobserved", f"{words}; it is taken away there alone (cxlocal env reap)"
            )
            return
        again = f"cxlocal deploy {quoted(version)} --to {quoted(place)}"
        if site.work.back:
            again = f"cxlocal rollback {quoted(place)} --to {quoted(version)}"
        raise Refused(
            words,
            why=f"{component.tool} keeps what it makes beside the journal, that of machine {made.node[:8]}; from here"
            " it can be neither seen nor ended",
            hint=f"deploy from there; to let it serve here instead, and end it there: {again} --unobserved",
            name="lives-elsewhere",
        )

    def has_balancer(self, looked: Looked, rotation: Rotation) -> bool:
        """Whether what spreads over a component may be there: one that somebody took away gives nobody anything, and
        has to be made before it is told of weights."""
        one = rotation.balancer
        return (
            one is None
            or one.is_given
            or not self.site.can(one, "destroy")
            or looked.balancers.get(rotation.component.name) is not None
            or recorded.standing_of(self.site, one) is not None
        )

    def former(self, looked: Looked) -> Generator[Launch, End, dict[str, tuple[Made, ...]]]:
        """The instances that served before, by component, where all of them can simply serve again: they stand
        and are well. Empty otherwise."""
        site, run = self.site, self.site.work.record.run
        there = recorded.of_components(site)
        former: dict[str, tuple[Made, ...]] = {}
        for one in self.replaced:
            mine = [each for each in there if each.component == one.name and each.run == run]
            idle = [each for each in mine if each.released_at and not each.serves]
            # Where old and new must not run at once, they stand still until they are started.
            addresses = [each.address for each in idle if one.overlap is not False]
            why = (yield from site.probe(one, addresses, within_seconds=SERVING_SECONDS)).why
            lost = {each.id for each in idle} - looked.there.get(one.name, frozenset(
                each.id for each in idle
            ))  # fmt: skip
            if lost and not why:
                why = f"{', '.join(sorted(lost))} is not there any more"
            if why:
                site.work.voice.note(f"{one.name} is made anew: {why}")
            if not idle or why:
                return {}
            former[one.name] = tuple(idle)
        return former

    def shown(self, looked: Looked) -> dict[str, tuple[Made, ...]]:
        """The instances of the version that get traffic, by component: they are to be what serves. Raises
        Refused where none does."""
        site = self.site
        there = [*recorded.of_components(site), *looked.strangers]
        found: dict[str, tuple[Made, ...]] = {}
        for one in self.replaced:
            shown = looked.balancers.get(one.name)
            mine = [each for each in there if each.component == one.name]
            stands = [each for each in mine if each.id in looked.there.get(one.name, ())]
            turned = {each.id for each in shown.resources if each.weight} if shown else set()
            serving = [each for each in stands if each.id in turned] or [
                each for each in stands if each.serves
            ]
            named = [each for each in serving if each.version == site.work.record.version]
            if not named:
                versions = in_order(each.version for each in serving if each.version)
                raise Refused(
                    f"no {one.name} of {site.work.record.version} serves in {site.environment.name}",
                    why=f"what does is of {' and '.join(versions)}"
                    if versions
                    else "nothing there gets traffic",
                    hint=self._way_out(versions, strange=bool(looked.strangers)),
                    name="not-live",
                )
            found[one.name] = tuple(named)
        for one in self.itself:
            self._refuse_other(looked, one)
        return found

    def _refuse_other(self, looked: Looked, component: Component) -> None:
        """Raise Refused where what rotates itself is at another version than somebody says. One that cannot tell is
        believed to be there."""
        seen, version = looked.itself.get(component.name), self.site.work.record.version
        if seen is not None and seen.version != version:
            place = self.site.environment.name
            raise Refused(
                f"{component.name} of {place} is not at {version}",
                why=f"it says that it is at {seen.version or 'nothing'}",
                hint=f"cxlocal deploy {quoted(version)} --to {quoted(place)} brings it there",
                name="not-live",
            )

    def _way_out(self, versions: Sequence[str], *, strange: bool) -> str:
        """What works where another version serves than was said: that one, where a run here made it; else new
        instances in the place of whatever serves."""
        record, place = self.site.work.record, self.site.environment.name
        for one in reversed(versions):
            if record.journal.one(MADE_HERE, (record.ref.deliverable, one)):
                return f"cxlocal env repair {quoted(place)} --live {quoted(one)}"
        again = f"cxlocal deploy {quoted(record.version)} --to {quoted(place)}"
        if not strange:
            return f"{again} makes new ones and turns to them"
        return f"{again} --unobserved makes new ones, turns to them, and takes away what no record knows"


def what_serves(site: Site) -> Generator[Launch, End, tuple[Observed | None, str]]:
    """What an environment says it runs: the versions of the instances that get traffic, or that the record has as
    serving, and of those that no record knows; with what is not as the record says. Or why nothing can be said."""
    known = recorded.of_components(site)
    idle = {one.id for one in known if not one.serves}
    versions: set[str] = set()
    instances: dict[str, dict[str, str]] = {}
    uri, own, well = "", "", set[bool | None]()
    problems: dict[str, None] = {}
    for one in site.components:
        if (one.mutable and not site.stage.tool) or not site.can(one, "observe"):
            continue
        stands = recorded.standing_of(site, one)
        told = {} if stands is None else {"resource": stands.id, "handle": stands.handle}
        found = yield from site.ask(one, "observe", **told)
        if not isinstance(found.result, Observed):
            return None, found.reason or str(found.outcome)
        if one.mutable or site.stage.tool and one.in_place:
            return found.result, ""
        if one.rotates_itself:
            versions.add(found.result.version)
            well.add(found.result.healthy)
            own = found.result.uri or own
            instances[one.name] = {"itself": found.result.version}
            continue
        there = {each.id: each.version for each in found.result.resources}
        mine = [each.id for each in known if each.component == one.name and each.serves]
        weights, problem = yield from _weights(site, one, mine)
        lost = [each[:8] for each in mine if each not in there]
        gone = f"{', '.join(lost)} of {one.name} should serve and is not there" if lost else ""
        problems |= dict.fromkeys(each for each in (gone, problem) if each)
        serving = {each for each in there if each not in idle or weights.get(each)}
        versions |= {there[each] for each in serving}
        well |= {each.healthy for each in found.result.resources if each.id in serving}
        uri = found.result.uri or uri
        instances[one.name] = there
    if not instances:
        return None, "no tool of a component can tell"
    healthy = all(well) if well and None not in well else None
    said = {"instances": instances}
    where, runs = uri or own, ", ".join(in_order(versions - {""}))
    return Observed(version=runs, healthy=healthy, uri=where, details=said), "; ".join(problems)


def _weights(
    site: Site, component: Component, serving: Sequence[str]
) -> Generator[Launch, End, tuple[dict[str, int], str]]:
    """What the balancer gives each instance, and what is wrong with that where ``serving`` are to get it. Empty where
    it has no way to tell."""
    balancer = site.balancer(component)
    if balancer is None or not site.can(balancer, "observe"):
        return {}, ""
    found = yield from site.ask(
        balancer, "observe", component=component.name, behind=balancer.name,
        handle=recorded.handle_of(site, balancer),
    )  # fmt: skip
    if not isinstance(found.result, Observed):
        return {}, f"{balancer.name} could not be asked: {found.reason or found.outcome}"
    if found.result.healthy is False:
        return {}, f"{balancer.name} does not run"
    shown = {one.id: one.weight for one in found.result.resources}
    passed = [one[:8] for one in serving if not shown.get(one, 0) and shown.get(one, 0) is not None]
    weights = {one: weight or 0 for one, weight in shown.items()}
    return weights, f"{balancer.name} gives nothing to {', '.join(passed)}" if passed else ""
