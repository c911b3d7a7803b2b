"""Whole journals for tests: two deliverables, three machines, every kind of ending.

``build_full_journal`` writes, through the same event builders as the runner, what a busy fortnight
leaves behind: releases that succeed, fail, are cancelled and break, a retry, flaky tests, numbers
taken offline (one confirmed, one not), a conflicted number, a disputed deployment, a rollback, an
override, a rehearsal, a run that is still open, and names meant to break HTML, SQL and file names.
``ANSWERS`` says what is in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemIds
from cxlocal.domain import Outcome
from cxlocal.events.document import Draft, Event
from cxlocal.events.machines import node_mirrored, version_reserved, version_skipped, version_used
from cxlocal.events.outputs import artifact_packaged, suite_finished, suite_started
from cxlocal.events.places import (
    Attempt,
    deployment_failed,
    deployment_started,
    environment_confirmed,
    environment_created,
    environment_deleted,
    promotion_decided,
    service_deployed,
)
from cxlocal.events.resources import Intent, Turned, run_cutover, run_intended
from cxlocal.events.runs import (
    RunRef,
    run_finished,
    run_flagged,
    run_judged,
    run_observed,
    run_queued,
    run_restricted,
    run_started,
    stage_finished,
    stage_started,
)
from cxlocal.exchange.receive import take_event
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.numbers import holdings
from cxlocal.text import utc_text

SHOP = "webshop"
HOSTILE = """Ünï/cö <script>alert("x")</script> 'q' 100% ; DROP TABLE run--"""
START_MS = 1_795_400_000_000  # 2026-11-23T02:13:20Z
MINUTE_MS = 60_000
DAY_MS = 86_400_000
LINEAGE = "5" * 32
SPEC = "ab" * 32
PLAN = '{"stages":["build","unit","deploy"]}'


class HandClock:
    """A wall clock moved by hand; monotonic time runs with it."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def pass_minutes(self, minutes: float) -> None:
        self.ms += round(minutes * MINUTE_MS)


def digest(text: str) -> str:
    """A digest-shaped text that is different for different ``text``."""
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()


def open_journal(folder: Path, clock: HandClock) -> Journal:
    return Journal.open(folder / "journal.db", clock=clock, ids=SystemIds())


class Machine:
    """A journal and the clock it is written by; each method is something that happens there."""

    def __init__(self, folder: Path, clock: HandClock, host: str, *, ci: bool = False) -> None:
        self.journal, self.clock, self.host, self.ci = open_journal(folder, clock), clock, host, ci
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cxlocal.journal.machine.host_name", lambda: host)
            patch.setenv("CXLOCAL_NODE", "passing" if ci else "kept")
            self.say(
                node_mirrored(node=host, url="/srv/shop.git", created=True, refs=[]), minutes=0
            )

    def say(self, *drafts: Draft, minutes: float = 1) -> None:
        """Record, then let time pass."""
        self.journal.append(*drafts)
        self.clock.pass_minutes(minutes)

    def run(self, name: str, deliverable: str = SHOP, **facts: Any) -> Story:
        return Story(self, name, deliverable, facts)


