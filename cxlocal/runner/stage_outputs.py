"""What an attempt left behind: artifacts kept by digest, reports read and kept."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cxlocal.domain import Outcome
from cxlocal.events import outputs, types
from cxlocal.hooks.reading import read_report
from cxlocal.hooks.report import Report
from cxlocal.runner.products import artifact_drafts, report_drafts
from cxlocal.runner.report_verdict import Read, judge_reports, suite_outcome, words_of_problem
from cxlocal.runner.workspace import matches
from cxlocal.text import clean_text

if TYPE_CHECKING:
    from cxlocal.events.document import Draft
    from cxlocal.hooks.tool import ArtifactRef
    from cxlocal.plan.types import Stage
    from cxlocal.runner.work import Work, Worked

Mark = tuple[int, int, int]


class Collected(NamedTuple):
    """What is to be recorded with the end of an attempt."""

    outcome: Outcome
    reason: str
    artifacts: dict[str, ArtifactRef]
    drafts: list[Draft]


def marks(folder: Path, stage: Stage) -> dict[Path, Mark]:
    """The report files that lie there before an attempt. One that is still the same afterwards was
    not written by it, and must not speak for it."""
    return {
        path: _mark(path) for rule in stage.reports for path in matches(folder, rule.path)
    }  # fmt: skip


def _mark(path: Path) -> Mark:
    status = os.stat(path)
    return status.st_ino, status.st_mtime_ns, status.st_size


def collect(
    work: Work,
    stage: Stage,
    attempt: int,
    worked: Worked,
    folder: Path,
    before: Mapping[Path, Mark],
) -> Collected:
    """Read and keep what the plan and the tool name. A success that lacks an output is none.

    Raises Conflict for other bytes under a name that was built before, Trouble where the disk
    does not take them.
    """
    outcome, reason = worked.outcome, worked.reason
    allow_empty = stage.allow_empty or any(one.may_be_empty for one in worked.reports)
    files = _reports(work, stage, worked, folder, before)
    reports = [one for one, _ in files]
    drafts: list[Draft] = []
    for one, path in files:
        said = suite_outcome(one, reports, allow_empty=allow_empty)
        drafts += _kept_report(work, stage, attempt, one.report, path, said)
        if one.report.problem:
            stage_run, words = work.stage_run(stage.name, attempt), words_of_problem(one)
            drafts.append(work.record.flag_draft("unreadable-report", words, stage_run))
    if outcome == Outcome.SUCCESS:
        outcome, reason = judge_reports(stage.reports, reports, allow_empty=allow_empty)
    artifacts: dict[str, ArtifactRef] = {}
    if outcome == Outcome.SUCCESS:
        outcome, reason, artifacts, more = _artifacts(work, stage, attempt, worked, folder)
        drafts = more + drafts
    return Collected(outcome, reason, artifacts, drafts)


def suite_end(work: Work, stage: Stage, attempt: int, collected: Collected) -> list[Draft]:
    """The suite that every test stage begins ends with it, also where no report speaks of it."""
    if stage.kind != "test" or any(_ends(draft, stage) for draft in collected.drafts):
        return []
    return [
        outputs.suite_finished(
            work.record.ref,
            stage=stage.name,
            attempt=attempt,
            suite=stage.name,
            environment=stage.environment,
            outcome=collected.outcome,
            facts={},
            event_id=work.record.journal.ids.uuid(),
        )
    ]


def _ends(draft: Draft, stage: Stage) -> bool:
    return draft.type == types.SUITE_FINISHED and draft.custom.get("suite") == stage.name


# reports


def _reports(
    work: Work, stage: Stage, worked: Worked, folder: Path, before: Mapping[Path, Mark]
) -> list[tuple[Read, Path]]:
    files: list[tuple[str, Path, str, str]] = []
    for rule in stage.reports:
        for path in matches(folder, rule.path):
            if before.get(path) != _mark(path):
                files.append((rule.format, path, "", rule.path))
    known = {path for _, path, _, _ in files}
    for one in worked.reports:
        if one.path not in known:
            files.append((one.format, one.path, one.suite, ""))
    names = _suites(stage, folder, [(path, suite) for _, path, suite, _ in files])
    return [
        (_read(work, form, path, suite, work.masker.text(_shown(folder, path)), promised), path)
        for (form, path, _, promised), suite in zip(files, names, strict=True)
    ]


def _suites(stage: Stage, folder: Path, files: Sequence[tuple[Path, str]]) -> list[str]:
    """A name for each: the stage's for a single one, else what tells them apart."""
    if len(files) == 1:
        return [files[0][1] or stage.name]
    return [suite or f"{stage.name}: {_shown(folder, path)}" for path, suite in files]


