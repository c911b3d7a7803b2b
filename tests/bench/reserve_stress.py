"""Processes on many machines take numbers while they are killed and the store comes and goes.

``python tests/bench/reserve_stress.py --store http --nodes 8 --numbers 60000`` prints one JSON
document and exits 1 when a number was handed out twice, was printed without being in a journal or a
grant, fell below an earlier one of its machine or, online, below one that somebody had before it was
asked for, has no state or two, or when machines and store do not agree afterwards. The suite runs
the same with fewer numbers for each kind of store.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from stress_backs import BACKS, Served, opened, ready_for_buckets
from stress_check import DELIVERABLE, LINE, accounted, open_journal

from cxlocal.allocation.allocator import obtain_number
from cxlocal.allocation.request import NumberRequest
from cxlocal.errors import StoreNeeded, Trouble
from cxlocal.exchange.sync import synchronise
from cxlocal.numbers.schemes import SCHEMES

RESERVE, AHEAD = 20, 200


def work(home: Path, url: str, out: Path, name: str) -> None:
    """Take numbers and print each, until the parent is gone or this process is killed."""
    journal = open_journal(home)
    store = opened(url, home)
    report = os.open(out, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    who = {"id": "stress", "how": "test"}
    parent = os.getppid()
    for turn in count(1):
        if os.getppid() != parent:
            return
        asked = NumberRequest(
            DELIVERABLE, LINE, SCHEMES["semver"], f"{name}-{turn}", who,
            reserve=RESERVE, ahead=AHEAD,
        )  # fmt: skip
        start = time.monotonic_ns()
        try:
            number = obtain_number(journal, store, asked)
        except (StoreNeeded, Trouble):
            # The outages of this test last less than the minute an absent store is left alone.
            journal.connection.execute("DELETE FROM breaker")
            time.sleep(0.05)
            continue
        end = time.monotonic_ns()
        os.write(report, f"{number.number} {asked.run} {number.how} {start} {end}\n".encode())
        if number.how == "reserve":
            journal.connection.execute("DELETE FROM breaker")
        if turn % 50 == 0:
            synchronise(journal, store, budget_seconds=0.5)


class Nursery:
    """A process that forks the workers and ends them.

    Forked, as starting Python anew for each of the thousands that are killed would take most of the
    time; and from a process that never opened a store, as neither an open database nor the threads
    of a library may be carried across.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.process = os.fork()
        if self.process == 0:
            ours.close()
            _in_child(lambda: _tend(theirs))
        theirs.close()
        self.line = ours.makefile("rw")

    def ask(self, *told: Any) -> int:
        self.line.write(json.dumps(told) + "\n")
        self.line.flush()
        return int(self.line.readline())

    def start(self, home: Path, url: str, out: Path, name: str) -> int:
        """A new process on the machine at ``home``; its id."""
        return self.ask("start", str(home), url, str(out), name)

    def stop(self, process: int) -> bool:
        """Kill -9; False where it had ended by itself."""
        return bool(self.ask("stop", process))

    def close(self) -> None:
        self.line.close()
        os.waitpid(self.process, 0)


def _in_child(task: Callable[[], None]) -> None:
    """``task``, and never on as the parent."""
    try:
        task()
    except BaseException:  # noqa: BLE001 - said, and the parent finds the process ended
        traceback.print_exc()
    finally:
        os._exit(0)


def _tend(line: socket.socket) -> None:
    with line.makefile("rw") as talk:
        for said in talk:
            verb, *rest = json.loads(said)
            if verb == "start":
                home, url, out, name = rest
                answer = os.fork()
                if answer == 0:
                    _in_child(lambda: work(Path(home), url, Path(out), name))  # noqa: B023
            else:
                os.kill(rest[0], signal.SIGKILL)
                _, status = os.waitpid(rest[0], 0)
                answer = int(os.WIFSIGNALED(status))
            talk.write(f"{answer}\n")
            talk.flush()


