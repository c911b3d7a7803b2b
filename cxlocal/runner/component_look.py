"""What an environment of components shows before anything is changed, compared with the record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cxlocal.domain import Outcome
from cxlocal.errors import Refused
from cxlocal.hooks.tool import Observed
from cxlocal.plan.types import Component
from cxlocal.processes.child import End
from cxlocal.projection.functions import in_order
from cxlocal.runner import component_record as recorded
from cxlocal.runner.component_rotation import Stands, alike
from cxlocal.runner.deployment import known_of, note_observed
from cxlocal.runner.payer import machine_of
from cxlocal.runner.placements import deployment_kind, live
from cxlocal.runner.resources import Made, is_of_home
from cxlocal.runner.site import Site
from cxlocal.runner.work import Launch
from cxlocal.text import counted, quoted
from cxlocal.values import NamedTuple

SERVING_SECONDS = 5.0
"""In which what serves, or is to serve again, must answer."""


NOT_KEPT = "none that served before is kept"
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
    idle: frozenset[str] = frozenset()
    """Instances that stand still or are not well, as their own tool says."""
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
        idle: set[str] = set()
        known = recorded.of_components(site)
        first = not any(one.serves for one in known)
        for one in self.replaced:
            seen = (yield from self.observe(one)) if site.can(one, "observe") else None
            if seen is not None:
                there[one.name] = frozenset(each.id for each in seen.resources)
                idle |= {each.id for each in seen.resources if each.healthy is False}
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
        return Looked(
            balancers, tuple(returned), there, tuple(strangers), itself, frozenset(idle),
            frozenset(self._away),
        )  # fmt: skip

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
                f" no journal: {', '.join(found)}"
                + "; drained and taken away once the new ones serve"
                * (not site.work.repair),
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

    def former(self, looked: Looked) -> Generator[Launch, End, dict[str, tuple[Made, ...]]]:
        """The instances that served before, by component, where they can simply serve again: they are kept, stand
        and are well. What is made anew is said, with why."""
        site, run = self.site, self.site.work.record.run
        there = recorded.of_components(site)
        former: dict[str, tuple[Made, ...]] = {}
        for one in self.replaced:
            mine = [each for each in there if each.component == one.name and each.run == run]
            before = [each for each in mine if each.released_at and not each.serves]
            kept = [each for each in before if not each.due]
            why = NOT_KEPT if not kept else (yield from self._lost(one, kept, looked))
            if why:
                site.work.voice.note(f"{one.name} is made anew: {why}")
            else:
                former[one.name] = tuple(kept)
        return former

    def _lost(
        self, one: Component, kept: Sequence[Made], looked: Looked
    ) -> Generator[Launch, End, str]:
        """Why instances that are kept cannot serve again; empty where they can."""
        # Where old and new must not run at once, they stand still until they are started.
        addresses = [each.address for each in kept if one.overlap is not False]
        why = (yield from self.site.probe(one, addresses, within_seconds=SERVING_SECONDS)).why
        ids = {each.id for each in kept}
        lost = ids - looked.there.get(one.name, ids)
        if lost and not why:
            why = f"{', '.join(sorted(lost))} is not there any more"
        return why

    def shown(self, looked: Looked) -> dict[str, tuple[Made, ...]]:
        """The instances of the version that serve, by component. Raises Refused where none does."""
        version = self.site.work.record.version
        serving = {one.name: self._serving(one, looked) for one in self.replaced}
        found = {
            name: tuple(each for each in made if each.version == version)
            for name, made in serving.items()
        }
        for name, named in found.items():
            if not named:
                raise self._not_live(name, serving, strange=bool(looked.strangers))
        for one in self.itself:
            self._refuse_other(looked, one)
        return found

    def _refuse_other(self, looked: Looked, component: Component) -> None:
        """Raise Refused where what rotates itself is at another version than somebody says. One that cannot tell is
        believed to be there."""
        seen, version = looked.itself.get(component.name), self.site.work.record.version
        if seen is not None and seen.version != version:
            place = self.site.environment.name
            way = f"cxlocal deploy {quoted(version)} --to {quoted(place)}"
            if looked.strangers:
                way = f"cxlocal deploy {quoted(version)} --to {quoted(place)} --unobserved"
            raise Refused(
                f"{component.name} of {place} is not at {version}",
                why=f"it says that it is at {seen.version or 'nothing'}",
                hint=f"{way} brings it there",
                name="not-live",
            )

    def _serving(self, one: Component, looked: Looked) -> list[Made]:
        """What serves of a component, known or not: behind a balancer that can be asked what gets traffic, or, where
        nothing does, what the record has as serving; of any other what runs and is well."""
        there = [*recorded.of_components(self.site), *looked.strangers]
        mine = [each for each in there if each.component == one.name]
        if one.name not in looked.there:
            return [each for each in mine if each.serves]
        stands = [each for each in mine if each.id in looked.there[one.name]]
        shown = looked.balancers.get(one.name)
        if shown is None:
            return [each for each in stands if each.id not in looked.idle]
        turned = {each.id for each in shown.resources if each.weight}
        return [each for each in stands if each.id in turned] or [
            each for each in stands if each.serves
        ]

    def _not_live(
        self, name: str, serving: Mapping[str, Sequence[Made]], *, strange: bool
    ) -> Refused:
        place, version = self.site.environment.name, self.site.work.record.version
        versions = in_order(each.version for each in serving[name] if each.version)
        return Refused(
            f"no {name} of {version} serves in {place}",
            why=f"what does is of {' and '.join(versions)}" if versions else "nothing there does",
            hint=self._way_out(serving, strange=strange),
            name="not-live",
        )

    def _way_out(self, serving: Mapping[str, Sequence[Made]], *, strange: bool) -> str:
        """What works where another version serves than was said: that one, where it does so of every component and
        a run here made it; else new instances in the place of whatever serves."""
        record, place = self.site.work.record, self.site.environment.name
        everywhere = [{each.version for each in made} for made in serving.values()]
        for one in reversed(in_order(set.intersection(*everywhere) - {"", record.version})):
            if record.journal.one(MADE_HERE, (record.ref.deliverable, one)):
                return f"cxlocal env repair {quoted(place)} --live {quoted(one)}"
        runs = [row["version_run"] for row in live(record, self.site.instance)]
        again = f"cxlocal deploy {quoted(record.version)} --to {quoted(place)}"
        if deployment_kind(record.journal, record.run, runs) == "rolledback":
            again = f"cxlocal deploy {quoted(record.version)} --to {quoted(place)} --allow-older"
        if not strange:
            return f"{again} makes new ones and turns to them"
        return f"{again} --unobserved makes new ones, turns to them, and takes away what no record knows"

    def agrees(self, looked: Looked, serving: Mapping[str, Sequence[Made]], known: int) -> bool:
        """Whether what serves is what the record has as live, as far as all of it can be seen, and nothing else stands
        there but what is kept. ``known``: the greatest turn that the record knows."""
        site, record = self.site, self.site.work.record
        rows = live(record, site.instance)
        if looked.strangers or looked.returned or looked.away or not rows:
            return False
        if any(row["version_run"] != record.run or row["disputed"] for row in rows):
            return False
        there = recorded.of_components(site)
        for one in self.replaced:
            mine = [each for each in there if each.component == one.name]
            ids = {each.id for each in mine if each.serves}
            if (
                one.name not in looked.there
                or ids & looked.idle
                or not ids <= looked.there[one.name]
            ):
                return False
            if not all(each.serves or (each.spare and not each.due) for each in mine):
                return False
            if ids != {each.id for each in serving[one.name]}:
                return False
            if site.balancer(one) is not None and not _is_shown(
                looked.balancers.get(one.name), ids, known
            ):
                return False
        return all(
            (seen := looked.itself.get(one.name)) is not None
            and seen.version == record.version and seen.turn <= known
            for one in self.itself
        )  # fmt: skip


def _is_shown(shown: Observed | None, ids: Collection[str], known: int) -> bool:
    """Whether a balancer gives these equal shares and nobody else any, in a turn that is known."""
    if shown is None or shown.turn > known:
        return False
    weights = {each.id: each.weight for each in shown.resources if each.weight}
    return alike(weights, dict.fromkeys(ids, 1))


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
