"""Going on with a run: the same number, the same bytes, the same plan, after its last success."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxlocal.errors import Refused, UsageError
from cxlocal.plan.schedule import still_done
from cxlocal.plan.select import select
from cxlocal.runner import orphans
from cxlocal.runner.facts import require_own_tree
from cxlocal.runner.opening import Begun, listen, meet, number_and_stamp, opening_of
from cxlocal.runner.placements import instance_of, live
from cxlocal.runner.products import artifacts
from cxlocal.runner.record import RunRecord
from cxlocal.runner.run_version import Version, stamp
from cxlocal.runner.source import (
    Machine,
    Source,
    find_readers,
    find_secrets,
    open_source,
    open_store,
)
from cxlocal.runner.stage_outputs import put_back
from cxlocal.runner.work import Work
from cxlocal.runner.workspace import Workspace, discard, open_workspace

if TYPE_CHECKING:
    from cxlocal.exchange.store import Store
    from cxlocal.journal.file import Journal
    from cxlocal.runner.request import Request


def resume(machine: Machine, journal: Journal, request: Request, began: float) -> Begun:
    """Take up a run where it ended.

    Raises UsageError for a run that is not known or none of this folder, Refused for one that is
    still being carried out.
    """
    record = RunRecord.attach(journal, request.resume)
    _refuse_running(journal, record)
    source = open_source(machine, record.revision, {"jobs": request.jobs})
    _refuse_other(source, record)
    record.actor = source.actor
    plan = record.plan
    selection = select(plan, to=request.to)
    kept = still_done(plan, selection.now, record.succeeded())
    workspace = _workspace(machine, source, record)
    source.manager.add_project(workspace.project, machine.home)
    secrets = find_secrets(machine, source, plan, frozenset(selection.now) - kept)
    readers = find_readers(source.manager, plan)
    work = Work(
        record=record, manager=source.manager, workspace=workspace, environ=machine.environ,
        voice=machine.voice, secrets=secrets, readers=readers, run_named=request.run_named,
    )  # fmt: skip
    _take_up(work)
    store = None if request.offline else open_store(source, machine)
    _, why_offline = meet(journal, store, source)
    listen(journal, source)
    record.resumed(
        sorted(kept), source.actor, work.masker.text(request.reason),
        beside=lambda t: orphans.register(t, record.run, machine.command),
    )  # fmt: skip
    version = _version(machine, journal, work, source, store, began)
    if not workspace.in_place:
        put_back(work, kept)
    opening = opening_of(
        work, source, version, why_offline, selection, tuple(sorted(kept)), resumed=True
    )
    machine.voice.opening(opening)
    row = journal.one("SELECT proof FROM run WHERE id = ?", (record.run,))
    proof = (row and row["proof"]) or ""
    return Begun(record, work, source, selection, kept, store, version.how, proof)


def _refuse_running(journal: Journal, record: RunRecord) -> None:
    pid = orphans.is_carried_out(journal, record.run)
    if pid:
        raise Refused(
            f"run {record.run[:8]} is still being carried out",
            why=f"by process {pid} on this machine",
            hint="wait for it, or end it with Ctrl-C there",
            name="still-running",
        )
    if record.kind != "release":
        raise Refused(
            f"run {record.run[:8]} is a {record.kind}",
            why="only releases can go on",
            hint="start it anew: cxlocal rehearse",
            name="not-a-release",
        )
    if record.outcome() is None:
        raise Refused(
            f"run {record.run[:8]} is open elsewhere",
            why="it has not ended as far as this machine knows, and it is not carried out here",
            hint="cxlocal sync, then try again; a run of single commands: cxlocal run finish",
            name="open-elsewhere",
        )


def _refuse_other(source: Source, record: RunRecord) -> None:
    if source.config.deliverable.name != record.ref.deliverable:
        raise UsageError(
            f"run {record.run[:8]} is one of {record.ref.deliverable!r}",
            why=f"this folder is {source.config.deliverable.name!r}",
            hint="call it in the folder of that deliverable, or with -C DIR",
            name="other-deliverable",
        )


def _workspace(machine: Machine, source: Source, record: RunRecord) -> Workspace:
    """A new checkout of the same commit; of the last one only the artifacts are used again."""
    in_place = record.plan.workspace == "in-place"
    if in_place:
        require_own_tree(source, record)
    found = open_workspace(
        machine.home, source.repository, record.revision, record.run, in_place=in_place
    )
    if not in_place:
        discard(found)
        found.folder.mkdir(parents=True, mode=0o700)
        found.make(record.plan.paths, found.source)
    return found


def _take_up(work: Work) -> None:
    """What the run has so far: its artifacts, where it deployed, its attempts."""
    record = work.record
    work.artifacts = artifacts(record)
    work.succeeded = set(record.succeeded())
    work.first_attempt = {name: last + 1 for name, (last, _) in record.attempts().items()}
    for environment in record.plan.environments:
        for row in live(record, instance_of(record, environment)):
            if row["uri"]:
                work.uris[environment.name] = row["uri"]


def _version(
    machine: Machine,
    journal: Journal,
    work: Work,
    source: Source,
    store: Store | None,
    began: float,
) -> Version:
    """The version the run has; one that ended before it had any takes it now."""
    record = work.record
    if not record.version:
        return number_and_stamp(machine, journal, work, source, store, began)
    stamp(record.plan, work.workspace.project, record.version)
    row = journal.one("SELECT number_how FROM run WHERE id = ?", (record.run,))
    return Version(record.version, record.line, record.number, (row and row["number_how"]) or "")
