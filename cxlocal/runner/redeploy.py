"""Deploying a version that was built before, and going back to one.

Nothing is built: the bytes are those of the version's run, by digest. What happens is recorded in
that run, as later events of it, so that the story of a version is in one place.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from msgspec.structs import replace

from cxlocal.config.problems import near
from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused, UsageError
from cxlocal.exchange.standing import require
from cxlocal.exchange.store import Store
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan.types import Stage
from cxlocal.processes import locks
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner import orphans, recovery
from cxlocal.runner.attempt import run_stage
from cxlocal.runner.contact import first_sender, turns_of
from cxlocal.runner.decision import work_to_judge
from cxlocal.runner.driver import drive
from cxlocal.runner.foresight import Ahead, look_ahead
from cxlocal.runner.gates import grant_earned
from cxlocal.runner.nesting import refuse_in_rehearsal
from cxlocal.runner.noted import of_locked
from cxlocal.runner.opening import check_out_again, find_run, listen, make_work, refuse_running
from cxlocal.runner.outcomes import outcome_error
from cxlocal.runner.placements import live
from cxlocal.runner.promotions import promotions
from cxlocal.runner.record import RunRecord
from cxlocal.runner.signals import Signals
from cxlocal.runner.source import Machine, Source, open_store
from cxlocal.runner.stage_outputs import put_back
from cxlocal.runner.turns import Door, enter, knock
from cxlocal.runner.work import Work
from cxlocal.runner.workspace import Workspace, discard
from cxlocal.text import parse_utc, quoted
from cxlocal.values import NamedTuple

OPEN_STAGES = """
SELECT id, attempt, started_at FROM stage_run
WHERE run = ? AND stage = ? AND outcome IS NULL AND started_at IS NOT NULL
"""


class Order(NamedTuple):
    """What is to be deployed, and how."""

    run: str
    environment: str
    reason: str = ""
    run_named: bool = False
    """The person named the run by its id, not by its version."""
    allow_older: bool = False
    back: bool = False
    """It is a rollback."""
    offline: bool = False
    """The store is not to be asked."""
    repair: bool = False
    """Nothing is deployed: what serves is recorded as that."""
    anyway: bool = False
    """It may have been taken back from a target."""
    schema_ahead: bool = False
    """What is changed in place may have been changed by a newer version, which this one does not know."""
    unobserved: bool = False
    """An environment that cannot be asked what runs there is changed all the same."""


class Shipped(NamedTuple):
    """What became of it."""

    run: str
    deliverable: str
    version: str
    environment: str
    outcome: Outcome
    stages: dict[str, Outcome]
    uri: str
    before: tuple[str, ...]
    """Versions that were live there."""
    now: tuple[str, ...] = ()
    """Versions that are live there since."""


def ship(machine: Machine, journal: Journal, order: Order) -> Shipped:
    """Deploy the version of a run into an environment.

    Raises UsageError where that cannot be asked, Refused, Undecided and Conflict where it may not
    be done, Interrupted when a signal ended it. A deployment that failed is an outcome.
    """
    refuse_in_rehearsal(machine)
    recovery.recover(journal, machine)
    source, record, stages = _found(machine, journal, order)
    store = _store(machine, source, journal, order)
    try:
        turns = turns_of(journal, store, source, machine.voice.warn, "")
        who, warn = f"deploy of {record.version}", machine.voice.warn
        door = enter(record, order.environment, stages[0].name, who, turns, warn)
        if isinstance(door, Refused):
            raise door
        try:
            with Signals() as signals:
                return _ship(machine, source, record, stages, order, signals, door, store)
        finally:
            door.leave()
    finally:
        if store is not None:
            store.close()


def foresee(machine: Machine, journal: Journal, order: Order) -> tuple[RunRecord, Ahead]:
    """What ``ship`` would do and refuse, by the same questions; nothing is recorded or changed. Raises what keeps
    it from being asked."""
    refuse_in_rehearsal(machine)
    source, record, stages = _found(machine, journal, order)
    store = _store(machine, source, journal, order)
    try:
        turns = turns_of(journal, store, source, machine.voice.warn, "")
        if refused := knock(record, order.environment, turns):
            return record, Ahead(refusal=refused)
    finally:
        if store is not None:
            store.close()

    def prepare(workspace: Workspace) -> Work:
        return _work(machine, source, record, stages, order, workspace)

    judged = work_to_judge(
        machine, source, record, run_named=order.run_named, again=again(record, order)
    )
    _tell_way(judged, order)
    return record, look_ahead(machine, source, judged, stages, prepare)


def _found(
    machine: Machine, journal: Journal, order: Order
) -> tuple[Source, RunRecord, list[Stage]]:
    """What is to be deployed, and by which stages. Raises what keeps it from being asked."""
    catch_up(journal)
    source, record = find_run(machine, journal, order.run, runs_stages=True)
    require(journal, record.ref.deliverable, "push")
    stages = deploy_stages(record, order.environment)
    if order.repair and not all(one.by_components or one.verb == "create" for one in stages):
        raise UsageError(
            f"{order.environment} is not made of instances",
            why="only these can be found by their labels",
            hint=f"cxlocal env confirm {quoted(order.environment)} --live VERSION says what is live",
            name="no-components",
        )
    refuse_running(journal, record, "wait for it: it deploys by itself")
    return source, record, stages


def _work(
    machine: Machine, source: Source, record: RunRecord, stages: Sequence[Stage], order: Order,
    workspace: Workspace,
) -> Work:  # fmt: skip
    """What the stages need, and how they come to deploy."""
    # Instances that still stand need nothing; a deployment needs the bytes.
    standing = order.repair or (order.back and all(one.rotates for one in stages))
    work = make_work(
        machine, source, record, workspace, [one.name for one in stages], needs_bytes=not standing,
        run_named=order.run_named, again=again(record, order),
    )  # fmt: skip
    _tell_way(work, order)
    return work


def _tell_way(work: Work, order: Order) -> None:
    work.deployment_reason = work.reason = order.reason
    work.allow_older, work.back, work.anyway = order.allow_older, order.back, order.anyway
    work.repair, work.unobserved = order.repair, order.unobserved
    work.schema_ahead = order.schema_ahead


def _store(machine: Machine, source: Source, journal: Journal, order: Order) -> Store | None:
    """The store that is asked whose turn it is; None where there is none to ask. What keeps us from it
    'cxlocal sync' shows in full."""
    try:
        return open_store(source, machine, journal, offline=order.offline)
    except CxError:
        return None


def deploy_stages(record: RunRecord, environment: str) -> list[Stage]:
    """The stages of the run's plan that deploy into an environment. Raises UsageError, Refused."""
    plan = record.plan
    known = [one.name for one in plan.environments]
    if environment not in known:
        raise UsageError(
            f"{record.version} knows no environment {environment!r}",
            why=f"its plan has {', '.join(known) or 'none'}",
            hint=f"did you mean {close!r}?"
            if (close := near(environment, known))
            else f"{'name one of them, or ' * bool(known)}add it to [environments] of cx.toml and"
            " release again",
            name="no-such-environment",
        )
    if plan.environment(environment).lifetime != "lasting":
        raise UsageError(
            f"{environment} lives for one run only",
            why="it is created and destroyed by that run",
            hint="cxlocal run",
            name="per-run-environment",
        )
    if record.kind != "release" or not record.version:
        raise Refused(
            f"run {record.run[:8]} has no version to deploy",
            why="only releases are deployed into lasting environments",
            hint="'cxlocal log' lists the releases; 'cxlocal run' makes one",
            name="not-a-release",
        )
    found = [one for one in plan.stages_in(environment) if one.kind == "deploy"]
    if not found:
        raise UsageError(
            f"no stage of {record.version} deploys into {environment}",
            why="the plan is that of the commit the version was made from",
            hint=f'give a stage of cx.toml kind = "deploy" and environment = "{environment}"',
            name="no-deploy-stage",
        )
    return found


