"""The first and the last of the single commands: ``run start``, ``version next``, ``run finish``.

A run made of single commands begins as every run does: the revision is proven, the plan frozen, the
number taken. No process carries it out afterwards; it stays open until somebody finishes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cxlocal.config.load import read
from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused, StoreNeeded, UsageError
from cxlocal.events.belonging import is_shared, mark_id
from cxlocal.exchange.messages import RUN_HAS_NUMBER
from cxlocal.exchange.open import is_own
from cxlocal.exchange.sync import SyncReport, synchronise
from cxlocal.journal.machine import goes_away
from cxlocal.projection.standing import Standing, words_of
from cxlocal.revision.clean import WHAT_COUNTS, differences, refuse_changes
from cxlocal.revision.filters import agreed_filters
from cxlocal.revision.head import commit_of
from cxlocal.revision.repository import shown
from cxlocal.runner import orphans
from cxlocal.runner.contact import Met, meet_store, sync_shortly
from cxlocal.runner.handover import send_patiently
from cxlocal.runner.opening import (
    Pushed,
    ask_git,
    end_unnumbered,
    find_run,
    record_beginning,
)
from cxlocal.runner.outcomes import worst
from cxlocal.runner.pieces import RUN_VARIABLE, PieceRecord, attach
from cxlocal.runner.pieces_join import (
    CiRun,
    Joined,
    find_joined,
    go_on,
    new_shared_id,
    refuse_other,
    run_over,
)
from cxlocal.runner.run_version import take_version
from cxlocal.runner.source import Machine, Source, make_plan, open_source, open_store
from cxlocal.text import parse_utc
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.events.document import Draft
    from cxlocal.exchange.store import Store
    from cxlocal.journal.file import Journal
    from cxlocal.plan.types import Plan
    from cxlocal.runner.record import RunRecord, Version
    from cxlocal.runner.request import Request

END_SECONDS = 1.0
"""For the last exchange with a store, as of every run (promise P17)."""


NOTHING_REPORTED = "no stage was reported"


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
    not with ``new``. The store is asked whether a job with a journal of its own began one.

    Raises NothingToRelease, and what keeps a run from beginning; a run whose number cannot be had is recorded as ended
    before that is raised.
    """

    def look(source: Source) -> Joined:
        if new:
            return Joined(None)
        name, commit, place = source.config.deliverable.name, source.revision.commit, source.place
        found = find_joined(journal, name, place, commit, begins=True)
        other = found.other
        if other is not None and not other.ended and other.revision != commit:
            raise refuse_other(other, commit, place)
        return found

    def refuse_early(source: Source) -> None:
        look(source)

    pushed = ask_git(
        machine, journal, request, lambda source: _changed(source, allowed=allow_uncommitted),
        first=refuse_early,
    )  # fmt: skip
    source = pushed.source
    plan = make_plan(machine, source, machine.root)
    if plan.bump and not request.anyway and look(source).run is None:
        from cxlocal.runner.bump import refuse_nothing

        refuse_nothing(journal, source, plan)
    met = meet_store(machine, journal, source, pushed.root, request, numbered=number)
    try:
        found = look(source)
        if found.run is not None:
            started = _join(machine, journal, pushed, found, met, number=number)
        else:
            run = mark_id(machine.ids.uuid(), plan.deliverable)
            if not new and _is_shared(source, met):
                commit = source.revision.commit
                run = new_shared_id(journal, plan.deliverable, source.place, commit)
            started = _begin(machine, journal, pushed, plan, request, run, met, number=number)
            started = started._replace(note=_why_another(found, source, met, run))
        if met.reached and source.place.run_id and met.store is not None:
            # So that jobs with journals of their own find it from now on.
            sync_shortly(journal, met.store, END_SECONDS, source)
        return started
    finally:
        met.close()


def _begin(
    machine: Machine, journal: Journal, pushed: Pushed, plan: Plan, request: Request, run: str,
    met: Met, *, number: bool,
) -> Started:  # fmt: skip
    source = pushed.source
    began = machine.clock.monotonic()
    record = record_beginning(
        machine, journal, pushed, plan, request, run, met, numbered=number
    ).record
    try:
        if pushed.left_out:
            record.record(_changed_draft(record, pushed.left_out))
        version = take_version(machine, record, source, met.store) if number else None
    except CxError as problem:
        # A run that others may have begun, too, is not over because we did not get its number.
        if not (
            is_shared(run) and (problem.name == RUN_HAS_NUMBER or isinstance(problem, StoreNeeded))
        ):
            end_unnumbered(record, problem, machine.clock.monotonic() - began)
        raise
    return Started(
        run, plan.deliverable, version.text if version else "", version.how if version else "",
        source.revision.commit, pushed.proof.kind if pushed.proof else "", pushed.left_out,
    )  # fmt: skip


