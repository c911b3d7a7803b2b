"""A run made of single commands: found again by every process, reported to stage by stage.

A Makefile, a Jenkinsfile or five CI jobs each call short commands. Nothing but the journal holds
such a run together, so every process finds it anew: by ``CXLOCAL_RUN``, in a CI server by that
server's own id of the run, or by the file ``.cx/run`` that ``run start`` leaves in the project.

This module is what every reporting command imports, so it imports little: of the plan its types,
nothing of the configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from cxlocal.domain import Actor
from cxlocal.errors import UsageError
from cxlocal.events.runs import RunRef, run_uri
from cxlocal.events.types import PIPELINE_QUEUED
from cxlocal.files import write_whole
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.types import Stage
from cxlocal.runner.record import RunRecord
from cxlocal.text import parse_utc

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal

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

PACKAGED = (
    "SELECT DISTINCT name FROM artifact WHERE run = ? AND packaged_at IS NOT NULL ORDER BY name"
)
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


class PieceRecord(RunRecord):
    """A run as one short command sees it."""

    known = True
    """Its beginning is in the journal here."""

    def stage(self, name: str, kind: str = "") -> Stage:
        """What the plan says about the stage of that name, done by a command instead of a tool; a
        free name has no time limit and may use all artifacts so far. Raises ConfigError for the plan of a newer cxlocal."""
        plan = self.find_plan()
        for stage in plan.stages if plan is not None else ():
            if stage.name == name:
                return replace(stage, kind=kind or stage.kind, tool="", verb="")
        rows = self.journal.query(PACKAGED, (self.run,))
        free = free_stage(name, kind)
        return replace(free, artifacts=tuple(row["name"] for row in rows)) if rows else free

    def begin_stage(self, stage: Stage) -> int:
        """Record that a stage begins; which attempt it is. Two processes never get the same."""
        catch_up(self.journal)
        with self.journal.write() as transaction:
            row = transaction.connection.execute(LAST_ATTEMPT, (self.run, stage.name)).fetchone()
            attempt = int(row[0] or 0) + 1
            now_ms = self.journal.clock.now_ms()
            for draft in self.stage_started_drafts(stage, attempt, ready_at_ms=now_ms):
                transaction.append(draft)
        return attempt

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


def free_stage(name: str, kind: str = "") -> Stage:
    """A stage that stands in no plan."""
    return Stage(name=name, kind=kind or "task", timeout_seconds=0)


def attach(journal: Journal, run: str, *, deliverable: str = "") -> PieceRecord:
    """The run ``run``, as cheaply as it can be had.

    A run that began on another machine can be reported to before its beginning arrives here, if
    ``deliverable`` is known. Raises UsageError.
    """
    record = PieceRecord.find(journal, run)
    if record is None:
        if not deliverable:
            raise UsageError(
                f"run {run} is not known on this machine",
                why="its beginning is not in the journal here",
                hint="eval \"$(cxlocal run start)\" begins one; 'cxlocal sync' fetches others",
                name="no-such-run",
                run=run,
            )
        ref = RunRef(deliverable, run, deliverable, run_uri(run, ""))
        record = PieceRecord(journal, ref, None, "release", Actor("", ""), "")
        record.known = False
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
