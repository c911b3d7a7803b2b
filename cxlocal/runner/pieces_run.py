"""The first and the last of the single commands: ``run start``, ``version next``, ``run finish``.

A run made of single commands begins as every run does: the revision is proven, the plan frozen, the
number taken. No process carries it out afterwards; it stays open until somebody finishes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.exchange.sync import SyncReport, synchronise
from cxlocal.projection.standing import Standing, words_of
from cxlocal.revision.clean import WHAT_COUNTS, differences, refuse_changes
from cxlocal.revision.filters import agreed_filters
from cxlocal.revision.repository import shown
from cxlocal.runner import orphans
from cxlocal.runner.handover import goes_away, send_patiently
from cxlocal.runner.opening import (
    ask_git,
    end_unnumbered,
    find_run,
    record_beginning,
    take_version,
)
from cxlocal.runner.outcomes import worst
from cxlocal.runner.pieces import PieceRecord, attach
from cxlocal.runner.pieces_join import CiRun, Joined, find_joined, go_on, refuse_other
from cxlocal.runner.source import Machine, Source, make_plan, open_store
from cxlocal.text import parse_utc

if TYPE_CHECKING:
    from cxlocal.events.document import Draft
    from cxlocal.exchange.store import Store
    from cxlocal.journal.file import Journal
    from cxlocal.revision.proof import Proof
    from cxlocal.runner.record import RunRecord, Version
    from cxlocal.runner.request import Request

END_SECONDS = 1.0
"""For the last exchange with a store, as of every run (promise P17)."""


class Started(NamedTuple):
    """A run that is open now."""

    run: str
    deliverable: str
    version: str
    how: str
    """Where the number came from; empty without one."""
    revision: str
    proof: str
    uncommitted: tuple[str, ...]
    joined: bool = False
    """It was begun by an earlier job of the same CI run."""
    note: str = ""
    """Why it is another run than one might expect, or goes on after its end."""


def start(
    machine: Machine,
    journal: Journal,
    request: Request,
    *,
    number: bool = True,
    allow_uncommitted: bool = False,
    new: bool = False,
) -> Started:
    """Begin a run that single commands report to; without ``number`` it takes none yet. In a CI server
    the run that another job of the same run began is joined, if it is of the same commit and open;
    not with ``new``.

    Raises what keeps a run from beginning; a run whose number cannot be had is recorded as ended
    before that is raised.
    """
    found = Joined(None)

    def look(source: Source) -> None:
        nonlocal found
        name, commit = source.config.deliverable.name, source.revision.commit
        if not new:
            found = find_joined(journal, name, source.place, commit, begins=True)
        other = found.other
        if other is not None and not other.ended and other.revision != commit:
            raise refuse_other(other, commit, source.place)

    pushed = ask_git(
        machine, journal, request, lambda source: _changed(source, allowed=allow_uncommitted),
        first=look,
    )  # fmt: skip
    source, changed = pushed.source, pushed.left_out
    if found.run is not None:
        return _join(journal, found.run, source, pushed.proof, changed, again=found.again)
    plan = make_plan(machine, source, machine.root)
    run = machine.ids.uuid()
    began = machine.clock.monotonic()
    record, store, _, _ = record_beginning(
        machine, journal, pushed, plan, request, run, numbered=number
    )
    try:
        if changed:
            record.record(_changed_draft(record, changed))
        version = take_version(machine, record, source, store) if number else None
    except CxError as problem:
        end_unnumbered(record, problem, machine.clock.monotonic() - began)
        raise
    finally:
        if store is not None:
            store.close()
    if version is not None:
        record.record(record.started_draft(version))
    return Started(
        run, plan.deliverable, version.text if version else "", version.how if version else "",
        source.revision.commit, pushed.proof.kind if pushed.proof else "", changed,
        note="" if found.other is None else
        f"run {found.other.shown} of the same {source.place.name} run was finished"
        f" (commit {found.other.revision[:12]})",
    )  # fmt: skip


def _join(
    journal: Journal,
    run: CiRun,
    source: Source,
    proof: Proof | None,
    changed: tuple[str, ...],
    *,
    again: bool,
) -> Started:
    record = attach(journal, run.id)
    record.actor = source.actor
    if again:
        go_on(record, source.place, again=True)
    if changed:
        record.record(_changed_draft(record, changed))
    note = "it was finished, and goes on as its CI server runs it again" if again else ""
    return Started(
        run.id, record.ref.deliverable, record.version, "", record.revision,
        proof.kind if proof else "", changed, joined=True, note=note,
    )  # fmt: skip


def _changed_draft(record: RunRecord, changed: tuple[str, ...]) -> Draft:
    text = f"the files of this run differ from its commit: {', '.join(changed[:5])}"
    return record.flag_draft("uncommitted-changes", text)


def _changed(source: Source, *, allowed: bool) -> tuple[str, ...]:
    """Uncommitted files. The commands of such a run work in the tree as it lies, so what they build
    would not be what was pushed: refused, unless somebody takes that upon himself."""
    repository = source.repository
    filters = agreed_filters(repository, source.config.scm.filters)
    changed = differences(
        repository, source.revision.commit, source.config.deliverable.paths, filters=filters
    )
    if not allowed:
        try:
            refuse_changes(changed)
        except Refused as problem:
            raise Refused(
                problem.what,
                why="the commands of such a run work in the tree as it lies: what they build would"
                f" not be what was pushed; {WHAT_COUNTS}",
                hint="commit and push them, add what is built to .gitignore, or:"
                " cxlocal run start --allow-uncommitted",
                name=problem.name,
                **problem.data,
            ) from problem
    return shown(changed)


def next_version(machine: Machine, journal: Journal, run: str, *, offline: bool) -> Version:
    """The number of a run that has none yet; the one it has, if it has one.

    Raises StoreNeeded, Refused, and UsageError for a run that is over.
    """
    source, record = find_run(machine, journal, run)
    known = record.known_version()
    if known is not None:
        return known
    if record.outcome() is not None:
        raise UsageError(
            f"run {run[:8]} is over and never had a number",
            why="a number is taken while a run is open",
            hint='eval "$(cxlocal run start)" begins another one',
            name="run-over",
        )
    store = open_store(source, machine, journal, offline=offline)
    try:
        version = take_version(machine, record, source, store)
    finally:
        if store is not None:
            store.close()
    record.record(record.started_draft(version))
    return version


class Finished(NamedTuple):
    """How a run ended."""

    run: str
    version: str
    outcome: Outcome
    reason: str
    seconds: float


def judged(standings: Mapping[str, Standing]) -> tuple[Outcome, str]:
    """The outcome of a run by how its stages stand, with the reason. Pure.

    A part that never ended, or never began, counts as an error: nobody knows what became of it.
    """
    bad = {name: one for name, one in standings.items() if not one.succeeded}
    outcome = worst(one.outcome or Outcome.ERROR for one in bad.values())
    words = [words_of(name, one) for name, one in bad.items()]
    return outcome, "; ".join(words)


def finish(record: PieceRecord, outcome: Outcome | None, reason: str) -> Finished:
    """Record the end of a run; without ``outcome`` it is worked out from the stages."""
    record.end_gone()
    found, words = judged(record.standings())
    chosen = outcome or found
    said = reason or (words if chosen == found else "")
    row = record.journal.one("SELECT queued_at FROM run WHERE id = ?", (record.run,))
    began = parse_utc(row["queued_at"]) if row and row["queued_at"] else 0
    now = record.journal.clock.now_ms()
    seconds = max(0, now - began) / 1000 if began else 0.0
    # What a machine says that knows of an earlier end, or of a new beginning, holds (decision 11).
    last = record.last_turn()
    record.turn = last + 1 if last else 0
    orphans.finish_run(record, chosen, said, seconds=seconds)
    return Finished(record.run, record.version, chosen, said, seconds)


def send(journal: Journal, store: Store, patience_seconds: float) -> SyncReport:
    """The last exchange; a passing machine has its patience, as what it does not send is lost."""
    if goes_away(journal):
        return send_patiently(journal, store, max(END_SECONDS, patience_seconds))
    return synchronise(journal, store, budget_seconds=END_SECONDS)
