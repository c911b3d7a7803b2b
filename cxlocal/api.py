"""The pieces for Python: a run, its stages, what they made.

::

    import cxlocal
    with cxlocal.open_run() as run:
        with run.stage("build", kind="build") as stage:
            stage.exec(["make", "all"])
            stage.artifact("app", "dist/app.bin")
        with run.stage("unit", kind="test") as stage:
            stage.exec(["make", "test"])
            stage.report("junit", "unit.xml")
        run.promote("READY")

It records what the commands ``run start``, ``stage``, ``promote`` and ``run finish`` record. Leaving
a block by an exception says how it ended: an ``OutcomeFailure`` (a command that failed) is a
failure, ``KeyboardInterrupt`` a cancel, anything else an error; the exception goes on.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cxlocal.clock import Clock, Ids, SystemClock, SystemIds
from cxlocal.config.locate import find_config, home_setting
from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Interrupted, OutcomeFailure, Trouble, UsageError
from cxlocal.exchange.contact import is_shared
from cxlocal.exchange.journals import Place, open_for, wanted_by
from cxlocal.hooks.manager import load
from cxlocal.hooks.tool import Produced, ReportFile
from cxlocal.journal.file import Journal
from cxlocal.journal.home import home_folder, journal_files
from cxlocal.journal.machine import goes_away
from cxlocal.journal.read import journal_of_run
from cxlocal.revision.local_file import effective, find_local
from cxlocal.runner import pieces, pieces_gates
from cxlocal.runner.admission import Way
from cxlocal.runner.decision import PromotionRequest, decide
from cxlocal.runner.handover import fetch_bytes, leave_bundle
from cxlocal.runner.needed import lacking
from cxlocal.runner.opening import find_run
from cxlocal.runner.pieces_attempt import Surroundings, Troubles
from cxlocal.runner.pieces_deployment import deployment_of
from cxlocal.runner.pieces_run import check_join, finish, send, start
from cxlocal.runner.pieces_stage import Wrapped
from cxlocal.runner.request import Request
from cxlocal.runner.source import Machine, find_place, open_source, open_store
from cxlocal.runner.turns import Turns, learn_once

if TYPE_CHECKING:
    from cxlocal.exchange.store import Store
    from cxlocal.hooks.place import Place as CiPlace
    from cxlocal.journal.file import Journal
    from cxlocal.plan.free import AnyStage
    from cxlocal.processes.echo import Echo
    from cxlocal.runner.pieces import PieceRecord
    from cxlocal.runner.pieces_deployment import ToldDeployment
    from cxlocal.runner.voice import Ending, Opening


class _Silent:
    """A voice that says nothing: the caller has exceptions and the record."""

    def opening(self, said: Opening) -> None:
        """Nothing."""

    def started(self, name: str, attempt: int) -> None:
        """Nothing."""

    def ended(self, said: Ending) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """A Python warning."""
        warnings.warn(text, stacklevel=2)

    warn_once = warn

    def echo(self, stage: str) -> Echo | None:
        """Nowhere."""
        return None


class StageWork:
    """One stage of a run, for the length of a ``with`` block."""

    def __init__(
        self, run: Run, name: str, kind: str, allow_older: bool, part: str, retry: bool
    ) -> None:
        self._run = run
        self._part = part
        self._retry = retry
        self._name = name
        self._kind = kind
        self._allow_older = allow_older
        self._wrapped: Wrapped | None = None
        self._started_ms = 0
        self._exit_code: int | None = None

    @property
    def attempt(self) -> int:
        """Which try of this stage it is, from 1."""
        return self._open.attempt

    @property
    def _open(self) -> Wrapped:
        if self._wrapped is None:
            raise Trouble(
                f"stage {self._name} is not open",
                why="what is reported belongs to a stage between its begin and its end",
                hint="with run.stage(...) as stage:",
            )
        return self._wrapped

    def exec(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> int:
        """Run a program; its output goes to standard output and into the log of the stage. Its exit code.

        ``env`` is added to the environment, which also has ``CXLOCAL_VERSION`` and the like.
        ``timeout`` is in seconds. Raises OutcomeFailure for an exit code other than 0 unless
        ``check`` is false, Trouble for a program that cannot be started or took too long, and
        Interrupted when a signal came.
        """
        wrapped = self._open
        words = [os.fspath(word) for word in command]
        ran = wrapped.run(
            words,
            cwd=os.fspath(cwd) if cwd is not None else os.getcwd(),
            env=env,
            timeout_seconds=timeout,
        )
        self._exit_code = ran.exit_code
        if ran.signal:
            raise Interrupted(ran.reason, signal_number=ran.signal)
        if ran.outcome == Outcome.ERROR and ran.exit_code is None:
            raise Trouble(
                f"{words[0]}: {ran.reason}",
                why="the system did not start it, or it was ended from outside",
                hint="look at the program, its folder and its limit; 'cxlocal show' has the log",
                name="not-run",
            )
        if ran.code and check:
            raise OutcomeFailure(
                f"{words[0]}: {ran.reason}",
                why="the command said so by its exit code",
                hint="'cxlocal show' has its log; with check=False a failure is no exception",
                name="command-failed",
            )
        return ran.code

    def artifact(self, name: str, path: str | os.PathLike[str]) -> None:
        """Keep a file as an artifact of the run, by digest. Recorded with the end of the stage."""
        self._open.produced.append(Produced(name=name, path=Path(path).absolute()))

    def report(self, format: str, path: str | os.PathLike[str]) -> None:
        """Read and keep a report (``junit``). Recorded with the end of the stage, failed or not."""
        self._open.reports.append(ReportFile(format=format, path=Path(path).absolute()))

    def note(self, name: str, value: Any) -> None:
        """Keep a fact (a JSON value) with the stage."""
        self._open.details[name] = value

    def __enter__(self) -> Self:
        run, record = self._run, self._run.record
        stage = record.stage(self._name, self._kind)
        wrapped = Wrapped(
            record, stage, run.troubles(), run.surroundings(), run.clock,
            run.reporter(self._part, self._retry),
        )  # fmt: skip
        again = f"run.stage({self._name!r}, allow_older=True)"
        way = Way(again, allow_older=self._allow_older)
        wrapped.enter(lambda: run.deployment_of(stage, way), lambda: run.require(stage))
        if stage.artifacts:
            run.fetch_bytes()
        self._started_ms = self._run.clock.now_ms()
        try:
            wrapped.begin()
        except BaseException:
            wrapped.leave()
            raise
        run.send_passing()
        self._wrapped = wrapped
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        outcome, reason = outcome_of(problem)
        wrapped, self._wrapped = self._open, None
        seconds = (self._run.clock.now_ms() - self._started_ms) / 1000
        # Where an exception led here it stays the way out, whatever recording meets.
        try:
            wrapped.end(
                outcome,
                reason,
                started_ms=self._started_ms,
                seconds=seconds,
                exit_code=self._exit_code,
            )
        finally:
            self._run.send_passing()


class Run:
    """A run, for the length of a ``with`` block."""

    def __init__(
        self,
        folder: Path,
        *,
        version: bool = True,
        reason: str = "",
        planned: bool = True,
        offline: bool = False,
        allow_uncommitted: bool = False,
        strict: bool = True,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self._folder = folder
        self._request = Request(reason=reason, planned=planned, offline=offline, pieces=True)
        self._number = version
        self._allow_uncommitted = allow_uncommitted
        self._strict = strict
        self._environ: Mapping[str, str] = environ if environ is not None else os.environ
        self.clock: Clock = clock or SystemClock()
        self._ids: Ids = ids or SystemIds()
        self._journal: Journal | None = None
        self._record: PieceRecord | None = None
        self._joined = False
        self._local: str | None = None

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.record.run

    @property
    def version(self) -> str:
        """The version of the run; empty for ``version=False``."""
        return self.record.version

    @property
    def revision(self) -> str:
        """The commit it is made from."""
        return self.record.revision

    @property
    def record(self) -> PieceRecord:
        """What is recorded with. Raises Trouble outside of the ``with`` block."""
        if self._record is None:
            raise Trouble(
                "the run is not open",
                why="it is used outside of its with block",
                hint="with cxlocal.open_run() as run:",
            )
        return self._record

    def stage(
        self, name: str, *, kind: str = "", allow_older: bool = False, part: str = "",
        retry: bool = False,
    ) -> StageWork:  # fmt: skip
        """A stage of this run; a stage of cx.toml of that name gives its kind. ``part`` names one of
        several parts of it, ``retry`` says that this is another try of a part.

        On entering, one that deploys into a lasting environment raises Refused where something newer
        is live, unless ``allow_older``; and one that the plan makes wait for a promotion, or that
        deploys, raises Refused, Undecided or Conflict where that or a gate says no.
        """
        return StageWork(self, name, kind, allow_older, part, retry)

    def deployment_of(self, stage: AnyStage, way: Way) -> ToldDeployment | None:
        """The deployment that a stage is, if it is one."""
        if not stage.environment:
            return None
        return deployment_of(self.record, stage, way, self.troubles().warn, self._turns)

    def _turns(self) -> Turns | None:
        """What asks other machines whose turn it is; None where there are none to ask."""
        journal, warn = self.record.journal, self.troubles().warn
        asks = is_shared(journal) and not self._request.offline
        return Turns(journal, self._open_store()[0], warn) if asks else None

    def require(self, stage: AnyStage) -> None:
        """Raise what speaks against a stage, after the store was asked what others did and decided."""
        if not self.record.is_guarded(stage):
            return
        with suppress(CxError):  # what keeps us from the store is said at the end
            learn_once(self._turns())
        again = f"run.stage({stage.name!r})"
        pieces_gates.require(self._machine(fresh=False), self.record, stage, again)

    def promote(self, name: str, *, reason: str = "") -> None:
        """Give the version a promotion. Raises Refused, Undecided, Conflict and UsageError."""
        machine = self._machine(fresh=False)
        source, record = find_run(machine, self.record.journal, self.id)
        decision = decide(
            machine,
            source,
            record,
            PromotionRequest(name, reason, run_named=True, offline=self._request.offline),
        )
        self.send_passing()
        if decision.refusal is not None:
            raise decision.refusal

    def reporter(self, part: str, retry: bool) -> pieces.Reporter:
        """Which part a stage is, and from where it is reported."""
        place: CiPlace | None = None
        if pieces.in_ci(self._environ):
            place = find_place(load(self._environ, warn=lambda text: None), self._environ)
        told = part or self._environ.get(pieces.PART_VARIABLE, "")
        return pieces.Reporter(place if place and place.kind == "ci" else None, told, retry)

    def surroundings(self) -> Surroundings:
        """What stages need to know of this process."""
        return Surroundings(self._environ, lambda: self._folder, lambda: self._local)

    def troubles(self) -> Troubles:
        """What to do about trouble with recording: raise, or warn when not strict."""
        return Troubles(lambda text: warnings.warn(text, stacklevel=3), strict=self._strict)

    def __enter__(self) -> Self:
        beside = find_local(self._folder, self._environ, self._ids)
        if beside is not None and beside.ignored:
            warnings.warn(f"cx.local.toml is not used: {beside.ignored}", stacklevel=2)
        self._local = effective(beside)
        chosen = home_setting(self._environ, self._local)
        home = Path(chosen) if chosen else home_folder(self._environ, self._ids)
        found = journal_files(home)
        fresh = not found
        place = Place(home, self._environ, self.clock, self._ids)
        run = pieces.named_run(self._environ)
        known = journal_of_run(found, run, place.open) if run else None
        wanted = wanted_by(self._folder, self._local, self._environ, home)
        journal = self._journal = known or open_for(place, wanted)
        try:
            pieces.end_left(home, self.clock, warnings.warn)
            self._joined = bool(run)
            if not run:
                run = start(
                    self._machine(fresh), journal, self._request, number=self._number,
                    allow_uncommitted=self._allow_uncommitted, new=True,
                ).run  # fmt: skip
            self._record = pieces.attach(journal, run)
            if self._joined:
                check_join(
                    self._machine(fresh), self._record, allow_uncommitted=self._allow_uncommitted
                )
        except BaseException:
            journal.close()
            self._journal = None
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        journal = self._journal
        assert journal is not None
        try:
            # A run that others began is theirs to finish.
            if not self._joined:
                self._finish(problem)
        except CxError:
            if problem is None:
                raise
        finally:
            journal.close()
            self._journal = self._record = None

    def _finish(self, problem: BaseException | None) -> None:
        outcome: Outcome | None = None
        reason = ""
        if problem is not None:
            outcome, reason = outcome_of(problem)
        finish(self.record, outcome, reason)
        self._send()

    def _send(self) -> None:
        """One bounded exchange; an absent store changes nothing about the run."""
        journal = self.record.journal
        if self._request.offline:
            return
        try:
            self._meet(lambda store, patience: send(journal, store, patience))
        finally:
            # A passing machine leaves what the store lacks in the workspace.
            leave_bundle(journal, self._folder)

    def send_passing(self) -> None:
        """What a machine that goes away does not send is lost: sent with each stage, if it can be."""
        journal = self.record.journal
        if goes_away(journal) and not self._request.offline:
            with suppress(CxError):
                self._meet(lambda store, _: send(journal, store, 0))

    def fetch_bytes(self) -> None:
        """A machine that is made for a job has nothing of what the jobs before it made."""
        journal = self.record.journal
        if goes_away(journal) and not self._request.offline and lacking(journal, self.id):
            with suppress(CxError):
                self._meet(lambda store, _: fetch_bytes(journal, store, self.id))

    def _meet(self, exchange: Callable[[Store, float], object]) -> None:
        """Open the store for one exchange, which gets the patience in seconds."""
        store, patience = self._open_store()
        with closing(store):
            exchange(store, patience)

    def _open_store(self) -> tuple[Store, float]:
        machine = self._machine(fresh=False)
        source = open_source(machine, self.revision, {})
        store = open_store(source, machine, self.record.journal)
        assert store is not None
        return store, source.settings.store_patience_seconds

    def _machine(self, fresh: bool) -> Machine:
        assert self._journal is not None
        return Machine(
            root=self._folder,
            local=self._local,
            home=self._journal.home,
            environ=self._environ,
            clock=self.clock,
            ids=self._ids,
            blocked=(),
            voice=_Silent(),
            command="cxlocal.open_run",
            fresh=fresh,
        )


def outcome_of(problem: BaseException | None) -> tuple[Outcome, str]:
    """What an exception that leaves a block means, with its reason. Pure."""
    if problem is None:
        return Outcome.SUCCESS, ""
    words = problem.what if isinstance(problem, CxError) else str(problem)
    if isinstance(problem, KeyboardInterrupt | Interrupted):
        return Outcome.CANCEL, words or "interrupted"
    if isinstance(problem, OutcomeFailure):
        return Outcome.FAILURE, words
    if isinstance(problem, CxError):
        return Outcome.ERROR, words
    return Outcome.ERROR, f"{type(problem).__name__}: {words}"


def open_run(
    folder: str | os.PathLike[str] | None = None,
    *,
    version: bool = True,
    reason: str = "",
    planned: bool = True,
    offline: bool = False,
    allow_uncommitted: bool = False,
    strict: bool = True,
) -> Run:
    """A run of the project around ``folder`` (the working directory), to be used with ``with``.

    ``version=False`` takes no number. Where ``CXLOCAL_RUN`` names a run, that one is joined and left
    open; it must be open, and of the commit that is checked out here without changes. ``strict=False`` turns trouble with recording a stage into warnings. Raises UsageError
    without a ``cx.toml``, and on entering what keeps a run from beginning.
    """
    start = os.fspath(folder) if folder is not None else os.getcwd()
    found = find_config(start)
    if found is None:
        raise UsageError(
            "There is no cx.toml here or in any folder above",
            why=f"Looked from {start} upward",
            hint="cxlocal init writes one",
            name="no-project",
        )
    return Run(
        Path(found).parent, version=version, reason=reason, planned=planned, offline=offline,
        allow_uncommitted=allow_uncommitted, strict=strict,
    )  # fmt: skip