class Story:
    """One run, told step by step."""

    def __init__(self, machine: Machine, name: str, deliverable: str, facts: dict[str, Any]):
        self.machine, self.deliverable = machine, deliverable
        self.id = run_id(name)
        self.ref = RunRef(deliverable, self.id, deliverable, f"urn:uuid:{self.id}")
        self.actor = {"id": facts.pop("actor", "Laptop <laptop@example.org>"), "how": "git config"}
        self.version, self.number, self.kind = "", -1, facts.pop("kind", "release")
        self.revision = digest(name)[:40]
        self.say(run_queued(self.ref, self._queued(name, facts)))

    def _queued(self, name: str, facts: dict[str, Any]) -> dict[str, Any]:
        now = self.machine.clock.ms
        place = {"kind": "laptop", "name": ""}
        if self.machine.ci:
            place = {"kind": "ci", "name": "GitHub Actions", "number": "17",
                     "run_url": "https://ci.example.org/runs/17"}  # fmt: skip
        listed = [
            {"commit": digest(f"{name}{n}")[:40], "subject": f"Change {n} of {name}",
             "author": "Other", "committed_at": utc_text(now - n * 3_600_000)}
            for n in (1, 2)
        ]  # fmt: skip
        return {
            "kind": self.kind, "actor": self.actor, "reason": "a fix", "trigger": "manual",
            "planned": True, "place": place, "host": self.machine.host, "online": True,
            "revision": {"commit": self.revision, "subject": f"Change 1 of {name}",
                         "author": "Other", "committed_at": utc_text(now - 3_600_000),
                         "branch": "main", "tags": []},
            "repository": {"url": "https://git.example.org/shop", "path": "", "root": "r" * 40},
            "proof": {"kind": "confirmed", "remote": "origin", "age_seconds": 1.5},
            "plan_sha256": digest(PLAN), "plan": PLAN,
            "changes": {"since_version": "1.0.0", "total": 2, "listed": listed},
            "deliverable_title": "Web shop" if self.deliverable == SHOP else self.deliverable,
            "owner": "team", "cxlocal_version": "0.1.0", **facts,
        }  # fmt: skip

    def say(self, *drafts: Draft, minutes: float = 1) -> Story:
        self.machine.say(*drafts, minutes=minutes)
        return self

    def take(self, number: int, *, how: str = "online", line: str = "1.0") -> Story:
        self.number, self.version = number, f"{line}.{number}"
        key = f"1.0.{number:09d}"
        with self.machine.journal.write() as transaction:
            taken = (self.deliverable, self.id, line, number, self.version, key, how, LINEAGE)
            holdings.take(transaction.connection, holdings.TakenNumber(*taken))
        return self.say(
            version_used(deliverable=self.deliverable, run=self.id, line=line, number=number,
                         scheme="semver", text=self.version, sort_key=key, how=how,
                         lineage=LINEAGE, generation=1, k=number, actor=self.actor),
            run_started(self.ref, version=self.version, line=line, number=number, how=how),
        )  # fmt: skip

    def stage(self, name: str, outcome: Outcome = Outcome.SUCCESS, *, attempt: int = 1,
              waits: float = 0.5, works: float = 2.0, reason: str = "",
              environment: str = "") -> Story:  # fmt: skip
        """A stage that waits and works so many minutes; with an environment it deploys there."""
        clock = self.machine.clock
        ready = utc_text(clock.ms)
        clock.pass_minutes(waits)
        kind = "deploy" if environment else "task"
        facts = {"kind": kind, "tool": "command", "verb": "", "environment": environment,
                 "ready_at": ready, "host": self.machine.host}  # fmt: skip
        self.say(stage_started(self.ref, stage=name, attempt=attempt, facts=facts), minutes=works)
        done = {"seconds": works * 60, "exit_code": int(outcome != Outcome.SUCCESS),
                "log": {"path": f"logs/{name}.log", "size": 10, "sha256": digest(name)}}  # fmt: skip
        return self.say(
            stage_finished(self.ref, stage=name, attempt=attempt, outcome=outcome, reason=reason,
                          facts=done), minutes=0
        )  # fmt: skip

    def tests(self, outcome: Outcome = Outcome.SUCCESS, *cases: tuple[str, str], attempt: int = 1,
              suite: str = "unit") -> Story:  # fmt: skip
        """A suite of ten cases; ``cases`` are (name, outcome) of those worth a word."""
        failed = sum(case[1] == "failed" for case in cases)
        flaky = sum(case[1] == "flaky" for case in cases)
        listed = [{"suite": "shop", "name": name, "outcome": how, "message": "was <b>bold</b>",
                   "seconds": 0.1} for name, how in cases]  # fmt: skip
        facts = {"format": "junit", "total": 10, "passed": 10 - failed, "failed": failed,
                 "errors": 0, "skipped": 0, "flaky": flaky, "seconds": 4.5, "cases": listed,
                 "report": {"sha256": digest("report"), "size": 1234}}  # fmt: skip
        here = {"stage": "unit", "attempt": attempt, "suite": suite, "environment": ""}
        return self.say(
            suite_started(self.ref, trigger="pipeline", **here),
            suite_finished(self.ref, outcome=outcome, facts=facts, event_id="", **here),
        )

    def package(self) -> Story:
        sha = digest(f"wheel {self.id}")
        return self.say(
            artifact_packaged(
                self.ref, name="wheel", purl=f"pkg:pypi/shop@{self.version}", sha256=sha,
                size=20_480, version=self.version, revision=self.revision, repository="",
                stage="build", attempt=1, file_name="shop.whl", media_type="", locations=["/a/b"])
        )  # fmt: skip

    def place(
        self, name: str, *, lifetime: str = "lasting", title: str = "", spec: str = SPEC
    ) -> Story:
        instance = name if lifetime == "lasting" else f"{name}-{self.id[:8]}"
        return self.say(
            environment_created(
                self.ref, name=name, instance=instance, lifetime=lifetime, title=title or name,
                protected=lifetime == "lasting", uri="http://127.0.0.1:8080/", spec_sha256=spec,
                tool="local-service", stage="provision")
        )  # fmt: skip

    def unplace(self, name: str) -> Story:
        return self.say(
            environment_deleted(self.ref, name=name, instance=f"{name}-{self.id[:8]}",
                                tool="local-service", reason="the run is over")
        )  # fmt: skip

    def attempt(self, where: str, *, id: str) -> Story:
        """A deployment that has that id begins."""
        tried = Attempt(
            deployment=id, kind="deploy", service="shop", environment=where,
            instance=where, version=self.version, stage=where, stage_run=f"{self.id}/{where}/1",
            actor=self.actor, reason="", watched=True,
        )  # fmt: skip
        return self.say(deployment_started(self.ref, tried, replaces=[]), minutes=0)

    def make(self, where: str, *, resource: str, serves: str) -> Story:
        """A tool makes something there that serves the deployment of that id."""
        intent = Intent(
            resource=resource, component=where, environment=where, instance=where, lifetime="lasting",
            stage=where, stage_run=f"{self.id}/{where}/1", tool="kit", verb="deploy", options={},
            handle={"at": where}, deployment=serves,
        )  # fmt: skip
        self.say(run_intended(self.ref, intent), minutes=0)
        cutover = run_cutover(self.ref, [Turned(where, serves, {}, {resource: 100})])
        return self.say(cutover, minutes=0)

    def fail(self, where: str, *, reason: str) -> Story:
        """A deployment that began and did not come to its end."""
        failed = deployment_failed(
            self.ref, deployment=f"{self.id}-failed", outcome="failure", cut_off=False,
            reason=reason,
        )  # fmt: skip
        return self.attempt(where, id=f"{self.id}-failed").say(failed, minutes=0)

    def deploy(self, where: str, *, id: str, replaces: tuple[str, ...] = (), kind: str = "",
               of: Story | None = None, instance: str = "") -> Story:  # fmt: skip
        made = of or self
        artifact = {"name": "wheel", "sha256": digest(f"wheel {made.id}"), "purl": "pkg:pypi/s@1"}
        return self.say(
            service_deployed(
                self.ref, kind=kind or ("upgraded" if replaces else "deployed"), event_id=id,
                service="shop", environment=where, instance=instance or where, artifact=artifact,
                version=made.version, number=made.number, version_run=made.id,
                replaces=list(replaces), uri="http://127.0.0.1:8080/", stage_run="",
                actor=self.actor, reason="release", details={})
        )  # fmt: skip

    def promote(self, name: str = "PASSED_TEST", decision: str = "granted", *,
                automatic: bool = True, actor: str = "", reason: str = "") -> Story:  # fmt: skip
        return self.say(
            promotion_decided(
                deliverable=self.deliverable, run=self.id, name=name, title=name.title(),
                decision=decision, version=self.version, number=self.number,
                digests={"wheel": digest(f"wheel {self.id}")}, automatic=automatic,
                actor={"id": actor, "how": "CXLOCAL_ACTOR"} if actor else self.actor,
                reason=reason, evidence=[], data_age_seconds=3.5)
        )  # fmt: skip

    def end(self, outcome: Outcome = Outcome.SUCCESS, reason: str = "", before: str = "") -> Story:
        return self.say(
            run_finished(self.ref, outcome=outcome, reason=reason, version=self.version,
                         seconds=600.0, stopped_before=before)
        )  # fmt: skip

    def release(self, number: int, *, how: str = "online") -> Story:
        """The usual way up to the promotion, tested in an environment of its own."""
        here = f"test-{self.id[:8]}"
        return (
            self.take(number, how=how).stage("build").package().tests()
            .place("test", lifetime="per-run").deploy("test", id=f"t-{self.id}", instance=here)
            .stage("blackbox", works=3).unplace("test").promote()
        )  # fmt: skip


