"""What stays on this machine and what may go: the rules of ``[keep]``, and carrying them out.

Events stay for ever. Files are found by what the journal says of them; a file nobody knows is left
alone. The choice is pure; removing is done in batches, each recorded before it is carried out, so
that no removal is ever without its event.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cxlocal.domain import path_part
from cxlocal.events.machines import node_pruned
from cxlocal.journal.blobs import blob_path
from cxlocal.journal.file import Journal
from cxlocal.journal.home import CHECKOUTS, journal_files
from cxlocal.journal.rebuild import catch_up
from cxlocal.journal.schema import AWAY
from cxlocal.revision.removal import remove_checkout
from cxlocal.runner.needed import needed_runs
from cxlocal.text import is_hexadecimal, parse_utc
from cxlocal.values import NamedTuple

BATCH = 200
"""Removals in one event, which holds 256 KiB: paths of ours are shorter than 500 bytes."""

LEFTOVER_MS = 24 * 3600 * 1000
"""A working folder without a run that this machine carries out is left alone for a day: a command
that just began may not have said so yet."""

RUNS = """
SELECT run.id, run.kind, run.queued_at, run.finished_at,
  EXISTS (SELECT 1 FROM process WHERE process.run = run.id) AS carried_out
FROM run WHERE run.deliverable = ? AND run.queued_at IS NOT NULL
"""
ARTIFACTS = "SELECT run, name, sha256, deliverable FROM artifact WHERE packaged_at IS NOT NULL"
REPORTS = """
SELECT report.run, report.sha256, report.finished_at, run.deliverable FROM report
LEFT JOIN run ON run.id = report.run WHERE report.sha256 IS NOT NULL
UNION ALL SELECT stage_run.run, stage_run.tail_sha256, stage_run.finished_at, run.deliverable
FROM stage_run LEFT JOIN run ON run.id = stage_run.run WHERE stage_run.tail_sha256 IS NOT NULL
"""
"""Raw reports, and the last lines of stages that failed."""


class Rules(NamedTuple):
    """``[keep]`` in numbers."""

    logs_ms: int
    reports_ms: int
    artifacts: int
    """Versions."""
    checkouts: int
    """Failed runs."""


class KnownRun(NamedTuple):
    """A run as the rules see it. Times are milliseconds since 1970 (UTC)."""

    id: str
    kind: str
    queued_ms: int
    finished_ms: int | None
    carried_out: bool = False
    """Open, or a process of this machine works on it."""
    built: bool = True
    """It has artifacts: one that failed before it had any must not push out another's."""


class KeptFile(NamedTuple):
    """Bytes kept by digest for a run. Several runs may need the same."""

    sha256: str
    run: str
    at_ms: int = 0


class Folder(NamedTuple):
    """The working folder of a run that failed or was cut off."""

    run: str
    changed_ms: int


def logs_to_remove(runs: Iterable[KnownRun], rules: Rules, now_ms: int) -> list[str]:
    """Runs whose logs are older than the rule says. Pure."""
    return [
        run.id
        for run in runs
        if run.finished_ms is not None
        and not run.carried_out
        and run.finished_ms < now_ms - rules.logs_ms
    ]


def runs_to_keep(runs: Iterable[KnownRun], needed: Iterable[str], rules: Rules) -> set[str]:
    """Runs whose artifacts stay: what is live and was before it (``needed``), the last versions,
    and whatever is still open. Pure."""
    known = list(runs)
    kept = set(needed)
    kept |= {run.id for run in known if run.finished_ms is None or run.carried_out}
    releases = sorted(
        (run for run in known if run.kind == "release" and run.built),
        key=lambda run: (run.queued_ms, run.id),
        reverse=True,
    )
    return kept | {run.id for run in releases[: rules.artifacts]}


def artifacts_to_remove(
    files: Iterable[KeptFile], known: Iterable[str], kept: Iterable[str]
) -> list[KeptFile]:
    """Artifacts of the ``known`` runs none of whose runs is kept. Pure.

    Runs that are not known (of another deliverable) keep their bytes.
    """
    of_ours, staying = set(known), set(kept)
    found = list(files)
    needed = {one.sha256 for one in found if one.run in staying or one.run not in of_ours}
    return [one for one in found if one.sha256 not in needed]


