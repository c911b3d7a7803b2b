"""Whose bytes are needed elsewhere: for an outage those of what is live and of what a rollback leads to,
for the next job those of a run that goes on."""

from __future__ import annotations

import json

from cxlocal.events import types
from cxlocal.journal.blobs import blob_path
from cxlocal.journal.file import Journal
from cxlocal.runner.deployment_chain import chain_of, version_before
from cxlocal.runner.own_words import artifact_rows
from cxlocal.values import NamedTuple


class Needed(NamedTuple):
    """One artifact."""

    sha256: str
    size: int
    """Bytes; 0 where it is not known."""
    executable: bool
    version: str
    name: str
    file_name: str = ""
    """What it was called where it was built."""


_HALF_PUBLISHED = """
SELECT run FROM publication WHERE wanted_at IS NOT NULL AND coalesce(state, '') <> 'there'
  AND withdrawn_at IS NULL AND deliverable = ?
"""
_OPEN = (
    "SELECT id FROM run WHERE kind = 'release' AND queued_at IS NOT NULL AND finished_at IS NULL"
)
_SAID = """
SELECT e.document FROM event e JOIN type_lookup t ON t.id = e.type JOIN run_lookup r ON r.id = e.run
WHERE r.name = ? AND t.name = ?
"""


def needed_runs(journal: Journal, deliverable: str) -> set[str]:
    """Runs whose version is live somewhere, those a rollback would lead to, and those that are not at all of
    their targets yet."""
    needed: set[str] = set()
    rows = journal.query("SELECT * FROM deployments_now WHERE deliverable = ?", (deliverable,))
    for row in rows:
        needed.add(row["version_run"] or "")
        before = version_before(chain_of(journal, row))
        if before is not None:
            needed.add(before.version_run)
    needed |= {row["run"] for row in journal.query(_HALF_PUBLISHED, (deliverable,))}
    return needed - {""}


def needed_artifacts(journal: Journal, deliverable: str) -> list[Needed]:
    """All artifacts of those runs: a deployment takes up every one. Call after ``catch_up``."""
    runs = sorted(needed_runs(journal, deliverable))
    return list({one.sha256: one for run in runs for one in artifacts_of(journal, run)}.values())


def artifacts_of(journal: Journal, run: str) -> list[Needed]:
    """The artifacts of a run, by name. Call after ``catch_up``."""
    rows = artifact_rows(journal, run)
    programs = _programs(journal, run) if rows else frozenset()
    return [
        Needed(
            row["sha256"],
            row["size_bytes"] or 0,
            row["sha256"] in programs,
            row["version"] or "",
            row["name"],
            row["file_name"],
        )
        for row in rows
    ]


def lacking(journal: Journal, run: str) -> list[Needed]:
    """The artifacts of a run whose bytes are not here. Call after ``catch_up``."""
    made = artifacts_of(journal, run)
    return [one for one in made if not blob_path(journal.home, one.sha256).is_file()]


def unfinished_artifacts(journal: Journal) -> list[Needed]:
    """What open runs have made so far: another machine may go on with them."""
    return [one for row in journal.query(_OPEN) for one in artifacts_of(journal, row["id"])]


def all_needed(journal: Journal) -> list[Needed]:
    """The same of every deliverable that runs somewhere."""
    rows = journal.query("SELECT DISTINCT deliverable FROM deployments_now ORDER BY deliverable")
    return [one for row in rows for one in needed_artifacts(journal, row["deliverable"])]


def _programs(journal: Journal, run: str) -> frozenset[str]:
    """Digests of the artifacts that were executable files when they were made."""
    rows = journal.connection.execute(_SAID, (run, types.ARTIFACT_PACKAGED)).fetchall()
    found = set()
    for (document,) in rows:
        custom = json.loads(document).get("customData", {}).get("cxlocal", {})
        if custom.get("executable") is True:
            found.add(custom.get("sha256"))
    return frozenset(found)