def _shown(folder: Path, path: Path) -> str:
    try:
        return clean_text(str(path.relative_to(folder.resolve())))
    except ValueError:
        return clean_text(path.name)


def _read(work: Work, form: str, path: Path, suite: str, shown: str, promised: str) -> Read:
    reader = work.readers.get(form)
    if reader is None:
        report = Report(form, suite, (), f"no plugin reads the format {form!r}")
    else:
        report = _masked(work, read_report(reader, form, path, suite))
    return Read(report, shown, promised)


def _masked(work: Work, report: Report) -> Report:
    """The report without secrets in what becomes part of events."""
    if not work.masker:
        return report
    hide = work.masker.text
    return report._replace(
        problem=hide(report.problem),
        cases=tuple(
            case._replace(suite=hide(case.suite), name=hide(case.name), message=hide(case.message))
            for case in report.cases
        ),
    )


def _kept_report(
    work: Work, stage: Stage, attempt: int, report: Report, path: Path, outcome: Outcome
) -> list[Draft]:
    """The drafts of a report, whose bytes are kept without secrets in them."""
    raw = path
    if work.masker:
        raw = work.workspace.folder / f"report-{work.record.journal.ids.token()}"
        with path.open("rb") as source, raw.open("wb") as target:
            work.masker.copy(source, target)
    drafts = report_drafts(work.record, stage, attempt, report, raw, outcome)
    if raw != path:
        raw.unlink()
    return drafts


# artifacts


def _artifacts(
    work: Work, stage: Stage, attempt: int, worked: Worked, folder: Path
) -> tuple[Outcome, str, dict[str, ArtifactRef], list[Draft]]:
    found: dict[str, ArtifactRef] = {}
    drafts: list[Draft] = []
    made = {one.name for one in worked.produced}
    for output in stage.produces:
        if output.name in made:
            continue
        if not output.path:
            return Outcome.ERROR, f"the tool made no artifact {output.name!r}", {}, []
        paths = matches(folder, output.path)
        if len(paths) != 1:
            reason = f"artifact {output.name}: {output.path} names {_count(paths)}"
            return Outcome.ERROR, reason, {}, []
        found[output.name], more = artifact_drafts(
            work.record, stage, attempt, output.name, paths[0]
        )
        drafts += more
    for one in worked.produced:
        if one.version and one.version != work.record.version and work.record.kind == "release":
            reason = f"artifact {one.name} carries version {one.version}, not {work.record.version}"
            return Outcome.FAILURE, reason, {}, []
        found[one.name], more = artifact_drafts(
            work.record, stage, attempt, one.name, one.path, purl=one.purl, version=one.version,
            media_type=one.media_type,
        )  # fmt: skip
        drafts += more
    return Outcome.SUCCESS, "", found, drafts


def put_back(work: Work, stages: Collection[str]) -> None:
    """The artifacts of ``stages``, which do not run again, lie in the checkout where those left
    them: all stages share it, and a later one may look for them there."""
    for stage in work.plan.stages:
        for output in stage.produces if stage.name in stages else ():
            reference = work.artifacts.get(output.name)
            folder = os.path.dirname(output.path)
            if reference is None or not output.path or "*" in folder or "?" in folder:
                continue
            target = work.workspace.project / folder / reference.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            # A copy, as a stage may change it; the kept bytes may not be.
            shutil.copy(reference.path, target)
            target.chmod(target.stat().st_mode | stat.S_IWUSR)


def _count(paths: Sequence[Path]) -> str:
    if not paths:
        return "no file"
    names = ", ".join(clean_text(path.name) for path in paths[:3])
    return f"{len(paths)} files ({names}{', …' if len(paths) > 3 else ''}) where one is wanted"
