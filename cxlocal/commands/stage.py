"""``cxlocal stage``: one command of somebody else's process, recorded as a stage of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.joined import (
    fetch_for,
    open_piece,
    piece_journal,
    place_of,
    refuse_guarded,
    send_passing,
)
from cxlocal.commands.terminal import warn
from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused, Trouble, UsageError
from cxlocal.runner.pieces import KINDS, PART_VARIABLE, Reporter, free_stage, in_ci
from cxlocal.runner.pieces_attempt import PieceAttempt, Surroundings, Troubles
from cxlocal.text import parse_duration, quoted

if TYPE_CHECKING:
    from cxlocal.plan.free import AnyStage
    from cxlocal.runner.pieces import PieceRecord
    from cxlocal.runner.pieces_deployment import ToldDeployment
    from cxlocal.runner.turns import Turns

ENDINGS = ("success", "failure", "cancel", "error")


class StageRequest:
    """What was asked for, beside the command."""

    def __init__(
        self, app: App, name: str, kind: str, reports: Sequence[str], artifacts: Sequence[str],
        timeout: str,
    ) -> None:  # fmt: skip
        self.app = app
        self.name = name
        self.kind = kind
        self.reports = [_pair(one, "report", "junit=report.xml") for one in reports]
        self.artifacts = [_pair(one, "artifact", "wheel=dist/app.whl") for one in artifacts]
        self.part = ""
        self.retry = False
        self.timeout_seconds = parse_duration(timeout) if timeout else None
        self.allow_older = False
        self.around = Surroundings(app.environ, app.find_project, app.local, app.blocked)

    def reporter(self) -> Reporter:
        """Which part it is, and from where it is reported."""
        place = place_of(self.app) if in_ci(self.app.environ) else None
        return Reporter(place, self.part, self.retry)

    def name_outputs(self, attempt: PieceAttempt) -> None:
        """Tell the attempt what the caller says that the stage leaves."""
        if self.reports or self.artifacts:
            from cxlocal.hooks.tool import Produced, ReportFile

            attempt.reports += [ReportFile(format=form, path=path) for form, path in self.reports]
            attempt.produced += [Produced(name=name, path=path) for name, path in self.artifacts]


@command(
    examples=[
        ("cxlocal stage build -- make", "run make; record when, how it ended, and its output"),
        ("cxlocal stage unit --report junit=unit.xml -- make test", "and read its report"),
        ("cxlocal stage build --artifact app=app.zip -- make", "and keep what it made, by digest"),
        ("cxlocal stage unit --part py312 -- tox -e py312", "one part of several"),
        ("cxlocal stage approve --began", "for what cannot be wrapped: only say that it began"),
        ("cxlocal stage approve --ended success", "and how it ended"),
    ],
)
@click.argument("name")
@click.argument("words", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED)
@click.option("--kind", default="", metavar="KIND", help="build, test, deploy, publish or task.")
@click.option(
    "--report", "reports", multiple=True, metavar="FORMAT=FILE", help="A report it leaves behind."
)
@click.option(
    "--artifact", "artifacts", multiple=True, metavar="NAME=FILE", help="A file it makes; kept."
)
@click.option(
    "--part", default="", metavar="NAME", help="Which part it is (of a matrix); or CXLOCAL_PART."
)
@click.option("--retry", is_flag=True, help="It is another try of the part, not one beside it.")
@click.option("--timeout", default="", metavar="TIME", help="End it after 90s, 15m, 2h.")
@click.option("--allow-older", is_flag=True, help="Deploy also where something newer is live.")
@click.option("--strict", is_flag=True, help="End in an error when it cannot be recorded.")
@click.option("--began", is_flag=True, help="Only record that the stage begins now.")
@click.option("--ended", type=click.Choice(ENDINGS), help="Only record how the stage ended.")
@click.option("-m", "--reason", default="", help="With --ended: why it ended so.")
@pass_app
def stage(
    app: App,
    name: str,
    words: tuple[str, ...],
    kind: str,
    reports: tuple[str, ...],
    artifacts: tuple[str, ...],
    part: str,
    retry: bool,
    timeout: str,
    allow_older: bool,
    strict: bool,
    began: bool,
    ended: str | None,
    reason: str,
) -> int:
    """Run a command as a stage of the current run, and record it.

    Its output is passed on and logged; the exit code is the command's own (124 after --timeout,
    127 when there is no such program, 128+n when signal n ended it). A stage of that name in
    cx.toml gives kind, reports, artifacts, secrets and time limit. Jobs of a matrix are parts of one
    stage, which is as bad as its worst part. A command that ends with 0 and
    leaves a red report ends in 1, one that leaves less than was promised in 9. Trouble with
    recording is a warning, and the command is run all the same, unless --strict. A stage of cx.toml
    that deploys, or requires a promotion, does not begin without it or against a gate (3, 8).
    """
    if kind and kind not in KINDS:
        raise UsageError(
            f"--kind {kind}",
            why=f"it is one of {', '.join(KINDS)}",
            hint=f"cxlocal stage NAME --kind {KINDS[0]} -- COMMAND",
            name="bad-kind",
        )
    if (bool(words) + began + (ended is not None)) != 1:
        raise UsageError(
            "a stage needs a command, or --began, or --ended, and only one of them",
            why="it either runs a command or tells of one",
            hint=f"cxlocal stage {quoted(name)} -- COMMAND",
            name="no-command",
        )
    asked = StageRequest(app, name, kind, reports, artifacts, timeout)
    asked.allow_older = allow_older
    asked.part, asked.retry = part or app.environ.get(PART_VARIABLE, ""), retry
    if not words:
        return _report_only(asked, ended, reason)
    return _wrap(asked, words, strict=strict)


def _pair(text: str, what: str, example: str) -> tuple[str, Path]:
    name, sign, path = text.partition("=")
    if not (name and sign and path):
        raise UsageError(
            f"--{what} {text}: a name, '=' and a file are wanted",
            why="it names a file and what it is to be kept as",
            hint=f"--{what} {example}",
            name=f"bad-{what}",
        )
    return name, Path(os.path.abspath(path))


def _report_only(asked: StageRequest, ended: str | None, reason: str) -> int:
    """``--began`` and ``--ended``: these have nothing to do but to record, so they raise."""
    app = asked.app
    with piece_journal(app) as journal:
        record = open_piece(app, journal, reports=True)
        stage = record.stage(asked.name, asked.kind)
        by = asked.reporter()
        told = PieceAttempt(
            record, stage, Troubles(warn, strict=False), asked.around, app.clock, by
        )
        if ended is None:
            told.troubles.strict, told.watched = True, False
            _enter(asked, told, record)
            told.begin()
            send_passing(app, None if record is None else record.journal)
            return 0
        # It has been done, whatever is live: that is said, not asked.
        told.deployment = _deployment(asked, record, stage, watched=False)
        told.attempt, started_ms, told.stage_run = record.open_attempt(asked.name, by.chosen) or (
            0, app.clock.now_ms(), ""
        )  # fmt: skip
        asked.name_outputs(told)
        if reason or by.part or told.produced or told.reports or stage.reports:
            told.hide()
        told.troubles.strict = True
        if not told.attempt and record.is_guarded(stage):
            _flag_unasked(record, stage)
        try:
            told.end(Outcome(ended), reason, started_ms=started_ms)
        finally:
            send_passing(app, None if record is None else record.journal)
    return 0


def _enter(asked: StageRequest, told: PieceAttempt, record: PieceRecord) -> None:
    stage, watched = told.stage, told.watched
    told.enter(
        lambda: _deployment(asked, record, stage, watched=watched),
        lambda: _require(asked, record, stage, watched=watched),
    )


def _flag_unasked(record: PieceRecord, stage: AnyStage) -> None:
    """What was done is a fact, and so is that nobody was asked before."""
    text = f"stage {stage.name} did not begin here: neither its promotion nor gates were asked"
    record.record(record.flag_draft("not-asked", text))
    warn(f"{text}; 'cxlocal stage {quoted(stage.name)} --began' asks them")


def _again(stage: AnyStage, *, watched: bool, option: str = "") -> str:
    return f"cxlocal stage {quoted(stage.name)} {option}{'-- COMMAND' if watched else '--began'}"


def _is_inner(asked: StageRequest, record: PieceRecord, stage: AnyStage) -> bool:
    """Whether the stage around this one works in its environment: that one was let in, and it is
    what is recorded."""
    told = asked.app.environ
    within = told.get("CXLOCAL_RUN") == record.run and told.get("CXLOCAL_STAGE")
    return bool(
        within and stage.environment and told.get("CXLOCAL_ENVIRONMENT") == stage.environment
    )


def _require(asked: StageRequest, record: PieceRecord, stage: AnyStage, *, watched: bool) -> None:
    """Raise what speaks against the stage, after the store was asked what others did and decided."""
    if _is_inner(asked, record, stage):
        return
    if not record.plan_is_here():
        words = f"the plan of run {record.run[:8]} is not here: it began on another machine"
        unknown = Trouble(words, why="the store has not told", hint="cxlocal sync fetches it")
        refuse_guarded(asked.app, stage.name, unknown)
    if not record.is_guarded(stage):
        return
    from cxlocal.commands.project import make_machine, send_copies
    from cxlocal.runner import pieces_gates

    send_copies(asked.app, record.journal, patient=False)
    machine = make_machine(asked.app, fresh=False)
    pieces_gates.require(machine, record, stage, _again(stage, watched=watched))


def _deployment(
    asked: StageRequest, record: PieceRecord, stage: AnyStage, *, watched: bool
) -> ToldDeployment | None:
    """The deployment into a lasting environment that the stage is, if it is one."""
    if not stage.environment or _is_inner(asked, record, stage):
        return None
    from cxlocal.runner.admission import Way
    from cxlocal.runner.pieces_deployment import deployment_of

    again = _again(stage, watched=watched, option="--allow-older ")
    way = Way(again, asked.allow_older, watched=watched)
    return deployment_of(record, stage, way, warn, lambda: _turns(asked, record))


def _turns(asked: StageRequest, record: PieceRecord) -> Turns | None:
    """What asks other machines whose turn it is to deploy; None where there are none to ask."""
    from cxlocal.commands.project import load_project, open_project_store
    from cxlocal.exchange.contact import is_shared
    from cxlocal.runner.turns import Turns

    if not is_shared(record.journal):
        return None
    app = asked.app
    store = open_project_store(app, load_project(app), journal=record.journal)
    return Turns(record.journal, store, warn)


def _wrap(asked: StageRequest, words: tuple[str, ...], *, strict: bool) -> int:
    from cxlocal.runner.pieces_stage import TIMED_OUT, Wrapped

    app = asked.app
    troubles = Troubles(warn, strict=strict)
    with ExitStack() as stack:
        record, stage, by = _open(asked, troubles, stack)
        wrapped = Wrapped(record, stage, troubles, asked.around, app.clock, by)
        asked.name_outputs(wrapped)
        if record is not None and app.environ.get("CXLOCAL_RUN") == record.run:
            # A stage within a stage (a make that calls make) says so.
            outer = app.environ.get("CXLOCAL_STAGE", "")
            wrapped.details = {"within": outer} if outer else {}
        if record is not None:
            _enter(asked, wrapped, record)
            if stage.artifacts:
                fetch_for(app, record)
        wrapped.begin()
        send_passing(app, None if record is None else record.journal)
        ran = wrapped.run(words, cwd=os.getcwd(), timeout_seconds=asked.timeout_seconds)
        if (ran.code in (126, 127) and ran.exit_code is None) or ran.code == TIMED_OUT:
            warn(f"{asked.name}: {wrapped.masked(ran.reason)}")
        try:
            wrapped.end(
                ran.outcome,
                ran.reason,
                started_ms=ran.started_ms,
                seconds=ran.seconds,
                exit_code=ran.exit_code,
            )
        finally:
            send_passing(app, None if record is None else record.journal)
        return ran.code


def _open(
    asked: StageRequest, troubles: Troubles, stack: ExitStack
) -> tuple[PieceRecord | None, AnyStage, Reporter]:
    """The run, None where it cannot be had or is not to be joined; the stage, and who reports it.
    Raises Refused for a stage that must not begin without a run to ask. ``stack`` closes the journal."""
    app = asked.app
    try:
        journal = stack.enter_context(piece_journal(app))
        record = open_piece(app, journal, reports=True)
        return record, record.stage(asked.name, asked.kind), asked.reporter()
    except (CxError, OSError) as problem:
        refuse_guarded(app, asked.name, problem)
        hint = problem.hint if isinstance(problem, Refused) else ""
        troubles.take(problem, f"stage {asked.name} is not recorded: ", hint)
        return None, free_stage(asked.name, asked.kind), Reporter()
