"""Stages that are done and run again on resume because their working files are not there.

It is for the files only: outcome, artifacts, reports and promotions stay as they were recorded. What
comes out differently is named, and the recorded bytes are put in its place.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.domain import Outcome
from cxlocal.errors import CxError
from cxlocal.events.runs import run_repeated
from cxlocal.journal.blobs import digest_of
from cxlocal.plan.working_files import may_be_repeated, may_be_wanted, missing, read_left
from cxlocal.processes.child import End
from cxlocal.processes.log import LogEntry, StageLog
from cxlocal.runner import caches
from cxlocal.runner.attempt import At, words_of, work_on
from cxlocal.runner.outcomes import REASON_CHARACTERS
from cxlocal.runner.stage_outputs import put_back
from cxlocal.runner.voice import Ending
from cxlocal.runner.work import Launch, Program, Work
from cxlocal.runner.workspace import matches
from cxlocal.text import shorten
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.plan.types import Stage
    from cxlocal.runner.record import RunRecord
    from cxlocal.runner.workspace import Workspace

NAMED_MAX = 4
"""Missing files that are said; the record has all of them."""


class BackAgain(NamedTuple):
    """How the working files of stages that are done come back into a fresh checkout."""

    cached: tuple[Stage, ...]
    """From their caches."""
    repeated: Mapping[str, tuple[str, ...]]
    """By running again: which files are missing."""
    lost: Mapping[str, tuple[str, ...]]
    """Not at all, as the stage must not run twice."""


def find_missing(
    record: RunRecord, workspace: Workspace, pending: Collection[str], done: Collection[str]
) -> BackAgain:
    """Which stages must be repeated, and whose caches are enough. Nothing is changed."""
    if workspace.in_place:
        return BackAgain((), {}, {})
    left_by, made = _left(record), _artifact_names(record)
    is_cached = partial(caches.is_kept, record.journal.home, record.plan, workspace)
    cached: list[Stage] = []
    repeated: dict[str, tuple[str, ...]] = {}
    lost: dict[str, tuple[str, ...]] = {}
    for stage in may_be_wanted(record.plan, pending, done):
        left = read_left(left_by.get(stage.name))

        if left is not None and (gone := missing(stage, left, made, is_cached)):
            (repeated if may_be_repeated(stage) else lost)[stage.name] = gone
        if stage.name not in repeated and any(map(is_cached, stage.caches)):
            cached.append(stage)
    return BackAgain(tuple(cached), repeated, lost)


_LEFT = """
SELECT stage, json_extract(details, '$.left') AS left_files FROM stage_run
WHERE run = ? AND outcome = 'success' AND details IS NOT NULL ORDER BY attempt
"""


def _left(record: RunRecord) -> dict[str, object]:
    rows = record.journal.query(_LEFT, (record.run,))
    return {row["stage"]: json.loads(row["left_files"] or "null") for row in rows}


def _artifact_names(record: RunRecord) -> frozenset[str]:
    rows = record.journal.query(
        "SELECT name FROM artifact WHERE run = ? AND packaged_at IS NOT NULL"
        " AND replaced_at IS NULL",
        (record.run,),
    )
    return frozenset(row["name"] for row in rows)


def words_of_missing(paths: Sequence[str]) -> str:
    """``build/, a.txt and 7 more``."""
    more = len(paths) - NAMED_MAX
    return ", ".join(paths[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def repeat(work: Work, stage: Stage) -> Program:
    """Run a stage again for its files; tried as often as the stage may be."""
    outcome = Outcome.ERROR
    for turn in range(stage.retries + 1):
        outcome = yield from _repeat_once(work, stage, is_last=turn == stage.retries)
        if outcome in (Outcome.SUCCESS, Outcome.CANCEL):
            break
    return outcome


def _repeat_once(work: Work, stage: Stage, *, is_last: bool) -> Program:
    clock, attempt = work.record.journal.clock, work.first_attempt.get(stage.name, 1)
    work.voice.started(stage.name, 1)
    began = clock.monotonic()
    log = StageLog.create(
        work.log_folder, stage.name, masker=work.masker, echo=work.voice.echo(stage.name),
        now_ms=clock.now_ms,
    )  # fmt: skip
    gone = work.repeated[stage.name]
    log.note(f"again, for its files only: {words_of_missing(gone)}")
    at = At(work, stage, attempt, log, {}, [])
    outcome, reason, other = yield from _work_again(at)
    reason = shorten(work.masker.text(reason), REASON_CHARACTERS)
    log.note(f"{outcome}: {reason}" if reason else f"{outcome}")
    seconds, entry = clock.monotonic() - began, log.close()
    _tell(at, entry, outcome, reason, seconds, other)
    over = is_last or outcome in (Outcome.SUCCESS, Outcome.CANCEL)
    work.voice.ended(
        Ending(stage.name, outcome, seconds, reason, 1, over, str(log.path), tuple(at.said))
    )
    return outcome


def _tell(
    at: At, entry: LogEntry, outcome: Outcome, reason: str, seconds: float,
    other: list[dict[str, str]],
) -> None:  # fmt: skip
    """Record it, and put what was recorded before where the repetition left something else."""
    work, stage = at.work, at.stage
    facts = {
        "missing": [work.masker.text(path) for path in work.repeated[stage.name]],
        "seconds": round(seconds, 3),
        "log": entry.facts(work.home),
        "other_bytes": other,
    }
    work.record.record(
        run_repeated(work.record.ref, stage=stage.name, outcome=outcome, reason=reason, facts=facts)
    )
    at.said.insert(0, "again, for its files only: what is recorded of it stays")
    for one in other:
        at.said.append(
            f"artifact {one['name']} came out with other bytes, sha256:{one['made'][:12]}…;"
            f" the recorded ones are used, sha256:{one['recorded'][:12]}…"
        )
    if outcome == Outcome.SUCCESS:
        put_back(work, [stage.name])


def _work_again(at: At) -> Generator[Launch, End, tuple[Outcome, str, list[dict[str, str]]]]:
    work, stage, folder = at.work, at.stage, at.work.workspace.project
    try:
        hits = caches.bring_in(work, stage, folder)
        worked = yield from work_on(at, folder)
        other = []
        if worked.outcome == Outcome.SUCCESS:
            caches.keep(work, stage, folder, hits)
            produced = {one.name: one.path for one in worked.produced}
            other = _other_bytes(work, stage, folder, produced)
        at.said.extend(caches.told(folder, hits))
    except (CxError, OSError) as problem:
        return Outcome.ERROR, words_of(problem), []
    return worked.outcome, worked.reason, other


def _other_bytes(
    work: Work, stage: Stage, folder: Path, produced: Mapping[str, Path]
) -> list[dict[str, str]]:
    """The artifacts that differ from what was recorded."""
    found = []
    for output in stage.produces:
        known = work.artifacts.get(output.name)
        paths = (
            [produced[output.name]]
            if output.name in produced
            else matches(folder, output.path) if output.path else []
        )  # fmt: skip
        for path in paths if known is not None else ():
            made, _ = digest_of(path)
            if known is not None and made != known.sha256:
                found.append({"name": output.name, "recorded": known.sha256, "made": made})
    return found
