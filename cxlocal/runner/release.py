"""A run from the first question to the last word, as a list of plain steps.

Nothing is recorded before it is known that the run may begin; from then on the run ends with an
outcome whatever happens, here or by the next command (``orphans``).
"""

from __future__ import annotations

from cxlocal.domain import Outcome
from cxlocal.errors import CxError
from cxlocal.exchange.contact import is_shared
from cxlocal.exchange.sync import pending
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.schedule import Schedule
from cxlocal.runner import orphans, recovery
from cxlocal.runner.contact import END_SYNC_SECONDS, sync_shortly
from cxlocal.runner.engine import Ended, Engine
from cxlocal.runner.handover import BYTES_SECONDS, send_patiently
from cxlocal.runner.opening import Opened, begin_run
from cxlocal.runner.outcomes import worst
from cxlocal.runner.outlets import LOG_SECONDS, Outlets, deliver_shortly, hand_over_logs
from cxlocal.runner.promotions import promotions
from cxlocal.runner.record import RunRecord
from cxlocal.runner.request import Request, Summary
from cxlocal.runner.signals import SignalCame, Signals, note_only
from cxlocal.runner.source import Machine
from cxlocal.runner.work import Work
from cxlocal.runner.workspace import clean_up, require_space
from cxlocal.text import quoted


def carry_out(machine: Machine, journal: Journal, request: Request) -> Summary:
    """Carry out one run. Raises what kept it from beginning, Interrupted when a signal ended it;
    a stage that failed is no exception but an outcome in the summary."""
    with Signals() as signals:
        began = machine.clock.monotonic()
        catch_up(journal)
        recovery.recover(journal, machine)
        require_space(machine.home, request.least_free_bytes)
        try:
            if request.resume:
                from cxlocal.runner.resuming import resume_run

                opened = resume_run(machine, journal, request, began)
            else:
                opened = begin_run(machine, journal, request, began)
            return _work_off(machine, journal, request, opened, signals, began)
        except SignalCame:
            runs = orphans.end_own(journal, Outcome.CANCEL, signals.interrupted().what)
            again = _again(request, next(iter(runs), request.resume))
            raise signals.interrupted(again) from None
        except Exception as problem:
            orphans.end_own(journal, Outcome.ERROR, str(problem))
            raise


def _work_off(
    machine: Machine,
    journal: Journal,
    request: Request,
    opened: Opened,
    signals: Signals,
    began: float,
) -> Summary:
    record, work = opened.record, opened.work
    work.allow_older = request.allow_older
    to = (record.plan.stage(name).publishes_to for name in opened.selection.now)
    work.publishes_to = tuple(name for name in to if name)
    ended = Ended({}, (), None, {})
    signals.wake = note_only
    try:
        schedule = Schedule(record.plan, opened.selection.now, succeeded=opened.kept)
        jobs = request.jobs or opened.source.settings.jobs
        ended = Engine(work, schedule, jobs=jobs, signals=signals).run()
        outcome, reason = _outcome(ended, signals)
    except SignalCame:
        outcome, reason = Outcome.CANCEL, signals.interrupted().what
    except CxError as problem:
        outcome, reason = Outcome.ERROR, str(problem)
        raise
    except BaseException as problem:
        outcome, reason = Outcome.ERROR, f"cxlocal itself failed: {problem!r}"
        raise
    finally:
        seconds = machine.clock.monotonic() - began
        stopped = opened.selection.stopped_by if outcome == Outcome.SUCCESS else ""
        orphans.finish_run(
            record, outcome, work.masker.text(reason), seconds=seconds, stopped_before=stopped
        )
    success = outcome == Outcome.SUCCESS
    try:
        clean_up(
            machine.home, work.workspace, success=success,
            keep_failed=opened.source.config.keep.checkouts,
        )  # fmt: skip
    except (CxError, OSError) as problem:
        # The end is recorded: what is left lying about does not change how the run went.
        machine.voice.warn(f"something of the checkout stays: {problem}")
    if work.workspace.lock is not None:
        work.workspace.lock.release()
    if success and work.plan.bump and not signals.number:
        from cxlocal.runner.bump import bump

        bump(opened.source, work.record, work.voice, work.masker.text)
    undelivered = _last_sync(machine, journal, request, opened, signals)
    if signals.number:
        again = _again(request, record.run[:8])
        raise signals.interrupted(again, run=record.run, version=record.version)
    return _summary(machine, request, opened, outcome, reason, ended, seconds)._replace(
        undelivered=undelivered
    )


def _again(request: Request, run: str) -> str:
    """The command that tries what was cut off or failed once more: a release goes on, a rehearsal
    has nothing to go on with. ``run`` is empty where none was begun."""
    command = "cxlocal run" + (f" --resume {run}" if run else "")
    if request.rehearsal:
        command = "cxlocal rehearse"
    return f"{command} --to {request.to}" if request.to else command