def reports_to_remove(
    files: Iterable[KeptFile], known: Iterable[str], rules: Rules, now_ms: int
) -> list[KeptFile]:
    """Raw reports older than the rule says, unless a newer report has the same bytes. Pure."""
    of_ours, found = set(known), list(files)
    oldest = now_ms - rules.reports_ms
    needed = {one.sha256 for one in found if one.at_ms >= oldest or one.run not in of_ours}
    return [one for one in found if one.sha256 not in needed]


def folders_to_remove(
    folders: Iterable[Folder], runs: Iterable[KnownRun], rules: Rules, now_ms: int
) -> list[Folder]:
    """Checkouts beyond the last failed ones. Pure."""
    known = {run.id: run for run in runs}
    old: list[Folder] = []
    failed: list[Folder] = []
    for folder in folders:
        run = known.get(folder.run)
        if run is None:
            if folder.changed_ms < now_ms - LEFTOVER_MS:
                old.append(folder)
        elif run.finished_ms is not None and not run.carried_out:
            failed.append(folder)
    failed.sort(key=lambda one: (one.changed_ms, one.run), reverse=True)
    return old + failed[rules.checkouts :]


class Removal(NamedTuple):
    """One thing that may go."""

    kind: str
    """checkout, log, artifact or report."""
    run: str
    path: str
    """Below the folder of the journal."""
    sha256: str
    size: int
    """Bytes; what links to the same bytes elsewhere is counted once."""
    awaited: str = ""
    """Of a log: the sink that had not got all of it."""


HOLD_BYTES = 1024**3
"""Of logs that sinks still await: more is given up, the oldest first."""


class Hold(NamedTuple):
    """Logs that sinks still await, and for how long that spares them."""

    awaited: Mapping[str, str] = MappingProxyType({})
    """Run to the sink that lacks its logs."""
    since_ms: int = 0
    """Of runs that ended before, nothing is spared."""


NO_HOLD = Hold()


def spare_awaited(logs: Iterable[Removal], ended: Mapping[str, int], hold: Hold) -> list[Removal]:
    """The logs that go all the same, with who awaits them. ``ended``: when each run did. Pure."""
    going: list[Removal] = []
    left = HOLD_BYTES
    for one in sorted(logs, key=lambda one: ended.get(one.run, 0), reverse=True):
        by = hold.awaited.get(one.run, "")
        if by and ended.get(one.run, 0) >= hold.since_ms and one.size <= left:
            left -= one.size
        else:
            going.append(one._replace(awaited=by))
    return going


def find_removals(
    journal: Journal, deliverable: str, rules: Rules, now_ms: int, hold: Hold = NO_HOLD
) -> list[Removal]:
    """What the rules let go of one deliverable, as far as it is here."""
    catch_up(journal)
    runs = [_run(row) for row in journal.query(RUNS, (deliverable,))]
    ids = [run.id for run in runs]
    artifacts = [KeptFile(row["sha256"], row["run"]) for row in journal.query(ARTIFACTS)]
    built = {one.run for one in artifacts}
    runs = [run._replace(built=run.id in built) for run in runs]
    kept = runs_to_keep(runs, needed_runs(journal, deliverable), rules)
    reports = [
        KeptFile(row["sha256"], row["run"], parse_utc(row["finished_at"]))
        for row in journal.query(REPORTS)
        if row["finished_at"]
    ]
    going = artifacts_to_remove(artifacts, ids, kept)
    old_reports = reports_to_remove(reports, ids, rules, now_ms)
    # The same bytes may be an artifact and a report: they go when both rules let go of them.
    wanted_reports = {one.sha256 for one in reports} - {one.sha256 for one in old_reports}
    wanted_artifacts = {one.sha256 for one in artifacts} - {one.sha256 for one in going}
    beside = _beside(journal)
    wanted_reports |= beside.digests
    wanted_artifacts |= beside.digests
    found = _folders(journal, runs, beside.runs, rules, now_ms)
    logs = _logs(journal.home, logs_to_remove(runs, rules, now_ms))
    ended = {run.id: run.finished_ms for run in runs if run.finished_ms is not None}
    found += spare_awaited(logs, ended, hold)
    found += _blobs(journal.home, "artifact", going, wanted_reports)
    found += _blobs(journal.home, "report", old_reports, wanted_artifacts)
    return list({one.path: one for one in found}.values())


