"""A run made of single commands: found again by every process, reported to stage by stage.

A Makefile, a Jenkinsfile or five CI jobs each call short commands. Nothing but the journal holds
such a run together, so every process finds it anew: by ``CXLOCAL_RUN``, in a CI server by that
server's own id of the run, or by the file ``.cx/run`` that ``run start`` leaves in the project.

This module is what every reporting command imports, so it imports little: neither the plan's types
nor the configuration. A stage of the plan is read as JSON by SQLite itself.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from cxlocal.domain import Actor, Outcome
from cxlocal.errors import UsageError
from cxlocal.events.document import Draft, Event
from cxlocal.events.runs import RunRef, run_uri
from cxlocal.events.types import PIPELINE_QUEUED
from cxlocal.files import write_whole
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.record import RunRecord
from cxlocal.text import parse_utc

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal, Transaction
    from cxlocal.plan.types import Plan, Stage
    from cxlocal.processes.log import LogEntry

RUN_VARIABLE = "CXLOCAL_RUN"
RUN_FILE = os.path.join(".cx", "run")

RUN_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What may stand in the variable and in the file. The file lies in a checkout: it is not trusted to
be anything but the name of a run."""

CI_VARIABLES = (
    "CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "BUILD_ID", "TF_BUILD", "BUILDKITE",
    "TEAMCITY_VERSION", "CIRCLECI", "DRONE", "BITBUCKET_BUILD_NUMBER", "WOODPECKER",
)  # fmt: skip
"""One of these is set in every CI server we know of. Only then are plugins asked which it is."""

KINDS = ("build", "test", "deploy", "publish", "task")

RUN = """
SELECT run.deliverable, run.kind, run.version, run.number, run.line, run.revision, run.actor,
  run.actor_how, run.place_url, run.queued_at, run.finished_at, run.plan_sha256,
  deliverable.title, deliverable.repository
FROM run LEFT JOIN deliverable ON deliverable.id = run.deliverable WHERE run.id = ?
"""
STAGE = """
SELECT stage.value AS stage FROM plan, json_each(plan.plan, '$.stages') AS stage
WHERE plan.sha256 = ? AND stage.value ->> '$.name' = ?
"""
LAST_ATTEMPT = "SELECT max(attempt) FROM stage_run WHERE run = ? AND stage = ?"
OF_CI = """
SELECT run.id AS id FROM run
  JOIN run_lookup ON run_lookup.name = run.id JOIN event ON event.run = run_lookup.id
WHERE run.place_kind = 'ci' AND run.place = ? AND run.deliverable = ?
  AND event.type = (SELECT id FROM type_lookup WHERE name = ?)
  AND event.document ->> '$.customData.cxlocal.place.run_id' = ?
  AND coalesce(event.document ->> '$.customData.cxlocal.place.attempt', '') = ?
ORDER BY run.queued_at DESC LIMIT 1
"""


class PieceStage(NamedTuple):
    """One stage of a run: what the plan says about the stage of that name, or a free name."""

    name: str
    kind: str = "task"
    tool: str = ""
    verb: str = ""
    environment: str = ""
    planned: bool = False
    """The plan has a stage of this name."""
    timeout_seconds: float | None = None
    secrets: tuple[str, ...] = ()
    reports: tuple[tuple[str, str], ...] = ()
    """Format and path."""
    produces: tuple[tuple[str, str], ...] = ()
    """Name and path."""


class PieceRecord(RunRecord):
    """A run as one short command sees it. Its plan is only read when somebody asks for it."""

    ended = False
    """The run has been finished."""
    known = True
    """Its beginning is in the journal here."""
    plan_sha256 = ""
    _plan: Plan | None = None
    _transaction: Transaction | None = None

    @property
    def plan(self) -> Plan:
        """The frozen plan. Raises UsageError when it is not here."""
        if self._plan is None:
            self._plan = RunRecord.attach(self.journal, self.run).plan
        return self._plan

    @plan.setter
    def plan(self, plan: Plan | None) -> None:
        self._plan = plan

    def record(self, *drafts: Draft) -> list[Event]:
        """As of every run; inside ``begin_stage`` into the transaction that is open."""
        if self._transaction is None:
            return super().record(*drafts)
        return [self._transaction.append(draft) for draft in drafts]

    def stage(self, name: str, kind: str = "") -> PieceStage:
        """What is to be known about a stage before it begins."""
        row = self.journal.one(STAGE, (self.plan_sha256, name)) if self.plan_sha256 else None
        if row is None:
            return PieceStage(name, kind or "task")
        stage: dict[str, Any] = json.loads(row["stage"])
        return PieceStage(
            name,
            kind or str(stage.get("kind", "task")),
            environment=str(stage.get("environment", "")),
            planned=True,
            timeout_seconds=stage.get("timeout_seconds"),
            secrets=tuple(stage.get("secrets", ())),
            reports=tuple((one["format"], one["path"]) for one in stage.get("reports", ())),
            produces=tuple(
                (one["name"], one["path"]) for one in stage.get("produces", ()) if one["path"]
            ),
        )

    def begin_stage(self, stage: PieceStage, instance: str = "") -> int:
        """Record that a stage begins; which attempt it is. Two processes never get the same."""
        catch_up(self.journal)
        with self.journal.write() as transaction:
            row = transaction.connection.execute(LAST_ATTEMPT, (self.run, stage.name)).fetchone()
            attempt = int(row[0] or 0) + 1
            self._transaction = transaction
            try:
                self.stage_started(
                    as_stage(stage), attempt, ready_at_ms=self.journal.clock.now_ms(),
                    instance=instance,
                )  # fmt: skip
            finally:
                self._transaction = None
        return attempt

    def end_stage(
        self,
        stage: PieceStage,
        attempt: int,
        outcome: Outcome,
        reason: str,
        *,
        started_ms: int,
        seconds: float | None = None,
        exit_code: int | None = None,
        log: LogEntry | None = None,
        details: dict[str, Any] | None = None,
        extra: Sequence[Draft] = (),
    ) -> None:
        """Record that a stage ended now."""
        self.stage_finished(
            as_stage(stage),
            attempt,
            outcome,
            reason,
            started_ms=started_ms,
            finished_ms=max(started_ms, self.journal.clock.now_ms()),
            seconds=seconds,
            exit_code=exit_code,
            log=log,
            details=details,
            extra=extra,
        )

    def open_attempt(self, name: str) -> tuple[int, int] | None:
        """The last attempt of a stage that has begun and not ended: number, and when it began in
        milliseconds since 1970. None when there is none."""
        catch_up(self.journal)
        row = self.journal.one(
            "SELECT attempt, started_at FROM stage_run WHERE run = ? AND stage = ?"
            " AND outcome IS NULL AND started_at IS NOT NULL ORDER BY attempt DESC LIMIT 1",
            (self.run, name),
        )
        return None if row is None else (int(row["attempt"]), parse_utc(row["started_at"]))


