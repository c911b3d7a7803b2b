"""``cxlocal stage``: one command of somebody else's process, recorded as a stage of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.main import AtOnce
from cxlocal.commands.pieces import open_piece
from cxlocal.commands.terminal import warn
from cxlocal.domain import Outcome
from cxlocal.errors import CxError, UsageError
from cxlocal.journal.file import Journal
from cxlocal.runner.pieces import KINDS, PieceStage
from cxlocal.text import parse_duration

if TYPE_CHECKING:
    from cxlocal.runner.outputs import Outputs
    from cxlocal.runner.pieces import PieceRecord
    from cxlocal.runner.pieces_stage import Ran, Troubles, Wrapped

ENDINGS = ("success", "failure", "cancel", "error")


class Asked:
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
        self.timeout_seconds: float | None = None
        if timeout:
            self.timeout_seconds = parse_duration(timeout)

    def stage(self, record: PieceRecord | None) -> PieceStage:
        """The stage, with what the plan of the run says about it."""
        stage = PieceStage(self.name, self.kind or "task")
        if record is not None:
            stage = record.stage(self.name, self.kind)
        if self.timeout_seconds is not None:
            stage = stage._replace(timeout_seconds=self.timeout_seconds)
        return stage


@command(
    examples=[
        ("cxlocal stage build -- make", "run make; record when, how it ended, and its output"),
        ("cxlocal stage unit --report junit=unit.xml -- make test", "and read its report"),
        ("cxlocal stage build --artifact app=app.zip -- make", "and keep what it made, by digest"),
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
@click.option("--timeout", default="", metavar="TIME", help="End it after 90s, 15m, 2h.")
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
    timeout: str,
    strict: bool,
    began: bool,
    ended: str | None,
    reason: str,
) -> int:
    """Run a command as a stage of the current run, and record it.

    Its output is passed on and logged; the exit code is the command's own (124 after --timeout,
    127 when there is no such program, 128+n when signal n ended it). A stage of that name in
    cx.toml gives kind, reports, artifacts, secrets and time limit. Trouble with recording is a
    warning, and the command is run all the same, unless --strict.
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
            hint=f"cxlocal stage {name} -- COMMAND",
            name="no-command",
        )
    asked = Asked(app, name, kind, reports, artifacts, timeout)
    if not words:
        return AtOnce(_report_only(asked, ended, reason))
    return AtOnce(_wrap(asked, words, strict=strict))


def _pair(text: str, what: str, example: str) -> tuple[str, str]:
    name, sign, path = text.partition("=")
    if not (name and sign and path):
        raise UsageError(
            f"--{what} {text}: a name, '=' and a file are wanted",
            why="it names a file and what it is to be kept as",
            hint=f"--{what} {example}",
            name=f"bad-{what}",
        )
    return name, os.path.abspath(path)


def _report_only(asked: Asked, ended: str | None, reason: str) -> int:
    """``--began`` and ``--ended``: these have nothing to do but to record, so they raise."""
    app = asked.app
    with app.journal(create=bool(app.environ.get("CXLOCAL_RUN"))) as journal:
        record = open_piece(app, journal)
        chosen = asked.stage(record)
        if ended is None:
            record.begin_stage(chosen)
            return 0
        found = record.open_attempt(asked.name)
        if found is None:
            found = record.begin_stage(chosen), app.clock.now_ms()
        extra = []
        outputs = _outputs(asked)
        if outputs:
            from cxlocal.runner.outputs import output_drafts
            from cxlocal.runner.pieces_stage import Troubles

            troubles = Troubles(warn, strict=True)
            extra = output_drafts(
                record, chosen, found[0], outputs, troubles, manager=_manager(asked)
            )
        record.end_stage(chosen, found[0], Outcome(ended), reason, started_ms=found[1], extra=extra)
    return 0


def _outputs(asked: Asked) -> Outputs | None:
    if not (asked.artifacts or asked.reports):
        return None
    from cxlocal.runner.outputs import Outputs

    return Outputs(
        [(name, Path(path)) for name, path in asked.artifacts],
        [(form, Path(path)) for form, path in asked.reports],
    )


def _wrap(asked: Asked, words: tuple[str, ...], *, strict: bool) -> int:
    from cxlocal.runner.pieces_stage import TIMED_OUT, Troubles, Wrapped

    app = asked.app
    troubles = Troubles(warn, strict=strict)
    journal, record = _open(asked, troubles)
    try:
        wrapped = Wrapped(record, asked.stage(record), troubles, app.clock)
        if record is not None and app.environ.get("CXLOCAL_RUN") == record.run:
            # A stage within a stage (a make that calls make) says so.
            outer = app.environ.get("CXLOCAL_STAGE", "")
            wrapped.details = {"within": outer} if outer else {}
        secrets = _secrets(asked, wrapped)
        if secrets:
            wrapped.hide(secrets)
        wrapped.begin()
        env = {**app.environ, **_variables(asked, wrapped), **secrets}
        ran = wrapped.run(words, cwd=os.getcwd(), env=env)
        if (ran.code in (126, 127) and ran.exit_code is None) or ran.code == TIMED_OUT:
            warn(f"{asked.name}: {ran.reason}")
        wrapped.end(ran, lambda attempt: _collect(asked, wrapped, attempt, ran))
        return ran.code
    except CxError:
        if "ran" in locals() and ran.code:
            # The command's own exit code says more than our trouble with recording it.
            warn(str(troubles.first or "").replace("\n", ": "))
            return ran.code
        raise
    finally:
        if journal is not None:
            journal.close()


