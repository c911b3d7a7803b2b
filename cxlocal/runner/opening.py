"""How a run is opened, for single commands, too: a new one here, one to go on with in ``resuming``.

Everything is checked before the first event, and the number is taken last. Whoever opens a run does
it by the same functions: ``ask_git`` and ``record_beginning`` for a new one, ``find_run`` and
``make_work`` for one to go on with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.events.belonging import mark_id
from cxlocal.events.runs import run_stamped
from cxlocal.events.traces import traceparent_in
from cxlocal.exchange.contact import propose
from cxlocal.exchange.copies import journal_was_moved
from cxlocal.exchange.open import is_own
from cxlocal.exchange.standing import require
from cxlocal.plan.select import Selection, select
from cxlocal.processes.mask import Masker
from cxlocal.revision.early import early_questions
from cxlocal.revision.removal import remove_checkout
from cxlocal.runner import orphans
from cxlocal.runner.caches import key_contents
from cxlocal.runner.checkout_again import fill
from cxlocal.runner.contact import Met, first_sender, meet_store, turns_of
from cxlocal.runner.facts import (
    facts_of,
    left_out,
    prove_revision,
    require_own_tree,
    words_of_changes,
)
from cxlocal.runner.handover import fetch_bytes
from cxlocal.runner.nesting import handed_on, refuse_in_rehearsal, refuse_repetition
from cxlocal.runner.record import RunRecord, Version
from cxlocal.runner.run_version import check, rehearsed, stamp, take_version
from cxlocal.runner.source import (
    Machine,
    Source,
    find_readers,
    find_scheme,
    find_secrets,
    load_own_plugins,
    make_plan,
    open_source,
    require_variables,
)
from cxlocal.runner.targets import require_agreed, tell_withheld
from cxlocal.runner.voice import Opening
from cxlocal.runner.work import Work
from cxlocal.runner.workspace import Workspace, discard, open_workspace, say_absent
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.exchange.store import Store
    from cxlocal.journal.file import Journal, Transaction
    from cxlocal.plan.types import Plan
    from cxlocal.revision.proof import Proof
    from cxlocal.runner.final import Final
    from cxlocal.runner.request import Request


class Opened(NamedTuple):
    """A run that has its version and its checkout."""

    record: RunRecord
    work: Work
    source: Source
    selection: Selection
    kept: frozenset[str]
    """Stages that need not run again."""
    store: Store | None
    how: str
    proof: str


class Pushed(NamedTuple):
    """What is to be run, and how we know that it was pushed."""

    source: Source
    proof: Proof | None
    """None for a rehearsal."""
    root: str
    """The first commit of its repository."""
    left_out: tuple[str, ...]
    """Files whose changes are not in the commit."""
    absent: tuple[str, ...] = ()
    """Submodules that the commit itself leaves out."""
    final: Final | None = None
    """The pre-release that becomes final."""


class Begun(NamedTuple):
    """A new run whose first event is durable."""

    record: RunRecord
    store: Store | None
    changes: dict[str, Any]
    why_offline: str


# a new run


def ask_git(
    machine: Machine,
    journal: Journal,
    request: Request,
    left: Callable[[Source], tuple[str, ...]],
    *,
    first: Callable[[Source], None] = lambda source: None,
) -> Pushed:
    """Prove what is to be run. ``left`` says which changes of the tree are not part of it, or refuses
    them; ``first`` may refuse all of it before anything is proven."""
    rehearsal, online = request.rehearsal, not request.offline
    push = "" if rehearsal else "online" if online else "offline"
    with early_questions():
        source = open_source(
            machine, request.revision, {"jobs": request.jobs}, tree=rehearsal, push=push,
            runs_stages=not request.pieces,
        )  # fmt: skip
        refuse_repetition(machine, source)
        if not rehearsal:
            refuse_in_rehearsal(machine)
        first(source)
        journal.passing = not source.kept
        if request.moved:
            journal_was_moved(journal, request.moved, source.actor._asdict())
        changes = left(source)  # while the remote is thinking
        proof, root = prove_revision(machine, source, online=online, rehearsal=rehearsal)
        source = source._replace(tags=proof.tags if proof else None)
        return Pushed(source, proof, root, changes)


def record_beginning(
    machine: Machine, journal: Journal, pushed: Pushed, plan: Plan, request: Request, run: str,
    met: Met, *, numbered: bool = True, asked: dict[str, Any] | None = None,
) -> Begun:  # fmt: skip
    """Write the first event; ``numbered``: a number is to be taken, too; ``asked``: what the run is to
    carry out. Raises Refused for a deliverable that we may not work on. The store is closed then."""
    source = pushed.source

    def beside(transaction: Transaction) -> None:
        orphans.register(transaction, run, machine.command, pieces=request.pieces)
        if numbered and met.reached:
            propose(transaction)  # the store is asked for a number next

    try:
        if not request.rehearsal:
            require(journal, plan.deliverable, *(("take", "push") if numbered else ("push",)))
        facts = facts_of(
            journal, source, plan, request, pushed.proof, pushed.root, pushed.left_out, met.reached
        )._replace(
            absent=pushed.absent,
            asked=asked,
            traceparent=traceparent_in(machine.environ),
            final_of=pushed.final and {"run": pushed.final.run, "version": pushed.final.version},
        )
        listen(journal, source)
        record = RunRecord.begin(
            journal, plan, facts, run=run,
            beside=beside,
        )  # fmt: skip
        record.record(*record.restricted_drafts(source.manager.left_out))
    except BaseException:
        met.close()
        raise
    return Begun(record, met.store, facts.changes or {}, met.why_offline)


def begin_run(machine: Machine, journal: Journal, request: Request, began: float) -> Opened:
    """A new run, with its version and its checkout.

    Raises what keeps it from beginning: UsageError, ConfigError, Refused, StoreNeeded, Trouble.
    What goes wrong after the first event is recorded as the outcome before it is raised; a run that
    a signal meets is ended by the caller (``orphans.end_own``).
    """
    pushed = ask_git(machine, journal, request, lambda source: _left_out(source, request))
    source = pushed.source
    run = mark_id(machine.ids.uuid(), source.config.deliverable.name)
    workspace = open_workspace(
        machine.home, source.repository, source.revision.commit, run,
        in_place=works_in_place(source, request), overlay=request.rehearsal,
        filters=source.config.scm.filters,
    )  # fmt: skip
    try:
        plan, secrets, selection, absent = _check_out(machine, source, workspace, request)
        if plan.bump and not (request.rehearsal or request.anyway or request.final_of):
            from cxlocal.runner.bump import refuse_nothing

            refuse_nothing(journal, source, plan)
        final = None
        if request.final_of:
            from cxlocal.runner.final import as_final, find_final

            final = find_final(journal, source, plan, request.final_of)
            plan = as_final(plan, final)
        pushed = pushed._replace(absent=absent, final=final)
        workspace = workspace._replace(key_contents=key_contents(workspace.project, plan))
        readers = find_readers(source.manager, plan)
        request = request._replace(reason=Masker(secrets.values()).text(request.reason))
        met = meet_store(
            machine, journal, source, pushed.root, request, numbered=not request.rehearsal
        )
        asked = selection.as_asked(request.to)
        begun = record_beginning(machine, journal, pushed, plan, request, run, met, asked=asked)
    except BaseException:
        discard(workspace)
        raise
    work = Work(
        record=begun.record, manager=source.manager, workspace=workspace,
        environ=handed_on(machine, source, begun.record), voice=machine.voice, secrets=secrets,
        readers=readers, machine=machine,
    )  # fmt: skip
    work.deployment_reason = request.reason
    work.turns = turns_of(journal, begun.store, source, machine.voice.warn, begun.why_offline)
    work.send_first = first_sender(journal, begun.store, source, machine.voice.warn)
    if pushed.final is not None and begun.store is not None:
        fetch_bytes(journal, begun.store, pushed.final.run)
    version = number_and_stamp(machine, work, source, begun.store, began)
    proof = pushed.proof
    shown = "" if proof is None else f"{proof.kind} at {proof.remote}".removesuffix(" at ")
    announce(
        work, source, selection, version, begun.why_offline, proof=shown,
        uncommitted=pushed.left_out, absent=absent, changes=words_of_changes(begun.changes),
        final_of="" if pushed.final is None else pushed.final.version,
    )  # fmt: skip
    kind = "" if proof is None else proof.kind
    return Opened(
        begun.record, work, source, selection, frozenset(), begun.store, version.how, kind
    )


def works_in_place(source: Source, request: Request) -> bool:
    """Whether stages work in the tree itself."""
    return source.config.defaults.workspace == "in-place" and not request.rehearsal


def _left_out(source: Source, request: Request) -> tuple[str, ...]:
    return left_out(source, in_place=works_in_place(source, request), rehearsal=request.rehearsal)


def _check_out(
    machine: Machine, source: Source, workspace: Workspace, request: Request
) -> tuple[Plan, dict[str, str], Selection, tuple[str, ...]]:
    """Bring the files, make the plan out of them, and look for all it needs; last, the submodules
    that the commit itself leaves out."""
    absent: tuple[str, ...] = ()
    if not workspace.in_place:
        paths = tuple(path.rstrip("/") for path in source.config.deliverable.paths)
        absent = say_absent(workspace.make(paths, workspace.source), machine.voice)
    plan = make_plan(machine, source, workspace.project)
    selection = select(plan, to=request.to, rehearsal=request.rehearsal)
    refuse_empty(plan, selection)
    require_agreed(machine, plan, selection.now)
    require_variables(machine, plan, frozenset(selection.now))
    secrets = find_secrets(machine, source, plan, frozenset(selection.now))
    check(plan, workspace.project)
    return plan, secrets, selection, absent


def refuse_empty(plan: Plan, selection: Selection) -> None:
    """Raise Refused where no stage is to run."""
    if selection.now:
        return
    if selection.withheld:
        raise Refused(
            "there is nothing to rehearse",
            why="; ".join(f"{name} {why}" for name, why in selection.withheld),
            hint="cxlocal run carries them out, once the commit is pushed",
            name="nothing-to-run",
        )
    raise Refused(
        "there is nothing to run",
        why="every stage works in a protected environment or waits for one that does"
        if plan.stages
        else "cx.toml has no stages",
        hint=f"cxlocal run --to {quoted(selection.stopped_by)}"
        if selection.stopped_by
        else "add one to [stages]",
        name="nothing-to-run",
    )


# a run that is known


def find_run(
    machine: Machine, journal: Journal, run: str, *, jobs: int | None = None,
    runs_stages: bool = False,
) -> tuple[Source, RunRecord]:  # fmt: skip
    """A run of this folder's deliverable with its source, in the name of whoever asks now, and
    perhaps ``runs_stages`` of it.

    Raises UsageError for a run that is not known, or one of another deliverable, and Refused for a plan
    from elsewhere that is not that of its commit.
    """
    from cxlocal.runner.own_plan import require_own_plan

    record = RunRecord.attach(journal, run)
    source = open_source(machine, record.revision, {"jobs": jobs}, runs_stages=runs_stages)
    if source.config.deliverable.name != record.ref.deliverable:
        raise UsageError(
            f"run {record.version or run[:8]} is one of {record.ref.deliverable!r}",
            why=f"this folder is {source.config.deliverable.name!r}",
            hint="call it in the folder of that deliverable, or with -C DIR",
            name="other-deliverable",
        )
    require_own_plan(machine, source, record)
    record.actor = source.actor
    return source, record


def refuse_running(journal: Journal, record: RunRecord, hint: str) -> None:
    """Raise Refused where a process of this machine carries the run out."""
    pid = orphans.is_carried_out(journal, record.run)
    if pid:
        raise Refused(
            f"run {record.run[:8]} is still being carried out",
            why=f"by process {pid} on this machine",
            hint=hint,
            name="still-running",
        )


def check_out_again(
    machine: Machine, source: Source, record: RunRecord, *, name: str = "", in_place: bool = False
) -> Workspace:
    """A new checkout of the commit of a run, in a folder called ``name``; of earlier ones nothing is
    used again, and of one that cannot be made nothing is left. In place: the tree as that run left it."""
    if in_place:
        require_own_tree(source, record)
    else:
        remove_checkout(orphans.run_folder(machine.home, name or record.run))
    found = open_workspace(
        machine.home, source.repository, record.revision, name or record.run, in_place=in_place,
        filters=record.plan.filters,
    )  # fmt: skip
    return fill(found, record)


def make_work(
    machine: Machine,
    source: Source,
    record: RunRecord,
    workspace: Workspace,
    stages: Iterable[str],
    *,
    needs_bytes: bool = True,
    run_named: bool = False,
    again: str = "",
    targets: Collection[str] = (),
) -> Work:
    """What ``stages`` and ``targets`` need to run once more, and what the run has so far: its artifacts, its
    attempts.

    Raises Trouble or Conflict for artifacts that are not here or damaged, if it ``needs_bytes``.
    """
    # The plan itself stays as it was frozen.
    from cxlocal.runner.products import artifacts

    load_own_plugins(machine, source, workspace.project)
    require_variables(machine, record.plan, frozenset(stages), targets)
    work = Work(
        record=record, manager=source.manager, workspace=workspace,
        environ=handed_on(machine, source, record), voice=machine.voice,
        secrets=find_secrets(machine, source, record.plan, frozenset(stages), targets=targets),
        readers=find_readers(source.manager, record.plan), machine=machine, run_named=run_named, again=again,
    )  # fmt: skip
    try:
        work.artifacts = artifacts(record)
        work.untouched.believe(work.artifacts.values())
    except CxError:
        from cxlocal.runner.fetching import bring_back  # only where bytes are missing

        bring_back(machine, source, work, needed=needs_bytes)
    work.succeeded = record.succeeded()
    work.first_attempt = {
        name: max(one.attempt for one in attempts) + 1
        for name, attempts in record.attempts().items()
    }
    return work


# what both have in common


def listen(journal: Journal, source: Source) -> None:
    """Tell observers (hook cxlocal_event_recorded) what becomes durable."""

    def tell(events: list[Any]) -> None:
        for event in events:
            source.manager.event_recorded(event)

    journal.listeners.append(tell)


def number_and_stamp(
    machine: Machine, work: Work, source: Source, store: Store | None, began: float
) -> Version:
    """The version, in the journal and in the files; a run that fails here has ended before it
    raises."""
    record = work.record
    try:
        if record.kind != "release":
            scheme, folder = find_scheme(source.manager, record.plan), work.workspace.project
            version = rehearsed(record.plan, scheme, record.run, folder)
            with record.journal.write() as transaction:
                record.start(transaction, version)
        else:
            version = take_version(machine, record, source, store)
        stamps = stamp(record.plan, work.workspace.project, version.text)
        if stamps:
            record.record(run_stamped(record.ref, stamps=[one._asdict() for one in stamps]))
        return version
    except Exception as problem:
        end_unnumbered(record, problem, machine.clock.monotonic() - began)
        discard(work.workspace)
        raise


def end_unnumbered(record: RunRecord, problem: Exception, seconds: float) -> None:
    """Record the end of a run that got no number."""
    outcome = Outcome.FAILURE if isinstance(problem, Refused) else Outcome.ERROR
    reason = problem.what if isinstance(problem, CxError) else repr(problem)
    orphans.finish_run(record, outcome, reason, seconds=seconds)


def announce(
    work: Work,
    source: Source,
    selection: Selection,
    version: Version,
    why_offline: str,
    *,
    kept: tuple[str, ...] | None = None,
    back: tuple[str, ...] = (),
    edited: bool = False,
    proof: str = "",
    uncommitted: tuple[str, ...] = (),
    absent: tuple[str, ...] = (),
    changes: str = "",
    final_of: str = "",
) -> None:
    """Say what begins now; ``kept`` where it goes on."""
    withheld = tell_withheld(work.record.journal, source.manager, work.plan, selection.withheld)
    work.voice.opening(
        Opening(
            title=work.plan.title or work.plan.deliverable,
            kind=work.record.kind,
            version=version.text,
            how=version.how,
            own_store=is_own(source.settings.store_url),
            why_offline=why_offline,
            run=work.record.run,
            commit=source.revision.commit,
            branch=source.branch,
            subject=source.revision.subject,
            proof=proof,
            uncommitted=uncommitted,
            absent=absent,
            changes=changes,
            final_of=final_of,
            stages=selection.now,
            withheld=withheld,
            kept=kept or (),
            back=back,
            edited=edited,
            resumed=kept is not None,
        )
    )
