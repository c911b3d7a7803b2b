"""What the record has of the components of an environment, and what is recorded when they change."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from cxlocal.events.belonging import mark_id
from cxlocal.events.document import Draft
from cxlocal.events.resources import Intent, Turned, run_cutover, run_intended
from cxlocal.hooks.tool import ObservedResource
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.journal.whereabouts import machine_mark
from cxlocal.plan.components import differences_of, spec_sha256
from cxlocal.plan.types import Component
from cxlocal.runner.deployment import known_of
from cxlocal.runner.placements import deployed_drafts
from cxlocal.runner.resources import Made, expires_of, standing_in
from cxlocal.runner.site import Site

Keep = Callable[[object], None]
"""Makes a handle durable before its side effect."""
CREATE, PROVISION, APPLY = "create", "provision", "apply"
KNOWN_TURN = """
SELECT max(turn) AS turn FROM (
  SELECT max(turn) AS turn FROM deployment_attempt WHERE deliverable = :name AND instance = :place
  UNION ALL SELECT max(turn) FROM resource WHERE deliverable = :name AND instance = :place
  UNION ALL SELECT max(p.position) FROM turn t
    JOIN turn_position p ON p.node = t.node AND p.sequence = t.sequence
    WHERE t.deliverable = :name AND t.instance = :place AND p.position <> :own)
"""
GONE = """
SELECT id FROM resource WHERE id IN (SELECT value FROM json_each(?)) AND gone_at IS NOT NULL
"""


def of_components(site: Site) -> list[Made]:
    """What exists of components there, as far as is known; what serves and what is newest first."""
    found = standing_in(site.work.record.journal, site.work.plan.deliverable, site.instance)
    return [one for one in found if one.is_component and one.stage not in site.beside]


def standing_of(site: Site, component: Component) -> Made | None:
    """A component of which there is one as it stands there; None where nobody said that it does."""
    for one in of_components(site):
        if one.in_place and one.component in (component.name, component.was or component.name):
            return one
    return None


def handle_of(site: Site, component: Component) -> object:
    """What its tool made durable of a mutable component; None for nothing."""
    found = standing_of(site, component)
    return None if found is None else found.handle


def known_turn(journal: Journal, deliverable: str, instance: str, own: int) -> int:
    """The greatest turn at an environment that the record knows beside ``own``; 0 for none."""
    catch_up(journal)
    row = journal.one(KNOWN_TURN, {"name": deliverable, "place": instance, "own": own})
    return int(row["turn"] or 0) if row else 0


def gone_among(journal: Journal, ids: Iterable[str]) -> set[str]:
    """Those of ``ids`` that the record has as gone."""
    return {row["id"] for row in journal.query(GONE, (json.dumps(list(ids)),))}


def intend(
    site: Site, component: Component, count: int, *, verb: str = CREATE, deployment: str = ""
) -> list[tuple[str, str]]:
    """Draw ids and make them durable, here and, where this machine goes away, at the store: so many instances are
    about to be made. Each with its host."""
    record = site.work.record
    hosts = component.hosts or ("",)
    found = [(new_id(site), hosts[at % len(hosts)]) for at in range(count)]
    record.record(
        *(
            run_intended(record.ref, _intent(site, component, one, host, verb, deployment))
            for one, host in found
        )
    )
    site.work.send_first()
    return found


def new_id(site: Site) -> str:
    """An id for what is made or recorded next."""
    return mark_id(site.work.record.journal.ids.uuid(), site.work.plan.deliverable)


def note_made(
    site: Site, component: Component, resource: str, host: str, deployment: str,
    *, handle: object = None, address: str = "", verb: str = CREATE,
) -> None:  # fmt: skip
    """Say what is known of an instance since its tool made it, or is about to."""
    intent = _intent(site, component, resource, host, verb, deployment)
    record = site.work.record
    record.record(run_intended(record.ref, intent._replace(handle=handle, address=address)))
    if not address:
        site.work.send_first()


def stranger(
    site: Site, component: Component, seen: ObservedResource, *, verb: str = CREATE
) -> Made:
    """An instance that no journal knows, as it says of itself. Nothing is recorded: only a cutover makes it known,
    so that whatever comes to none leaves it a stranger to the next deployment."""
    record, place = site.work.record, site.environment
    return Made(
        id=seen.id, run=record.run, deliverable=record.ref.deliverable, environment=place.name,
        instance=site.instance, component=component.name, stage=site.stage.name, tool=component.tool,
        options=dict(component.options), handle=None, lifetime=place.lifetime, machine=machine_mark(),
        node=record.journal.node, stage_run=site.stage_run, serves=False, due=True,
        expires_seconds=expires_of(place), verb=verb, host="", address=seen.address,
        version=seen.version, deployment="", weight=0, spare=True, released_at="", keep_seconds=0,
    )  # fmt: skip


def _adopted(
    site: Site, known: Mapping[str, Component], found: Sequence[Made], serving: Collection[str]
) -> list[Draft]:
    """Strangers become known. Those of ``serving`` do so from now on; the others are nobody's, so they are due."""
    drafts = []
    for one in found:
        intent = _intent(site, known[one.component], one.id, "", one.verb, "")
        keep = intent.keep_seconds if one.id in serving else 0
        intent = intent._replace(version=one.version, address=one.address, keep_seconds=keep)
        drafts.append(run_intended(site.work.record.ref, intent))
    return drafts


