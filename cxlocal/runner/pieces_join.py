"""Which run a job of a CI server belongs to.

A run is joined only if it is this run: begun for the same run of the server, of the same commit, and
open. One that was finished goes on where the server tries the job again, under its own number.
Servers reuse their ids (a job that is deleted and made again counts from 1), so an id alone is
never believed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cxlocal.errors import Refused
from cxlocal.events.types import PIPELINE_QUEUED, RUN_RESUMED
from cxlocal.journal.rebuild import catch_up
from cxlocal.projection.stages import counted

if TYPE_CHECKING:
    from cxlocal.hooks.place import Place
    from cxlocal.journal.file import Journal
    from cxlocal.runner.pieces import PieceRecord

OF_CI = """
SELECT run.id AS id, run.revision AS revision, run.version AS version,
  run.finished_at IS NOT NULL AS ended FROM run
  JOIN run_lookup ON run_lookup.name = run.id JOIN event ON event.run = run_lookup.id
WHERE run.place_kind = 'ci' AND run.place = ? AND run.deliverable = ?
  AND event.type = (SELECT id FROM type_lookup WHERE name = ?)
  AND event.document ->> '$.customData.cxlocal.place.run_id' = ?
ORDER BY run.queued_at DESC
"""
PLACES = """
SELECT e.document ->> '$.customData.cxlocal.place' AS place FROM event e
JOIN run_lookup r ON r.id = e.run JOIN type_lookup t ON t.id = e.type
WHERE r.name = ? AND t.name IN (?, ?)
"""
REPORTED = "SELECT DISTINCT job, run_attempt, job_attempt FROM stage_run WHERE run = ?"


class Tried(NamedTuple):
    """An attempt of a job, as the server counts; 0: it does not."""

    job: str
    run_attempt: int
    job_attempt: int


class CiRun(NamedTuple):
    """A run that began for the run of a CI server."""

    id: str
    revision: str
    version: str
    ended: bool

    @property
    def shown(self) -> str:
        """How messages call it."""
        return self.version or self.id[:8]


class Joined(NamedTuple):
    """What a job of the CI server is to do."""

    run: CiRun | None
    """The run to go on with; None: there is none, or it must not be joined."""
    again: bool = False
    """The run was finished, and the server tries this job again."""
    other: CiRun | None = None
    """One of the same id that is not this run."""


def tried_by(place: Place) -> Tried:
    """The attempt that this job is."""
    return Tried(place.job, counted(place.attempt) or 0, counted(place.job_attempt) or 0)


def is_higher(now: Tried, before: Iterable[Tried]) -> bool:
    """Whether the server tries again what ``before`` it has tried: the run, or this job."""
    seen = list(before)
    if now.run_attempt > max((one.run_attempt for one in seen), default=now.run_attempt):
        return True
    same = [one.job_attempt for one in seen if one.job == now.job]
    return bool(same) and 0 < max(same) < now.job_attempt


def choose(
    found: Sequence[CiRun], commit: str, higher: Callable[[CiRun], bool], *, begins: bool
) -> Joined:
    """Which of the runs of one id of the server, newest first, a job of ``commit`` goes on with.

    An empty ``commit`` is not known, and any will do. One that ``begins`` joins an open run, or one
    that is tried again; other commands also speak of a run that was finished. Pure.
    """
    same = [one for one in found if not commit or one.revision == commit]
    if same and not same[0].ended:
        return Joined(same[0])
    if same and higher(same[0]):
        return Joined(same[0], again=True)
    if same and not begins:
        return Joined(same[0])
    return Joined(None, other=next((one for one in found if not one.ended), None) or (
        found[0] if found else None
    ))  # fmt: skip


def find_joined(
    journal: Journal, deliverable: str, place: Place, commit: str, *, begins: bool
) -> Joined:
    """The run of a deliverable that a job of a CI server goes on with."""
    if place.kind != "ci" or not place.run_id:
        return Joined(None)
    catch_up(journal)
    rows = journal.query(OF_CI, (place.name, deliverable, PIPELINE_QUEUED, place.run_id))
    runs = {
        row["id"]: CiRun(row["id"], row["revision"] or "", row["version"] or "", bool(row["ended"]))
        for row in rows
    }

    def higher(run: CiRun) -> bool:
        return is_higher(tried_by(place), attempts_of(journal, run.id))

    return choose(list(runs.values()), commit, higher, begins=begins)


def attempts_of(journal: Journal, run: str) -> list[Tried]:
    """The attempts of jobs that have said anything of a run."""
    rows = journal.query(PLACES, (run, PIPELINE_QUEUED, RUN_RESUMED))
    places = [_place(row["place"]) for row in rows if row["place"]]
    found = [
        Tried(str(one.get("job") or ""), counted(one.get("attempt")) or 0,
              counted(one.get("job_attempt")) or 0)
        for one in places
    ]  # fmt: skip
    found += [
        Tried(row["job"] or "", row["run_attempt"] or 0, row["job_attempt"] or 0)
        for row in journal.query(REPORTED, (run,))
    ]
    return found


def _place(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def go_on(record: PieceRecord, place: Place, *, again: bool = False) -> None:
    """Take a run up again that was finished, where the server tries this job ``again``, or where the
    journal says that it does."""
    if not record.ended or place.kind != "ci":
        return
    if again or is_higher(tried_by(place), attempts_of(record.journal, record.run)):
        record.turn = record.last_turn()
        told = {"name": place.name, "job": place.job, "attempt": place.attempt,
                "job_attempt": place.job_attempt}  # fmt: skip
        reason = f"{place.name} runs it again"
        record.resumed(sorted(record.succeeded()), record.actor, reason, place=told)


def refuse_other(other: CiRun, commit: str, place: Place) -> Refused:
    """Two commits in one run of the server."""
    return Refused(
        f"run {other.shown} of this {place.name} run is one of commit {other.revision[:12]},"
        f" and this job has {commit[:12]}",
        why="what one run builds, tests and deploys is one commit",
        hint=f"check out {other.revision[:12]} here; or end that run (CXLOCAL_RUN={other.id} cxlocal"
        " run finish); or begin one of its own: cxlocal run start --new",
        name="other-commit",
        revision=other.revision,
        found=commit,
    )
