"""What stages leave behind: artifacts kept by digest and built once, reports read and kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.domain import Outcome, path_part
from cxlocal.errors import Conflict
from cxlocal.events import outputs
from cxlocal.events.document import Draft
from cxlocal.hooks.report import Case, Report
from cxlocal.hooks.tool import ArtifactRef
from cxlocal.journal.blobs import blob_path, check_blob, keep_file
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.placeholders import Artifact
from cxlocal.private import make_folder
from cxlocal.text import clean_text, cut_name

if TYPE_CHECKING:
    from cxlocal.plan.types import Stage
    from cxlocal.runner.record import RunRecord

NOTABLE = ("failed", "error", "flaky")
"""Outcomes of cases that travel with the event."""


def artifact_drafts(
    record: RunRecord,
    stage: Stage,
    attempt: int,
    name: str,
    path: Path,
    *,
    purl: str = "",
    version: str = "",
    media_type: str = "",
) -> tuple[ArtifactRef, list[Draft]]:
    """Keep the bytes of an output and say so. An artifact is built once: other bytes under a name
    the run already has raise Conflict; the same bytes again say nothing new."""
    home = record.journal.home
    digest, size = keep_file(home, path)
    known = artifacts(record, check=False).get(name)
    if known is not None and known.sha256 != digest:
        raise Conflict(
            f"artifact {name!r} was already built in this run, with other bytes",
            why=f"{known.sha256[:12]}… then, {digest[:12]}… now; later stages must use one and"
            " the same",
            hint="let the stage build it once, or start a new run",
            name="built-twice",
            artifact=name,
        )
    file_name = clean_text(path.name)
    shown = give_name(record, digest, path.name)
    purl = purl or outputs.generic_purl(record.ref.deliverable, record.version, digest)
    reference = ArtifactRef(name=name, path=shown, sha256=digest, size=size, purl=purl)
    if known is not None:
        return reference, []
    draft = outputs.artifact_packaged(
        record.ref,
        name=name,
        purl=purl,
        sha256=digest,
        size=size,
        version=version or record.version,
        revision=record.revision,
        repository=record.repository,
        stage=stage.name,
        attempt=attempt,
        file_name=file_name,
        media_type=media_type,
        locations=[],
        executable=os.access(path, os.X_OK),
    )
    return reference, [draft]


def give_name(record: RunRecord, digest: str, file_name: str) -> Path:
    """The kept bytes under the file name they were built as: some tools read the name.

    A hard link into ``artifacts/<run>/<digest>/``; a copy where links are not possible.
    """
    home = record.journal.home
    folder = home / "artifacts" / path_part(record.run) / digest[:12]
    target = folder / os.path.basename(file_name)
    if not target.exists():
        make_folder(folder)
        source = blob_path(home, digest)
        try:
            os.link(source, target)
        except FileExistsError:
            return target
        except OSError:
            shutil.copy(source, target)
    return target


def artifacts(record: RunRecord, *, check: bool = True) -> dict[str, ArtifactRef]:
    """The artifacts of the run by name; with ``check`` their bytes are read and compared.

    Raises Trouble where the bytes are not on this machine, Conflict where they are damaged or the
    run has two artifacts of one name.
    """
    catch_up(record.journal)
    rows = record.journal.query(
        "SELECT name, sha256, size_bytes, purl, file_name FROM artifact"
        " WHERE run = ? AND packaged_at IS NOT NULL ORDER BY name",
        (record.run,),
    )
    found: dict[str, ArtifactRef] = {}
    for row in rows:
        if row["name"] in found:
            raise Conflict(
                f"run {record.run[:8]} has two artifacts named {row['name']!r}",
                why="two machines recorded different bytes for it",
                hint="start a new run",
                name="built-twice",
            )
        path = blob_path(record.journal.home, row["sha256"])
        if check:
            check_blob(record.journal.home, row["sha256"])
            path = give_name(record, row["sha256"], row["file_name"] or row["name"])
        found[row["name"]] = ArtifactRef(
            name=row["name"],
            path=path,
            sha256=row["sha256"],
            size=row["size_bytes"] or 0,
            purl=row["purl"] or "",
        )
    return found


def described(artifacts: Mapping[str, ArtifactRef]) -> dict[str, Artifact]:
    """What variables and placeholders say of artifacts."""
    return {
        name: Artifact(str(found.path), found.purl, f"sha256:{found.sha256}")
        for name, found in artifacts.items()
    }


def report_drafts(
    record: RunRecord,
    stage: Stage,
    attempt: int,
    report: Report,
    raw: Path | None,
    outcome: Outcome | None = None,
) -> list[Draft]:
    """A suite ended: counts, notable cases, and the raw file kept by digest.

    ``raw`` is None where there is no file to keep, ``outcome`` where the report's own holds.
    """
    journal = record.journal
    suite = report.suite or stage.name
    kept: dict[str, Any] = {}
    if raw is not None:
        digest, size = keep_file(journal.home, raw, private=True)
        kept = {"sha256": digest, "size": size}
    event_id = journal.ids.uuid()
    finished = outputs.suite_finished(
        record.ref,
        stage=stage.name,
        attempt=attempt,
        suite=suite,
        environment=stage.environment,
        outcome=outcome or Outcome(report.outcome),
        facts={**_counts(report), **_notable_cases(record, report), "report": kept},
        event_id=event_id,
    )
    drafts = [finished]
    if suite != stage.name or stage.kind != "test":
        drafts.insert(0, record.suite_started_draft(stage, attempt, suite))
    if kept:
        drafts.append(
            outputs.report_published(
                record.ref,
                stage=stage.name,
                attempt=attempt,
                suite=suite,
                media_type="application/xml" if report.format == "junit" else "text/plain",
                sha256=kept["sha256"],
                size=kept["size"],
                suite_event=event_id,
            )
        )
    return drafts


def _counts(report: Report) -> dict[str, Any]:
    seconds = [case.seconds for case in report.cases if case.seconds is not None]
    return {
        "format": report.format,
        "total": len(report.cases),
        "passed": report.count("passed"),
        "failed": report.count("failed"),
        "errors": report.count("error"),
        "skipped": report.count("skipped"),
        "flaky": report.count("flaky"),
        "seconds": round(sum(seconds), 3) if seconds else None,
        "problem": report.problem,
    }


def _notable_cases(record: RunRecord, report: Report) -> dict[str, Any]:
    notable = [case for case in report.cases if case.outcome in NOTABLE]
    listed = notable[: outputs.CASES_MAX]
    return {
        "cases": [_case(case) for case in listed],
        "cases_left_out": len(notable) - len(listed),
    }


def _case(case: Case) -> dict[str, Any]:
    return {
        # Together they are the key of the case in this report.
        "suite": cut_name(clean_text(case.suite), 200),
        "name": cut_name(clean_text(case.name), 300),
        "outcome": case.outcome,
        "message": clean_text(case.message)[:600],
        "seconds": case.seconds,
    }