def _ship(
    machine: Machine,
    source: Source,
    record: RunRecord,
    stages: list[Stage],
    order: Order,
    signals: Signals,
    door: Door,
    store: Store | None,
) -> Shipped:
    # Not the folder of the run: after a failure its checkout is kept for people to look into. And
    # the working tree may be at any other commit, so a plan that works in place gets one, too.
    # Two environments may be deployed to at once, one only once: it is locked.
    workspace = check_out_again(
        machine, source, record, name=f"{record.run}.deploy.{order.environment}"
    )
    try:
        work = _work(machine, source, record, stages, order, workspace)
        lock = locks.environment_lock(work.home, record.ref.deliverable, order.environment)
        work.notes_path = of_locked(lock)
        work.doors[order.environment] = door
        work.send_first = first_sender(record.journal, store, source, machine.voice.warn)
        _close_cut_off(record, [stage.name for stage in stages])
        put_back(work, record.succeeded())
        # Retries are for runs; a person who deploys sees what happens and decides.
        stages = [replace(stage, retries=0) for stage in stages]
        listen(record.journal, source)
        record.record(*record.restricted_drafts(source.manager.left_out))
        before = versions_live(record, order.environment)
        outcomes: dict[str, Outcome] = {}
        with Supervisor(machine.clock) as supervisor:
            for stage in stages:
                program = run_stage(work, stage)
                outcomes[stage.name] = drive(program, supervisor, signals, notes=work.notes)
                if outcomes[stage.name] != Outcome.SUCCESS:
                    break
                work.succeeded.add(stage.name)
        if record.plan.promotions:
            grant_earned(work, promotions(record))
        if signals.number:
            raise signals.interrupted(again(record, order), run=record.run)
    finally:
        discard(workspace)
    worst = next((one for one in outcomes.values() if one != Outcome.SUCCESS), Outcome.SUCCESS)
    return Shipped(
        record.run, record.ref.deliverable, record.version, order.environment, worst, outcomes,
        work.uris.get(order.environment, ""), before,
        versions_live(record, order.environment),
    )  # fmt: skip


