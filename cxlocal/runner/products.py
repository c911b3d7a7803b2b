"""What stages leave behind: artifacts kept by digest and built once, reports read and kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.domain import Outcome, path_part
from cxlocal.errors import Conflict, Trouble
from cxlocal.events import outputs
from cxlocal.events.belonging import mark_id
from cxlocal.events.document import Draft
from cxlocal.files import fresh_folder, rename
from cxlocal.hooks.tool import ArtifactRef
from cxlocal.journal.blobs import blob_path, check_blob, digest_of, keep_file
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.placeholders import Artifact
from cxlocal.private import make_folder
from cxlocal.text import clean_text, cut_name

if TYPE_CHECKING:
    from cxlocal.hooks.report import Case, Report
    from cxlocal.plan.free import AnyStage
from cxlocal.runner.own_words import artifact_rows
from cxlocal.runner.record import RunRecord

PROMOTED = "SELECT 1 FROM promotion WHERE run = ? AND decision IN ('granted', 'overridden')"
PUBLISHED = "SELECT 1 FROM artifact_location WHERE deliverable = ? AND sha256 = ?"
LATER = "SELECT stage FROM stage_run WHERE run = ? AND stage <> ? AND started_at >= ?"
NOTABLE = ("failed", "error", "flaky")
"""Outcomes of cases that travel with the event."""
LOCATION_CHARACTERS = 2000
"""Of a place where an artifact can be had, at most."""


def artifact_drafts(
    record: RunRecord,
    stage: AnyStage,
    attempt: int,
    name: str,
    path: Path,
    file_name: str,
    *,
    purl: str = "",
    version: str = "",
    media_type: str = "",
) -> tuple[ArtifactRef, list[Draft]]:
    """Keep the bytes of an output and say so. An artifact is built once: the same bytes again say
    nothing new, other bytes take its name only in a retry of what made it, and only while nothing has
    used it. Else they raise Conflict. ``file_name`` is what it is kept and recorded as."""
    home = record.journal.home
    digest, size = keep_file(home, path)
    known = artifacts(record, check=False).get(name)
    again = known is not None and known.sha256 == digest
    if known is not None and not again and (why := _why_kept(record, stage, name)):
        raise _built_twice(name, known.sha256, digest, why)
    shown = give_name(record, digest, file_name)
    purl = purl or outputs.generic_purl(record.ref.deliverable, record.version, digest)
    reference = ArtifactRef(name=name, path=shown, sha256=digest, size=size, purl=purl)
    if again:
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
        file_name=clean_text(file_name),
        media_type=media_type,
        locations=[],
        executable=os.access(path, os.X_OK),
        replaces="" if known is None else known.sha256,
        turn=0 if known is None else 1 + _times_replaced(record, name),
    )
    return reference, [draft]


def _built_twice(name: str, then: str, now: str, why: str) -> Conflict:
    return Conflict(
        f"artifact {name!r} was already built in this run, with other bytes",
        why=f"sha256:{then[:12]}… then, sha256:{now[:12]}… now; {why};"
        " 'cxlocal run start --new' begins a run of its own",
        hint="let the stage build it once, or: cxlocal run start --new",
        name="built-twice",
        artifact=name,
        then=then,
        now=now,
    )


def _times_replaced(record: RunRecord, name: str) -> int:
    row = record.journal.one(
        "SELECT count(*) AS times FROM artifact"
        " WHERE run = ? AND name = ? AND (packaged_at IS NULL OR replaced_at IS NOT NULL)",
        (record.run, name),
    )
    return 0 if row is None else int(row["times"])


def _why_kept(record: RunRecord, stage: AnyStage, name: str) -> str:
    """Why other bytes must not take the name of an artifact; empty where they may."""
    if not record.single_commands:
        return "later stages must use one and the same"
    made = record.journal.one(
        "SELECT a.sha256, a.packaged_at, t.counts, t.stage FROM artifact a"
        " LEFT JOIN stage_run t ON t.id = a.stage_run"
        " WHERE a.run = ? AND a.name = ? AND a.packaged_at IS NOT NULL AND a.replaced_at IS NULL",
        (record.run, name),
    )
    if made is None or made["stage"] != stage.name or made["counts"] != 0:
        return "what made it then is no earlier try of this; give each its own name"
    for what, sql, wanted in (
        ("a promotion", PROMOTED, (record.run,)),
        ("a deployment", "SELECT 1 FROM deployment WHERE version_run = ?", (record.run,)),
        ("a publication", PUBLISHED, (record.ref.deliverable, made["sha256"])),
    ):
        if record.journal.one(sql, wanted) is not None:
            return f"{what} is about the former"
    plan = record.find_plan()
    unrelated = {one.name for one in (plan.stages if plan else ()) if name not in one.artifacts}
    for row in record.journal.query(LATER, (record.run, stage.name, made["packaged_at"])):
        if row["stage"] not in unrelated:
            return f"stage {row['stage']} has used the former"
    return ""


def named_path(record: RunRecord, digest: str, file_name: str) -> Path:
    """Where ``give_name`` puts it."""
    folder = record.journal.home / "artifacts" / path_part(record.run) / digest[:12]
    return folder / os.path.basename(file_name)


def give_name(record: RunRecord, digest: str, file_name: str) -> Path:
    """The kept bytes under the file name they were built as: some tools read the name.

    A hard link into ``artifacts/<run>/<digest>/``; a copy where links are not possible. Whatever else a stage or
    somebody put there goes.
    """
    target = named_path(record, digest, file_name)
    source = blob_path(record.journal.home, digest)
    if not _has_bytes_of(target, source, digest):
        make_folder(target.parent)
        with fresh_folder(target.parent) as folder:
            fresh = folder / "new"
            try:
                os.link(source, fresh)
            except OSError:
                shutil.copy(source, fresh)
            if target.is_dir() and not target.is_symlink():
                rename(target, folder / "former", durable=False)
            rename(fresh, target, durable=False)
    return target


def _has_bytes_of(target: Path, source: Path, digest: str) -> bool:
    """Editors and 'sed -i' leave another file under the name: the kept one is whole, and nobody reads it."""
    try:
        if target.is_symlink() or not target.is_file():
            return False
        return target.samefile(source) or digest_of(target)[0] == digest
    except OSError:
        return False


def artifacts(record: RunRecord, *, check: bool = True) -> dict[str, ArtifactRef]:
    """The artifacts of the run by name; with ``check`` their bytes are read and compared. Without, one whose
    bytes are not here has a path where no file is.

    Raises Trouble where the bytes are not on this machine, Conflict where they are damaged or the
    run has two artifacts of one name.
    """
    catch_up(record.journal)
    found: dict[str, ArtifactRef] = {}
    for row in artifact_rows(record.journal, record.run):
        if row["name"] in found:
            raise Conflict(
                f"run {record.run[:8]} has two artifacts named {row['name']!r}",
                why="two machines recorded different bytes for it",
                hint="start a new run",
                name="built-twice",
            )
        if check:
            check_blob(record.journal.home, row["sha256"])
        here = check or blob_path(record.journal.home, row["sha256"]).is_file()
        named = give_name if here else named_path
        path = named(record, row["sha256"], row["file_name"])
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


def published_drafts(
    record: RunRecord, seen: Mapping[str, ArtifactRef], locations: Mapping[str, str]
) -> list[Draft]:
    """Where artifacts can be had from now on. Raises Trouble for one that the stage does not see, and for
    what is no location."""
    drafts = []
    for name, location in locations.items():
        made = seen.get(name)
        if (
            made is None
            or not 0 < len(location) <= LOCATION_CHARACTERS
            or not location.isprintable()
        ):
            raise Trouble(
                f"it says that {name} can be had from {clean_text(location)[:80]!r}",
                why="no artifact of that name is known to the stage (needs)" if made is None else
                f"a location is one line of {LOCATION_CHARACTERS} characters at most",
                hint="correct the locations that the tool answers",
                name="bad-location",
            )  # fmt: skip
        drafts.append(
            outputs.artifact_published(
                record.ref, purl=made.purl, name=name, sha256=made.sha256, location=location,
                user=record.actor.id,
            )
        )  # fmt: skip
    return drafts


def report_drafts(
    record: RunRecord,
    stage: AnyStage,
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
    event_id = mark_id(journal.ids.uuid(), record.ref.deliverable)
    finished = outputs.suite_finished(
        record.ref,
        stage=stage.name,
        attempt=attempt,
        suite=suite,
        environment=stage.environment,
        instance=record.instance(stage.environment),
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
