"""What a person says of components that are changed in place: that they left the file, or are whole again.

What is replaced goes by itself when its component leaves, once others serve; a database does not. Nothing touches it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence

import msgspec

from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.events.belonging import mark_id
from cxlocal.events.document import Draft
from cxlocal.events.resources import Intent, resource_gone, run_intended
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.components import components_in, components_of, departed
from cxlocal.plan.types import Component, Plan, Stage
from cxlocal.runner import component_record as recorded
from cxlocal.runner.own_words import made_here
from cxlocal.runner.placements import removed_drafts
from cxlocal.runner.record import RunRecord
from cxlocal.runner.recovery import take_down
from cxlocal.runner.resources import Made, standing_in
from cxlocal.runner.site import Site
from cxlocal.runner.source import Machine
from cxlocal.runner.turns import Door
from cxlocal.text import quoted

LIVE = """
SELECT deployment, run FROM deployments_now WHERE deliverable = ? AND instance = ? ORDER BY since
"""
HALF_APPLIED = """
SELECT run, subject FROM open_flags WHERE kind = 'half-applied' AND deliverable = ? ORDER BY raised_at
"""
ACCOUNTED = """
SELECT DISTINCT component FROM resource
WHERE deliverable = ? AND instance = ? AND verb = 'provision' AND gone_at IS NOT NULL
  AND (gone_how <> 'released' OR deployment IN (SELECT value FROM json_each(?)))
