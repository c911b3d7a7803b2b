"""What a commit takes while somebody leafs through every page of the same journal.

``python tests/bench/beside.py FOLDER [ROUNDS]``: ``FOLDER/journal.db`` is a long history (``history.py``). By
turns 400 commits of one event alone, and as many while another process asks for one page after the other
without a pause, as no person could. Milliseconds by the clock; ratios within the turns.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from journals import HandClock, Machine, open_journal

from cxlocal.clock import SystemClock

COMMITS = 400
MEDIAN_MAX, SLOW_MAX = 2, 5

LEAF = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from pages import addresses
from cxlocal.commands.browse import make_datasette

async def leaf(path):
    datasette = make_datasette({path: "sqlite:"})
    await datasette.invoke_startup()
    ours = [one for name, one in addresses(path).items() if name.startswith("page ")]
    while True:
        for address in ours:
            await datasette.client.get(address)
            print(address, flush=True)

asyncio.run(leaf(Path(sys.argv[1])))
"""


def commits(machine: Machine) -> list[float]:
    """Milliseconds of each."""
    found = []
    for number in range(COMMITS):
        began = time.perf_counter()
        machine.run(f"beside {time.time_ns()} {number}")
        found.append((time.perf_counter() - began) * 1000)
    return found


def main() -> int:
    """1 where a bar is missed."""
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4
    alone: list[float] = []
    beside: list[float] = []
    pages = 0
    with open_journal(folder, HandClock(SystemClock().now_ms())) as journal:
        machine = Machine.__new__(Machine)
        machine.journal, machine.clock, machine.host, machine.ci = (
            journal,
            journal.clock,
            "laptop",
            False,
        )
        for _ in range(rounds):
            alone += commits(machine)
            command = [
                sys.executable,
                "-c",
                LEAF,
                str(folder / "journal.db"),
                str(Path(__file__).parent),
            ]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
                assert reader.stdout is not None
                reader.stdout.readline()
                beside += commits(machine)
                reader.terminate()
                pages += len(reader.stdout.read().splitlines())
    told = {
        name: {"median": round(statistics.median(each), 2),
               "99 %": round(statistics.quantiles(each, n=100)[98], 2)}
        for name, each in (("alone", alone), ("beside", beside))
    }  # fmt: skip
    ratios = {what: round(told["beside"][what] / told["alone"][what], 2) for what in told["alone"]}
    json.dump({**told, "ratios": ratios, "pages": pages}, sys.stdout, indent=1)
    print()
    return int(ratios["median"] > MEDIAN_MAX or ratios["99 %"] > SLOW_MAX)


if __name__ == "__main__":
    sys.exit(main())