def _is_shared(source: Source, met: Met) -> bool:
    """Whether a job on another machine may begin the very same run now, and the store will see to it
    that it has one number."""
    counts = met.reached and not met.why_offline
    return bool(source.place.run_id and counts and not is_own(source.settings.store_url))


def _why_another(found: Joined, source: Source, met: Met, run: str) -> str:
    """What one who expects another run wants to know; empty for nothing."""
    place = source.place
    if found.other is not None:
        return (
            f"run {found.other.shown} of the same {place.name} run was finished"
            f" (commit {found.other.revision[:12]})"
        )
    if place.run_id and not met.reached and not is_own(source.settings.store_url):
        return (
            f"a run that another job of this {place.name} run began in a home of its own is not known"
            f" here, as the store was not asked ({met.why_offline or 'no answer'}); jobs that belong to"
            f" this one need {RUN_VARIABLE}={run}"
        )
    return ""


def _join(
    machine: Machine, journal: Journal, pushed: Pushed, found: Joined, met: Met, *, number: bool
) -> Started:
    source, run = pushed.source, found.run
    assert run is not None
    record = attach(journal, run.id)
    record.actor = source.actor
    if found.again:
        go_on(record, source.place, again=True)
    if pushed.left_out:
        record.record(_changed_draft(record, pushed.left_out))
    version = None
    if number and not record.version and (met.reached or not record.ref.elsewhere):
        # Whoever began it left the number to others, or was cut off before it had one.
        version = take_version(machine, record, source, met.store)
    note = "it was finished, and goes on as its CI server runs it again" if found.again else ""
    return Started(
        run.id, record.ref.deliverable, record.version, version.how if version else "",
        record.revision, pushed.proof.kind if pushed.proof else "", pushed.left_out, joined=True,
        note=note,
    )  # fmt: skip


def check_join(machine: Machine, record: PieceRecord, *, allow_uncommitted: bool = False) -> None:
    """Raise Refused where the tree of this machine is not that of the run that is to be joined:
    another commit, a run that is over, files that differ from the commit. Within a stage of the run
    files may: the stages before it have worked here."""
    commit = commit_of(machine.root)
    name = read(str(machine.root / "cx.toml")).deliverable.name
    if commit not in ("", record.revision) and record.revision and name == record.ref.deliverable:
        run = CiRun(record.run, record.revision, record.version, record.ended)
        raise refuse_other(run, commit)
    if record.ended:
        raise run_over(record)
    environ = machine.environ
    inside = environ.get(RUN_VARIABLE) == record.run and environ.get("CXLOCAL_STAGE")
    if commit and not (inside or allow_uncommitted or _began_changed(record)):
        _changed(open_source(machine, "HEAD", {}), allowed=False)


def _began_changed(record: PieceRecord) -> bool:
    """Whether somebody took it upon himself that the files of the run differ from its commit."""
    wanted = (record.run, "uncommitted-changes")
    return record.journal.one("SELECT 1 FROM flag WHERE run = ? AND kind = ?", wanted) is not None


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
        return take_version(machine, record, source, store)
    finally:
        if store is not None:
            store.close()


class Finished(NamedTuple):
    """How a run ended."""

    run: str
    version: str
    outcome: Outcome
    reason: str
    seconds: float


def judged(standings: Mapping[str, Standing]) -> tuple[Outcome, str]:
    """The outcome of a run by how its stages stand, with the reason. Pure.

    A part that never ended, or never began, counts as an error: nobody knows what became of it. Where
    nothing was reported, nothing went wrong, and that is all that can be said.
    """
    if not standings:
        return Outcome.SUCCESS, NOTHING_REPORTED
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


BUMPS = "SELECT 1 FROM plan WHERE sha256 = ? AND plan -> '$.bump' IS NOT NULL"


def has_bump(record: PieceRecord) -> bool:
    """Whether the plan wants a commit after the release. It is not read for that."""
    return record.journal.one(BUMPS, (record.plan_sha256,)) is not None


def follow(machine: Machine, journal: Journal, record: PieceRecord) -> None:
    """Make the commit after a release that went well; what keeps it from being made is a flag."""
    from cxlocal.runner.bump import bump, flag

    try:
        source, own = find_run(machine, journal, record.run)
    except CxError as problem:
        flag(record, problem, machine.voice)
    else:
        bump(source, own, machine.voice)


def send(journal: Journal, store: Store, patience_seconds: float) -> SyncReport:
    """The last exchange; a passing machine has its patience, as what it does not send is lost."""
    if goes_away(journal):
        return send_patiently(journal, store, max(END_SECONDS, patience_seconds))
    return synchronise(journal, store, budget_seconds=END_SECONDS)
