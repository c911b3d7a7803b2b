"""Going on with a run: the same number, the same bytes, the same plan, after its last success."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cxlocal.errors import Refused
from cxlocal.exchange.standing import require
from cxlocal.plan.schedule import still_done
from cxlocal.plan.select import Selection, select
from cxlocal.revision.repository import read_file
from cxlocal.runner import orphans
from cxlocal.runner.admission import reason_of
from cxlocal.runner.caches import bring_in
from cxlocal.runner.contact import first_sender, meet, turns_of
from cxlocal.runner.handover import fetch_bytes
from cxlocal.runner.needed import lacking
from cxlocal.runner.nesting import refuse_in_rehearsal, refuse_repetition
from cxlocal.runner.opening import (
    Opened,
    announce,
    check_out_again,
    find_run,
    listen,
    make_work,
    number_and_stamp,
    refuse_running,
)
from cxlocal.runner.pieces import how_to_finish
from cxlocal.runner.record import RunRecord
from cxlocal.runner.repetition import BackAgain, find_missing, words_of_missing
from cxlocal.runner.source import Machine, Source, open_store
from cxlocal.runner.stage_outputs import put_back
from cxlocal.runner.targets import require_agreed
from cxlocal.runner.turns import open_turns
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal
    from cxlocal.runner.request import Request


class Resumable(NamedTuple):
    """A run that may go on."""

    source: Source
    record: RunRecord
    selection: Selection
    kept: frozenset[str]
    """Stages that need not run again."""


def find_resumable(
    machine: Machine, journal: Journal, run: str, *, to: str | None, jobs: int | None = None
) -> Resumable:
    """The run to go on with. Raises what keeps it from that."""
    source, record = find_run(machine, journal, run, jobs=jobs, runs_stages=True)
    _refuse_to_resume(journal, record)
    refuse_repetition(machine, source)
    refuse_in_rehearsal(machine)
    require(journal, record.ref.deliverable, "push")
    selection = select(record.plan, to=to)
    require_agreed(machine, record.plan, selection.now)
    kept = still_done(record.plan, selection.now, record.succeeded())
    return Resumable(source, record, selection, kept)


def resume_run(machine: Machine, journal: Journal, request: Request, began: float) -> Opened:
    """The run that ``request.resume`` names, with its version and a checkout of its commit.

    Raises what keeps it from going on, as ``begin_run`` does.
    """
    source, record, selection, kept = find_resumable(
        machine, journal, request.resume, to=request.to, jobs=request.jobs
    )
    plan = record.plan
    in_place = plan.workspace == "in-place"
    workspace = check_out_again(machine, source, record, in_place=in_place)
    pending = set(selection.now) - kept
    back = find_missing(record, workspace, pending, kept)
    store = open_store(source, machine, journal, offline=request.offline)
    _, why_offline = meet(journal, store, source)
    if store is not None and not why_offline and lacking(journal, record.run):
        fetch_bytes(journal, store, record.run)
    work = make_work(
        machine, source, record, workspace, pending | back.repeated.keys(),
        run_named=request.run_named,
    )  # fmt: skip
    work.repeated = back.repeated
    work.reason = request.reason
    work.deployment_reason = work.masker.text(request.reason) or reason_of(record)
    work.turns = turns_of(journal, store, source, machine.voice.warn, why_offline)
    work.send_first = first_sender(journal, store, source, machine.voice.warn)
    listen(journal, source)
    record.resumed(
        sorted(kept), source.actor, work.masker.text(request.reason),
        beside=lambda t: orphans.register(t, record.run, machine.command),
        asked=selection.as_asked(request.to),
    )  # fmt: skip
    record.record(*record.restricted_drafts(source.manager.left_out))
    version = record.known_version() or number_and_stamp(machine, work, source, store, began)
    if not in_place:
        put_back(work, kept - back.repeated.keys())
    for stage in back.cached:
        bring_in(work, stage, workspace.project)
    announce(
        work, source, selection, version, why_offline, kept=tuple(sorted(kept)),
        back=tuple(_words_of(back)), edited=_is_edited(machine, source, record),
    )  # fmt: skip
    stored = journal.one("SELECT proof FROM run WHERE id = ?", (record.run,))
    proof = (stored and stored["proof"]) or ""
    return Opened(
        record, work, source, selection, kept - back.repeated.keys(), store, version.how, proof
    )


def _words_of(back: BackAgain) -> Iterator[str]:
    for stage in back.cached:
        paths = ", ".join(cache.path for cache in stage.caches)
        yield f"{stage.name}: {paths} comes from its cache"
    for name, gone in back.repeated.items():
        yield f"{name}: runs again for its files only ({words_of_missing(gone)})"
    for name, gone in back.lost.items():
        yield f"{name}: must not run twice, so {words_of_missing(gone)} of it is missing"


def _is_edited(machine: Machine, source: Source, record: RunRecord) -> bool:
    """Whether the cx.toml that lies here is another than the run's commit has."""
    path = os.path.join(source.repository.prefix, "cx.toml")
    try:
        here = (machine.root / "cx.toml").read_bytes()
    except OSError:
        return True
    there = read_file(source.repository, record.revision, path) or b""
    return here.replace(b"\r\n", b"\n") != there.replace(b"\r\n", b"\n")


def _refuse_to_resume(journal: Journal, record: RunRecord) -> None:
    refuse_running(journal, record, "wait for it, or end it with Ctrl-C there")
    if record.kind != "release":
        raise Refused(
            f"run {record.run[:8]} is a {record.kind}",
            why="only releases can go on",
            hint="start it anew: cxlocal rehearse",
            name="not-a-release",
        )
    if record.outcome() is None and orphans.is_of_pieces(journal, record.run):
        raise Refused(
            f"run {record.run[:8]} was begun here by single commands and is open",
            why="a run goes on when it has ended",
            hint=how_to_finish(record.run),
            name="open-pieces",
        )
    if record.outcome() is None and record.run not in {one.run for one in orphans.orphans(journal)}:
        raise Refused(
            f"run {record.run[:8]} is open elsewhere",
            why="it has not ended as far as this machine knows, and it is not carried out here",
            hint=_without_the_machine(journal, record), name="open-elsewhere",
        )  # fmt: skip


def _without_the_machine(journal: Journal, record: RunRecord) -> str:
    """What works where a run was begun: it has ended there, or nobody will end it any more."""
    held = [
        one.name for one in record.plan.environments
        if any(row["run"] == record.run for row in open_turns(journal, record.ref.deliverable, one.name))
    ]  # fmt: skip
    taken = "".join(f"cxlocal env take {quoted(one)} -m WHY, and then " for one in held)
    return (
        "cxlocal sync, then try again; if that machine is gone, release the commit anew:"
        f" {taken}cxlocal run --revision {quoted(record.revision[:12])}"
    )
