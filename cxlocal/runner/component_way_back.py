"""The short way back after a cutover that the environment does not agree with: what served before still stands.

It is recorded as what it is, a further deployment that goes back, in the run whose version was refused.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from cxlocal.domain import Outcome
from cxlocal.errors import Refused
from cxlocal.events import places
from cxlocal.events.document import Draft
from cxlocal.events.resources import Turned, run_cutover
from cxlocal.processes.child import End
from cxlocal.projection.functions import in_order
from cxlocal.runner import component_record as recorded
from cxlocal.runner.component_itself import OwnRotation
from cxlocal.runner.component_look import SERVING_SECONDS
from cxlocal.runner.component_rotation import Rotation
from cxlocal.runner.placements import live
from cxlocal.runner.resources import Made
from cxlocal.runner.site import Site
from cxlocal.runner.work import Launch
from cxlocal.text import quoted


def refuse_lost_turn(site: Site) -> None:
    """Raise Refused where the turn was taken before others knew of the cutover: what they do there counts,
    whatever is recorded here."""
    record = site.work.record
    try:
        site.work.check_turn(site.stage)
    except Refused as taken:
        versions = {row["version"] for row in live(record, site.instance)} - {record.version}
        now = ", ".join(in_order(versions)) or "nothing else yet"
        raise Refused(
            f"{record.version} is not what counts in {site.environment.name}: {taken.what}",
            why=f"{taken.why}; by the record {now} is live there",
            hint=taken.hint, name=taken.name,
        ) from taken  # fmt: skip


class WayBack:
    """What serves before a cutover, so that it can serve again."""

    def __init__(self, site: Site, rotations: Sequence[Rotation]) -> None:
        self.site = site
        # What is applied again takes long and may fail: weights are turned once it stands.
        self.rotations = sorted(rotations, key=lambda one: not isinstance(one, OwnRotation))
        self.before = live(site.work.record, site.instance)
        self._serving = [one for one in recorded.of_components(site) if one.serves]

    @property
    def version(self) -> str:
        """What served, in words; empty for nothing."""
        return ", ".join(in_order(row["version"] for row in self.before))

    def closed(self) -> Generator[Launch, End, str]:
        """Why what served before cannot serve again; empty where it can, or where nothing did."""
        if self.before and not self.rotations:
            name = self.site.environment.name
            return f"it was changed in place; cxlocal rollback {quoted(name)} deploys it again"
        for one in self.rotations:
            if isinstance(one, OwnRotation):
                if one.closed:
                    return f"{one.component.name} cannot be applied again: {one.closed}"
                continue
            if one.component.overlap is False:
                continue  # They stand still until they are started.
            addresses = [each.address for each in one.stands.serving]
            said = yield from self.site.probe(
                one.component, addresses, within_seconds=SERVING_SECONDS
            )
            if said.why:
                return said.why
        return ""

    def judged(self) -> Generator[Launch, End, str]:
        """What the environment says of what serves again, in words to be added; empty where it agrees."""
        site = self.site
        if not self.before or site.cancelled:
            return ""
        why = (yield from site.judge(site.work.uri_of(site.environment))).why
        if not why or site.cancelled:
            return ""
        text = f"{site.environment.name} is not well with {self.version} either: {why}"
        site.work.voice.warn(text)
        return f"; {text}"

    def record(self, deployment: str, why: str) -> None:
        """What served before serves again; where nothing did, nothing does. One commit. ``deployment``: the one
        that was refused, where it has an id since it began."""
        record, site = self.site.work.record, self.site
        now = live(record, site.instance)
        drafts: list[Draft] = []
        turned: list[Turned] = []
        for row in self.before:
            drafts.append(self._again(row, now, why))
            service = row["service"]
            fresh = [
                each
                for one in self.rotations
                if one.component.name == service
                for each in one.fresh
            ]
            turned.append(
                Turned(
                    service, str(drafts[-1].id),
                    before=dict.fromkeys(fresh, recorded.share(len(fresh))),
                    after={one.id: one.weight for one in self._of(service)},
                )
            )  # fmt: skip
        named = {row["service"] for row in self.before}
        for service in dict.fromkeys(row["service"] for row in now if row["service"] not in named):
            ended = [row["deployment"] for row in now if row["service"] == service]
            drafts.append(
                places.service_removed(
                    record.ref, service=service, environment=site.environment.name,
                    instance=site.instance, deployments=ended,
                )
            )  # fmt: skip
        if turned:
            drafts.append(run_cutover(record.ref, turned, turn=site.turn))
        if deployment:
            drafts.append(
                places.deployment_failed(
                    record.ref, deployment=deployment, outcome=Outcome.FAILURE, cut_off=False,
                    reason=why,
                )
            )  # fmt: skip
        record.record(*drafts)
        addresses = [row["uri"] for row in self.before if row["uri"]]
        if addresses:
            site.work.uris[site.environment.name] = addresses[-1]

    def _of(self, service: str) -> list[Made]:
        return [one for one in self._serving if one.component == service]

    def _again(self, row: dict[str, Any], now: Sequence[dict[str, Any]], why: str) -> Draft:
        site, record = self.site, self.site.work.record
        return places.service_deployed(
            record.ref,
            kind="rolledback",
            event_id=recorded.new_id(site),
            service=row["service"],
            environment=site.environment.name,
            instance=site.instance,
            artifact={"sha256": row["artifact_sha256"]} if row["artifact_sha256"] else {},
            version=row["version"],
            number=row["number"],
            version_run=row["version_run"],
            replaces=[one["deployment"] for one in now if one["service"] == row["service"]],
            uri=row["uri"] or "",
            stage_run=site.stage_run,
            actor=record.actor._asdict(),
            reason=f"{record.version} was refused: {why}",
            details={},
        )
