"""Journals for looking at pages: a small one that looks like a team's week, and a hostile one.

Told by the steps of ``tests/journals.py``; what they hold is known to the tests of the pages.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from types import ModuleType
from typing import Any

from cxlocal.domain import Outcome
from cxlocal.events.machines import version_skipped
from cxlocal.events.runs import run_resumed, stage_finished, stage_started
from cxlocal.journal.blobs import keep_chunks
from cxlocal.journal.file import Journal
from cxlocal.projection.truth import plan_text
from cxlocal.text import utc_text

STAGES = (
    ("build", "build", "", (), ()),
    ("lint", "test", "", (), ()),
    ("unit", "test", "", ("build",), ()),
    ("scan", "test", "", ("build",), ()),
    ("up", "deploy", "test", ("build",), ()),
    ("smoke", "test", "test", ("up", "unit"), ()),
    ("perf", "test", "test", ("up",), ()),
    ("staging", "deploy", "staging", ("lint", "smoke", "scan"), ()),
    ("accept", "test", "staging", ("staging",), ()),
    ("live", "deploy", "production", (), ("RELEASED",)),
)
ENVIRONMENTS = (("test", "Test", "per-run"), ("staging", "Staging", "lasting"), ("production", "Live", "lasting"))  # fmt: skip
LINKS = {
    "commit": "https://git.example.org/shop/commit/{commit}",
    "ticket": "https://tickets.example.org/{ticket}",
    "log": "https://logs.example.org/?q={run}+{stage}&from={from}&to={to}",
    "metric": "javascript:alert({run})",
}
LAST = "FAILED tests/test_pay.py::test_refund - assert 409 == 200\n1 failed, 181 passed in 41.2 s\n"
MARA, JONAS = "Mara <mara@example.org>", "Jonas <jonas@example.org>"


def plan(stages: Any = STAGES) -> dict[str, Any]:
    """A frozen plan, as far as it is read into tables."""
    return {
        "stages": [
            {"name": name, "kind": kind, "environment": place, "waits_for": list(after), "requires": list(needs)}
            for name, kind, place, after, needs in stages
        ],
        "promotions": [{"name": "TESTED", "after": ["smoke", "unit"]},
                       {"name": "RELEASED", "title": "Approved for release", "after": ["accept"]}],
        "environments": [{"name": name, "title": title, "lifetime": lifetime, "protected": name == "production"}
                         for name, title, lifetime in ENVIRONMENTS],
    }  # fmt: skip


class Teller:
    """Runs of one plan, told stage by stage."""

    def __init__(self, kit: ModuleType, machine: Any, deliverable: str, **facts: Any) -> None:
        self.kit, self.machine, self.deliverable, self.facts = kit, machine, deliverable, facts
        self.live = {"staging": "", "production": ""}

    def begin(self, number: int, how: str = "online", line: str = "2.7", **facts: Any) -> Any:
        """A release that has its number."""
        stages = [one[0] for one in STAGES]
        subject = facts.pop("subject", f"Show the sum of a basket, SHOP-{40 + number}")
        now = self.machine.clock.ms
        revision = {"commit": self.kit.digest(f"{self.deliverable}{number}")[:40], "subject": subject,
                    "author": JONAS, "committed_at": utc_text(now - 240_000), "branch": "main", "tags": []}  # fmt: skip
        listed = [{"commit": revision["commit"], "subject": subject, "author": JONAS, "committed_at": utc_text(now - 240_000)},
                  {"commit": self.kit.digest(f"more {number}")[:40], "subject": "Say why a card was refused", "author": MARA,
                   "committed_at": utc_text(now - 4_000_000)}]  # fmt: skip
        story = self.machine.run(
            f"{self.deliverable} {number}", self.deliverable,
            **{"plan": plan(), "plan_sha256": self.kit.digest(plan_text(plan())), "links": LINKS,
               "asked": {"to": "", "stages": [one for one in stages if one != "perf"]}, "revision": revision,
               "changes": {"since_version": facts.pop("since", f"{line}.{number - 1}"), "total": 2, "listed": listed},
               **self.facts, **facts},
        )  # fmt: skip
        return story.take(number, how=how, line=line)

    def work(self, story: Any, *names: str, bad: str = "", reason: str = "", environment: str = "",
             takes: float = 0.5, tail: str = "", attempt: int = 1) -> Any:  # fmt: skip
        """These stages, one after the other; ``bad`` fails."""
        clock = self.machine.clock
        for place, name in enumerate(names):
            ready = utc_text(clock.ms)
            clock.pass_minutes(0.1 * (place % 2))
            where = {one[0]: one[2] for one in STAGES}.get(name, environment)
            facts = {"kind": "task", "tool": "command", "verb": "", "environment": where, "ready_at": ready,
                     "host": self.machine.host}  # fmt: skip
            works = takes * (1 + (len(name) * 7 % 5) / 4)
            story.say(
                stage_started(story.ref, stage=name, attempt=attempt, facts=facts), minutes=works
            )
            done: dict[str, Any] = {
                "seconds": works * 60, "exit_code": int(name == bad),
                "log": {"path": f"logs/{story.id}/{name}.log", "size": 4096, "sha256": self.kit.digest(name)},
            }  # fmt: skip
            if name == bad and tail:
                digest, size = keep_chunks(self.machine.journal.home, [tail.encode()], "the last lines", private=True)  # fmt: skip
                done["tail"] = {"sha256": digest, "size": size}
            outcome = Outcome.FAILURE if name == bad else Outcome.SUCCESS
            story.say(stage_finished(story.ref, stage=name, attempt=attempt, outcome=outcome,
                                     reason=reason if name == bad else "", facts=done), minutes=0)  # fmt: skip
        return story

    def deploy(self, story: Any, where: str, **rest: Any) -> Any:
        """Its version goes there, and takes over."""
        id, before = f"{where}-{story.id}{rest.get('kind', '')}", self.live[where]
        self.live[where] = id
        title = {one[0]: one[1] for one in ENVIRONMENTS}[where]
        story.place(where, title=title)
        return story.deploy(where, id=id, replaces=(before,) if before else (), **rest)

    def to_staging(self, story: Any) -> Any:
        """All that happens before somebody is asked."""
        self.work(story, "build", "lint", "unit", "scan", "up", "smoke").package().tests()
        story.promote("TESTED")
        self.work(story, "staging")
        self.deploy(story, "staging")
        return self.work(story, "accept")

    def to_live(self, story: Any, actor: str = MARA, wait: float = 17) -> Any:
        """Somebody says go."""
        self.machine.clock.pass_minutes(wait)
        story.promote("RELEASED", automatic=False, actor=actor, reason="looked at staging")
        self.work(story, "live", takes=0.2)
        return self.deploy(story, "production")


def build_small(kit: ModuleType, folder: Path) -> Journal:
    """A week of two products: usual releases, one that failed, one in an emergency, a rollback, one that
    waits and one under way."""
    clock = kit.HandClock()
    laptop = kit.Machine(folder, clock, "laptop-mara")
    shop = Teller(kit, laptop, "webshop", actor=MARA, reason="")
    billing = Teller(kit, laptop, "billing", actor=JONAS, reason="", deliverable_title="Billing")
    for number in range(4):
        shop.to_live(shop.to_staging(shop.begin(number)), wait=17 + 40 * number).end()
        clock.pass_minutes(60 * 20)
    bill = billing.to_live(billing.to_staging(billing.begin(0, line="4.1")))
    bill.end()
    clock.pass_minutes(60)
    failed = shop.begin(4, subject="Refund by card, SHOP-44 and #12")
    shop.work(failed, "build", "lint")
    failed.tests(Outcome.FAILURE, ("test_refund", "failed"))
    shop.work(failed, "unit", bad="unit", reason="1 of 10 failed", tail=LAST)
    failed.end(Outcome.FAILURE, "stage unit: 1 of 10 failed")
    clock.pass_minutes(60 * 5)
    night = shop.begin(100, how="reserve", online=False, planned=False, reason="Payments are down")
    shop.to_live(shop.to_staging(night), wait=3).end()
    clock.pass_minutes(60 * 20)
    back = laptop.run("back", "webshop", **shop.facts)
    shop.deploy(back, "production", kind="rolledback", of=night)
    back.end()
    clock.pass_minutes(60 * 30)
    ready = shop.to_staging(shop.begin(101))
    ready.end(before="production")
    clock.pass_minutes(60)
    bad = billing.to_staging(billing.begin(1, line="4.1"))
    billing.work(
        bad, "live", bad="live", reason="port 8080 is in use", tail="bind: address already in use\n"
    )
    bad.fail("production", reason="port 8080 is in use").end(
        Outcome.FAILURE, "stage live: port 8080 is in use"
    )
    clock.pass_minutes(30)
    again = shop.begin(102)
    shop.work(again, "build", "lint")
    again.say(run_resumed(again.ref, after=["build"], actor=again.actor, reason="go on"))
    again.say(stage_started(again.ref, stage="unit", attempt=1,
                            facts={"kind": "test", "environment": "", "ready_at": utc_text(clock.ms), "host": laptop.host}))  # fmt: skip
    kit._note_store(laptop.journal)
    kit.confirm(laptop.journal)
    return laptop.journal


def build_outage(kit: ModuleType, folder: Path) -> Journal:
    """Eight days of two products, made by a CI server and, while neither it nor the store could be reached
    (the fifth day), on a laptop: two emergencies, one of which did not help and was taken back, a failed
    deployment to live, a decision passed over, and after it numbers that were never used."""
    clock = kit.HandClock()
    laptop = kit.Machine(folder, clock, "laptop-mara")
    ci = kit.Machine(folder / "ci", clock, "runner-17", ci=True)
    taken = 0

    def met() -> None:
        """The laptop gets what the CI server recorded."""
        nonlocal taken
        told = kit.events_of(ci.journal)
        kit.take_in(laptop.journal, told[taken:])
        taken = len(told)

    shop = Teller(kit, ci, "webshop", actor=JONAS, reason="")
    billing = Teller(kit, ci, "billing", actor=JONAS, reason="", deliverable_title="Billing")
    for day in range(4):
        good = shop.to_live(shop.to_staging(shop.begin(2 * day)), wait=25 + 20 * day)
        good.end()
        clock.pass_minutes(150)
        if day == 1:
            failed = shop.begin(3, subject="Refund by card, SHOP-43")
            shop.work(failed, "build", "lint")
            failed.tests(Outcome.FAILURE, ("test_refund", "failed"))
            shop.work(failed, "unit", bad="unit", reason="1 of 10 failed", tail=LAST)
            failed.end(Outcome.FAILURE, "stage unit: 1 of 10 failed")
        else:
            shop.to_staging(shop.begin(2 * day + 1)).end(before="production")
        if day % 2 == 0:
            clock.pass_minutes(60)
            billing.to_live(billing.to_staging(billing.begin(day // 2, line="4.1"))).end()
        met()
        clock.pass_minutes(60 * 19)
    shop.machine = billing.machine = laptop  # nothing else can be reached
    away = {"how": "reserve", "online": False, "planned": False}
    night = shop.to_staging(
        shop.begin(
            100,
            reason="Payments are down",
            subject="Try the second bank, SHOP-200",
            since="2.7.7",
            **away,
        )
    )
    clock.pass_minutes(4)
    night.promote(
        "RELEASED", "overridden", automatic=False, actor=MARA, reason="by phone, Jonas agreed"
    )
    shop.work(night, "live", takes=0.2)
    shop.deploy(night, "production").end()
    clock.pass_minutes(35)
    back = copy(good)
    back.machine, back.actor = laptop, {"id": MARA, "how": "git config"}
    shop.deploy(back, "production", kind="rolledback")
    clock.pass_minutes(20)
    again = shop.begin(
        101,
        reason="Payments are down",
        subject="Ask the first bank again, SHOP-201",
        fixes="2.7.100",
        **away,
    )
    shop.to_live(shop.to_staging(again), wait=6).end()
    clock.pass_minutes(60)
    full = billing.to_staging(
        billing.begin(100, line="4.1", reason="Invoices wait", since="4.1.1", **away)
    )
    full.promote("RELEASED", automatic=False, actor=MARA, reason="looked at staging")
    billing.work(
        full,
        "live",
        bad="live",
        reason="no room on the disk",
        tail="rsync: write failed: No space left on device (28)\n",
    )
    full.fail("production", reason="no room on the disk").end(
        Outcome.FAILURE, "stage live: no room on the disk"
    )
    clock.pass_minutes(60 * 20)
    with laptop.journal.write() as transaction:
        execute = transaction.connection.execute
        execute("INSERT INTO store_state VALUES (1, 'sqlite:', ?, 1, 40, '')", (kit.LINEAGE,))
        for k, (deliverable, kind, lo, hi, node) in enumerate((
            ("webshop", "online", 0, 7, ci.journal.node), ("webshop", "reserve", 100, 119, laptop.journal.node),
            ("webshop", "raise", 8, 101, ""), ("webshop", "online", 120, 121, ci.journal.node),
            ("billing", "online", 0, 1, ci.journal.node), ("billing", "reserve", 100, 100, laptop.journal.node),
            ("billing", "raise", 2, 100, ""), ("billing", "online", 101, 101, ci.journal.node),
        )):  # fmt: skip
            line = "2.7" if deliverable == "webshop" else "4.1"
            why = f"number {hi} is in use; it was taken while the store could not be reached"
            execute("INSERT INTO grant_entry VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, 1, ?, '', '', 0)",
                    (deliverable, line, k, kind, lo, hi, node, f"nonce{k}", why if kind == "raise" else ""))  # fmt: skip
    kit.confirm(laptop.journal)
    laptop.say(
        version_skipped(
            deliverable="webshop",
            line="2.7",
            lo=102,
            hi=119,
            why="exchanged for a newer reserve: the numbers in use had come close",
        )
    )
    shop.machine = billing.machine = ci
    for number in (120, 121):
        shop.to_live(
            shop.to_staging(shop.begin(number, since="2.7.101" if number == 120 else "2.7.120")),
            wait=90,
        ).end()
        clock.pass_minutes(60 * 24)
    ready = billing.to_staging(billing.begin(101, line="4.1"))
    ready.end(before="production")
    met()
    ci.journal.close()
    return laptop.journal


def build_open(kit: ModuleType, folder: Path, now_ms: int) -> Journal:
    """A release that went live, and one that is at its tests since a minute before ``now_ms``."""
    clock = kit.HandClock(now_ms - 26 * 60 * kit.MINUTE_MS)
    laptop = kit.Machine(folder, clock, "laptop-mara")
    shop = Teller(kit, laptop, "webshop", actor=MARA, reason="")
    shop.to_live(shop.to_staging(shop.begin(0))).end()
    clock.ms = now_ms - 4 * kit.MINUTE_MS
    under_way = shop.work(shop.begin(1), "build", "lint")
    clock.ms = now_ms - kit.MINUTE_MS
    under_way.say(stage_started(under_way.ref, stage="unit", attempt=1, facts={
        "kind": "test", "environment": "", "ready_at": utc_text(clock.ms), "host": laptop.host}))  # fmt: skip
    return laptop.journal


EVIL = "<script>alert(1)</script>\u202e\u0007 ]]>'\"&amp; " + "W" * 90
EVIL_LINKS = {
    "commit": "javascript:alert({commit})", "ticket": "https://x@evil.example/{ticket}",
    "log": 'https://logs.example.org/"onmouseover="alert(1)', "metric": ["https://h/"],
}  # fmt: skip


def build_hostile(kit: ModuleType, folder: Path) -> Journal:
    """Every text that somebody else can write is an attack on the page, or as long as it may be."""
    clock = kit.HandClock()
    laptop = kit.Machine(folder, clock, EVIL[:60])
    teller = Teller(kit, laptop, EVIL, actor=EVIL, reason=EVIL, deliverable_title=EVIL, owner=EVIL, links=EVIL_LINKS,
                    place={"kind": EVIL, "name": EVIL, "run_url": "javascript:alert(1)"})  # fmt: skip
    names = [f"{EVIL[:40]} {n}" for n in range(6)]
    stages = [(name, EVIL, EVIL, tuple(names[:n]), (EVIL,)) for n, name in enumerate(names)]
    content = plan(stages)
    content["environments"].append({"name": EVIL, "title": EVIL, "lifetime": "lasting"})
    content["stages"][0]["waits_for"] = [names[5], {"a": 1}, None]  # a circle, and what is no name
    content["promotions"] = [
        {"name": EVIL, "title": EVIL, "after": [names[0], EVIL]},
        EVIL,
        7,
        None,
        [EVIL],
    ]
    for number in range(2):
        story = teller.begin(number, subject=EVIL, plan=content, plan_sha256=kit.digest(plan_text(content)),
                             changes={"since_version": "W" * 200, "total": -5, "listed": [
                                 {"commit": EVIL[:40], "subject": f"SHOP-1 {EVIL}", "author": EVIL, "committed_at": EVIL}]})  # fmt: skip
        teller.work(story, *names[:3], environment=EVIL)
        story.place(EVIL, title=EVIL).package().tests(Outcome.FAILURE, (EVIL, "failed"), suite=EVIL)
        story.deploy(EVIL, id=f"evil-{number}", replaces=(f"evil-{number - 1}",) if number else ())
        story.promote(EVIL, "overridden", automatic=False, actor=EVIL, reason=EVIL)
        teller.work(story, names[3], bad=names[3], reason=EVIL, tail=f"{EVIL}\n" * 30)
        story.fail(EVIL, reason=EVIL).end(Outcome.FAILURE, EVIL)
        clock.pass_minutes(60)
    return laptop.journal