def _run(row: dict[str, Any]) -> KnownRun:
    finished = parse_utc(row["finished_at"]) if row["finished_at"] else None
    return KnownRun(
        row["id"], row["kind"] or "", parse_utc(row["queued_at"]), finished,
        bool(row["carried_out"]),
    )  # fmt: skip


class Beside(NamedTuple):
    """What the further journals of a home know; files of all of them lie in the home."""

    runs: set[str]
    digests: set[str]
    """Of what they hold of deliverables that did not leave them."""


def _beside(journal: Journal) -> Beside:
    found = Beside(set(), set())
    for path in journal_files(journal.home):
        if path == journal.path:
            continue
        with Journal.open(
            path, clock=journal.clock, ids=journal.ids, create=False, home=journal.home
        ) as other:
            catch_up(other)
            found.runs.update(row["id"] for row in other.query("SELECT id FROM run"))
            found.digests.update(
                row["sha256"]
                for row in (*other.query(ARTIFACTS), *other.query(REPORTS))
                if not other.value(AWAY + (row["deliverable"] or ""))
            )
    return found


def _folders(
    journal: Journal, runs: Sequence[KnownRun], beside: set[str], rules: Rules, now_ms: int
) -> list[Removal]:
    root = journal.home / CHECKOUTS
    names = {path_part(run.id): run.id for run in runs}
    known = {row["id"] for row in journal.query("SELECT id FROM run")} | beside
    others = set(map(path_part, known)) - names.keys()  # whose own rules hold
    found: list[Folder] = []
    for path in _listed(root):
        if path.name not in others and path.is_dir() and not path.is_symlink():
            changed = int(path.stat().st_mtime * 1000)
            found.append(Folder(names.get(path.name, path.name), changed))
    going = {one.run for one in folders_to_remove(found, runs, rules, now_ms)}
    return [
        Removal("checkout", one.run, f"{CHECKOUTS}/{name}", "", size_of(root / name))
        for one in found
        if one.run in going
        for name in [path_part(one.run) if one.run in names.values() else one.run]
    ]


def _logs(home: Path, runs: Iterable[str]) -> list[Removal]:
    found = ((run, f"logs/{path_part(run)}") for run in runs)
    return [
        Removal("log", run, path, "", size_of(home / path))
        for run, path in found
        if (home / path).is_dir()
    ]


def _blobs(
    home: Path, kind: str, files: Iterable[KeptFile], needed_otherwise: set[str]
) -> list[Removal]:
    found: list[Removal] = []
    for one in files:
        if one.sha256 in needed_otherwise or not is_hexadecimal(one.sha256, 64):
            continue
        path = blob_path(home, one.sha256)
        named = home / "artifacts" / path_part(one.run) / one.sha256[:12]
        if path.is_file():
            size = path.stat().st_size
            found.append(Removal(kind, one.run, str(path.relative_to(home)), one.sha256, size))
        if kind == "artifact" and named.is_dir():
            # Hard links to the bytes above: they free nothing by themselves.
            linked = str(named.relative_to(home))
            found.append(Removal(kind, one.run, linked, one.sha256, 0))
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def size_of(path: Path) -> int:
    """Bytes of the files below a folder; links are not followed."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue  # somebody else removed it meanwhile
    return total


def remove(journal: Journal, removals: Sequence[Removal]) -> list[tuple[Removal, str]]:
    """Record and remove; what could not be removed, with the reason."""
    failed: list[tuple[Removal, str]] = []
    for first in range(0, len(removals), BATCH):
        batch = removals[first : first + BATCH]
        journal.append(
            node_pruned(
                node=journal.node,
                removed=[
                    {
                        name: value
                        for name, value in one._asdict().items()
                        if value or name != "awaited"
                    }
                    for one in batch
                ],
                freed_bytes=sum(one.size for one in batch),
            )
        )
        for one in batch:
            try:
                _remove(journal.home / one.path, one.kind)
            except OSError as problem:
                failed.append((one, problem.strerror or str(problem)))
    return failed


def _remove(path: Path, kind: str) -> None:
    if kind == "checkout":
        remove_checkout(path)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
