"""The record of a run: what is said about it in the journal, and nothing else.

It schedules nothing and starts no process. ``cxlocal run`` is built on it, and so are the single
commands that a Makefile or five CI jobs call: any process can ``attach`` to a run and go on saying
what happens.

Methods that record return when the event is durable. Methods ending in ``_draft`` or ``_drafts``
only prepare, so that what belongs together goes into one commit (``record``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from cxlocal.domain import Actor, Outcome
from cxlocal.errors import Trouble, UsageError
from cxlocal.events import outputs, runs
from cxlocal.events.belonging import is_shared, mark_id
from cxlocal.events.document import Draft, Event
from cxlocal.events.runs import RunRef
from cxlocal.events.types import PIPELINE_FINISHED, RUN_RESUMED, SUITE_FINISHED
from cxlocal.journal.append import begin_chain
from cxlocal.journal.machine import host_name
from cxlocal.journal.rebuild import catch_up
from cxlocal.projection.apply import ATTEMPTS, read_attempt
from cxlocal.text import utc_text
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.hooks.plugin_row import LeftOut
    from cxlocal.journal.file import Journal, Transaction
    from cxlocal.plan.free import AnyStage
    from cxlocal.plan.types import Plan
    from cxlocal.processes.log import LogEntry
    from cxlocal.projection.parts import Attempt
    from cxlocal.projection.standing import Standing
    from cxlocal.runner.queued import RunFacts

Beside = Callable[["Transaction"], None]
"""Writes into the commit of an event."""
LAST_TURN = """
SELECT coalesce(max(CAST(e.document ->> '$.customData.cxlocal.turn' AS INTEGER)), 0) AS turn
FROM event e
JOIN run_lookup r ON r.id = e.run JOIN type_lookup t ON t.id = e.type
WHERE r.name = ? AND t.name IN (?, ?)
"""
OPEN_DEPLOYMENT = """
SELECT a.id FROM deployment_attempt a WHERE a.stage_run = ? AND a.outcome IS NULL
  AND NOT EXISTS (SELECT 1 FROM deployment d WHERE d.id = a.id AND d.deployed_at IS NOT NULL)