class Stress:
    """The processes and what they reported."""

    def __init__(self, root: Path, kind: str, nodes: int, processes: int, seed: int) -> None:
        self.root, self.kind, self.nodes = root, kind, nodes
        self.chance = random.Random(seed)
        ready_for_buckets()
        self.nursery = Nursery()
        self.back = BACKS[kind](root, self.chance)
        self.homes = [root / f"machine-{index}" for index in range(nodes)]
        self.reports = [root / f"machine-{index}.txt" for index in range(nodes)]
        self.witness = root / "witness"
        self.started = self.kills = self.ended = 0
        self.workers: list[int] = []
        self.slots = [index % nodes for index in range(processes)]

    def start(self, slot: int) -> int:
        """A process on the machine of ``slot``; its id."""
        self.started += 1
        machine = self.slots[slot]
        return self.nursery.start(
            self.homes[machine], self.back.url, self.reports[machine], f"p{self.started}"
        )

    def stop(self, process: int) -> None:
        """Kill -9; one that ended by itself is a fault: no worker ever should."""
        self.ended += not self.nursery.stop(process)

    def meet(self) -> None:
        """Each machine meets the store once: one that has never met any store would make its own
        where the file is away, which is right for it and not what is tried here."""
        for home in [*self.homes, self.witness]:
            home.mkdir(exist_ok=True)
            self.back.admit(home)
            store = opened(self.back.url, home)
            with open_journal(home) as journal:
                report = synchronise(journal, store, use_breaker=False, budget_seconds=30)
            store.close()  # type: ignore[attr-defined]
            assert report.reached, report.why

    def reported(self) -> int:
        """Numbers printed so far."""
        return sum(path.read_bytes().count(b"\n") for path in self.reports if path.exists())

    def run(self, wanted: int, limit_seconds: float) -> None:
        """Kill, take away, bring back, until ``wanted`` numbers are printed."""
        self.meet()
        self.workers = [self.start(slot) for slot in range(len(self.slots))]
        deadline = time.monotonic() + limit_seconds
        try:
            while self.reported() < wanted and time.monotonic() < deadline:
                time.sleep(self.chance.uniform(0.05, 0.3))
                slot = self.chance.randrange(len(self.slots))
                self.stop(self.workers[slot])
                self.workers[slot] = self.start(slot)
                self.kills += 1
                if self.back.down:
                    self.back.mend()
                elif self.chance.random() < 0.3:
                    self.back.trouble()
        finally:
            for worker in self.workers:
                self.stop(worker)
            if self.back.down:
                self.back.mend()
            if isinstance(self.back, Served):
                self.back.calm()

    def check(self) -> dict[str, Any]:
        """What must hold afterwards; the findings and any faults."""
        homes = [*self.homes, self.witness]
        stores: list[Any] = [opened(self.back.url, home) for home in homes]
        found, faults = accounted(homes, self.reports, stores)
        for store in stores:
            store.close()
        if self.ended:
            faults.insert(0, f"{self.ended} processes ended by themselves")
        return {
            "store": self.kind,
            "nodes": self.nodes,
            "processes": len(self.slots),
            "kills": self.kills,
            **self.back.found,
            **found,
            "faults": faults[:20],
        }

    def close(self) -> None:
        self.nursery.close()
        self.back.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=sorted(BACKS), default="sqlite")
    parser.add_argument("--nodes", type=int, default=8, help="machines, each with its journal")
    parser.add_argument("--numbers", type=int, default=2_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-seconds", type=float, default=3_600)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        stress = Stress(Path(folder), options.store, options.nodes, options.processes, options.seed)
        try:
            start = time.monotonic()
            stress.run(options.numbers, options.limit_seconds)
            seconds = time.monotonic() - start
            found = stress.check()
            whole = time.monotonic() - start
        finally:
            stress.close()
    times = {"seconds": round(seconds, 1), "seconds to check": round(whole - seconds, 1)}
    print(json.dumps({**found, **times, "seed": options.seed}, indent=2))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
