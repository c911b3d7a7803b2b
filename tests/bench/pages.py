"""What our pages and stored queries cost on a long history, against a bare page of Datasette.

``python tests/bench/pages.py JOURNAL [ROUNDS] [--patient]`` (``history.py`` makes one). Each round asks for
every address once, the bare page (50 rows of a table, in the same file) first; CPU and wall milliseconds are
medians, the ratio that of CPU. Pages that Datasette makes by itself of views are listed, not judged. Limits
are of the clock: on a busy machine they leave out parts whose cost is then not seen. ``--patient`` lets each
part and question of ours end, and judges the CPU alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from datasette_cxlocal import journals

from cxlocal.commands.browse import make_datasette
from cxlocal.projection.queries import QUERIES

BARE = "/journal/run_change?_size=50&_nocount=1&_sort=run"
MEDIAN_MAX, SLOWEST_MAX = 4, 8
PATIENT_MS = 60_000
VIEWS = ("release_board", "run_board", "number_ledger", "open_flags", "deployments_now")


def addresses(path: Path) -> dict[str, str]:
    """What is asked for, by name; each question about something in the middle of the history."""
    with sqlite3.connect(path) as connection:
        count = connection.execute("SELECT count(*) FROM run").fetchone()[0]
        version, name = connection.execute(
            "SELECT version, deliverable FROM run ORDER BY queued_at LIMIT 1 OFFSET ?",
            (count // 2,),
        ).fetchone()
    about = f"deliverable={name}"
    given = {"run": f"run={version}&{about}", "version": f"version={version}&{about}",
             "environment": "environment=production", "at": "at=2024-06-01", "deliverable": about}  # fmt: skip
    pages = {"a run": f"run/{version}?{about}", "newest run": "run/latest"}
    pages |= {
        name: name for name in ("board", "diary", "then", "unusual", "machines", "difference")
    }
    pages |= {name: f"{name}?{about}" for name in ("product", "figures")}
    pages |= {name: f"{name}/{version}?{about}" for name in ("way", "evidence")}
    found = {f"page {name}": f"/journal/-/{rest}" for name, rest in pages.items()}
    for query in QUERIES:
        needed = QUERIES[query].parameters
        asked = [
            given[one]
            for one in needed
            if one in given and (one != "deliverable" or len(needed) == 1)
        ]
        found[query] = f"/journal/{query}?{'&'.join(asked)}"
    listed = {"view /": "/", "view /journal": "/journal"}
    return found | listed | {f"view {view}": f"/journal/{view}" for view in VIEWS}


async def ask(datasette: Any, address: str) -> tuple[float, float, str]:
    """CPU and wall milliseconds, and what is wrong."""
    cpu, wall = time.process_time(), time.perf_counter()
    answer = await datasette.client.get(address)
    spent = (time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000
    late = "in time" in answer.text or answer.status_code != 200
    return *spent, f"{answer.status_code}, too slow" if late else ""


async def measure(path: Path, rounds: int, patient: bool) -> dict[str, Any]:
    datasette = make_datasette({path: "sqlite:"})
    if patient:
        journals.PART_LIMIT_MS = datasette.sql_time_limit_ms = PATIENT_MS
    await datasette.invoke_startup()
    wanted = {"bare": BARE, **addresses(path)}
    if patient:  # a whole view may take minutes
        wanted = {name: one for name, one in wanted.items() if not name.startswith("view ")}
    spent: dict[str, list[tuple[float, float, str]]] = {name: [] for name in wanted}
    for _ in range(rounds):
        for name, address in wanted.items():
            spent[name].append(await ask(datasette, address))
    bare = statistics.median(one[0] for one in spent["bare"])
    return {
        name: {
            "cpu_ms": round(statistics.median(one[0] for one in found), 1),
            "wall_ms": round(statistics.median(one[1] for one in found), 1),
            "ratio": round(statistics.median(one[0] for one in found) / bare, 1),
            "slowest": round(max(one[0] for one in found) / bare, 1),
            "problem": next((one[2] for one in found if one[2]), ""),
        }
        for name, found in spent.items()
    }


def main() -> int:
    """1 where an address of ours misses a bar."""
    parser = argparse.ArgumentParser()
    parser.add_argument("journal", type=Path)
    parser.add_argument("rounds", type=int, nargs="?", default=5)
    parser.add_argument("--patient", action="store_true")
    given = parser.parse_args()
    found = asyncio.run(measure(given.journal, given.rounds, given.patient))
    json.dump(found, sys.stdout, indent=1)
    print()
    ours = {name: one for name, one in found.items() if not name.startswith("view ")}
    return int(any(
        one["problem"] or one["ratio"] > MEDIAN_MAX or one["slowest"] > SLOWEST_MAX
        for one in ours.values()
    ))  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