def _intent(
    site: Site, component: Component, resource: str, host: str, verb: str, deployment: str
) -> Intent:
    plan, place = site.work.plan, site.environment
    of_file = () if site.stage.tool else plan.shared_components
    shared = {one.name: one for one in of_file}
    return Intent(
        resource=resource,
        component=component.name,
        environment=place.name,
        instance=site.instance,
        lifetime=place.lifetime,
        stage=site.stage.name,
        stage_run=site.stage_run,
        tool=component.tool,
        verb=verb,
        options=component.options,
        handle=None,
        machine=machine_mark(),
        deployment=deployment,
        expires_seconds=expires_of(place),
        host=host,
        version=site.work.record.version,
        # A stage with a tool of its own is written for one environment: nothing of it is shared.
        spec_sha256=spec_sha256(shared[component.name]) if shared else "",
        differences=differences_of(plan, place.name, component.name),
        keep_seconds=component.keep_old_seconds,
        turn=site.turn,
    )


def record_cutover(
    site: Site, after: Mapping[str, Sequence[str]], before: Sequence[Made], *, first: str,
    uris: Mapping[str, str], strangers: Sequence[Made] = (),
) -> None:  # fmt: skip
    """The commit point: one row of what is live for each component, which instances serve it, and what it
    replaces, in one transaction. ``after``: instances by component; ``first``: the id that the deployment has
    had since it began, empty where that was not said; ``uris``: where components answer;
    ``strangers``: instances that become known with it."""
    record, work = site.work.record, site.work
    known = {one.name: one for one in site.components}
    serving = {one for resources in after.values() for one in resources}
    drafts = _adopted(site, known, strangers, serving)
    turned: list[Turned] = []
    leaving = [
        row["deployment"]
        for row in known_of(record, site.instance, site.stage)
        if row["service"] not in after
    ]
    for name, resources in after.items():
        artifact = known[name].artifact if name in known else ""
        made = deployed_drafts(
            record,
            site.environment,
            service=name,
            artifact=work.artifacts.get(artifact),
            uri=uris.get(name, ""),
            stage_run=site.stage_run,
            actor=record.actor,
            kind=work.deployment_kind,
            reason=work.deployment_reason,
            deployment=first if first and not turned else new_id(site),
            also_replaces=leaving if not turned else (),
        )
        drafts += made if not turned else made[-1:]
        deployment = str(made[-1].id)
        turned.append(
            Turned(
                name,
                deployment,
                before={one.id: one.weight for one in before if one.component == name},
                after=dict.fromkeys(resources, share(len(resources))),
            )
        )
    record.record(*drafts, run_cutover(record.ref, turned, turn=site.turn))


def share(count: int) -> int:
    """What each of ``count`` instances gets, in whole percent."""
    return max(1, 100 // max(1, count))