def run_id(name: str) -> str:
    """The id of the run a test calls ``name``: looks like a UUID, is the same every time."""
    raw = digest(f"run {name}")
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-8{raw[17:20]}-{raw[20:32]}"


def build_full_journal(folder: Path) -> Journal:
    """The full journal in ``folder``, opened. The laptop writes; what a CI job and a colleague's
    laptop recorded arrives by ``take_event``."""
    clock = HandClock()
    laptop = Machine(folder, clock, "laptop-ada")
    _quiet_days(laptop)
    ci_clock = HandClock(START_MS + 3 * DAY_MS)
    ci = Machine(folder / "ci", ci_clock, "runner-17", ci=True)
    _ci_days(ci)
    other = Machine(
        folder / "other", HandClock(START_MS + 3 * DAY_MS + 30 * MINUTE_MS), "laptop-bob"
    )
    _other_days(other)
    clock.ms = START_MS + 5 * DAY_MS
    for machine in (ci, other):
        take_in(laptop.journal, events_of(machine.journal))
        machine.journal.close()
    _note_store(laptop.journal)
    _offline_days(laptop)
    return laptop.journal


def events_of(journal: Journal) -> list[Event]:
    return [event for _, event in all_events(journal)]


def take_in(journal: Journal, events: list[Event]) -> None:
    """Receive events of other machines and project them."""
    from cxlocal.journal.rebuild import catch_up

    with journal.write() as transaction:
        for event in events:
            take_event(transaction, event, 1)
    assert catch_up(journal)


