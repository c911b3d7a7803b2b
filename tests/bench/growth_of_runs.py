"""What a run leaves behind: events, and bytes in the journal and in the store; for docs/scale.md.

``python tests/bench/growth_of_runs.py [RUNS] [FOLDER]``. A release of twelve stages in place, and one of a single stage, in
a home of its own each, the store of the machine answering: files before and after ``RUNS`` more of them. Logs and
artifacts are what the stages make of them, and are not counted. Prints JSON.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from rounds import rounds_wanted
from runner import STAGES, project

RUNS = 10
DATABASES = {"journal": "journal.db", "store": "store.db"}


def counted(home: Path) -> dict[str, int]:
    """Events and bytes of both files; the bytes are those of pages in use."""
    found = {}
    for name, file in DATABASES.items():
        with closing(sqlite3.connect(home / file)) as connection:
            ((size,),) = connection.execute(
                "SELECT (page_count - freelist_count) * page_size"
                " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
            )
            ((events,),) = connection.execute("SELECT count(*) FROM event")
        found |= {f"bytes in the {name}": size, f"events in the {name}": events}
    return found


def main(runs: int, folder: Path) -> int:
    """Measure and print."""
    told: dict[str, Any] = {"title": "what a run leaves behind", "runs": runs}
    for stages in (1, STAGES):
        release = project(folder, stages)
        for _ in range(3):
            release()
        before = counted(folder / f"home-{stages}")
        for _ in range(runs):
            release()
        after = counted(folder / f"home-{stages}")
        told[f"{stages} stages, a run"] = {
            name: round((after[name] - before[name]) / runs) for name in after
        }
    print(json.dumps(told, indent=2))
    return 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        sys.exit(main(rounds_wanted(RUNS), Path(name)))
