"""Publishing a version outside of a run: what its targets lack, from any machine that has the bytes.

What a run did or began is asked for and finished, what was taken back stays away. Everything is recorded in
the run that made the version, as later events of it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from msgspec.structs import replace

from cxlocal.config.problems import suggestion
from cxlocal.domain import Outcome
from cxlocal.errors import CxError, Refused, Trouble, UsageError
from cxlocal.events.publications import Publication, publication_withdrawn
from cxlocal.exchange.standing import require as require_right
from cxlocal.exchange.store import Store
from cxlocal.hooks.registered import find_tool
from cxlocal.hooks.tool import Withdrawn, verbs_of
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.plan import publication as rule
from cxlocal.plan.graph import before, edges, order
from cxlocal.plan.types import Plan, Stage
from cxlocal.processes import locks
from cxlocal.processes.child import End
from cxlocal.processes.log import StageLog
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner import recovery
from cxlocal.runner.admission import PUBLISHES, admit_to_target
from cxlocal.runner.attempt import run_stage
from cxlocal.runner.bump import bump
from cxlocal.runner.contact import first_sender, turns_of
from cxlocal.runner.driver import drive
from cxlocal.runner.fetching import fetch_missing
from cxlocal.runner.gates import require
from cxlocal.runner.nesting import refuse_in_rehearsal
from cxlocal.runner.noted import of_locked
from cxlocal.runner.opening import check_out_again, find_run, listen, make_work, refuse_running
from cxlocal.runner.products import artifacts
from cxlocal.runner.publication import Ledger, check, ledger_of, publish
from cxlocal.runner.record import RunRecord
from cxlocal.runner.signals import Signals
from cxlocal.runner.source import Machine, Source, open_store
from cxlocal.runner.standing import CHECK, PUBLISH, WAITS, WITHDRAW, Published, Stand, stand_at
from cxlocal.runner.targets import require_agreed
from cxlocal.runner.tool_stage import ToolStage, ask, open_tool
from cxlocal.runner.turns import Turns, enter
from cxlocal.runner.work import Launch, Work
from cxlocal.runner.workspace import discard
from cxlocal.text import quoted
from cxlocal.values import NamedTuple


class Order(NamedTuple):
    """What is asked for."""

    run: str
    act: str = PUBLISH
    """``PUBLISH``, ``CHECK`` (only ask) or ``WITHDRAW``."""
    targets: tuple[str, ...] = ()
    """Empty: all of the version."""
    reason: str = ""
    again: bool = False
    """What was taken back is put there once more."""
    allow_older: bool = False
    run_named: bool = False
    offline: bool = False


def carry_out(machine: Machine, journal: Journal, asked: Order) -> Published:
    """Publish a version, ask what is there, or take it back.

    Raises UsageError where that cannot be asked, Refused and Conflict where it may not be done at all,
    Interrupted when a signal ended it. What one target says is part of the result.
    """
    refuse_in_rehearsal(machine)
    recovery.recover(journal, machine)
    catch_up(journal)
    source, record = find_run(machine, journal, asked.run, runs_stages=True)
    require_right(journal, record.ref.deliverable, "push")
    names = _chosen(record, asked)
    require_agreed(machine, record.plan)
    refuse_running(journal, record, "wait for it: it publishes by itself")
    key = locks.environment_lock(journal.home, record.ref.deliverable, f"publish {record.run}")
    lock = locks.take(key, f"{asked.act} of {record.version}")
    if lock is None:
        raise Refused(
            f"another command publishes {record.version} here",
            why=locks.holder(key),
            hint="run this again when it is done",
            name="publishing-busy",
        )
    store = _store(machine, source, journal, asked)
    try:
        with Signals() as signals:
            return _Publisher(machine, source, record, asked, store, signals).work_off(names, key)
    finally:
        lock.release()
        if store is not None:
            store.close()


def _store(machine: Machine, source: Source, journal: Journal, asked: Order) -> Store | None:
    """The store that is asked whose turn it is. What keeps us from it 'cxlocal sync' shows in full."""
    try:
        return open_store(source, machine, journal, offline=asked.offline)
    except CxError:
        return None


def _chosen(record: RunRecord, asked: Order) -> list[str]:
    """The targets that are meant. Raises UsageError, Refused."""
    if record.kind != "release" or not record.version:
        raise Refused(
            f"run {record.run[:8]} has no version to publish",
            why="only releases are published",
            hint="'cxlocal log' lists the releases; 'cxlocal run' makes one",
            name="not-a-release",
        )
    known = [one.name for one in record.plan.published_to]
    for name in asked.targets:
        if name not in known:
            raise UsageError(
                f"{record.version} knows no target {name!r}",
                why=f"its plan has {', '.join(known) or 'none'}",
                hint=suggestion(name, known, what="target") if known else
                "describe it in [targets] of cx.toml, and release again",
                name="no-such-target",
            )  # fmt: skip
    if not known:
        raise UsageError(
            f"{record.version} has no targets",
            why="the plan is that of the commit the version was made from",
            hint="describe them in [targets] of cx.toml (docs/publishing.md), and release again",
            name="no-targets",
        )
    return [name for name in known if name in (asked.targets or known)]


def in_order(plan: Plan, places: dict[str, int]) -> list[str]:
    """All targets of a plan, each after those it waits for, and what announces a version last. Pure."""
    sequence = order(edges(plan))
    planned = {
        one.publishes_to: sequence.index(one.name) for one in plan.stages if one.publishes_to
    }
    names = [one.name for one in plan.published_to]
    late = len(sequence)
    return sorted(
        names, key=lambda name: (places.get(name, 0), planned.get(name, late), names.index(name))
    )


class _Publisher:
    """One command at work."""

    def __init__(
        self, machine: Machine, source: Source, record: RunRecord, asked: Order,
        store: Store | None, signals: Signals,
    ) -> None:  # fmt: skip
        self.machine, self.source, self.record = machine, source, record
        self.asked, self.store, self.signals = asked, store, signals
        self.problems: dict[str, CxError] = {}
        self.declined: set[str] = set()
        """The targets that said no."""
        self.places: dict[str, int] = {}
        """Of each target by its tool, which may be one that the commit itself brings."""

    def work_off(self, names: list[str], key: Any) -> Published:
        """One target after the other, in the order in which they are published to."""
        record = self.record
        workspace = check_out_again(self.machine, self.source, record, name=f"{record.run}.publish")
        try:
            work = make_work(
                self.machine, self.source, record, workspace, (), needs_bytes=False, targets=names,
                run_named=self.asked.run_named, again=self._again(),
            )  # fmt: skip
            self.places = {
                one.name: find_tool(self.source.manager, one.tool).place
                for one in record.plan.published_to
            }
            names = [name for name in in_order(record.plan, self.places) if name in names]
            self._fit(work, names, key)
            turns = turns_of(record.journal, self.store, self.source, self.machine.voice.warn, "")
            with Supervisor(self.machine.clock) as supervisor:
                if self.asked.act == PUBLISH:
                    drive(fetch_missing(work), supervisor, self.signals, notes=work.notes)
                for name in names:
                    self._one(work, name, turns, supervisor)
                    if self.signals.number:
                        raise self.signals.interrupted(self._again(), run=record.run)
            if self.asked.act == PUBLISH and not self.asked.offline:
                # The stages that lacked may have been those of the targets alone.
                bump(self.source, record, work.voice, work.masker.text)
        finally:
            discard(workspace)
        return Published(
            record.run, record.ref.deliverable, record.version,
            tuple(self._stand(name) for name in names), tuple(self.problems.values()),
        )  # fmt: skip

    def _fit(self, work: Work, names: list[str], key: Any) -> None:
        work.artifacts = work.artifacts or artifacts(self.record, check=False)
        work.reason = work.masker.text(self.asked.reason)
        work.allow_older, work.publish_again = self.asked.allow_older, self.asked.again
        work.publishes_to = tuple(names)
        work.notes_path = of_locked(key)
        work.send_first = first_sender(
            self.record.journal, self.store, self.source, self.machine.voice.warn
        )
        listen(self.record.journal, self.source)

    def _again(self, *, named: bool = True) -> str:
        """The whole command that asks for this once more; not ``named``: for all targets of the version."""
        return again(self.record.version, self.asked, named=named)

    def _one(self, work: Work, name: str, turns: Turns | None, supervisor: Supervisor) -> None:
        stage = self.record.plan.publishing(name)
        why = self._waits_for(stage, work) if self.asked.act == PUBLISH else None
        asks = why is not None and why.name == WAITS and self._holds(name)
        if why is not None and not asks:
            self.problems[name] = why
            return
        if asks or self.asked.act == CHECK:
            self._drive(_asking(work, stage), supervisor, work, name)
            return
        who = f"{self.asked.act} of {self.record.version}"
        door = enter(self.record, name, stage.name, who, turns, self.machine.voice.warn, PUBLISHES)
        if isinstance(door, Refused):
            self.problems[name] = door
            return
        work.doors[name] = door
        try:
            if self.asked.act == WITHDRAW:
                self._drive(_withdrawing(work, stage), supervisor, work, name)
                return
            done = name not in _planned(self.record.plan) or stage.name in work.succeeded
            program = _alone(work, stage) if done else run_stage(work, replace(stage, retries=0))
            outcome = self._drive(program, supervisor, work, name)
            if outcome == Outcome.SUCCESS:
                work.succeeded.add(stage.name)
            elif outcome == Outcome.FAILURE:
                self.declined.add(name)
        finally:
            del work.doors[name]
            door.leave()

    def _drive(
        self, program: Generator[Launch, End, Any], supervisor: Supervisor, work: Work, name: str
    ) -> Any:
        try:
            return drive(program, supervisor, self.signals, notes=work.notes)
        except CxError as problem:
            self.problems[name] = problem
            return None

    def _waits_for(self, stage: Stage, work: Work) -> CxError | None:
        """What has to be done before a version may go to a target, and is not; None where nothing is."""
        plan = self.record.plan
        lacking = [name for name in _before(plan, stage) if name not in work.succeeded]
        target = stage.publishes_to
        if lacking:
            publishing = all(plan.stage(name).publishes_to for name in lacking)
            return Refused(
                f"{self.record.version} does not go to {target} yet",
                why=f"{', '.join(lacking)} has to succeed before",
                hint=f"{self._again(named=False)}, once that is settled" if publishing
                else f"cxlocal run --resume {self.record.run[:8]}",
                name=WAITS if publishing else "not-earned",
            )  # fmt: skip
        own = self.places[target]
        earlier = [
            one.name for one in plan.published_to
            if self.places[one.name] < own and self._ledger(one.name).row.get("state") != rule.THERE
            and not self._ledger(one.name).row.get("withdrawn_at")
        ]  # fmt: skip
        if own and earlier:
            return Refused(
                f"{self.record.version} does not go to {target} yet",
                why=f"it announces the version, and {', '.join(earlier)} does not hold all of it",
                hint=f"{self._again(named=False)}, once that is settled",
                name=WAITS,
            )
        return None

    def _holds(self, name: str) -> bool:
        """It is on record that all of the version is there: whatever it would wait for."""
        row = self._ledger(name).row
        gone = row.get("withdrawn_at") or self.asked.again
        return row.get("state") == rule.THERE and not gone

    def _ledger(self, name: str) -> Ledger:
        return ledger_of(self.record, name)

    def _stand(self, name: str) -> Stand:
        return stand_at(
            self.record,
            self.source.manager,
            name,
            self.problems.get(name),
            declined=name in self.declined,
        )


def again(version: str, asked: Order, *, named: bool = True) -> str:
    """The whole command that asks for an order once more; not ``named``: for all targets of the version. Pure."""
    words = ["cxlocal", asked.act if asked.act != CHECK else PUBLISH, version]
    if asked.again or named:
        option = "--from" if asked.act == WITHDRAW else "--again" if asked.again else "--to"
        words += [word for target in asked.targets for word in (option, target)]
    told = {"--check": asked.act == CHECK, "--allow-older": asked.allow_older, "-m": asked.reason}
    words += [option for option, said in told.items() if said]
    words += [asked.reason] if asked.reason else []
    return " ".join(quoted(word) for word in words)


def _planned(plan: Plan) -> frozenset[str]:
    return frozenset(one.publishes_to for one in plan.stages if one.publishes_to)


def _before(plan: Plan, stage: Stage) -> Iterator[str]:
    """The stages that have to succeed before one publishes: those it waits for; where no stage of the plan
    does, all that make or test something."""
    if stage in plan.stages:
        graph = edges(plan)
        yield from (name for name in order(graph) if name in before(graph, stage.waits_for))
        return
    yield from (one.name for one in plan.stages if one.kind in ("build", "test"))


def _open(work: Work, stage: Stage, what: str) -> tuple[ToolStage, StageLog]:
    log = StageLog.create(
        work.log_folder, f"{what} {stage.publishes_to}", masker=work.masker,
        echo=work.voice.echo(stage.publishes_to),
    )  # fmt: skip
    attempt = work.first_attempt.get(stage.name, 1)
    scratch = work.workspace.scratch(f"{what} {stage.name}", attempt)
    return open_tool(work, stage, attempt, work.workspace.project, scratch, log, {}), log


def _alone(work: Work, stage: Stage) -> Generator[Launch, End, Outcome]:
    """Publish where no stage of a run does, or has done it: the log stays here."""
    require(work, stage)
    admit_to_target(work.record, stage, work.way_of(stage))
    at, log = _open(work, stage, PUBLISH)
    try:
        worked = yield from publish(at)
    finally:
        log.close()
    return worked.outcome


def _asking(work: Work, stage: Stage) -> Generator[Launch, End, None]:
    at, log = _open(work, stage, CHECK)
    try:
        yield from check(at)
    finally:
        log.close()


def _withdrawing(work: Work, stage: Stage) -> Generator[Launch, End, None]:
    """Say that it is taken back, then do it where the target lets us."""
    record, target = work.record, stage.publishes_to
    ledger = ledger_of(record, target)
    if not (ledger.row.get("files_there") or ledger.row.get("withdrawn_at")):
        raise Refused(
            f"{record.version} was never published to {target}",
            why="as far as the journal here knows",
            hint=f"cxlocal publish {quoted(record.version)} --check asks the target",
            name="never-published",
        )

    def say(how: str) -> None:
        about = Publication(
            target, record.version, stage.tool, ledger_of(record, target).turn + 1,
            record.actor._asdict(),
        )  # fmt: skip
        record.record(publication_withdrawn(record.ref, about, how=how, why=work.reason))

    say("")
    at, log = _open(work, stage, WITHDRAW)
    try:
        if "withdraw" not in verbs_of(at.tool, at.options):
            say("nothing: its tool cannot; a person has to")
            return
        found, _ = yield from ask(at, "withdraw")
    finally:
        log.close()
    if not isinstance(found.result, Withdrawn):
        raise Trouble(
            f"it is recorded that {record.version} is taken back from {target}, and it is there",
            why=found.reason,
            hint=f"cxlocal withdraw {quoted(record.version)} --from {quoted(target)} -m WHY, once more",
            name="not-withdrawn",
        )
    by_hand = f"a person has to: {found.result.address}" if found.result.address else ""
    say(found.result.how or by_hand or "nothing")