def _quiet_days(laptop: Machine) -> None:
    first = laptop.run("first").release(0).place("production", title="Production")
    first.deploy("production", id="p-first").end()
    laptop.clock.pass_minutes(60)
    second = laptop.run("second").take(1)
    second.stage("build").package().tests(Outcome.FAILURE, ("test_pay", "failed"))
    second.stage("unit", Outcome.FAILURE, reason="1 of 10 failed").end(
        Outcome.FAILURE, "stage unit: 1 of 10 failed"
    )
    third = laptop.run("third").take(2)
    third.tests(Outcome.FAILURE, ("test_slow", "failed")).stage(
        "unit", Outcome.FAILURE, reason="1 of 10 failed"
    )
    third.tests(Outcome.SUCCESS, ("test_clock", "flaky"), attempt=2).stage("unit", attempt=2)
    third.stage("build", works=4).package().promote()
    third.deploy("production", id="p-third", replaces=("p-first",)).end()
    laptop.clock.pass_minutes(DAY_MS / MINUTE_MS)
    bad = laptop.run("fourth").release(3)
    bad.deploy("production", id="p-fourth", replaces=("p-third",)).end()
    back = laptop.run("back")
    back.deploy("production", id="p-back", replaces=("p-fourth",), kind="rolledback", of=third)
    back.end()
    laptop.run("stopped").take(4).stage("build", Outcome.CANCEL, reason="interrupted").end(
        Outcome.CANCEL, "stopped by SIGINT"
    )
    laptop.run("broken").take(5).stage("build", Outcome.ERROR, reason="disk full").end(
        Outcome.ERROR, "the disk was full"
    )
    trial = laptop.run("trial", kind="rehearsal")
    trial.version = f"0.0.0-rehearsal.{trial.id[:8]}"
    trial.say(
        run_started(trial.ref, version=trial.version, line="", number=None, how="rehearsal")
    ).stage("build").end()


def _ci_days(ci: Machine) -> None:
    """A CI job releases 1.0.6 to production without knowing of the laptop's latest deployment."""
    six = ci.run("six", actor="GitHub <ci@example.org>").release(6)
    six.deploy("production", id="p-six", replaces=("p-first",)).end()
    wild = ci.run("wild", HOSTILE, actor=HOSTILE, reason=HOSTILE).take(0)
    wild.stage("bu<i>ld & 'co'").package().place("prod <b>&", title="Prod & <b>'s").promote(
        "PASSED_\"TEST'<i>"
    )
    wild.deploy("prod <b>&", id="p-wild").end()


