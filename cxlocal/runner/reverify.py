"""Asking the remote again: proofs given while it could not be asked are settled later."""

from __future__ import annotations

from pathlib import Path

from cxlocal.clock import Clock
from cxlocal.config.types import Config
from cxlocal.events.runs import RunRef, run_reverified
from cxlocal.journal.file import Journal
from cxlocal.revision.proof import reverify
from cxlocal.revision.repository import open_repository

RUNS_MAX = 20
"""Runs asked about in one sync, newest first; each may cost a round trip to the remote."""

UNSETTLED = """
SELECT id, deliverable, revision, version, reverified FROM run
WHERE deliverable = ? AND revision IS NOT NULL AND proof IN ('tracking ref', 'mirror only')
  AND reverified IS NOT 1 AND kind = 'release'
ORDER BY queued_at DESC LIMIT ?
"""


def reverify_runs(journal: Journal, root: Path, config: Config, clock: Clock) -> list[str]:
    """Re-check unsettled proofs of this deliverable; returns a line for each that was settled.

    A remote that cannot be asked settles nothing, and one that lacked the commit is asked again
    until it holds it: somebody may push it meanwhile. Call after ``catch_up``.
    """
    rows = journal.query(UNSETTLED, (config.deliverable.name, RUNS_MAX))
    if not rows:
        return []
    repository = open_repository(root)
    lines = []
    for row in rows:
        standing = reverify(repository, row["revision"], config.scm.remotes, clock=clock)
        if standing.verdict == "unknown":
            continue
        held = standing.verdict == "held"
        if not held and row["reverified"] == 0:
            continue  # said before, and still so
        ref = RunRef(row["deliverable"], row["id"], row["deliverable"], f"urn:uuid:{row['id']}")
        journal.append(run_reverified(ref, proof=standing._asdict(), agrees=held))
        where = f"{standing.remote} {'holds' if held else 'does NOT hold'} the commit of"
        lines.append(f"{where} {row['version'] or row['id'][:8]} ({row['revision'][:12]})")
    return lines
