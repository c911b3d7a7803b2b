"""A long history, made by the builders and the journal that a run uses.

``python tests/bench/history.py FOLDER [--events 1000000] [--deliverables 200] [--machines 1]`` writes
``FOLDER/journal.db``: twenty events a run, one machine after another, a release in ten that fails, one in
thirty from the reserve, and one deployment in fifty that does not succeed. ``--large`` is ten million
events of 2,000 deliverables and 1,000 machines.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pytest
from journals import LINEAGE, MINUTE_MS, HandClock, Story, confirm, digest, open_journal

from cxlocal.domain import Outcome
from cxlocal.events.document import Draft
from cxlocal.events.places import deployment_failed
from cxlocal.exchange.copies import begin_again
from cxlocal.journal.file import Journal
from cxlocal.projection.truth import plan_text

EVENTS_OF_A_RUN = 20
START_MS = 1_700_000_000_000
RESERVE_AHEAD = 1_000_000
"""Numbers of the reserve stand this far above those given online."""
FAILS, OFFLINE, FAILS_TO_DEPLOY, UNPLANNED = 0.1, 0.03, 0.02, 0.01


PLAN = {
    "stages": [{"name": name, "kind": "task", "environment": "", "waits_for": [], "requires": []}
               for name in ("build", "unit", "smoke")],
    "environments": [{"name": name, "title": name.title(), "lifetime": "lasting"} for name in ("staging", "production")],
}  # fmt: skip
"""Says which environment is live."""


class Machine:
    """What ``Story`` writes to: the events of a run in one commit."""

    ci = False

    def __init__(self, journal: Journal, clock: HandClock) -> None:
        self.journal, self.clock, self.host = journal, clock, "laptop-0"
        self._drafts: list[Draft] = []

    def say(self, *drafts: Draft, minutes: float = 1) -> None:
        """Keep for the commit, then let time pass."""
        self._drafts += [draft._replace(at_ms=self.clock.ms) for draft in drafts]
        self.clock.pass_minutes(minutes / 60)

    def flush(self) -> int:
        """Write them; how many there were."""
        count = len(self._drafts)
        self.journal.append(*self._drafts)
        self._drafts = []
        return count


class Deliverable:
    """One product: what is live, and which numbers are gone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.next = {"online": 0, "reserve": RESERVE_AHEAD}
        self.there: dict[str, list[str]] = {}
        """What is live in an environment, and what failed there after it."""
        self.grants: list[tuple[Any, ...]] = []

    def release(self, machine: Machine, count: int, chance: random.Random) -> None:
        """The next run of it, from the commit to production, or as far as it comes."""
        plan = {"plan": PLAN, "plan_sha256": digest(plan_text(PLAN))}
        facts = {"actor": f"Person {count % 40}", "planned": chance.random() > UNPLANNED, **plan}
        # A machine here has of the tests' Machine what a story uses, and writes in large batches.
        run = Story(machine, f"{self.name} {count}", self.name, facts)
        how = "reserve" if chance.random() < OFFLINE else "online"
        number = self.next[how]
        self.next[how] += 1
        self.grants.append((how, number, run.id))
        run.take(number, how=how).stage("build").package()
        if chance.random() < FAILS:
            run.tests(Outcome.FAILURE, ("test_pay", "failed")).stage("unit", Outcome.FAILURE)
            run.end(Outcome.FAILURE, "stage unit: 1 of 10 failed")
            return
        run.tests().stage("unit").stage("smoke")
        self._deploy(run, "staging", chance)
        run.promote().end()
        self._deploy(run, "production", chance)

    def _deploy(self, run: Story, place: str, chance: random.Random) -> None:
        new = f"{run.id}-{place}"
        if place not in self.there:
            run.place(place, title=place.title())
        run.attempt(place, id=new)
        if chance.random() < FAILS_TO_DEPLOY:
            run.say(
                deployment_failed(
                    run.ref, deployment=new, outcome="failure", cut_off=False, reason="exit code 1"
                )
            )
            self.there.setdefault(place, []).append(new)
            return
        run.deploy(place, id=new, replaces=tuple(self.there.get(place, ())))
        self.there[place] = [new]


def write_history(
    folder: Path, events: int, deliverables: int, machines: int = 1, seed: int = 1
) -> Path:
    """The journal of that many events, at least; nothing of it durable before the end."""
    clock = HandClock(START_MS)
    chance = random.Random(seed)
    products = [Deliverable(f"deliverable-{number}") for number in range(deliverables)]
    step = 400 * 24 * 60 * EVENTS_OF_A_RUN / max(events, 1)
    with open_journal(folder, clock) as journal:
        for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "cache_size=-200000"):
            journal.connection.execute(f"PRAGMA {pragma}").fetchall()
        machine, written, count, turns = Machine(journal, clock), 0, 0, 0
        while written < events:
            turn = written * machines // events
            if turn > turns:
                turns = turn
                _next_machine(journal, f"laptop-{turn}")
            machine.host = f"laptop-{count % 50 if machines == 1 else turn}"
            chance.choice(products).release(machine, count, chance)
            written, count = written + machine.flush(), count + 1
            clock.ms += round(step * MINUTE_MS)
        _note_store(journal, products)
        for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL"):
            journal.connection.execute(f"PRAGMA {pragma}").fetchall()
    return folder / "journal.db"


def _next_machine(journal: Journal, host: str) -> None:
    """Go on as another machine; the store has all that the one before recorded."""
    confirm(journal)
    with pytest.MonkeyPatch.context() as patch, journal.write() as transaction:
        patch.setattr("cxlocal.journal.machine.host_name", lambda: host)
        begin_again(transaction, None, "first use")


def _note_store(journal: Journal, products: list[Deliverable]) -> None:
    """What the exchange would have kept: the grant logs, and how far the store has our chain."""
    with journal.write() as transaction:
        transaction.connection.execute(
            "INSERT INTO store_state VALUES (1, 'sqlite:', ?, 1, 1, '')", (LINEAGE,)
        )
        transaction.connection.executemany(
            "INSERT INTO grant_entry VALUES (?, '1.0', ?, ?, ?, ?, ?, ?, ?, 1, '', '', '', 0)",
            (
                (one.name, k, how, number, number, journal.node, run, digest(run)[:16])
                for one in products
                for k, (how, number, run) in enumerate(one.grants, 1)
            ),
        )
    confirm(journal)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--deliverables", type=int, default=200)
    parser.add_argument("--machines", type=int, default=1)
    parser.add_argument("--large", action="store_true")
    asked = parser.parse_args()
    if asked.large:
        asked.events, asked.deliverables, asked.machines = 10_000_000, 2_000, 1_000
    path = write_history(asked.folder, asked.events, asked.deliverables, asked.machines)
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