def _other_days(other: Machine) -> None:
    """A colleague's copy of a backup hands out 1.0.6 a second time."""
    twin = other.run("twin", actor="Other <other@example.org>").take(6)
    twin.stage("build").package().end()
    other.say(
        version_reserved(deliverable=SHOP, line="1.0", lo=200, hi=202, lineage=LINEAGE,
                         generation=1, k=9),
        version_skipped(deliverable=SHOP, line="1.0", lo=200, hi=202, why="the journal was copied"),
        run_flagged(kind="report-unreadable", subject=twin.id, deliverable=SHOP, run=twin.id,
                    text="the report <b>junit.xml</b> was cut off"),
    )  # fmt: skip


def _offline_days(laptop: Machine) -> None:
    """Two emergency releases from the reserve; the first one is confirmed an hour later."""
    night = laptop.run("night", online=False, planned=False, reason="shop is down")
    night.release(100, how="reserve").promote(
        "RELEASED", "overridden", automatic=False, actor="Lead <lead@example.org>",
        reason="gate host down",
    )  # fmt: skip
    night.say(
        run_judged(night.ref, gate="freeze", verdict="undecided", reason="calendar not reachable",
                   stage="production", environment="production", promotion="",
                   data_age_seconds=7200.0),
        run_restricted(night.ref, plugins=[{"name": "freeze", "distribution": "acme-gates",
                                            "version": "2", "how": "-p no:freeze"}]),
        run_observed(night.ref, environment="production", expected="1.0.2", observed="1.0.6",
                     agrees=False, details={}),
    ).end(before="production")  # fmt: skip
    laptop.clock.pass_minutes(60)
    confirm(laptop.journal)
    later = laptop.run("later", online=False).release(101, how="reserve")
    later.place("staging", title="Staging", spec="cd" * 32).deploy("staging", id="s-later")
    later.deploy("production", id="p-later", replaces=("p-back",)).end()
    night.fail("staging", reason="no <b>room</b> on the disk")
    laptop.run("open", actor="Laptop <laptop@example.org>").take(7).stage("build")


def confirm_live(journal: Journal) -> None:
    """A person ends the dispute about production in favour of the newest deployment."""
    journal.append(
        environment_confirmed(
            deliverable=SHOP, run=run_id("later"), name="production", instance="production",
            deployment="p-later", replaces=["p-six"], actor={"id": "Laptop", "how": "git config"},
            reason="looked")
    )  # fmt: skip


def _note_store(journal: Journal) -> None:
    """What the exchange keeps: the store, its grant log, and what it has of the others."""
    rows = [
        (SHOP, "1.0", 1, "online", 0, 6, journal.node, "", 0),
        (SHOP, "1.0", 2, "reserve", 100, 102, journal.node, "", 0),
        (SHOP, "1.0", 3, "raise", 8, 9, "", "", 0),
        (SHOP, "1.0", 4, "online", 7, 7, journal.node, run_id("open"), 0),
    ]
    with journal.write() as transaction:
        execute = transaction.connection.execute
        execute("INSERT INTO store_state VALUES (1, 'sqlite:', ?, 1, 40, '')", (LINEAGE,))
        for deliverable, line, k, kind, lo, hi, node, run, held in rows:
            execute(
                "INSERT INTO grant_entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, '', '', '', ?)",
                (deliverable, line, k, kind, lo, hi, node, run, f"nonce{k}", held),
            )
        execute(
            "INSERT OR REPLACE INTO ack SELECT n.name, 0, max(e.sequence), '', 1 FROM event e"
            " JOIN node_lookup n ON n.id = e.node WHERE n.name <> ? GROUP BY n.name",
            (journal.node,),
        )


def confirm(journal: Journal) -> None:
    """The store acknowledges everything recorded here so far."""
    with journal.write() as transaction:
        execute = transaction.connection.execute
        (head,) = execute(
            "SELECT max(e.sequence) FROM event e JOIN node_lookup n ON n.id = e.node"
            " WHERE n.name = ?",
            (journal.node,),
        ).fetchone()
        execute("INSERT OR REPLACE INTO ack VALUES (?, 0, ?, '', 1)", (journal.node, head))
        at = utc_text(journal.clock.now_ms())
        execute("INSERT INTO ack_step VALUES (?, 1, ?, ?)", (journal.node, head, at))
