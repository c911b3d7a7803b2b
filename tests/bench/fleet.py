"""Ten thousand machines, and what comes back when a day's outage ends: the table of docs/scale.md.

``python tests/bench/fleet.py [MACHINES] [FOLDER]``. Prints the table in Markdown: each story as it was before
(*heeded* no: up to 128 messages wait however long, and machines come again as they always do), and as it is: the server
turns away what it could only answer too late, and machines come again when they were told to. Everything that
``Fleet.check`` says is checked in each. Half a gigabyte of disk;
the last story, without appointments, takes longer than all others together.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "simulation"), str(TESTS / "stores")]

from fleet import Fleet, Story

MACHINES = 10_000
STORIES = {
    "a tenth comes back, each in its time": Story(0, back=0.1),
    "all come back, each in its time": Story(0),
    "all in one second": Story(0, within_seconds=1),
    "all in one second, 1,200 events each": Story(0, within_seconds=1, weight=30),
}


def main(machines: int, folder: Path) -> int:
    """Tell every story and print what came of it."""
    for index, (name, story) in enumerate(STORIES.items()):
        for heeds in (False, True):
            root = folder / f"{index}-{heeds}"
            root.mkdir()
            fleet = Fleet(root, story._replace(machines=machines, heeds=heeds))
            fleet.tell()
            fleet.check()
            fleet.close()
            (root / "store.db").unlink()
            figures = fleet.figures()
            if not index and not heeds:
                print("| story | heeded |", " | ".join(figures), "|")
                print("|---" * (2 + len(figures)) + "|")
            heeded = "yes" if heeds else "no"
            print(
                f"| {name} | {heeded} |", *(f"{each:,} |" for each in figures.values()), flush=True
            )
    return 0


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else MACHINES
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        sys.exit(main(wanted, Path(name)))
