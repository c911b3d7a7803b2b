"""A version at the door of a lasting environment: whether it may go in, and what is said before it
does.

Every way to a deployment passes here: a run, begun or resumed, ``deploy`` and ``rollback``, and a
stage that single commands or a Python program report. Whoever comes holds the environment's lock
(``hold``), asks (``admit``), and says that it begins (``begin``) right before anything is changed;
that it failed is recorded with the end of its stage (``RunRecord.stage_finished``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused
from cxlocal.events.belonging import mark_id
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.types import Environment, Plan, Stage
from cxlocal.processes import locks
from cxlocal.runner import leftovers, orphans
from cxlocal.runner.noted import of_locked
from cxlocal.runner.record import RunRecord
from cxlocal.text import parse_utc, quoted
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.events import places

SORT_KEYS = """
SELECT run, max(sort_key) AS sort_key FROM version
WHERE run IN (SELECT value FROM json_each(?)) AND used_at IS NOT NULL GROUP BY run
"""
NOT_ENDED = """
SELECT u.run, s.stage, s.attempt, s.started_at FROM deployments_unfinished u
JOIN stage_run s ON s.id = u.stage_run AND s.outcome IS NULL
WHERE u.deliverable = ? AND u.instance = ? AND u.node = ? AND u.state = 'not ended' AND u.watched
"""


NEWEST_THERE = """
SELECT p.version, (SELECT max(v.sort_key) FROM version v WHERE v.run = p.run AND v.used_at IS NOT NULL) AS sort_key
FROM publication p WHERE p.deliverable = ? AND p.target = ? AND p.state = 'there' AND p.withdrawn_at IS NULL
ORDER BY p.found_at DESC LIMIT 50
"""
STANDS = "SELECT state, withdrawn_at FROM publication WHERE run = ? AND target = ?"
TAKEN_BACK = """
SELECT target, withdrawn_at, withdrawn_why FROM publication
WHERE run = ? AND withdrawn_at IS NOT NULL ORDER BY target LIMIT 1
"""


class Way(NamedTuple):
    """How somebody comes to deploy."""

    again: str
    """The command that tries this again."""
    allow_older: bool = False
    back: bool = False
    """It is a rollback: going back is what is wanted."""
    reason: str = ""
    watched: bool = True
    """This process sees it through under the environment's lock."""
    anyway: bool = False
    """A version that was taken back from a target may be deployed."""
    put_again: str = ""
    """Why what is published is put there once more; empty where it is not."""


def reason_of(record: RunRecord) -> str:
    """What was said as the run began: why its own stages deploy."""
    row = record.journal.one("SELECT reason FROM run WHERE id = ?", (record.run,))
    return (row and row["reason"]) or ""


def door_of(plan: Plan, stage: Stage) -> str:
    """The place that one at a time may change, a lasting environment or a target; empty for none."""
    place = lasting_place(plan, stage)
    return stage.publishes_to if place is None else place.name


def lasting_place(plan: Plan, stage: Stage) -> Environment | None:
    """The lasting environment that a stage deploys into; None for any other stage."""
    if stage.kind != "deploy" or not stage.environment:
        return None
    place = plan.environment(stage.environment)
    return place if place.lifetime == "lasting" else None


def hold(
    journal: Journal, deliverable: str, environment: str, who: str, warn: Callable[[str], None]
) -> locks.Lock | None:
    """Have an environment to ourselves; None while somebody else has it.

    Whatever began to be deployed there on this machine and did not end was cut off: its process would
    have the lock. What it left running is ended, as it would come to its end after ours, and that it
    was cut off is recorded.
    """
    path = locks.environment_lock(journal.home, deliverable, environment)
    lock = locks.take(path, who)
    if lock is not None:
        left = leftovers.end_left(of_locked(path), journal.clock)
        if left:
            warn(f"still running, and could not be ended: {', '.join(left)}")
        catch_up(journal)
        for row in journal.query(NOT_ENDED, (deliverable, environment, journal.node)):
            _end_cut_off(journal, row["run"], row["stage"], row["attempt"], row["started_at"])
    return lock


def _end_cut_off(journal: Journal, run: str, stage: str, attempt: int, started_at: str) -> None:
    try:
        record = RunRecord.attach(journal, run)
        planned = record.plan.stage(stage)
    except (CxError, KeyError):
        return  # its plan is not here: it goes on being shown as not ended
    record.stage_finished(
        planned, attempt, Outcome.ERROR, orphans.GONE, cut_off=True,
        started_ms=parse_utc(started_at), finished_ms=journal.clock.now_ms(),
    )  # fmt: skip


DEPLOYS, PUBLISHES = "changes", "publishes to"
"""What is done at a place, in words."""


def busy(journal: Journal, deliverable: str, environment: str, does: str = DEPLOYS) -> Refused:
    """The refusal where ``hold`` gave no lock."""
    return Refused(
        f"another command {does} {environment}",
        why=locks.holder(locks.environment_lock(journal.home, deliverable, environment)),
        hint="run this again when it is done",
        name="environment-busy",
    )


