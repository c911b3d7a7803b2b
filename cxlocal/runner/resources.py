"""What tools made: said before it is made, known on every machine, and taken away when its time is over.

A tool's handle is made durable before its side effect, as an intent of a resource: one instance of a component,
or the environment itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import UNSET

from cxlocal.events.belonging import mark_id
from cxlocal.exchange.state import is_ours
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.journal.whereabouts import machine_mark
from cxlocal.plan.types import Environment, Stage
from cxlocal.runner.record import RunRecord
from cxlocal.text import parse_utc
from cxlocal.values import NamedTuple

# sql: constants; one statement for each question, so that each finds its index
_STANDING = """
SELECT resource AS id, run, deliverable, environment, instance, component, stage, tool, options, handle,
  lifetime, machine, node, stage_run, serves, due, expires_seconds, verb, host, address, version, deployment,
  weight, spare, released_at, keep_seconds
FROM resources_now {} ORDER BY serves DESC, since DESC, resource
"""
STANDING = _STANDING.format("")
OF_PLACE = _STANDING.format("WHERE deliverable = ? AND instance = ?")
UNACCOUNTED = """
SELECT s.stage, max(coalesce(s.outcome, '') = 'success') AS succeeded FROM (
  SELECT id FROM stage_run WHERE run = :run AND environment = :name
  UNION SELECT stage_run FROM deployment WHERE deliverable = :deliverable AND instance = :instance
    AND replaced = 0 AND removed_at IS NULL
) x JOIN stage_run s ON s.id = x.id
WHERE s.kind = 'deploy' AND s.started_at IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM resource r WHERE r.run = s.run AND r.stage = s.stage)
GROUP BY s.stage ORDER BY s.stage
"""


class Made(NamedTuple):
    """A resource that exists, as far as is known."""

    id: str
    run: str
    deliverable: str
    environment: str
    instance: str
    component: str
    stage: str
    tool: str
    options: dict[str, Any]
    handle: Any
    lifetime: str
    machine: str
    """Mark of the machine that made it; empty where it has none."""
    node: str
    """The journal chain that made it."""
    stage_run: str
    serves: bool
    due: bool
    """Somebody has to take it away: it was made for a run that is over or given up; or for a lasting
    environment, serves nowhere and is not kept, and its deployment is over."""
    expires_seconds: int
    verb: str
    """What made it: create, provision, apply; deploy in histories of interface 1."""
    host: str
    address: str
    version: str
    """What it runs; of others than components the version of its run."""
    deployment: str
    """The deployment that made it."""
    weight: int
    """Its share of what comes, in percent, where it serves."""
    spare: bool
    """One of a component of a lasting environment that serves nowhere, and whose deployment is over."""
    released_at: str
    """Since when something else serves in its place (UTC); empty where it never served, or for something that
    was replaced itself."""
    keep_seconds: int

    @property
    def is_component(self) -> bool:
        """It belongs to a component, and not to a stage or to the environment as a whole."""
        return bool(self.component) and self.verb in ("create", "provision", "apply")

    @property
    def words(self) -> str:
        """What it is and where, for people."""
        return f"{self.component or self.tool} {self.id[:8]} in {self.instance}"

    @property
    def in_place(self) -> bool:
        """There is one of it, which was made or comes to versions: no instance that comes and goes."""
        return self.taken_by == "destroy"

    @property
    def taken_by(self) -> str:
        """The verb that takes it away."""
        return "remove" if self.verb == "create" else "destroy"


def is_own(journal: Journal, made: Made) -> bool:
    """Whether this machine made it: in this journal or another one of its."""
    mark = machine_mark()
    return made.machine == mark if made.machine and mark else made.node == journal.node


def is_of_home(journal: Journal, made: Made) -> bool:
    """Whether this journal, on this machine, said that it was made: what a tool makes in the folder of its environment
    lies beside the journal, and another home of the same machine has another folder."""
    known = made.node == journal.node or is_ours(journal.connection, made.node)
    return known and is_own(journal, made)


class Maker:
    """One attempt at a stage, or at the creation of an environment, that may make a resource."""

    def __init__(
        self,
        record: RunRecord,
        stage: Stage,
        environment: Environment | None,
        *,
        instance: str,
        stage_run: str = "",
        verb: str = "",
        first: Callable[[], None] = lambda: None,
    ) -> None:
        """``stage`` with an empty ``stage_run`` stands for the creation of ``environment``. ``first``
        is done between an intent and the side effect it describes."""
        self._record = record
        self._stage = stage
        self._place = environment
        self._instance = instance
        self._stage_run = stage_run
        self._verb = verb or stage.verb
        self.resource = mark_id(record.journal.ids.uuid(), record.ref.deliverable)
        """The id of what it may make."""
        self._first = first

    def intend(self, handle: Any) -> None:
        """Make a handle durable before its side effect. A later one of the same attempt describes the
        same resource."""
        from cxlocal.events.resources import Intent, run_intended

        place, record, stage = self._place, self._record, self._stage
        intent = Intent(
            resource=self.resource,
            component=stage.name if self._stage_run else "",
            environment="" if place is None else place.name,
            instance=self._instance,
            lifetime="lasting" if place is None else place.lifetime,
            stage=stage.name,
            stage_run=self._stage_run,
            tool=stage.tool,
            verb=self._verb,
            options=stage.options,
            handle=handle,
            machine=machine_mark(),
            deployment=record.open_deployment(self._stage_run) if self._stage_run else "",
            expires_seconds=expires_of(place),
        )
        record.record(run_intended(record.ref, intent))
        self._first()


def expires_of(place: Environment | None) -> int:
    """For how long nothing may be heard of a run before what it made there counts as left behind."""
    from cxlocal.events.resources import EXPIRES_SECONDS

    said = UNSET if place is None else place.expires_seconds
    return EXPIRES_SECONDS if said is UNSET else said


def standing(journal: Journal) -> list[Made]:
    """What exists, as far as is known; what serves and what is newest first."""
    return _standing(journal, STANDING)


def standing_in(journal: Journal, deliverable: str, instance: str) -> list[Made]:
    """The same of one environment."""
    return _standing(journal, OF_PLACE, deliverable, instance)


def _standing(journal: Journal, sql: str, *asked: str) -> list[Made]:
    catch_up(journal)
    return [
        Made(
            **{
                **row,
                "options": json.loads(row["options"]), "handle": json.loads(row["handle"]),
                "serves": bool(row["serves"]), "spare": bool(row["spare"]),
                "due": bool(row["due"]) or _is_over(row, journal.clock.now_ms()),
            }
        )
        for row in journal.query(sql, asked)
    ]  # fmt: skip


def _is_over(row: Mapping[str, Any], now_ms: int) -> bool:
    """Whether one of a lasting environment is due, by the clock of whoever would take it away: it served
    until lately, and is kept for a quick way back. A cutover in the future is not over."""
    if not row["spare"]:
        return False
    if not row["released_at"]:
        return True
    until: int = parse_utc(row["released_at"]) + row["keep_seconds"] * 1000
    return until <= now_ms


def may_be_used(made: Made, drain_seconds: int, now_ms: int) -> bool:
    """Whether requests may be under way at an instance that gets nothing new: another one serves in its place for
    less than the time to drain, or nobody knows since when it gets nothing. Whoever was to drain it may have been
    killed."""
    if not made.released_at:
        return True
    since: int = parse_utc(made.released_at)
    return since + drain_seconds * 1000 > now_ms


def handles(journal: Journal, deliverable: str, instance: str) -> dict[str, Any]:
    """The handle of every tool for what exists there: of what serves, else the newest."""
    found: dict[str, Any] = {}
    for one in standing_in(journal, deliverable, instance):
        found.setdefault(one.tool, one.handle)
    return found


def record_gone(record: RunRecord, ids: Sequence[str], how: str = "removed", why: str = "") -> None:
    """Resources exist no more; one commit."""
    from cxlocal.events.resources import resource_gone

    record.record(*(resource_gone(record.ref, resource=one, how=how, why=why) for one in ids))


def unaccounted(
    journal: Journal, deliverable: str, name: str, instance: str, run: str
) -> dict[str, bool]:
    """Stages that deployed into an environment, and of which no tool said what they made; whether they ever
    succeeded. ``run``: where it lives for one run only."""
    catch_up(journal)
    asked: Mapping[str, str] = {
        "deliverable": deliverable, "name": name, "instance": instance, "run": run,
    }  # fmt: skip
    rows = journal.query(UNACCOUNTED, asked)
    return {row["stage"]: bool(row["succeeded"]) for row in rows}