"""


def refuse_departed(record: RunRecord, stage: Stage) -> None:
    """Raise Refused where a mutable component stands where ``stage`` deploys that its plan has no more."""
    plan, name, place = record.plan, record.ref.deliverable, stage.environment
    instance = plan.environment(place).instance(record.run)
    standing = [one.component for one in _standing(record.journal, name, instance)]
    before, accounted = _before(record.journal, name, instance)
    found = departed(components_of(plan, stage), standing, before, accounted)
    if not found:
        return
    one = found[0]
    raise Refused(
        f"{' and '.join(found)} of {place} is in the file no more, and is not touched",
        why="it is changed in place and may hold what nobody can make again, so somebody says what becomes of it",
        hint=f'if it has another name now: was = "{one}" there; if others have it from now on: cxlocal env'
        f" release {quoted(place)} {quoted(one)} -m WHY; if it is to go: cxlocal env destroy {quoted(place)} {quoted(one)}",
        name="component-left",
    )  # fmt: skip


def leaving(site: Site) -> list[tuple[Component, list[Made]]]:
    """What stands there of components that are replaced and that the plan has no more: each as the plan of its
    newest instance had it, so that its balancer is told and it is drained as that says."""
    names = {one.name for one in site.components if not one.in_place}
    groups: dict[str, list[Made]] = {}
    for made in recorded.of_components(site):
        if made.component not in names and made.verb == recorded.CREATE:
            groups.setdefault(made.component, []).append(made)
    return [(_as_made(site, found), found) for found in groups.values()]


def _as_made(site: Site, found: Sequence[Made]) -> Component:
    journal, one = site.work.record.journal, found[0]
    known = [
        each
        for plan in _plans(journal, [one.run])
        if one.environment in _names(plan)
        for each in components_in(plan, one.environment)
        if each.name == one.component
    ]
    [component] = known[:1] or [Component(name=one.component, tool=one.tool)]
    own = bool(known) and _may_ask(site, component, found)
    # What no tool is to be asked for stands behind nothing that is here.
    behind = component.behind or ("" if own else component.name)
    return msgspec.structs.replace(component, options=one.options, behind=behind)


def _may_ask(site: Site, component: Component, found: Sequence[Made]) -> bool:
    """Whether the tool that a component had may be asked to turn its own weights: this machine said itself with
    which commands it was made (decision 87), and it has what these need."""
    journal, known = site.work.record.journal, site.work.secrets
    return all(made_here(journal, one) for one in found) and known.keys() >= {*component.secrets}


def refuse_present(plan: Plan, environment: str, component: str) -> None:
    """Raise UsageError where the plan still has a mutable component that it changes there: the next deployment
    would."""
    here = components_in(plan, environment) if environment in _names(plan) else ()
    if any(one.name == component and one.in_place and not one.is_given for one in here):
        raise UsageError(
            f"{component} of {environment} is still in the file",
            why="the next deployment there changes it",
            hint=f"take [components.{component}] out, or say that it is given (url) in {environment}; then run it again",
            name="component-present",
        )


def release(journal: Journal, deliverable: str, instance: str, component: str, why: str) -> None:
    """Say that a mutable component is nobody's here any more; it is not touched. Raises UsageError where none
    of that name stands there."""
    made, plan, run, deployment = _found(journal, deliverable, instance, component)
    record = RunRecord.attach(journal, run)
    # What was live with it says for how long that counts; what its tool made knows of no deployment.
    intent = _intent(plan, made, instance, component, deployment)
    intent = intent._replace(resource=mark_id(journal.ids.uuid(), deliverable))
    record.record(
        run_intended(record.ref, intent),
        *(
            resource_gone(record.ref, resource=one, how="released", why=why)
            for one in (intent.resource, *([made.id] if made else ()))
        ),
    )


def half_applied(record: RunRecord, environment: str, component: str, steps: str) -> Draft:
    """A component may be changed in part; ``steps``: the last whole and the first open one, in words."""
    part = _part(component, environment)
    text = f"{part} may be changed in part{steps}; the next deployment applies it again"
    return record.flag_draft("half-applied", text, part)


def settle(
    journal: Journal, deliverable: str, environment: str, component: str, *, who: str, why: str
) -> None:
    """Say that a component that was changed in part is whole again. Raises UsageError where none of that name is."""
    rows = journal.query(HALF_APPLIED, (deliverable,))
    part, there = _part(component, environment), _part("", environment)
    found = [row for row in rows if row["subject"] == part]
    if not found:
        others = ", ".join(
            row["subject"].removesuffix(there) for row in rows if row["subject"].endswith(there)
        )
        raise UsageError(
            f"{part} is not half applied",
            why=f"{others} is" if others else "nothing there is, as far as the journal here knows",
            hint="'cxlocal status' shows what is open; 'cxlocal sync' brings what others recorded",
            name="not-half-applied",
        )
    record = RunRecord.attach(journal, found[-1]["run"])
    text = f"{part} is whole again, {who} says: {why}"
    record.record(record.flag_draft("settled-by-hand", text, part))


def _part(component: str, environment: str) -> str:
    """What both words are about: a deployment answers for all of its environment (``open_flags``), a person for one
    component."""
    return f"{component} in {environment}"


def destroy(
    journal: Journal, machine: Machine, deliverable: str, instance: str, component: str,
    door: Door | None,
) -> list[tuple[Made, str]]:  # fmt: skip
    """Take one mutable component away, by its tool, behind the ``door`` of the environment; why it could not be. Where
    nothing is left of it, it serves no more.
    Raises UsageError where no tool made one of that name, Refused where somebody took the turn."""
    found = [one for one in _standing(journal, deliverable, instance) if one.component == component]
    if not found:
        there = any(
            one.component == component for one in standing_in(journal, deliverable, instance)
        )
        raise UsageError(
            f"{component} in {instance} is not changed in place"
            if there
            else f"no tool can destroy {component} in {instance}",
            why="its instances come and go with deployments"
            if there
            else "none that can recorded that it made one of that name there",
            hint=f"cxlocal env destroy {quoted(instance)} takes all of it down"
            if there
            else "take it down yourself, then: cxlocal env release"
            f" {quoted(instance)} {quoted(component)} -m WHY",
            name="no-component",
        )
    unpaid = take_down(journal, machine, found, door)
    left = [one.component for one in standing_in(journal, deliverable, instance)]
    if component not in left:
        record = RunRecord.attach(journal, found[0].run)
        record.record(*removed_drafts(record, found[0].environment, instance, component))
    return unpaid


def _standing(journal: Journal, deliverable: str, instance: str) -> list[Made]:
    made = standing_in(journal, deliverable, instance)
    return [one for one in made if one.is_component and one.in_place]


def _before(
    journal: Journal, deliverable: str, instance: str
) -> tuple[Sequence[Component], Collection[str]]:
    """The components by the plans of what is live, and those that somebody has accounted for since."""
    rows = _live(journal, deliverable, instance)
    ids = json.dumps([row["deployment"] for row in rows])
    accounted = journal.query(ACCOUNTED, (deliverable, instance, ids))
    components: list[Component] = []
    for plan in _plans(journal, [row["run"] for row in rows]):
        if instance in _names(plan):
            components += components_in(plan, instance)
    return components, {row["component"] for row in accounted}


def _live(journal: Journal, deliverable: str, instance: str) -> list[dict[str, str]]:
    catch_up(journal)
    return journal.query(LIVE, (deliverable, instance))


def _plans(journal: Journal, runs: Iterable[str]) -> list[Plan]:
    found = []
    for run in dict.fromkeys(runs):
        record = RunRecord.find(journal, run)
        try:
            plan = None if record is None else record.find_plan()
        except CxError:
            plan = None  # One of a newer cxlocal says nothing here.
        if plan is not None:
            found.append(plan)
    return found


def _found(
    journal: Journal, deliverable: str, instance: str, component: str
) -> tuple[Made | None, Plan | None, str, str]:
    """What stands of a component, the plan it is of, its run, and the deployment that serves with it."""
    rows = _live(journal, deliverable, instance)
    deployment = rows[-1]["deployment"] if rows else ""
    for one in _standing(journal, deliverable, instance):
        if one.component == component:
            return one, None, one.run, deployment
    _, accounted = _before(journal, deliverable, instance)
    for row in rows:
        for plan in _plans(journal, [row["run"]]):
            known = components_in(plan, instance) if instance in _names(plan) else ()
            if component in departed((), (), known, accounted):
                return None, plan, row["run"], row["deployment"]
    raise UsageError(
        f"no {component} that is changed in place stands in {instance}",
        why="as far as the journal here knows",
        hint=f"cxlocal env show {quoted(instance)} tells what was deployed there",
        name="no-component",
    )


def _names(plan: Plan) -> list[str]:
    return [one.name for one in plan.environments]


def _intent(
    plan: Plan | None, made: Made | None, instance: str, component: str, deployment: str
) -> Intent:
    if made is not None:
        tool, options, stage, run = made.tool, made.options, made.stage, made.stage_run
        handle, machine, host = made.handle, made.machine, made.host
    else:
        assert plan is not None, "what nobody made stands in a plan"
        one = next(each for each in components_in(plan, instance) if each.name == component)
        tool, options, stage, run = one.tool, one.options, "", ""
        handle, machine, host = None, "", ""
    return Intent(
        resource="", component=component, environment=instance, instance=instance, lifetime="lasting",
        stage=stage, stage_run=run, tool=tool, verb=recorded.PROVISION, options=options, handle=handle,
        machine=machine, deployment=deployment, host=host,
    )  # fmt: skip
