"""Eight processes take numbers while they are killed at random and the store comes and goes.

``python tests/bench/reserve_stress.py --numbers 100000`` prints one JSON document and exits 1 when
a number was handed out twice, was printed without being in a journal, fell below an earlier one of
its machine, or has no state or two. The suite runs the same with a few thousand numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from cxlocal_sync.stores.sqlite import SqliteStore

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.errors import StoreNeeded, Trouble
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.ledger import ledger
from cxlocal.numbers.obtain import NumberRequest, obtain_number
from cxlocal.numbers.schemes import SCHEMES

MACHINES = 2
RESERVE, AHEAD = 20, 200


def work(home: Path, central: Path, out: Path, name: str) -> None:
    """Take numbers and print each, until the parent is gone or this process is killed."""
    journal = Journal.open(home / "journal.db", clock=SystemClock(), ids=SystemIds())
    store = SqliteStore("sqlite:", central)
    report = os.open(out, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    who = {"id": "stress", "how": "test"}
    parent = os.getppid()
    for turn in count(1):
        if os.getppid() != parent:
            return
        asked = NumberRequest(
            "webshop", "2.7", SCHEMES["semver"], f"{name}-{turn}", who, reserve=RESERVE, ahead=AHEAD
        )
        try:
            number = obtain_number(journal, store, asked)
        except (StoreNeeded, Trouble):
            time.sleep(0.05)
            continue
        os.write(report, f"{number.number} {asked.run} {number.how}\n".encode())
        if number.how == "reserve":
            # The outage of this test lasts less than the minute an absent store is left alone.
            journal.connection.execute("DELETE FROM breaker")
        if turn % 50 == 0:
            synchronise(journal, store, budget_seconds=0.5)


class Stress:
    """The processes and what they reported."""

    def __init__(self, root: Path, processes: int, seed: int) -> None:
        self.root = root
        self.chance = random.Random(seed)
        self.central = root / "central"
        self.central.mkdir()
        self.reports = [root / f"machine-{index}.txt" for index in range(MACHINES)]
        self.started = self.kills = self.outages = self.ended = 0
        self.workers: list[int] = []
        self.slots = [index % MACHINES for index in range(processes)]

    def start(self, slot: int) -> int:
        """A process on the machine of ``slot``; its id.

        Forked, as starting Python anew for each of the thousands that are killed would take most of
        the time. No database is open here at that moment: SQLite forbids carrying one across.
        """
        self.started += 1
        machine = self.slots[slot]
        home = self.root / f"machine-{machine}"
        process = os.fork()
        if process == 0:
            try:
                work(home, self.central, self.reports[machine], f"p{self.started}")
            except BaseException:  # noqa: BLE001 - it must not go on as its parent
                traceback.print_exc()
            finally:
                os._exit(0)
        return process

    def stop(self, process: int) -> None:
        """Kill -9; one that ended by itself is a fault: no worker ever should."""
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if not os.WIFSIGNALED(status):
            self.ended += 1

    def meet(self) -> None:
        """Each machine meets the store once: one that has never met any store would make its own
        where the file is away, which is right for it and not what is tried here."""
        for machine in range(MACHINES):
            path = self.root / f"machine-{machine}" / "journal.db"
            with Journal.open(path, clock=SystemClock(), ids=SystemIds()) as journal:
                report = synchronise(journal, SqliteStore("sqlite:", self.central))
            assert report.reached, report.why

    def reported(self) -> int:
        """Numbers printed so far."""
        return sum(path.read_bytes().count(b"\n") for path in self.reports if path.exists())

    def run(self, wanted: int, limit_seconds: float) -> None:
        """Kill, take away, bring back, until ``wanted`` numbers are printed."""
        self.meet()
        self.workers = [self.start(slot) for slot in range(len(self.slots))]
        deadline = time.monotonic() + limit_seconds
        file, away = self.central / "store.db", self.central / "away.db"
        try:
            while self.reported() < wanted and time.monotonic() < deadline:
                time.sleep(self.chance.uniform(0.05, 0.3))
                slot = self.chance.randrange(len(self.slots))
                self.stop(self.workers[slot])
                self.workers[slot] = self.start(slot)
                self.kills += 1
                if away.exists():
                    away.rename(file)
                elif file.exists() and self.chance.random() < 0.3:
                    file.rename(away)
                    self.outages += 1
        finally:
            for worker in self.workers:
                self.stop(worker)
            with suppress(FileNotFoundError):
                away.rename(file)

    def check(self) -> dict[str, Any]:
        """What must hold afterwards; the findings and any faults."""
        store = SqliteStore("sqlite:", self.central)
        journals = [
            Journal.open(
                self.root / f"machine-{index}" / "journal.db", clock=SystemClock(), ids=SystemIds()
            )
            for index in range(MACHINES)
        ]
        faults = [f"{self.ended} processes ended by themselves"] if self.ended else []
        for journal in journals * 3:
            report = synchronise(journal, store, use_breaker=False, budget_seconds=600)
            if not report.reached or report.pending or report.stopped:
                faults.append(f"sync: {report}")
        printed = [line.split() for path in self.reports for line in path.read_text().splitlines()]
        numbers = [int(line[0]) for line in printed]
        if len(numbers) != len(set(numbers)):
            faults.append("a number was printed twice")
        for path, journal in zip(self.reports, journals, strict=True):
            spent = dict(journal.connection.execute("SELECT number, run FROM spent").fetchall())
            for line in path.read_text().splitlines():
                number, run, _ = line.split()
                if spent.get(int(number)) != run:
                    faults.append(f"{number} was printed and is not in the journal")
            own = [
                row[0]
                for row in journal.connection.execute(
                    "SELECT number FROM version WHERE node = ? ORDER BY sequence", (journal.node,)
                )
            ]
            faults += [f"{b} after {a} on one machine" for a, b in pairwise(own) if a >= b]
        spans = ledger(journals[0], "webshop", "2.7")
        states: dict[str, int] = {}
        following = 0
        for span in spans:
            if span.lo != following:
                faults.append(f"no state, or two, before {span.lo}")
            following = span.hi + 1
            states[span.state.value] = states.get(span.state.value, 0) + span.hi - span.lo + 1
        if [span[:4] for span in spans] != [
            span[:4] for span in ledger(journals[1], "webshop", "2.7")
        ]:
            faults.append("the machines disagree")
        if set(states) & {"conflicted", "in use, not yet confirmed"}:
            faults.append(f"states: {states}")
        for journal in journals:
            journal.close()
        store.close()
        return {
            "numbers": len(numbers),
            "offline": sum(line[2] == "reserve" for line in printed),
            "processes": len(self.slots),
            "machines": MACHINES,
            "kills": self.kills,
            "outages": self.outages,
            "highest": following - 1,
            "states": states,
            "faults": faults[:20],
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=2_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-seconds", type=float, default=3_600)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        stress = Stress(Path(folder), options.processes, options.seed)
        start = time.monotonic()
        stress.run(options.numbers, options.limit_seconds)
        seconds = time.monotonic() - start
        found = stress.check()
    print(json.dumps({**found, "seconds": round(seconds, 1), "seed": options.seed}, indent=2))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
