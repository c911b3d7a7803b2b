"""The first and the last of the single commands: ``run start``, ``version next``, ``run finish``.

A run made of single commands begins as every run does: the revision is proven, the plan frozen, the
number taken. No process carries it out afterwards; it stays open until somebody finishes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.exchange.sync import synchronise
from cxlocal.revision.early import early_questions
from cxlocal.revision.repository import dirty, shown
from cxlocal.runner import orphans
from cxlocal.runner.facts import facts_of, prove_revision
from cxlocal.runner.handover import goes_away, send_patiently
from cxlocal.runner.opening import listen, meet
from cxlocal.runner.outcomes import worst
from cxlocal.runner.record import RunRecord
from cxlocal.runner.request import Request
from cxlocal.runner.run_version import Version, take_number
from cxlocal.runner.source import make_plan, open_source, open_store, refuse_stranger
from cxlocal.text import parse_utc

if TYPE_CHECKING:
    from cxlocal.exchange.store import Store
    from cxlocal.exchange.sync import SyncReport
    from cxlocal.journal.file import Journal
    from cxlocal.runner.pieces import PieceRecord
    from cxlocal.runner.source import Machine, Source

END_SECONDS = 1.0
"""For the last exchange with a store, as of every run (promise P17)."""


class Wanted(NamedTuple):
    """What ``run start`` was asked for."""

    reason: str = ""
    planned: bool = True
    offline: bool = False
    number: bool = True
    allow_uncommitted: bool = False


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


def start(machine: Machine, journal: Journal, wanted: Wanted) -> Started:
    """Begin a run. Raises what keeps a run from beginning; a run whose number cannot be had is
    recorded as ended before that is raised."""
    with early_questions():
        source = open_source(machine, "HEAD", {}, push="offline" if wanted.offline else "online")
        proof, root = prove_revision(machine, source, online=not wanted.offline, rehearsal=False)
        changed = _changed(source, wanted)
    plan = make_plan(machine, source, machine.root)
    row = journal.one("SELECT repository_root FROM deliverable WHERE id = ?", (plan.deliverable,))
    refuse_stranger((row and row["repository_root"]) or "", root, plan.deliverable)
    journal.passing = not source.kept
    store = None if wanted.offline else open_store(source, machine)
    try:
        online, _ = meet(journal, store, source)
        request = Request(reason=wanted.reason, planned=wanted.planned)
        facts = facts_of(journal, source, plan, request, proof, root, changed, online)
        run = machine.ids.uuid()
        listen(journal, source)
        record = RunRecord.begin(
            journal, plan, facts, run=run,
            beside=lambda t: orphans.register(t, run, machine.command, pieces=True),
        )  # fmt: skip
        if changed:
            text = f"the files of this run differ from its commit: {', '.join(changed[:5])}"
            record.record(record.flag_draft("uncommitted-changes", text))
        version = _number(machine, journal, store, source, record) if wanted.number else None
    finally:
        if store is not None:
            store.close()
    return Started(
        run, plan.deliverable, version.text if version else "", version.how if version else "",
        source.revision.commit, proof.kind if proof else "", changed,
    )  # fmt: skip


def _changed(source: Source, wanted: Wanted) -> tuple[str, ...]:
    """Uncommitted files. The commands of such a run work in the tree as it lies, so what they build
    would not be what was pushed: refused, unless somebody takes that upon himself."""
    from cxlocal.revision.checkout import require_clean

    paths = source.config.deliverable.paths
    if not wanted.allow_uncommitted:
        try:
            require_clean(source.repository, paths)
        except Refused as problem:
            raise Refused(
                problem.what,
                why="the commands of such a run work in the tree as it lies: what they build would"
                " not be what was pushed",
                hint="commit and push them, add what is built to .gitignore, or:"
                " cxlocal run start --allow-uncommitted",
                name=problem.name,
                **problem.data,
            ) from problem
        return ()
    return shown(dirty(source.repository, paths))


def _number(
    machine: Machine, journal: Journal, store: Store | None, source: Source, record: RunRecord
) -> Version:
    began = machine.clock.monotonic()
    try:
        version = take_number(machine, journal, store, source, record.plan, record.run)
    except CxError as problem:
        seconds = machine.clock.monotonic() - began
        orphans.finish_run(record, Outcome.ERROR, problem.what, seconds=seconds)
        raise
    record.started(version.text, version.line, version.number, version.how)
    return version


def next_version(machine: Machine, journal: Journal, run: str, *, offline: bool) -> Version:
    """The number of a run that has none yet; the one it has, if it has one.

    Raises StoreNeeded, Refused, and UsageError for a run that is over.
    """
    record = RunRecord.attach(journal, run)
    if record.version:
        row = journal.one("SELECT number_how FROM run WHERE id = ?", (run,))
        return Version(
            record.version, record.line, record.number, (row and row["number_how"]) or ""
        )
    if record.outcome() is not None:
        raise UsageError(
            f"run {run[:8]} is over and never had a number",
            why="a number is taken while a run is open",
            hint='eval "$(cxlocal run start)" begins another one',
            name="run-over",
        )
    source = open_source(machine, record.revision, {})
    store = None if offline else open_store(source, machine)
    try:
        version = take_number(machine, journal, store, source, record.plan, run)
    finally:
        if store is not None:
            store.close()
    record.started(version.text, version.line, version.number, version.how)
    return version


class Finished(NamedTuple):
    """How a run ended."""

    run: str
    version: str
    outcome: Outcome
    reason: str
    seconds: float


def judged(attempts: dict[str, tuple[int, str | None]]) -> tuple[Outcome, str]:
    """The outcome of a run by its stages' last attempts, with the reason. Pure.

    A stage that never ended counts as an error: nobody knows what became of it.
    """
    outcome = worst(found or Outcome.ERROR for _, found in attempts.values())
    if outcome == Outcome.SUCCESS:
        return outcome, ""
    unknown = [name for name, (_, found) in attempts.items() if found is None]
    bad = [name for name, (_, found) in attempts.items() if found == outcome]
    words = [f"{', '.join(bad)}: {outcome}"] if bad else []
    if unknown:
        words.append(f"{', '.join(unknown)} began and did not end")
    return outcome, "; ".join(words)


def finish(record: PieceRecord, outcome: Outcome | None, reason: str) -> Finished:
    """Record the end of a run; without ``outcome`` it is worked out from the stages."""
    found, words = judged(record.attempts())
    chosen = outcome or found
    said = reason or (words if chosen == found else "")
    row = record.journal.one("SELECT queued_at FROM run WHERE id = ?", (record.run,))
    began = parse_utc(row["queued_at"]) if row and row["queued_at"] else 0
    now = record.journal.clock.now_ms()
    seconds = max(0, now - began) / 1000 if began else 0.0
    orphans.finish_run(record, chosen, said, seconds=seconds)
    return Finished(record.run, record.version, chosen, said, seconds)


def send(journal: Journal, store: Store, patience_seconds: float) -> SyncReport:
    """The last exchange; a passing machine has its patience, as what it does not send is lost."""
    if goes_away(journal):
        return send_patiently(journal, store, max(END_SECONDS, patience_seconds))
    return synchronise(journal, store, budget_seconds=END_SECONDS)
