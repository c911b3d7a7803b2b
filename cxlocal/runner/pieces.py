"""A run made of single commands: found again by every process, reported to stage by stage.

A Makefile, a Jenkinsfile or five CI jobs each call short commands. Nothing but the journal holds
such a run together, so every process finds it anew: by ``CXLOCAL_RUN``, in a CI server by that
server's own id of the run, or by the file ``.cx/run`` that ``run start`` leaves in the project.

This module is what every reporting command imports, so it imports little: of the plan its types,
nothing of the configuration.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.domain import Actor, Outcome, path_part
from cxlocal.errors import UsageError
from cxlocal.events.runs import RunRef, run_uri
from cxlocal.files import open_plain, write_whole
from cxlocal.journal.append import begin_chain
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.free import FreeStage
from cxlocal.projection.apply import ATTEMPTS, read_attempt
from cxlocal.projection.parts import Attempt, counting, replaceable
from cxlocal.projection.stages import counted
from cxlocal.runner.noted import ENDING, STAGES, of_locked
from cxlocal.runner.record import CHAIN_CHARACTERS, RunRecord
from cxlocal.text import clean_text, cut_name, parse_utc, utc_text
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.clock import Clock
    from cxlocal.hooks.place import Place
    from cxlocal.journal.file import Journal
    from cxlocal.plan.free import AnyStage
    from cxlocal.plan.types import Stage
    from cxlocal.processes.locks import Lock

RUN_VARIABLE = "CXLOCAL_RUN"
RUN_FILE = os.path.join(".cx", "run")

RUN_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What may stand in the variable and in the file. The file lies in a checkout: it is not trusted to
be anything but the name of a run."""

PART_VARIABLE = "CXLOCAL_PART"
PART_CHARACTERS = 100

CI_VARIABLES = (
    "CI", "GITHUB_ACTIONS", "GITEA_ACTIONS", "GITLAB_CI", "JENKINS_URL", "BUILD_ID", "TF_BUILD",
    "BUILDKITE", "TEAMCITY_VERSION", "CIRCLECI", "DRONE", "BITBUCKET_BUILD_NUMBER", "WOODPECKER",
    "bamboo_planKey", "bamboo_agentId", "GO_PIPELINE_LABEL", "TRAVIS", "APPVEYOR",
    "CODEBUILD_BUILD_ARN", "CODEBUILD_CI", "CF_BUILD_ID", "SEMAPHORE", "BITRISE_IO", "CIRRUS_CI",
    "HARNESS_BUILD_ID", "PROW_JOB_ID", "BUILDER_OUTPUT",
)  # fmt: skip
"""One of these is set in every CI server we know of. Only then are plugins asked which it is."""

KINDS = ("build", "test", "deploy", "publish", "task")

PLANNED = """
SELECT CASE WHEN json_valid(plan) AND plan ->> '$.format' = 1 THEN EXISTS (
  SELECT 1 FROM json_each(plan, '$.stages') WHERE value ->> '$.name' = ?
) ELSE 1 END AS planned FROM plan WHERE sha256 = ?
"""
"""Whether a plan may have a stage of that name, so that it must be read; and one of another format too."""
PACKAGED = (
    "SELECT DISTINCT name FROM artifact WHERE run = ? AND packaged_at IS NOT NULL"
    " AND replaced_at IS NULL ORDER BY name"
)
# sql: constants of this module and of the projection
OF_STAGE = ATTEMPTS + "WHERE run = ? AND stage = ?"
OPEN = """
SELECT id, stage, attempt, started_at, part FROM stage_run
WHERE run = ? AND outcome IS NULL AND started_at IS NOT NULL ORDER BY attempt DESC
"""
ENDED_SINCE = "SELECT id FROM stage_run WHERE run = ? AND stage = ? AND finished_at > ?"
GONE = "its process ended without a word (kill -9, a crash, a power cut or a reboot)"


class Reporter(NamedTuple):
    """Which part of a stage a command reports, and from where."""

    place: Place | None = None
    """None outside of a CI server."""
    part: str = ""
    """As somebody named it; empty: as the CI server does."""
    retry: bool = False
    """Somebody says that it is one."""

    def facts(self) -> dict[str, Any]:
        """What is recorded of it with a stage that begins."""
        place, facts = self.place, {"part": self.chosen}
        if place is None:
            return facts
        told = {"name": place.name, "job": place.job, "job_id": place.job_id,
                "attempt": place.attempt, "job_attempt": place.job_attempt}  # fmt: skip
        parts = {"parts": place.parts} if place.parts and not self.part else {}
        return {**facts, "place": told, **parts}

    @property
    def chosen(self) -> str:
        """The part; empty for the only one."""
        found = self.part or ("" if self.place is None else self.place.part)
        if not self.part and found.isascii() and found.isdecimal():
            found = found.lstrip("0") or "0"  # "01" is no other part than "1"
        return cut_name(clean_text(found), PART_CHARACTERS)