def _outcome(ended: Ended, signals: Signals) -> tuple[Outcome, str]:
    if signals.number:
        return Outcome.CANCEL, f"cancelled by {signals.name}"
    outcome = worst(ended.outcomes.values())
    if ended.refused is not None:
        return max(
            outcome,
            Outcome.FAILURE,
            key=(Outcome.SUCCESS, Outcome.ERROR, Outcome.FAILURE, Outcome.CANCEL).index,
        ), f"{ended.refused.what} ({ended.refused.why})"
    if outcome == Outcome.SUCCESS:
        return outcome, ""
    bad = [name for name, found in ended.outcomes.items() if found == outcome]
    word = {"failure": "failed", "error": "ended in error", "cancel": "was cancelled"}[outcome]
    return outcome, f"{', '.join(bad)} {word}"


def _last_sync(
    machine: Machine, journal: Journal, request: Request, opened: Opened, signals: Signals
) -> tuple[str, ...]:
    """Send what was recorded, to the sinks first; the store's absence changes nothing about the run.
    A passing machine has its patience, unless a signal ends it. What sinks still lack, in sentences."""
    undelivered: tuple[str, ...] = ()
    if opened.store is None:
        return undelivered
    try:
        if not signals.number and not request.offline:
            undelivered = deliver_shortly(journal, _outlets(machine, opened), opened.store)
        if opened.source.kept:
            report = sync_shortly(journal, opened.store, END_SYNC_SECONDS, opened.source)
            met = report is not None and report.reached and not signals.number
            if met and is_shared(journal):
                from cxlocal.runner.waiting import send_waiting

                send_waiting(journal, opened.store, BYTES_SECONDS)
                hand_over_logs(journal, _outlets(machine, opened), opened.store, LOG_SECONDS)
            return undelivered
        patience = float(opened.source.settings.store_patience_seconds)
        sent = send_patiently(journal, opened.store, patience, lambda: bool(signals.number))
        if sent.reached and not signals.number:
            hand_over_logs(journal, _outlets(machine, opened), opened.store, LOG_SECONDS)
    except CxError as problem:
        # What a store refuses, 'sync' shows in full; the run went as it went.
        opened.work.voice.warn(f"nothing was sent: {problem.what}")
    finally:
        opened.store.close()
    return undelivered


def _outlets(machine: Machine, opened: Opened) -> Outlets:
    source = opened.source
    return Outlets(
        source.settings, source.config, source.manager, machine.home, machine.environ, machine.root
    )


def _summary(
    machine: Machine,
    request: Request,
    opened: Opened,
    outcome: Outcome,
    reason: str,
    ended: Ended,
    seconds: float,
) -> Summary:
    record = opened.record
    stopped = opened.selection.stopped_by
    success = outcome == Outcome.SUCCESS
    following = opened.selection.arguments(record.run) if success else ()
    if not success and record.kind == "release":
        following = tuple(_again(request, record.run).split(" "))
    return Summary(
        run=record.run,
        deliverable=record.ref.deliverable,
        kind=record.kind,
        version=record.version,
        number=record.number,
        how=opened.how,
        revision=record.revision,
        proof=opened.proof,
        outcome=outcome,
        reason=opened.work.masker.text(reason),
        stages=dict(ended.outcomes),
        skipped=ended.skipped,
        promotions=promotions(record) if record.plan.promotions else {},
        stopped_before=stopped if success else "",
        next=" ".join(following),
        seconds=round(seconds, 3),
        pending=pending(record.journal),
        bytes_here_alone=_here_alone(record.journal),
        journal=str(record.journal.path),
        kept=opened.source.kept,
        look=_look_at(opened.work) if success else "",
        refused=ended.refused,
        unpublished=_unpublished(record, opened, ended) if not success else None,
        untested=not any(one.kind == "test" or one.reports for one in record.plan.stages),
    )


def _unpublished(record: RunRecord, opened: Opened, ended: Ended) -> CxError | None:
    """What a run that was to publish ends in for what its targets lack."""
    if not opened.work.publishes_to:
        return None
    from cxlocal.runner.standing import error_of_run

    manager = opened.source.manager
    return error_of_run(record, manager, opened.selection.now, ended.outcomes, ended.problems)


def _here_alone(journal: Journal) -> int:
    """Bytes that wait for somebody to go on with and are nowhere else."""
    if not is_shared(journal):
        return 0
    from cxlocal.runner.waiting import here_alone

    return sum(one.size for one in here_alone(journal))


def _look_at(work: Work) -> str:
    """What comes next, or where to see what a release came to: what is live, or what it made."""
    if any(one.lifetime != "per-run" for one in work.plan.environments):
        return "cxlocal status"
    planned = {one.publishes_to for one in work.plan.stages}
    if any(one.name not in planned for one in work.plan.published_to):
        return f"cxlocal publish {quoted(work.record.version)}"
    return f"cxlocal {'artifact get' if work.artifacts else 'show'} {work.record.version}"
