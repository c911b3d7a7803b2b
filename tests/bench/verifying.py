"""What ``cxlocal verify`` costs: against a loop that reads the same rows and computes the same hashes.

``python tests/bench/verifying.py [ROUNDS]``. A journal of 20,000 events of runs. *Hashes and chains* is all
that is asked of the events themselves: hashes, kinds, coordinates, chains; *the whole* projects every event
anew and compares every row besides, and has no bar.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rounds import measure, report, rounds_wanted

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.domain import Outcome
from cxlocal.events import runs
from cxlocal.events.belonging import mark_id
from cxlocal.events.document import event_hash, header_bytes
from cxlocal.events.runs import RunRef
from cxlocal.journal import verify
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up

RUNS, STAGES = 1000, 9
SHARE = 0.4
"""Of the loop's rate."""
ROWS = """
SELECT e.id, n.name, e.sequence, t.name, d.name, e.deliverable_sequence, e.clock, e.previous,
  e.previous_in_deliverable, e.hash, e.document
FROM event e JOIN node_lookup n ON n.id = e.node JOIN type_lookup t ON t.id = e.type
LEFT JOIN deliverable_lookup d ON d.id = e.deliverable
"""


def fill(journal: Journal) -> None:
    """Runs of nine stages."""
    for number in range(RUNS):
        run = mark_id(journal.ids.uuid(), "shop")
        ref = RunRef("shop", run, "shop", f"urn:uuid:{run}")
        facts: dict[str, Any] = {"kind": "command", "host": "bench", "environment": "", "log": {}}
        with journal.write() as transaction:
            transaction.append(
                runs.run_started(ref, version=f"1.{number}", line="1", number=number, how="online")
            )
            for stage in range(STAGES):
                name = f"stage-{stage}"
                transaction.append(runs.stage_started(ref, stage=name, attempt=1, facts=facts))
                transaction.append(
                    runs.stage_finished(
                        ref, stage=name, attempt=1, outcome=Outcome.SUCCESS, reason="", facts=facts
                    )
                )
    catch_up(journal)


def loop(journal: Journal) -> None:
    """Read the rows, compute the hashes, and nothing else."""
    for row in journal.connection.execute(ROWS):
        _, node, sequence, kind, name, place, clock, before, in_deliverable, own, text = row
        header = header_bytes(node, sequence, name, place, kind, clock)
        if event_hash(before, in_deliverable, header, text) != own:
            raise ValueError(row[0])


def hashes_and_chains(journal: Journal) -> None:
    gaps: dict[str, int] = {}
    for page in verify._pages(journal, None):
        assert verify._check_page(journal, page, verify.FINDINGS_MAX) == []
        verify._lowest_gaps(journal.connection, page, gaps)
    assert not gaps


def whole(journal: Journal) -> None:
    assert verify.verify(journal).findings == []


def main() -> int:
    """Measure and print; 1 when the bar is missed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        with Journal.open(path, clock=SystemClock(), ids=SystemIds()) as journal:
            fill(journal)
            seconds = measure(
                {
                    "loop": lambda: loop(journal),
                    "hashes and chains": lambda: hashes_and_chains(journal),
                    "the whole": lambda: whole(journal),
                },
                rounds=rounds_wanted(),
            )
    return report("verifying", seconds, [("hashes and chains", "loop", 1 / SHARE)])


if __name__ == "__main__":
    sys.exit(main())
