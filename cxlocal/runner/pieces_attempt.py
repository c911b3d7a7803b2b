"""One attempt of a stage that a single command or a Python block reports: begun, judged, recorded.

The work matters more than the record of it. Whatever goes wrong with recording is handed to a
``Troubles``, which warns or, if the caller asked to be strict, raises. What the stage left behind is
no trouble of ours: it is judged as in every run, and the outcome is the judge's.

Every reporting command imports this, so what only some stages need is imported where it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.address import own_credentials
from cxlocal.domain import Outcome
from cxlocal.errors import Conflict, CxError, Refused, Trouble, UsageError
from cxlocal.processes.environment import stage_environment
from cxlocal.runner.outcomes import REASON_CHARACTERS, outcome_error
from cxlocal.text import shorten
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.clock import Clock
    from cxlocal.events.document import Draft
    from cxlocal.hooks.registered import FoundReader
    from cxlocal.hooks.tool import ArtifactRef, Produced, ReportFile
    from cxlocal.plan.free import AnyStage
    from cxlocal.plan.placeholders import Artifact
    from cxlocal.processes.log import LogEntry, StageLog
    from cxlocal.processes.mask import Masker
    from cxlocal.runner.pieces import PieceRecord, Reporter
    from cxlocal.runner.pieces_deployment import ToldDeployment
    from cxlocal.runner.stage_verdict import Left, Mark
    from cxlocal.runner.untouched import Untouched

SAID_MAX = 5
"""A reason is one line that somebody reads: more than these were warned of on the spot."""


class Troubles:
    """What to do about trouble of our own: warn, or raise for a strict caller."""

    def __init__(self, warn: Callable[[str], None], *, strict: bool) -> None:
        self.warn = warn
        self.strict = strict
        self.late = False
        """The stage has run: a strict caller is told when its end is recorded."""
        self.first: CxError | None = None
        self.said: list[str] = []
        """What went wrong, without the reasons: these name files of this machine."""

    def take(self, problem: BaseException, what: str = "", hint: str = "") -> None:
        """Raises ``problem`` (as a CxError) when strict, unless it is late."""
        known = _known(problem)
        self.first = self.first or known
        if self.strict and not self.late:
            raise known
        self.said.append(f"{what}{known.what}")
        if not self.strict:
            self.warn(what + _words(known) + (f"; {hint}" if hint else ""))

    @contextmanager
    def care(self, what: str) -> Iterator[None]:
        """Take what the machine refuses within the block."""
        try:
            yield
        except (Trouble, OSError) as problem:
            self.take(problem, what)


def _words(known: CxError) -> str:
    return ": ".join(part for part in (known.what, known.why) if part)


def _known(problem: BaseException) -> CxError:
    if isinstance(problem, CxError):
        return problem
    if isinstance(problem, OSError):
        where = f": {os.fsdecode(problem.filename)}" if problem.filename else ""
        return Trouble(
            f"{problem.strerror or problem}{where}",
            why="the operating system refused it",
            hint="look at the file, its folder and the room on the disk",
            name="system",
        )
    return Trouble(
        f"{type(problem).__name__}: {problem}",
        why="nobody foresaw this: it is a bug in cxlocal",
        hint="run it again with --debug and report the trace",
        name="bug",
    )


class Surroundings(NamedTuple):
    """What a stage needs to know of the process it is reported by."""

    environ: Mapping[str, str]
    find_project: Callable[[], Path | None]
    """The folder of cx.toml, if there is one."""
    find_local: Callable[[], str | None]
    """The cx.local.toml beside it, if it counts."""
    blocked: Sequence[str] = ()
    """Plugins left out by ``-p no:NAME``."""

    def folder(self) -> Path:
        """Where the paths of the plan begin."""
        return self.find_project() or Path.cwd()

    def secrets(self, names: Sequence[str]) -> dict[str, str]:
        """The values of secrets, from where cx.toml says. Raises ConfigError and Trouble."""
        from cxlocal.config.load import read
        from cxlocal.config.settings import settings
        from cxlocal.runner.source import read_secrets

        folder = self.folder()
        config = read(str(folder / "cx.toml"))
        chosen = settings(config, local=self.find_local(), environ=self.environ)
        return read_secrets(chosen, names, self.environ, folder)

    def readers(self, home: Path | None, warn: Callable[[str], None]) -> dict[str, FoundReader]:
        """The readers of reports, also those of the project's own plugins.

        Raises Refused for plugins that nobody trusted on the machine of ``home``.
        """
        from cxlocal.config.load import read
        from cxlocal.hooks.manager import load
        from cxlocal.hooks.registered import readers

        project = self.find_project()
        block = () if project is None else read(str(project / "cx.toml")).plugins.block
        manager = load(self.environ, block=block, no=self.blocked, warn=warn)
        if project is not None and home is not None:
            manager.add_project(project, home)
        return readers(manager)


class PieceAttempt:
    """One attempt of one stage. ``record`` is None where there is no run."""

    def __init__(
        self,
        record: PieceRecord | None,
        stage: AnyStage,
        troubles: Troubles,
        around: Surroundings,
        clock: Clock,
        by: Reporter | None = None,
    ) -> None:
        self.clock = clock
        self.by = by
        """Which part it is, and from where it is reported."""
        self.watched = True
        """This process lives as long as the attempt."""
        self.stage_run = ""
        """Its id, where it may have begun on another machine."""
        self.record = record
        self.stage = stage
        self.troubles = troubles
        self.around = around
        self.attempt = 0
        self.secrets: dict[str, str] = {}
        self.details: dict[str, Any] = {}
        self.produced: list[Produced] = []
        """Artifacts that the caller names, beside those of the plan; they must be there."""
        self.reports: list[ReportFile] = []
        """Reports that the caller names; they must have been written since ``begin``."""
        self.log: StageLog | None = None
        """Takes the output."""
        self.logged = False
        """It is kept, not only shown."""
        self.deployment: ToldDeployment | None = None
        """What the stage deploys, if it does: told with the beginning and the end of the stage."""
        self._before: dict[Path, Mark] = {}
        self._shown: list[ArtifactRef] = []
        """Artifacts that its programs are told of."""
        self._untouched: Untouched | None = None
        """How these stood then; None where there are none."""

    def enter(self, find: Callable[[], ToldDeployment | None], require: Callable[[], None]) -> None:
        """Before the stage begins, recorded or not: raises what ``require`` raises, and Refused for
        a deployment that may not be done."""
        with self._deploying():
            self.deployment = find()
        require()
        with self._deploying():
            if self.deployment is not None:
                self.deployment.enter()

    @contextmanager
    def _deploying(self) -> Iterator[None]:
        try:
            yield
        except Refused:
            raise
        except (CxError, OSError) as problem:
            self.deployment = None
            self.troubles.take(problem, f"stage {self.stage.name} is no deployment here: ")

    @cached_property
    def masker(self) -> Masker:
        """Keeps the secrets that ``hide`` found out of all that is shown, logged or recorded."""
        from cxlocal.processes.mask import Masker

        return Masker([*self.secrets.values(), *self._of_ours])

    def masked(self, text: str) -> str:
        """``text`` without the secrets that ``hide`` found."""
        return self.masker.text(text) if self.secrets or self._of_ours else text

    @cached_property
    def _of_ours(self) -> list[str]:
        """What our own environment holds for us, and so the command's."""
        return own_credentials(self.around.environ)

    def hide(self) -> None:
        """Have the stage's secrets. Raises UsageError for a name that holds one."""
        try:
            if self.stage.secrets:
                self.secrets = self.around.secrets(self.stage.secrets)
        except (CxError, OSError) as problem:
            self.troubles.take(problem, f"stage {self.stage.name} is without its secrets: ")
        self._refuse_names()

    def _refuse_names(self) -> None:
        """A name cannot be masked: it says what is meant."""
        named = [self.stage.name, *(one.name for one in self.produced)]
        named += [] if self.by is None else [self.by.part]
        if any(self.masked(name) != name for name in named):
            raise UsageError(
                "a name holds a secret",
                why="names of stages, parts and artifacts are written into the history as they are",
                hint=f"use another name than {self.masked(' '.join(filter(None, named)))}",
                name="secret-name",
            )

    def begin(self) -> None:
        """Record the beginning, and look what is there before."""
        self.hide()
        try:
            if self.record is not None:
                self._begin(self.record)
                self._warn_of_others(self.record)
            if self.stage.reports or self.reports:
                from cxlocal.runner.stage_outputs import marks

                self._before = marks(self.around.folder(), self.stage, self.reports)
        except (CxError, OSError) as problem:
            self.troubles.take(problem, f"stage {self.stage.name} is not recorded yet: ")

    def _begin(self, record: PieceRecord, since_ms: int = 0) -> None:
        self.attempt = record.begin_stage(
            self.stage, self.by, alive=self.watched and not since_ms, since_ms=since_ms
        )
        if self.deployment is not None:
            self.deployment.begin(self.attempt)

    def _warn_of_others(self, record: PieceRecord) -> None:
        """Say at once what will keep the stage from succeeding, whatever comes of this attempt."""
        if self.by is None or self.by.place is None:
            return
        from cxlocal.projection.standing import words_of

        standing = record.standings()[self.stage.name]
        if standing.failed:
            said = words_of(self.stage.name, standing._replace(missing=()))
            self.troubles.warn(f"an earlier attempt counts beside this one: {said}")

    def variables(self) -> dict[str, str]:
        """What programs of the stage are told beside everything that we were told. Raises Conflict where an artifact
        of the run has other bytes than were made."""
        record, stage = self.record, self.stage
        if record is None:
            return {}
        from cxlocal.events.traces import trace_variables
        from cxlocal.plan.variables import stage_variables

        uri = ""
        found: dict[str, Artifact] = {}
        try:
            if stage.environment:
                from cxlocal.runner.placements import known_uri

                uri = known_uri(record, record.plan.environment(stage.environment))
            if stage.artifacts:
                from cxlocal.runner.products import artifacts, described
                from cxlocal.runner.untouched import Untouched

                made = artifacts(record)
                found = described(made)
                self._shown = [made[name] for name in stage.artifacts if name in made]
                self._untouched = Untouched()
                self._untouched.believe(self._shown)
        except Conflict:
            raise  # not ours: bytes that nobody made are used by no stage
        except (CxError, OSError) as problem:
            self.troubles.take(problem, "artifacts of this run cannot be handed on: ")
        variables = stage_variables(
            version=record.version,
            run=record.run,
            revision=record.revision,
            stage=stage.name,
            environment=stage.environment,
            environment_uri=uri,
            artifacts={name: found[name] for name in stage.artifacts if name in found},
        )
        trace = trace_variables(record.run, record.ref.stage_run(stage.name, self.attempt))
        return {**variables, **trace, **self.secrets}

    def end(
        self,
        outcome: Outcome,
        reason: str,
        *,
        started_ms: int,
        seconds: float | None = None,
        exit_code: int | None = None,
    ) -> None:
        """Judge what the stage left behind and record the end.

        Raises OutcomeFailure and Trouble for a success that the judge says is none, and trouble of
        ours where the caller is strict and all else is well.
        """
        if self.log is not None:
            self.log.settle()  # before readers are loaded, for which standard output is set aside
        left, verdict = self._judge(outcome, reason)
        log = self._close(verdict if verdict[0] != outcome else None)
        troubles = self.troubles
        troubles.late, troubles.strict = True, troubles.strict and verdict[0] == Outcome.SUCCESS
        if self.record is not None:
            try:
                verdict = self._record_end(
                    self.record, verdict, left, log, started_ms=started_ms, seconds=seconds,
                    exit_code=exit_code,
                )  # fmt: skip
            except (CxError, OSError) as problem:
                troubles.take(problem, f"the end of stage {self.stage.name} is not recorded: ")
            finally:
                self.leave()
        if troubles.strict and troubles.first:
            raise troubles.first
        run = "" if self.record is None else self.record.run
        look = f"; cxlocal show {run[:8]} has its log" if run else ""
        no_success = outcome_error(
            verdict[0],
            f"stage {self.stage.name}: {self.masked(verdict[1])}",
            why="the command said nothing of it; what a stage leaves behind counts as well",
            hint=f"mend that and run the stage again{look}",
            run=run,
        )
        if no_success is not None and outcome == Outcome.SUCCESS:
            raise no_success

    def leave(self) -> None:
        """Let others deploy there; without an end of the stage where it never began."""
        if self.deployment is not None:
            self.deployment.leave()

    def _close(self, judged: tuple[Outcome, str] | None) -> LogEntry | None:
        """Output is over; ``judged`` is what the judge made of a success."""
        if self.log is None:
            return None
        if judged is not None and self.logged:
            self.log.note(": ".join(judged))
        entry = self.log.close()
        return entry if self.logged else None

    def _judge(self, outcome: Outcome, reason: str) -> tuple[Left | None, tuple[Outcome, str]]:
        stage = self.stage
        if self._untouched is not None and outcome == Outcome.SUCCESS and stage.kind != "deploy":
            from cxlocal.runner.untouched import refuse_changed

            try:
                refuse_changed(self._untouched.changed(self._shown))
            except (CxError, OSError) as problem:
                outcome, reason = Outcome.ERROR, _words(_known(problem))
        if not (stage.reports or stage.produces or self.reports or self.produced):
            return None, (outcome, reason)
        from cxlocal.runner.driver import drive_apart
        from cxlocal.runner.pieces_aside import Aside
        from cxlocal.runner.stage_outputs import Named, confine, find_left, released
        from cxlocal.runner.stage_verdict import judge_left
        from cxlocal.runner.work import Around

        record, aside = self.record, Aside(self.masker)
        try:
            folder = self.around.folder()
            named = confine(folder, Named(self.produced, self.reports))
            readers: dict[str, FoundReader] = {}
            if stage.reports or self.reports:
                home = None if record is None else record.journal.home
                readers = self.around.readers(home, self.troubles.warn)
            around = Around(self._environ_of_readers, aside)
            left = drive_apart(
                find_left(stage, named, folder, self._before, readers, self.masker, around),
                self.clock,
            )
        except (CxError, OSError) as problem:
            if outcome == Outcome.SUCCESS:
                outcome, reason = Outcome.ERROR, _words(_known(problem))
            return None, (outcome, reason)
        finally:
            aside.end()
        version = "" if record is None else released(record)
        return left, judge_left(stage, (outcome, reason), left, version)

    def _environ_of_readers(self) -> dict[str, str]:
        return stage_environment(self.around.environ, pass_env=getattr(self.stage, "pass_env", ()))

    def _record_end(
        self,
        record: PieceRecord,
        verdict: tuple[Outcome, str],
        left: Left | None,
        log: LogEntry | None,
        *,
        started_ms: int,
        seconds: float | None,
        exit_code: int | None,
    ) -> tuple[Outcome, str]:
        """Keep what was found and say all in one commit; how the stage ended in the end."""
        if not self.attempt:
            self._begin(record, since_ms=started_ms)
        outcome, reason = verdict
        extra: list[Draft] = []
        if left is not None:
            from cxlocal.runner.stage_outputs import keep

            kept = keep(
                record, self.masker, self.stage, self.attempt, left, verdict, self.troubles.care
            )
            outcome, reason, extra = kept.outcome, kept.reason, kept.drafts
        if self.troubles.strict and self.troubles.first and outcome == Outcome.SUCCESS:
            outcome, reason = Outcome.ERROR, self.troubles.first.what
        elif self.troubles.said and not reason:
            # The stage did its work; whoever reads of it is told what of it is missing here.
            said = "; ".join(self.troubles.said[:SAID_MAX])
            reason = f"not all of it could be recorded: {said}"
        if self.deployment is not None and outcome == Outcome.SUCCESS:
            extra = [*extra, *self.deployment.done(self.attempt)]
        record.stage_finished(
            self.stage,
            self.attempt,
            outcome,
            shorten(self.masked(reason), REASON_CHARACTERS),
            started_ms=started_ms,
            seconds=seconds,
            exit_code=exit_code,
            log=log,
            details=self.details,
            extra=extra,
            stage_run=self.stage_run,
        )
        record.let_go(self.stage.name, self.attempt)
        return outcome, reason
