"""Bytes that wait for somebody to go on with: what a run made that stopped before a protected environment or
target, that holds a promotion, or that is not at all of its targets. They have to be where others reach them before the machine that made them goes away.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cxlocal.exchange.blobs import carry, is_stored
from cxlocal.exchange.contact import is_shared
from cxlocal.exchange.messages import BLOB_BYTES_MAX
from cxlocal.journal.blobs import blob_path
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.needed import Needed, artifacts_of, needed_artifacts
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.exchange.store import Store

WAITING_MAX = 10
"""Versions of one deliverable that are kept ready: the newest that wait."""
WAITING = """
SELECT id FROM (SELECT id, queued_at FROM (
  SELECT id, stopped_before, queued_at, plan_sha256 FROM run WHERE deliverable = :name AND kind = 'release'
    AND outcome = 'success' ORDER BY queued_at DESC LIMIT 100
) r WHERE r.stopped_before <> '' OR EXISTS (SELECT 1 FROM promotion p WHERE p.run = r.id
    AND p.decision IN ('granted', 'overridden'))
  OR EXISTS (SELECT 1 FROM plan_target t LEFT JOIN publication b ON b.run = r.id AND b.target = t.name
    WHERE t.plan_sha256 = r.plan_sha256 AND coalesce(b.state, '') <> 'there' AND b.withdrawn_at IS NULL)
UNION SELECT h.id, h.queued_at FROM publication p JOIN run h ON h.id = p.run
  WHERE p.wanted_at IS NOT NULL AND coalesce(p.state, '') <> 'there' AND p.withdrawn_at IS NULL
    AND h.deliverable = :name)
ORDER BY queued_at DESC LIMIT :count
"""
LOCATED = """
SELECT r.id AS run, l.sha256 AS sha256 FROM json_each(?) one
JOIN run r ON r.id = one.value ->> 0
JOIN artifact_location l ON l.deliverable = r.deliverable AND l.sha256 = one.value ->> 1
"""
HERE, STORE, LOCATION = "here alone", "at the store", "at a recorded location"
NOWHERE = "not here; 'cxlocal prepare' fetches what the store has"


class Waiting(NamedTuple):
    """One artifact that waits."""

    run: str
    one: Needed
    where: str
    """Where its bytes are, as far as is known here, in words."""


def waiting_runs(journal: Journal, deliverable: str, count: int = WAITING_MAX) -> list[str]:
    """The newest releases of a deliverable that wait for somebody to go on. Call after ``catch_up``."""
    return [row["id"] for row in journal.query(WAITING, {"name": deliverable, "count": count})]


def waiting(journal: Journal, deliverable: str = "", count: int = WAITING_MAX) -> list[Waiting]:
    """What waits of a deliverable, or of all, the newest first. Call after ``catch_up``."""
    names = [deliverable] if deliverable else [
        row["id"] for row in journal.query("SELECT id FROM deliverable ORDER BY id")
    ]  # fmt: skip
    runs = [run for name in names for run in waiting_runs(journal, name, count)]
    made = [(run, one) for run in runs for one in artifacts_of(journal, run)]
    asked = json.dumps([(run, one.sha256) for run, one in made])
    found = journal.query(LOCATED, (asked,)) if made else ()
    located = {(row["run"], row["sha256"]) for row in found}
    return [
        Waiting(run, one, _where(journal, one.sha256, (run, one.sha256) in located))
        for run, one in made
    ]


def _where(journal: Journal, sha256: str, is_located: bool) -> str:
    if is_stored(journal, sha256):
        return STORE
    if is_located:
        return LOCATION
    return HERE if blob_path(journal.home, sha256).is_file() else NOWHERE


def ready_artifacts(journal: Journal, deliverable: str) -> list[Needed]:
    """What a machine has to have to deploy without the store: what is live, what a rollback leads to, and
    the newest version that waits. Call after ``catch_up``."""
    found = needed_artifacts(journal, deliverable)
    found += [one.one for one in waiting(journal, deliverable, 1)]
    return list({one.sha256: one for one in found}.values())


def here_alone(journal: Journal) -> list[Needed]:
    """What waits, is here, and is not known to be anywhere else, where others may go on with it."""
    if not is_shared(journal):
        return []
    catch_up(journal)
    found = {one.one.sha256: one.one for one in waiting(journal) if one.where == HERE}
    return list(found.values())


def send_waiting(journal: Journal, store: Store, seconds: float) -> list[Needed]:
    """Bring what waits to the store, for so many seconds; what is here alone afterwards."""
    left = here_alone(journal)
    if left:
        carry(journal, store, left, seconds, fetch=False)
    return here_alone(journal) if left else []


def words_of(left: list[Needed]) -> tuple[str, str, str]:
    """What is said of bytes that are here alone: what, why, and what to do."""
    size = sum(one.size for one in left) / 1_000_000
    names = ", ".join(dict.fromkeys(f"{one.name} {one.version}".rstrip() for one in left))
    large = [one for one in left if one.size > BLOB_BYTES_MAX]
    what = f"{size:.1f} MB that wait for somebody to go on with are here alone: {names}"
    if large:
        why = f"a store takes files of {BLOB_BYTES_MAX // 2**20} MiB at most"
        return (
            what,
            why,
            'let a stage publish them before (kind = "publish"): then their location is known',
        )
    why = "the store could not be reached, or did not take them in time"
    return what, why, "cxlocal sync --require-sync, before this machine goes away"