def _open(asked: Asked, troubles: Troubles) -> tuple[Journal | None, PieceRecord | None]:
    """The journal and the run; None for what cannot be had."""
    app = asked.app
    journal = None
    try:
        path = app.journal_path()
        # A job on another machine may be the first to say anything there.
        create = bool(app.environ.get("CXLOCAL_RUN"))
        journal = Journal.open(path, clock=app.clock, ids=app.ids, create=create)
        record = open_piece(app, journal)
    except (CxError, OSError) as problem:
        if troubles.strict and journal is not None:
            journal.close()
        troubles.take(problem, f"stage {asked.name} is not recorded: ")
        return journal, None
    if record.ended:
        warn(f"run {record.version or record.run[:8]} was finished before this stage")
    return journal, record


def _variables(asked: Asked, wrapped: Wrapped) -> dict[str, str]:
    """What the command is told, beside everything our caller told us."""
    record, chosen = wrapped.record, wrapped.stage
    if record is None:
        return {}
    found = {
        "CXLOCAL_RUN": record.run,
        "CXLOCAL_VERSION": record.version,
        "CXLOCAL_REVISION": record.revision,
        "CXLOCAL_STAGE": chosen.name,
    }
    try:
        artifacts = _artifacts(record)
    except (CxError, OSError) as problem:
        wrapped.troubles.take(problem, "artifacts of this run cannot be handed on: ")
        artifacts = {}
    found |= artifacts
    if chosen.environment:
        found["CXLOCAL_ENVIRONMENT"] = chosen.environment
        found["CXLOCAL_ENVIRONMENT_URI"] = record.plan.environment(chosen.environment).uri
    return found


def _artifacts(record: PieceRecord) -> dict[str, str]:
    """Variables for the artifacts the run has so far: their bytes are checked against the digest."""
    known = record.journal.one(
        "SELECT 1 FROM artifact WHERE run = ? AND packaged_at IS NOT NULL LIMIT 1", (record.run,)
    )
    if known is None:
        return {}
    from cxlocal.plan.variables import artifact_variables
    from cxlocal.runner.products import artifacts

    found: dict[str, str] = {}
    for name, one in artifacts(record).items():
        path, digest, reference = artifact_variables(name)
        found |= {path: str(one.path), digest: f"sha256:{one.sha256}", reference: one.purl}
    return found


def _secrets(asked: Asked, wrapped: Wrapped) -> dict[str, str]:
    """Values of the secrets that the plan's stage lists."""
    record = wrapped.record
    if record is None or not wrapped.stage.secrets:
        return {}
    from cxlocal.commands.project import load_project
    from cxlocal.config.types import Source
    from cxlocal.secrets import resolve

    try:
        project = load_project(asked.app, needed=True)
        named = {**record.plan.secrets, **project.settings.secrets}
        sources = {name: Source(**source) for name, source in named.items()}
        folder = asked.app.project()
        return resolve(sources, wrapped.stage.secrets, environ=asked.app.environ, folder=folder)
    except CxError as problem:
        wrapped.troubles.take(problem, f"stage {asked.name} runs without its secrets: ")
        return {}


def _collect(asked: Asked, wrapped: Wrapped, attempt: int, ran: Ran) -> list[Any]:
    """Artifacts and reports, named by the caller or by the plan."""
    record, chosen = wrapped.record, wrapped.stage
    assert record is not None
    outputs = _outputs(asked)
    if outputs is None and not (chosen.reports or chosen.produces):
        return []
    from cxlocal.runner.outputs import Outputs, output_drafts

    outputs = outputs or Outputs()
    root = asked.app.find_project()
    if root is not None:
        outputs.add_planned(chosen, root, wrapped.troubles, ok=ran.code == 0)
    if ran.code:
        # What a failed command did not get round to making is no trouble of its own.
        outputs.artifacts = [one for one in outputs.artifacts if one[1].is_file()]
        outputs.reports = [one for one in outputs.reports if one[1].is_file()]
    manager = _manager(asked) if outputs.reports else None
    return output_drafts(
        record, chosen, attempt, outputs, wrapped.troubles, manager=manager, masker=wrapped.masker
    )


def _manager(asked: Asked) -> Any:
    from cxlocal.hooks.manager import load

    return load(asked.app.environ, no=asked.app.blocked, warn=warn)