ORDER BY a.tried_from DESC LIMIT 1
"""
# sql: a constant of the projection
OF_RUN = ATTEMPTS + "WHERE run = ?"
CHAIN_CHARACTERS = 8
"""Of the id of a chain, in the ids of what it says about runs of others."""


class Version(NamedTuple):
    """What a run is called."""

    text: str
    line: str
    number: int | None
    how: str
    """online, reserve, lent, suffix or rehearsal."""


def _elsewhere(journal: Journal, *, own: bool) -> str:
    """What tells the stage runs that we record from those of other machines."""
    return "" if own else begin_chain(journal)[:CHAIN_CHARACTERS]


class RunRecord:
    """One run, as seen from one process. Its plan is only read when somebody asks for it."""

    plan_sha256 = ""
    ended = False
    """It was over when it was looked up."""
    made_from: str | None = None
    """The commit our stages are made from; empty: not known; None: that of the run."""
    muted = False
    """It is only asked what would be, so nothing is written."""
    single_commands = False
    """Single commands carry it out, so that anybody may repeat any stage at any time."""

    def __init__(
        self,
        journal: Journal,
        ref: RunRef,
        plan: Plan | None,
        kind: str,
        actor: Actor,
        revision: str,
    ) -> None:
        self.journal = journal
        self.ref = ref
        self._plan = plan
        self.kind = kind
        self.actor = actor
        self.revision = revision
        self.repository = ""
        self.version = ""
        self.number: int | None = None
        self.line = ""
        self.turn = 0
        """How often the run was taken up again, as far as is known here."""

    @property
    def run(self) -> str:
        """The id of the run."""
        return self.ref.run

    @classmethod
    def begin(
        cls,
        journal: Journal,
        plan: Plan,
        facts: RunFacts,
        *,
        run: str = "",
        beside: Beside | None = None,
    ) -> RunRecord:
        """Record that a run was asked for. The plan goes in whole in the first event of this node
        that uses it, later by digest. ``beside`` writes what belongs into the same commit."""
        from cxlocal.runner.queued import queued_facts

        run = run or mark_id(journal.ids.uuid(), plan.deliverable)
        name, uri = plan.deliverable, runs.run_uri(run, facts.place.run_url)
        elsewhere = _elsewhere(journal, own=not is_shared(run))
        ref = RunRef(name, run, plan.title or name, uri, elsewhere)
        # Another machine's event may have brought it, but may be missing where ours will be read.
        known = journal.one(
            "SELECT 1 FROM run WHERE plan_sha256 = ? AND node = ? LIMIT 1",
            (facts.plan_sha256, journal.node),
        )
        whole = {} if known else {"plan": facts.plan_bytes.decode()}
        custom = {**queued_facts(plan, facts), **whole}
        revision = facts.revision.commit if facts.revision else ""
        record = cls(journal, ref, plan, facts.kind, facts.actor, revision)
        record.repository = (facts.repository or {}).get("url", "")
        record._record_with(runs.run_queued(ref, custom), beside)
        return record

    @classmethod
    def find(cls, journal: Journal, run: str) -> Self | None:
        """A run that began earlier, perhaps in another process or on another machine; None where
        its beginning is not in the journal here."""
        from cxlocal.runner.own_words import run_row

        catch_up(journal)
        row = run_row(journal, run)
        if row is None or row["queued_at"] is None:
            return None
        name, uri = row["deliverable"], runs.run_uri(run, row["place_url"] or "")
        who = Actor(row["actor"] or "", row["actor_how"] or "")
        own = row["node"] == journal.node and not is_shared(run)
        ref = RunRef(name, run, row["title"] or name, uri, _elsewhere(journal, own=own))
        record = cls(journal, ref, None, row["kind"] or "", who, row["revision"] or "")
        record.version, record.number = row["version"] or "", row["number"]
        record.line, record.repository = row["line"] or "", row["repository"] or ""
        record.plan_sha256, record.ended = row["plan_sha256"] or "", row["finished_at"] is not None
        return record

    @classmethod
    def attach(cls, journal: Journal, run: str) -> Self:
        """As ``find``, for whoever needs the plan. Raises UsageError when it or the run is not here."""
        record = cls.find(journal, run)
        if record is None or record.find_plan() is None:
            raise _unknown(run)
        record.turn = record.last_turn()
        return record

    def last_turn(self) -> int:
        """How often the run was taken up again, as far as the journal here knows."""
        wanted = (self.run, PIPELINE_FINISHED, RUN_RESUMED)
        return int(self.journal.query(LAST_TURN, wanted)[0]["turn"])

    def find_plan(self) -> Plan | None:
        """The frozen plan; None where it is not here. Raises ConfigError for one of a newer cxlocal."""
        if self._plan is None and self.plan_sha256:
            row = self.journal.one("SELECT plan FROM plan WHERE sha256 = ?", (self.plan_sha256,))
            if row is not None:
                from cxlocal.plan.freeze import thaw

                self._plan = thaw(row["plan"])
        return self._plan

    @property
    def plan(self) -> Plan:
        """The frozen plan. Raises UsageError where it is not here."""
        plan = self.find_plan()
        if plan is None:
            raise _unknown(self.run)
        return plan

    def record(self, *drafts: Draft) -> list[Event]:
        """Write drafts in one commit."""
        return self.journal.append(*drafts) if drafts and not self.muted else []

    def known_version(self) -> Version | None:
        """The version that the run has; None where it has none yet."""
        if not self.version:
            return None
        row = self.journal.one("SELECT number_how FROM run WHERE id = ?", (self.run,)) or {}
        return Version(self.version, self.line, self.number, row.get("number_how") or "")

    def start(self, transaction: Transaction, version: Version) -> None:
        """The run has its version."""
        transaction.append(runs.run_started(self.ref, *version, turn=self.turn))
        transaction.afterwards.append(lambda: self._has(*version[:3]))

    def _has(self, version: str, line: str, number: int | None) -> None:
        self.version, self.line, self.number = version, line, number

    def stage_started(
        self, stage: AnyStage, attempt: int, *, ready_at_ms: int, instance: str = ""
    ) -> None:
        """A stage begins: one commit."""
        self.record(
            *self.stage_started_drafts(stage, attempt, ready_at_ms=ready_at_ms, instance=instance)
        )

    def stage_started_drafts(
        self,
        stage: AnyStage,
        attempt: int,
        *,
        ready_at_ms: int,
        instance: str = "",
        more: dict[str, Any] | None = None,
    ) -> list[Draft]:
        """What is said then. A build or test stage says so in CDEvents' own words too. ``more``: which
        part it is, and of which job."""
        facts = {
            "kind": stage.kind,
            "tool": stage.tool or "command",
            "verb": stage.verb,
            "environment": stage.environment,
            "instance": instance,
            # A clock that was set back must not make it wait less than nothing.
            "ready_at": utc_text(min(ready_at_ms, self.journal.clock.now_ms())),
            "host": host_name(),
            "revision": self.revision if self.made_from is None else self.made_from,
            **(more or {}),
        }
        drafts = [runs.stage_started(self.ref, stage=stage.name, attempt=attempt, facts=facts)]
        if stage.kind == "build":
            drafts.append(
                outputs.build_started(
                    self.ref, stage=stage.name, attempt=attempt, environment=stage.environment
                )
            )
        elif stage.kind == "test":
            drafts.append(self.suite_started_draft(stage, attempt))
        return drafts

    def suite_started_draft(self, stage: AnyStage, attempt: int, suite: str = "") -> Draft:
        """A test suite begins; by default the one named like the stage."""
        return outputs.suite_started(
            self.ref,
            stage=stage.name,
            attempt=attempt,
            suite=suite or stage.name,
            environment=stage.environment,
            trigger="pipeline",
            instance=self.instance(stage.environment),
        )

    def instance(self, environment: str) -> str:
        """The id of an environment that a stage of this run works in; empty for none."""
        plan = self.find_plan() if environment else None
        places = () if plan is None else plan.environments
        return next(
            (one.instance(self.run) for one in places if one.name == environment), environment
        )

    def stage_finished(
        self,
        stage: AnyStage,
        attempt: int,
        outcome: Outcome,
        reason: str,
        *,
        started_ms: int,
        finished_ms: int | None = None,
        seconds: float | None = None,
        exit_code: int | None = None,
        log: LogEntry | None = None,
        tool_version: str = "",
        details: dict[str, Any] | None = None,
        extra: Sequence[Draft] = (),
        cut_off: bool = False,
        stage_run: str = "",
    ) -> None:
        """A stage ended: one commit, together with all it brought (``extra``). A deployment that had
        begun and is not among that has failed, or was ``cut_off``. ``stage_run`` is its id where
        another machine may have begun it.

        It ended now unless ``finished_ms`` says otherwise. ``seconds`` is how long it took where
        that was measured; the clock that people read may have been set in between.
        """
        if finished_ms is None:
            finished_ms = max(started_ms, self.journal.clock.now_ms())
        if seconds is None:
            seconds = max(0, finished_ms - started_ms) / 1000
        facts: dict[str, Any] = {
            "started_at": utc_text(started_ms),
            "finished_at": utc_text(finished_ms),
            "seconds": round(seconds, 3),
            "exit_code": exit_code,
            "tool_version": tool_version,
            "host": host_name(),
        }
        if log is not None:
            facts["log"] = log.facts(self.journal.home)
            if outcome in (Outcome.FAILURE, Outcome.ERROR):
                facts |= self._last_lines(log)
        if details:
            facts["details"] = details
        drafts, ref = list(extra), self._ref_of(stage.name, stage_run)
        if outcome != Outcome.SUCCESS:
            drafts += self._deployment_failed(ref, stage, attempt, outcome, reason, cut_off)
        if stage.kind == "build":
            purls = [draft.subject for draft in extra if draft.custom.get("sha256")]
            drafts.append(
                outputs.build_finished(
                    ref,
                    stage=stage.name,
                    attempt=attempt,
                    outcome=outcome,
                    artifact_purl=purls[0] if purls else "",
                )
            )
        elif stage.kind == "test" and not _ends(extra, stage.name):
            drafts.append(self._suite_end(ref, stage, attempt, outcome))
        drafts.append(
            runs.stage_finished(
                ref,
                stage=stage.name,
                attempt=attempt,
                outcome=outcome,
                reason=reason,
                facts=facts,
            )
        )
        self.record(*drafts)

    def _ref_of(self, stage: str, stage_run: str) -> RunRef:
        if not stage_run:
            return self.ref
        key = stage_run.removeprefix(f"{self.run}/{stage}/")
        return self.ref._replace(elsewhere=key.partition("@")[2])

    def _suite_end(self, ref: RunRef, stage: AnyStage, attempt: int, outcome: Outcome) -> Draft:
        """The suite that every test stage begins ends with it, also where no report speaks of it."""
        return outputs.suite_finished(
            ref,
            stage=stage.name,
            attempt=attempt,
            suite=stage.name,
            environment=stage.environment,
            outcome=outcome,
            facts={},
            event_id=mark_id(self.journal.ids.uuid(), self.ref.deliverable),
            instance=self.instance(stage.environment),
        )

    def _deployment_failed(
        self,
        ref: RunRef,
        stage: AnyStage,
        attempt: int,
        outcome: Outcome,
        reason: str,
        cut_off: bool,
    ) -> list[Draft]:
        begun = self.open_deployment(ref.stage_run(stage.name, attempt))
        if not begun:
            return []
        from cxlocal.events.places import deployment_failed

        return [
            deployment_failed(
                self.ref, deployment=begun, outcome=outcome, cut_off=cut_off, reason=reason
            )
        ]

    def open_deployment(self, stage_run: str) -> str:
        """The deployment that a stage run began and that has not ended; empty for none."""
        catch_up(self.journal)
        row = self.journal.one(OPEN_DEPLOYMENT, (stage_run,))
        return row["id"] if row else ""

    def _last_lines(self, log: LogEntry) -> dict[str, Any]:
        """The last lines of a stage that failed, kept by digest: events are for ever, files may go."""
        from cxlocal.journal.blobs import keep_chunks

        plan = self.find_plan()
        lines = log.last_lines(plan.last_lines) if plan is not None else b""
        if not lines:
            return {}
        try:
            digest, size = keep_chunks(self.journal.home, [lines], "the last lines", private=True)
        except Trouble:  # a full disk: that the stage failed is recorded all the same
            return {}
        return {"tail": {"sha256": digest, "size": size}}

    def restricted_drafts(self, left_out: Sequence[LeftOut]) -> list[Draft]:
        """Plugins took no part in a command; nothing where all did."""
        plugins = [one._asdict() for one in left_out]
        return [runs.run_restricted(self.ref, plugins=plugins)] if plugins else []

    def flag_draft(self, kind: str, text: str, subject: str = "") -> Draft:
        """Something a person should look at."""
        return runs.run_flagged(
            kind=kind,
            subject=subject or self.run,
            text=text,
            deliverable=self.ref.deliverable,
            run=self.run,
        )

    def resumed(
        self,
        after: Sequence[str],
        actor: Actor,
        reason: str,
        beside: Beside | None = None,
        place: dict[str, str] | None = None,
        asked: dict[str, Any] | None = None,
    ) -> None:
        """The run goes on; ``after`` are the stages whose success is kept, ``place`` the CI job that
        goes on with it, ``asked`` what is to be carried out now."""
        self.turn += 1
        told = runs.run_resumed(
            self.ref, after=list(after), actor=actor._asdict(), reason=reason, turn=self.turn,
            place=place, asked=asked,
        )  # fmt: skip
        self.ended = False
        self._record_with(told, beside)

    def _record_with(self, draft: Draft, beside: Beside | None) -> None:
        with self.journal.write() as transaction:
            if beside is not None:
                beside(transaction)
            transaction.append(draft)

    def attempts(self) -> dict[str, list[Attempt]]:
        """All attempts of every stage so far, in no order."""
        catch_up(self.journal)
        found: dict[str, list[Attempt]] = {}
        for row in self.journal.connection.execute(OF_RUN, (self.run,)):
            found.setdefault(row[-1], []).append(read_attempt(row))
        return {stage: attempts for stage, attempts in found.items() if stage}

    def standings(self) -> dict[str, Standing]:
        """How every stage stands that has begun: as bad as its worst part."""
        from cxlocal.projection.standing import Expected, stand

        plan = self.find_plan()
        expected = {
            stage.name: Expected(stage.parts, stage.parts_total)
            for stage in (plan.stages if plan is not None else ())
        }
        return {
            stage: stand(attempts, expected.get(stage, Expected()))
            for stage, attempts in self.attempts().items()
        }

    def succeeded(self) -> set[str]:
        """Stages of which every part has succeeded."""
        return {stage for stage, standing in self.standings().items() if standing.succeeded}

    def outcome(self) -> str | None:
        """How the run ended, as last recorded; None while it is open."""
        catch_up(self.journal)
        row = self.journal.one("SELECT outcome FROM run WHERE id = ?", (self.run,))
        return row["outcome"] if row else None


def _ends(drafts: Sequence[Draft], suite: str) -> bool:
    return any((one.type, one.custom.get("suite")) == (SUITE_FINISHED, suite) for one in drafts)


def _unknown(run: str) -> UsageError:
    return UsageError(
        f"run {run} is not known on this machine",
        why="its beginning or its plan is not in the journal here",
        hint="'cxlocal log --all' lists the runs known here; 'cxlocal sync' fetches others",
        name="no-such-run",
        run=run,
    )
