"""What a wrapped command left behind: artifacts kept by digest, reports read and kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.errors import CxError, Trouble
from cxlocal.hooks.reading import read_report
from cxlocal.runner.pieces import as_stage
from cxlocal.runner.products import artifact_drafts, report_drafts

if TYPE_CHECKING:
    from cxlocal.events.document import Draft
    from cxlocal.hooks.manager import Manager
    from cxlocal.hooks.report import ReportReader
    from cxlocal.processes.mask import Masker
    from cxlocal.runner.pieces import PieceRecord, PieceStage
    from cxlocal.runner.pieces_stage import Troubles


class Outputs:
    """Where the outputs of one stage are looked for."""

    def __init__(
        self,
        artifacts: Iterable[tuple[str, Path]] = (),
        reports: Iterable[tuple[str, Path]] = (),
    ) -> None:
        """Artifacts by name and reports by format, as the caller named them: they must be there."""
        self.artifacts = list(artifacts)
        self.reports = list(reports)

    def __bool__(self) -> bool:
        return bool(self.artifacts or self.reports)

    def add_planned(self, stage: PieceStage, folder: Path, troubles: Troubles, *, ok: bool) -> None:
        """What the plan says the stage leaves in ``folder``; after a failure only its reports."""
        named = {name for name, _ in self.artifacts}
        for name, pattern in stage.produces if ok else ():
            if name in named:
                continue
            found = find_files(folder, pattern)
            if len(found) == 1:
                self.artifacts.append((name, found[0]))
            else:
                troubles.take(_not_one(name, pattern, found))
        if self.reports:
            return
        for form, pattern in stage.reports:
            files = find_files(folder, pattern)
            self.reports += [(form, path) for path in files]
            if not files:
                troubles.take(
                    Trouble(
                        f"the report {pattern} was not written",
                        why="no such file is there",
                        hint="let the command write it, or correct its path in cx.toml",
                        name="no-report",
                    )
                )


def find_files(folder: Path, pattern: str) -> list[Path]:
    """The plain files below ``folder`` that a path of the plan means, links followed, sorted;
    none outside of it."""
    root = folder.resolve()
    wild = any(sign in pattern for sign in "*?")
    found = {one.resolve() for one in (folder.glob(pattern) if wild else [folder / pattern])}
    return sorted(one for one in found if one.is_relative_to(root) and one.is_file())


def _not_one(name: str, pattern: str, found: Sequence[Path]) -> Trouble:
    count = "no file" if not found else f"{len(found)} files"
    return Trouble(
        f"artifact {name!r} was not kept",
        why=f"{pattern} fits {count}, and an artifact is one file",
        hint="name one file, or give each its own artifact",
        name="no-artifact",
    )


def output_drafts(
    record: PieceRecord,
    stage: PieceStage,
    attempt: int,
    wanted: Outputs,
    troubles: Troubles,
    *,
    manager: Manager | None,
    masker: Masker | None = None,
) -> list[Draft]:
    """Keep the files and say so. What cannot be kept or read goes to ``troubles``."""
    drafts: list[Draft] = []
    kept = as_stage(stage)
    for name, path in wanted.artifacts:
        try:
            if not path.is_file():
                raise Trouble(
                    f"artifact {name!r} was not kept",
                    why=f"there is no file {path}",
                    hint="name a file that the command leaves behind",
                    name="no-artifact",
                )
            drafts += artifact_drafts(record, kept, attempt, name, path)[1]
        except (CxError, OSError) as problem:
            troubles.take(problem)
    readers = _readers(manager) if manager is not None and wanted.reports else {}
    for form, path in wanted.reports:
        several = len(wanted.reports) > 1
        suite = f"{stage.name}: {path.name}" if several else stage.name
        try:
            reader = readers.get(form)
            if reader is None:
                raise Trouble(
                    f"nobody reads reports of the format {form!r}",
                    why=f"there are readers for {', '.join(sorted(readers)) or 'nothing'}",
                    hint="install a plugin that reads it, or correct the format",
                    name="no-report-reader",
                )
            drafts += _report(record, stage, attempt, reader, form, path, suite, masker)
        except (CxError, OSError) as problem:
            troubles.take(problem, f"report {path.name}: ")
    return drafts


def _readers(manager: Manager) -> dict[str, ReportReader]:
    found: dict[str, ReportReader] = {}
    for _, readers in manager.each("cxlocal_register_report_readers"):
        for reader in readers:
            found.setdefault(reader.format, reader)
    return found


def _report(
    record: PieceRecord,
    stage: PieceStage,
    attempt: int,
    reader: ReportReader,
    form: str,
    path: Path,
    suite: str,
    masker: Masker | None,
) -> list[Draft]:
    """Read one report, secrets taken out before anything else sees it."""
    with tempfile.TemporaryDirectory(prefix="cxlocal-") as folder:
        raw = path
        if masker:
            raw = Path(folder) / path.name
            with open(path, "rb") as source, open(raw, "wb") as target:
                masker.copy(source, target)
        if not raw.is_file():
            raise Trouble(
                "it was not written",
                why=f"there is no file {path}",
                hint="let the command write it, or correct its path",
                name="no-report",
            )
        report = read_report(reader, form, raw, suite)
        return report_drafts(record, as_stage(stage), attempt, report, raw)