def how_to_finish(run: str) -> str:
    """The command that ends this run, whichever ``.cx/run`` names."""
    return f"{RUN_VARIABLE}={run} cxlocal run finish"


class PieceRecord(RunRecord):
    """A run as one short command sees it."""

    single_commands = True
    known = True
    """Its beginning is in the journal here."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self._planned: dict[str, Stage | None] = {}
        """What the plan says about stages that were asked for; None: it has none of that name."""
        self._held: dict[tuple[str, int], Lock] = {}
        """Of attempts that this process carries out."""

    def stage(self, name: str, kind: str = "") -> AnyStage:
        """What the plan says about the stage of that name, done by a command instead of a tool; a
        free name has no time limit and may use all artifacts so far. Raises ConfigError for the plan of a newer cxlocal."""
        stage = self.find_stage(name)
        if stage is not None:
            from msgspec.structs import replace

            return replace(stage, kind=kind or stage.kind, tool="", verb="")
        rows = self.journal.query(PACKAGED, (self.run,))
        return free_stage(name, kind)._replace(artifacts=tuple(row["name"] for row in rows))

    def is_guarded(self, stage: AnyStage) -> bool:
        """Whether the plan lets the stage begin only by a promotion, or when no gate speaks against
        it; whatever kind it is said to be. Raises as ``stage``."""
        planned = self.find_stage(stage.name)
        return planned is not None and bool(
            planned.requires or planned.kind == "deploy" or planned.publishes_to
        )

    def plan_is_here(self) -> bool:
        """Whether the journal here has the frozen plan. It is not read for that."""
        return (
            self.journal.one("SELECT 1 FROM plan WHERE sha256 = ?", (self.plan_sha256,)) is not None
        )

    def find_stage(self, name: str) -> Stage | None:
        """The stage as the plan has it; None where the plan has none of that name, or is not here.
        Raises as ``stage``."""
        if name not in self._planned:
            row = self.journal.one(PLANNED, (name, self.plan_sha256))
            stages = self.plan.stages if row is not None and row["planned"] else ()
            self._planned[name] = next((one for one in stages if one.name == name), None)
        return self._planned[name]

    def begin_stage(
        self, stage: AnyStage, by: Reporter | None = None, *, alive: bool = False, since_ms: int = 0
    ) -> int:
        """Record that a stage begins; which attempt it is. Two processes never get the same.

        While a process that is ``alive`` carries it out, a lock says so. ``since_ms``: when it really
        began, where that could not be recorded then: what ended later is not followed by it.
        """
        by = by or Reporter()
        self.end_gone(stage.name)
        with self.journal.write() as transaction:
            rows = transaction.connection.execute(OF_STAGE, (self.run, stage.name)).fetchall()
            known = [read_attempt(row) for row in rows]
            attempt = max((one.attempt for one in known), default=0) + 1
            facts = by.facts()
            place = facts.get("place") or {}
            new = Attempt(
                self.ref.stage_run(stage.name, attempt), attempt, None, part=facts["part"],
                place=place.get("name", ""), job=place.get("job", ""), job_id=place.get("job_id", ""),
                run_attempt=counted(place.get("attempt")) or 0,
            )  # fmt: skip
            late = set()
            if since_ms:
                wanted = (self.run, stage.name, utc_text(since_ms))
                late = {row[0] for row in transaction.connection.execute(ENDED_SINCE, wanted)}
            before = [one for one in counting(known) if one.id not in late]
            facts["replaces"] = list(replaceable(new, before, retry=by.retry))
            if ran := [
                one.id for one in known if one.outcome is None and self._runs(stage.name, one)
            ]:
                facts["beside"] = ran
            if alive:
                self._hold(stage.name, attempt)
            now_ms = self.journal.clock.now_ms()
            for draft in self.stage_started_drafts(stage, attempt, ready_at_ms=now_ms, more=facts):
                transaction.append(draft)
        return attempt

    def _hold(self, stage: str, attempt: int) -> None:
        from cxlocal.processes.locks import take

        with suppress(OSError):
            lock = take(self._lock_of(stage, attempt), "cxlocal stage")
            if lock is not None:
                self._held[stage, attempt] = lock

    def _lock_of(self, stage: str, attempt: int) -> Path:
        name = f"{path_part(self.run)}.{path_part(stage)}.{attempt}"
        return self.journal.home / "locks" / STAGES / name

    def _runs(self, stage: str, one: Attempt) -> bool:
        """Whether a process of this machine carries it out: ``end_gone`` took away the locks of others."""
        mine = one.id == self.ref.stage_run(stage, one.attempt)
        return mine and self._lock_of(stage, one.attempt).exists()

    def notes_of(self, stage: str, attempt: int) -> Path | None:
        """Where the programs of an attempt are noted that this process carries out; None for one that
        it could not lock."""
        held = (stage, attempt) in self._held
        return of_locked(self._lock_of(stage, attempt)) if held else None

    def let_go(self, stage: str, attempt: int) -> None:
        """The end of an attempt is recorded: whether its process lives does not matter any more."""
        lock = self._held.pop((stage, attempt), None)
        if lock is not None:
            with suppress(OSError):
                of_locked(self._lock_of(stage, attempt)).unlink(missing_ok=True)
                self._lock_of(stage, attempt).unlink()
            lock.release()

    def end_gone(self, stage: str = "") -> None:
        """Record the end of attempts (of ``stage``, or of all) whose process on this machine is gone."""
        catch_up(self.journal)
        for row in self.journal.query(OPEN, (self.run,)):
            path = self._lock_of(row["stage"], row["attempt"])
            mine = row["id"] == self.ref.stage_run(row["stage"], row["attempt"])
            if stage not in ("", row["stage"]) or not mine or not path.exists():
                continue
            from cxlocal.processes.locks import take

            lock = take(path, "cxlocal stage")
            if lock is None:
                continue
            self.stage_finished(
                self.stage(row["stage"]), row["attempt"], Outcome.ERROR, GONE,
                started_ms=parse_utc(row["started_at"]),
            )  # fmt: skip
            path.unlink(missing_ok=True)
            lock.release()

    def open_attempt(self, name: str, part: str = "") -> tuple[int, int, str] | None:
        """The last attempt of a part that has begun and not ended, and that no process carries out:
        number, when it began in milliseconds since 1970, and its id. None when there is none."""
        self.end_gone(name)
        for row in self.journal.query(OPEN, (self.run,)):
            if row["stage"] != name or (row["part"] or "") != part:
                continue
            if not self._lock_of(name, row["attempt"]).exists():
                return int(row["attempt"]), parse_utc(row["started_at"]), str(row["id"])
        return None


def end_left(home: Path, clock: Clock, warn: Callable[[str], None]) -> None:
    """End what stages left running whose process is dead (kill -9)."""
    try:
        names = os.listdir(home / "locks" / STAGES)
    except OSError:
        return
    if not any(name.endswith(f".{ENDING}") for name in names):
        return
    from cxlocal.runner.leftovers import end_unlocked

    left = end_unlocked(home, clock)
    if left:
        warn(f"still running, and could not be ended: {', '.join(left)}")


def free_stage(name: str, kind: str = "") -> FreeStage:
    """A stage that stands in no plan."""
    return FreeStage(name, kind or "task")


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
        elsewhere = begin_chain(journal)[:CHAIN_CHARACTERS]
        ref = RunRef(deliverable, run, deliverable, run_uri(run, ""), elsewhere)
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


def run_of_folder(folder: Path | str | None) -> str:
    """The run that ``.cx/run`` of the project names; empty for none, and for a folder that is a link."""
    if folder is None or os.path.islink(os.path.join(folder, os.path.dirname(RUN_FILE))):
        return ""
    try:
        with open_plain(os.path.join(folder, RUN_FILE)) as file:
            text = file.read(200).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return text if re.fullmatch(RUN_ID, text) else ""


def remember_run(folder: Path | str, run: str) -> None:
    """Write ``.cx/run``. Raises OSError."""
    path = Path(folder, RUN_FILE)
    if path.parent.is_symlink():
        # Whoever wrote the repository would choose where we write, and over whose file.
        raise OSError(errno.ELOOP, f"{path.parent.name} is a link and is not followed", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, run + "\n", mode=0o666, durable=False)


def forget_run(folder: Path | str | None, run: str) -> None:
    """Take ``.cx/run`` away if it names ``run``."""
    if folder is not None and run_of_folder(folder) == run:
        os.unlink(os.path.join(folder, RUN_FILE))
