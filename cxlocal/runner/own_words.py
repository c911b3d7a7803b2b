"""What this journal itself recorded of a run holds against what others say of it (decision 128).

Whoever may push history of a deliverable may say any of its runs again: begun from another commit, with
another plan, its artifacts with other bytes or under another name. History shows what is said, by
rules that are the same everywhere; what is carried out here is what was recorded here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from cxlocal.events.types import ARTIFACT_PACKAGED, PIPELINE_QUEUED, RUN_INTENDED
from cxlocal.journal.file import Journal
from cxlocal.patterns import compile_late

if TYPE_CHECKING:
    from cxlocal.runner.resources import Made

RUN = """
SELECT run.*, deliverable.title, deliverable.repository FROM run
LEFT JOIN deliverable ON deliverable.id = run.deliverable WHERE run.id = ?
"""
_SAID_HERE = """
FROM event e JOIN node_lookup n ON n.id = e.node JOIN run_lookup r ON r.id = e.run
JOIN type_lookup t ON t.id = e.type
WHERE r.name = ? AND n.name = ? AND t.name = ? AND e.branch = 0 ORDER BY e.sequence
"""
BEGAN_HERE = f"""
SELECT e.document ->> '$.customData.cxlocal.plan_sha256' AS plan_sha256,
  e.document ->> '$.customData.cxlocal.revision.commit' AS revision,
  e.document ->> '$.customData.cxlocal.kind' AS kind,
  e.document ->> '$.customData.cxlocal.final_of.run' AS final_of,
  e.document -> '$.customData.cxlocal.asked' IS NOT NULL AS carried_out {_SAID_HERE} LIMIT 1
"""
PACKAGED_HERE = f"""
SELECT e.document ->> '$.customData.cxlocal.name' AS name,
  e.document ->> '$.customData.cxlocal.sha256' AS sha256,
  e.document ->> '$.customData.cxlocal.version' AS version,
  e.document ->> '$.customData.cxlocal.file_name' AS file_name, e.document ->> '$.subject.id' AS purl,
  e.document ->> '$.customData.cxlocal.size' AS size_bytes {_SAID_HERE}
"""
INTENDED_HERE = f"""
SELECT e.document ->> '$.customData.cxlocal.resource' AS resource,
  e.document -> '$.customData.cxlocal' AS said {_SAID_HERE}
"""
ARTIFACTS = """
SELECT name, sha256, size_bytes, version, purl, file_name FROM artifact
WHERE run = ? AND packaged_at IS NOT NULL AND replaced_at IS NULL ORDER BY name, sha256
"""
PATTERNS = """
SELECT o.value ->> '$.name' AS name, o.value ->> '$.path' AS path
FROM run JOIN plan p ON p.sha256 = run.plan_sha256, json_each(p.plan, '$.stages') s,
  json_each(s.value, '$.produces') o
WHERE run.id = ?
"""
_COMPARED = (
    "tool",
    "options",
    "handle",
    "environment",
    "instance",
    "lifetime",
    "component",
    "stage",
)
_PLAIN = compile_late(r"[\w+@=~][\w.+@=,~ -]*")
"""Names of files that mean nothing to a shell."""


def run_row(journal: Journal, run: str) -> dict[str, Any] | None:
    """The row of a run; what it began with is what this journal recorded, where it did. Call after
    ``catch_up``."""
    row = journal.one(RUN, (run,))
    if row is None or row["node"] == journal.node:
        return row
    own = _began_here(journal, run)
    return row if own is None else {**row, **own, "node": journal.node}


def artifact_rows(journal: Journal, run: str) -> list[dict[str, Any]]:
    """The artifacts of a run, by name. Of a run that ``cxlocal run`` carried out here they are as recorded
    here; of single commands another machine may have made one anew. What another journal calls a file is
    only believed where it is what the plan calls it, and plain. Call after ``catch_up``."""
    rows = journal.query(ARTIFACTS, (run,))
    if not rows:
        return []
    packaged = journal.query(PACKAGED_HERE, (run, journal.node, ARTIFACT_PACKAGED))
    digests = {(one["name"], one["sha256"]): one for one in packaged}
    own = {}
    if packaged and (_began_here(journal, run) or {}).get("carried_out"):
        own = {one["name"]: one for one in packaged}
    patterns = {one["name"]: one["path"] for one in journal.query(PATTERNS, (run,))}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        said = own.get(row["name"]) or digests.get((row["name"], row["sha256"]))
        told = said or {"file_name": _plain_name(row, patterns.get(row["name"]) or "")}
        each = {**row, **told}
        found[each["name"], each["sha256"]] = each
    return list(found.values())


def made_here(journal: Journal, made: Made) -> bool:
    """Whether this journal itself recorded that something was made, with this tool, these options and this
    handle."""
    asked = (made.run, journal.node, RUN_INTENDED)
    own = [row for row in journal.query(INTENDED_HERE, asked) if row["resource"] == made.id]
    if not own:
        return False
    said = json.loads(own[-1]["said"])
    return all(said.get(field) == getattr(made, field) for field in _COMPARED)


def _began_here(journal: Journal, run: str) -> dict[str, Any] | None:
    return journal.one(BEGAN_HERE, (run, journal.node, PIPELINE_QUEUED))


def _plain_name(row: Mapping[str, Any], path: str) -> str:
    name = row["file_name"] or row["name"]
    if _PLAIN.fullmatch(name) and (not path or fnmatchcase(name, os.path.basename(path))):
        return str(name)
    return str(row["name"] if _PLAIN.fullmatch(row["name"]) else row["sha256"][:12])