def newer_than(own_key: str, there: Iterable[tuple[str, str]]) -> str:
    """The newest of the versions ``there`` (text, sort key) if it is newer than the version with the
    sort key ``own_key``; empty when none is. What has no sort key is neither older nor newer. Pure."""
    newest = max(((key, text) for text, key in there if key), default=("", ""))
    return newest[1] if own_key and own_key < newest[0] else ""


def admit(record: RunRecord, stage: Stage, way: Way) -> None:
    """Let a version in, or raise Refused where something newer is live; that is recorded, too."""
    place = lasting_place(record.plan, stage)
    if place is None:
        return
    _refuse_taken_back(record, place, way)
    if way.allow_older or way.back:
        return
    from cxlocal.runner.placements import live

    rows = live(record, place.name)
    runs = [record.run, *(row["version_run"] or "" for row in rows)]
    found = record.journal.query(SORT_KEYS, (json.dumps(runs),))
    keys = {row["run"]: row["sort_key"] or "" for row in found}
    there = [(row["version"] or "", keys.get(row["version_run"], "")) for row in rows]
    newer = newer_than(keys.get(record.run, ""), there)
    if not newer:
        return
    from cxlocal.events import places

    words = f"{record.version} is older than {newer}, which is live in {place.name}"
    attempt = _attempt(record, place, stage, "", way)
    record.record(places.deployment_refused(record.ref, attempt, newer=newer, why=words))
    raise Refused(
        words,
        why="a deployment that goes back is easily a mistake",
        hint=f"cxlocal rollback {quoted(place.name)} --to {quoted(record.version)} goes back and says so;"
        f" or: {way.again}",
        name="older-than-live",
    )


def _refuse_taken_back(record: RunRecord, place: Environment, way: Way) -> None:
    row = record.journal.one(TAKEN_BACK, (record.run,))
    if row is None or way.anyway:
        return
    command = f"deploy {quoted(record.version)} --env {quoted(place.name)}"
    if way.back:
        command = f"rollback {quoted(place.name)} --to {quoted(record.version)}"
    raise Refused(
        f"{record.version} was taken back from {row['target']}",
        why=f"{row['withdrawn_why']} ({row['withdrawn_at']})",
        hint=f"name another version, or: cxlocal {command} --anyway",
        name="withdrawn",
    )


def admit_to_target(record: RunRecord, stage: Stage, way: Way) -> None:
    """Let a version go to a target, or raise Refused where something newer is there."""
    target = stage.publishes_to
    if not target or way.allow_older:
        return
    stands = record.journal.one(STANDS, (record.run, target))
    if stands is not None and stands["state"] == "there" and not stands["withdrawn_at"]:
        return  # What is asked for now changes nothing.
    rows = record.journal.query(NEWEST_THERE, (record.ref.deliverable, target))
    own = record.journal.query(SORT_KEYS, (json.dumps([record.run]),))
    there = [(row["version"] or "", row["sort_key"] or "") for row in rows]
    newer = newer_than(own[0]["sort_key"] or "" if own else "", there)
    if newer:
        raise Refused(
            f"{record.version} is older than {newer}, which {target} has",
            why="whoever asks for the newest there may get the older one",
            hint=f"if that is right: cxlocal publish {quoted(record.version)} "
            + (
                f"--again {quoted(target)} -m {quoted(way.put_again)}"
                if way.put_again
                else f"--to {quoted(target)}"
            )
            + " --allow-older",
            name="older-than-published",
        )


def begin(
    record: RunRecord, stage: Stage, attempt: int, way: Way, *, service: str = "", turn: int = 0
) -> None:
    """Say, durably, that the environment is about to be changed. It takes the place of what this or
    an earlier plan tried there in vain, except by stages that go on deploying beside this one. ``service``
    where it is known before; ``turn``: number of the turn, where components are changed."""
    place = lasting_place(record.plan, stage)
    if place is None:
        return
    from cxlocal.events import places
    from cxlocal.runner.placements import environment_created_draft, is_known, unfinished

    beside = record.plan.beside(stage)
    before = [row for row in unfinished(record, place.name) if row["stage"] not in beside]
    stage_run = record.ref.stage_run(stage.name, attempt)
    tried = _attempt(record, place, stage, stage_run, way)._replace(turn=turn)
    if service:
        tried = tried._replace(service=service)
    drafts = [
        places.deployment_started(record.ref, tried, replaces=[row["deployment"] for row in before])
    ]
    if not is_known(record, place.name):
        drafts.insert(0, environment_created_draft(record, place, tool="", stage=""))
    record.record(*drafts)


def _attempt(
    record: RunRecord, place: Environment, stage: Stage, stage_run: str, way: Way
) -> places.Attempt:
    from cxlocal.events import places

    return places.Attempt(
        deployment=mark_id(record.journal.ids.uuid(), record.ref.deliverable),
        kind="rollback" if way.back else "deploy",
        service=record.plan.service_of(stage),
        environment=place.name,
        instance=place.name,
        version=record.version,
        stage=stage.name,
        stage_run=stage_run,
        actor=record.actor._asdict(),
        reason=way.reason,
        watched=way.watched,
    )
