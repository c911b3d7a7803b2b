"""Any program of machines releasing, syncing, crashing, losing messages: the promises hold.

Real journals and a real store; what is lost, doubled, delayed and crashed is drawn by Hypothesis.
"""

from __future__ import annotations

import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from cxlocal_sync.stores.sqlite import SqliteStore
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from numbers_kit import FaultyStore, open_journal, request

from cxlocal.allocation.allocator import _use_online, obtain_number
from cxlocal.errors import StoreNeeded
from cxlocal.exchange.contact import talk
from cxlocal.exchange.reply import Wish, apply
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.rebuild import catch_up
from cxlocal.numbers.ledger import ledger

MACHINES = 3
machines = st.integers(0, MACHINES - 1)
faults = st.sampled_from(["", "lose-request", "lose-reply", "twice", "late-request"])


class Fleet(RuleBasedStateMachine):
    """Three machines, one store."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        (self.root / "central").mkdir()
        self.store = FaultyStore(SqliteStore("sqlite:", self.root / "central"))
        self.journals = [open_journal(self.root / f"m{index}") for index in range(MACHINES)]
        self.numbers: dict[int, str] = {}
        self.asked = 0
        self.runs: list[tuple[int, str, Any]] = []
        self.pending: list[tuple[int, str, Wish, Any]] = []

    def note(self, machine: int, run: str, number: Any) -> None:
        assert number.number not in self.numbers, "handed out twice"
        self.numbers[number.number] = run
        self.runs.append((machine, run, number))

    @rule(machine=machines, fault=faults)
    def release(self, machine: int, fault: str) -> None:
        journal = self.journals[machine]
        journal.connection.execute("DELETE FROM breaker")
        self.store.faults = [fault] if fault else []
        self.asked += 1
        run = f"run-{self.asked}"
        try:
            self.note(machine, run, obtain_number(journal, self.store, request(run, ahead=8)))
        except StoreNeeded:
            assert fault or self.store.down
        self.store.faults = []

    @rule(machine=machines)
    def ask_again(self, machine: int) -> None:
        for owner, run, number in self.runs:
            if owner == machine:
                assert obtain_number(self.journals[machine], None, request(run)) == number

    @rule(machine=machines, fault=faults)
    def sync(self, machine: int, fault: str) -> None:
        self.store.faults = [fault] if fault else []
        synchronise(self.journals[machine], self.store, use_breaker=False, budget_seconds=20)
        self.store.faults = []

    @rule(machine=machines)
    def ask_and_pause(self, machine: int) -> None:
        """A process asks and is stopped before the answer is in its journal; or it dies."""
        run = f"paused-{len(self.pending)}"
        wish = Wish("online", "webshop", "2.7", f"{len(self.pending):032x}", run=run)
        try:
            reply = talk(self.journals[machine], self.store, wishes=[wish])
        except StoreUnreachable:
            return
        self.pending.append((machine, run, wish, reply))

    @rule(index=st.integers(0, 5))
    def go_on(self, index: int) -> None:
        """The stopped process continues, however much has happened meanwhile."""
        if index >= len(self.pending):
            return
        machine, run, wish, reply = self.pending[index]
        if any(each[1] == run for each in self.runs):
            return
        try:
            with self.journals[machine].write() as transaction:
                applied = apply(transaction, reply)
                number = _use_online(transaction, request(run), wish, applied)
        except StoreUnreachable:
            return
        if number is not None:
            self.note(machine, run, number)

    @rule(down=st.booleans())
    def outage(self, down: bool) -> None:
        self.store.down = down

    @rule()
    def late_messages_arrive(self) -> None:
        self.store.deliver_late()

    @rule(machine=machines)
    def restart(self, machine: int) -> None:
        self.journals[machine].close()
        self.journals[machine] = open_journal(self.root / f"m{machine}")

    def teardown(self) -> None:
        self.store.down = False
        self.store.deliver_late()
        try:
            self.check()
        finally:
            for journal in self.journals:
                journal.close()
            self.store.close()
            shutil.rmtree(self.root)

    def check(self) -> None:
        for journal in self.journals * 3:
            report = synchronise(journal, self.store, use_breaker=False, budget_seconds=30)
            assert (report.reached, report.pending, report.stopped) == (True, 0, ""), report
        pictures = []
        for index, journal in enumerate(self.journals):
            catch_up(journal)  # as every command does before it reads
            own = [
                row["number"]
                for row in journal.query(
                    "SELECT number FROM version WHERE node = ? ORDER BY sequence", (journal.node,)
                )
            ]
            assert all(a < b for a, b in pairwise(own)), "P3"
            assert sorted(own) == sorted(n.number for m, _, n in self.runs if m == index)
            spans = ledger(journal, "webshop", "2.7")
            covered = [number for span in spans for number in range(span.lo, span.hi + 1)]
            assert covered == list(range(len(covered))), "P7"
            states = {span.lo: span.state.value for span in spans if span.run and span.text}
            assert states == dict.fromkeys(self.numbers, "in use, confirmed")
            pictures.append([span[:4] for span in spans])
        assert pictures[0] == pictures[1] == pictures[2], "P18"
        connection = self.store.inner._connection
        assert connection is not None
        grants = connection.execute(
            "SELECT lo, hi FROM grant_entry WHERE kind != 'raise' ORDER BY lo"
        ).fetchall()
        assert all(a[1] < b[0] for a, b in pairwise(grants)), "P5"
        online = connection.execute(
            "SELECT lo FROM grant_entry WHERE kind = 'online' ORDER BY k"
        ).fetchall()
        assert all(a < b for a, b in pairwise(online)), "P5"


Fleet.TestCase.settings = settings(
    deadline=None, max_examples=40, stateful_step_count=30,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
TestFleet = Fleet.TestCase