def versions_live(record: RunRecord, environment: str) -> tuple[str, ...]:
    """What is live there by the record, each version once."""
    return tuple(dict.fromkeys(row["version"] for row in live(record, environment)))


def again(record: RunRecord, order: Order) -> str:
    """The command that tries this once more: a rollback stays one, an older version is allowed
    again, and the reason is said again."""
    which = record.run[:8] if _is_ambiguous(record) else record.version
    words = ["cxlocal", "rollback", order.environment, "--to", which] if order.back else [
        "cxlocal", "deploy", which, "--to", order.environment,
    ]  # fmt: skip
    if order.allow_older and not order.back:
        words.append("--allow-older")
    words += [
        word
        for word, said in (
            ("--anyway", order.anyway),
            ("--unobserved", order.unobserved),
            ("--schema-ahead", order.schema_ahead),
        )
        if said
    ]
    if order.reason:
        words += ["-m", order.reason]
    return shlex.join(words)


def _is_ambiguous(record: RunRecord) -> bool:
    """Whether another run made a version of that name, too."""
    row = record.journal.one(
        "SELECT count(DISTINCT run) AS count FROM version WHERE deliverable = ? AND text = ?",
        (record.ref.deliverable, record.version),
    )
    return row is not None and row["count"] > 1


def _close_cut_off(record: RunRecord, names: Sequence[str]) -> None:
    """An attempt that never ended was cut off, if only before it changed anything: nobody else may
    deploy there while we may."""
    for name in names:
        for row in record.journal.query(OPEN_STAGES, (record.run, name)):
            record.stage_finished(
                record.plan.stage(name), row["attempt"], Outcome.ERROR, orphans.GONE, cut_off=True,
                started_ms=parse_utc(row["started_at"]),
                finished_ms=record.journal.clock.now_ms(), stage_run=row["id"],
            )  # fmt: skip


def as_error(shipped: Shipped, show: str) -> CxError | None:
    """The error a command ends in; None when all is well."""
    bad = ", ".join(name for name, one in shipped.stages.items() if one != Outcome.SUCCESS)
    now = "was not changed in the record"
    if set(shipped.now) != set(shipped.before):
        now = f"is {', '.join(shipped.now) or 'nothing'} by the record"
    return outcome_error(
        shipped.outcome,
        f"{bad} did not succeed; what is live in {shipped.environment} {now}",
        why="a stage said no, or something around it failed; its log tells",
        hint=show,
        run=shipped.run,
    )