def as_stage(stage: PieceStage) -> Stage:
    """A stage where a stage of the plan is asked for: recording reads no more than it has."""
    return cast("Stage", stage)


def attach(journal: Journal, run: str, *, deliverable: str = "") -> PieceRecord:
    """The run ``run``, as cheaply as it can be had.

    A run that began on another machine can be reported to before its beginning arrives here, if
    ``deliverable`` is known. Raises UsageError.
    """
    catch_up(journal)
    row = journal.one(RUN, (run,))
    nobody = cast("Plan", None)
    if row is None or row["queued_at"] is None:
        if not deliverable:
            raise UsageError(
                f"run {run} is not known on this machine",
                why="its beginning is not in the journal here",
                hint="eval \"$(cxlocal run start)\" begins one; 'cxlocal sync' fetches others",
                name="no-such-run",
                run=run,
            )
        ref = RunRef(deliverable, run, deliverable, run_uri(run, ""))
        record = PieceRecord(journal, ref, nobody, "release", Actor("", ""), "")
        record.known = False
        return record
    name = row["deliverable"]
    ref = RunRef(name, run, row["title"] or name, run_uri(run, row["place_url"] or ""))
    actor = Actor(row["actor"] or "", row["actor_how"] or "")
    record = PieceRecord(journal, ref, nobody, row["kind"] or "", actor, row["revision"] or "")
    record.version, record.number = row["version"] or "", row["number"]
    record.line, record.repository = row["line"] or "", row["repository"] or ""
    record.plan_sha256, record.ended = row["plan_sha256"] or "", row["finished_at"] is not None
    return record


def named_run(environ: Mapping[str, str]) -> str:
    """The run that ``CXLOCAL_RUN`` names; empty when unset. Raises UsageError for no id."""
    run = environ.get(RUN_VARIABLE, "").strip()
    if run and not re.fullmatch(RUN_ID, run):
        raise UsageError(
            f"{RUN_VARIABLE} does not hold the id of a run: {run[:60]!r}",
            why="the id of a run is 36 characters, as 'cxlocal run start' prints it",
            hint='set it with: eval "$(cxlocal run start)"',
            name="bad-run",
        )
    return run


def in_ci(environ: Mapping[str, str]) -> bool:
    """Whether this may be a CI server, by a look at the environment alone."""
    return any(environ.get(name) for name in CI_VARIABLES) or any(
        name.startswith("CXLOCAL_CI_") for name in environ
    )


def run_of_ci(journal: Journal, deliverable: str, place: str, run_id: str, attempt: str) -> str:
    """The run of a deliverable that was started for a CI server's run; empty for none."""
    if not run_id:
        return ""
    catch_up(journal)
    row = journal.one(OF_CI, (place, deliverable, PIPELINE_QUEUED, run_id, attempt))
    return str(row["id"]) if row else ""


def run_of_folder(folder: Path | str | None) -> str:
    """The run that ``.cx/run`` of the project names; empty for none."""
    if folder is None:
        return ""
    try:
        with open(os.path.join(folder, RUN_FILE), encoding="ascii", errors="replace") as file:
            text = file.read(200).strip()
    except OSError:
        return ""
    return text if re.fullmatch(RUN_ID, text) else ""


def remember_run(folder: Path | str, run: str) -> None:
    """Write ``.cx/run``. Raises OSError."""
    path = Path(folder, RUN_FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, run + "\n", mode=0o666, durable=False)


def forget_run(folder: Path | str | None, run: str) -> None:
    """Take ``.cx/run`` away if it names ``run``."""
    if folder is not None and run_of_folder(folder) == run:
        os.unlink(os.path.join(folder, RUN_FILE))
