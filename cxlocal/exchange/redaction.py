"""Bytes that are to be nowhere any more: removed here and at the store, and never carried again.

A redaction is an event, so every machine that meets it removes what it has of the bytes (decision 104).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxlocal.errors import CxError
from cxlocal.events.types import RUN_REPEATED
from cxlocal.exchange.state import store_state
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.journal.file import Journal
from cxlocal.journal.home import CHECKOUTS
from cxlocal.processes.log_times import times_path
from cxlocal.values import NamedTuple

DROP_SECONDS = 5.0
REMOVED = "redacted "
"""Local value of a digest whose bytes were removed here and at the store of the lineage it names."""

_TOLD = """
SELECT actor, reason, redacted_at, run, stage FROM redaction WHERE sha256 = :sha256
  AND (:run = '' OR run = :run) ORDER BY redacted_at LIMIT 1
"""
_SPARED = """
SELECT 1 FROM artifact WHERE sha256 = :sha256
UNION ALL SELECT 1 FROM (
    SELECT run FROM stage_run WHERE log_sha256 = :sha256 OR tail_sha256 = :sha256
    UNION ALL SELECT run FROM report WHERE sha256 = :sha256
  ) told JOIN run ON run.id = told.run WHERE run.deliverable NOT IN
  (SELECT coalesce(deliverable, '') FROM redaction WHERE sha256 = :sha256)
LIMIT 1
"""
_LOGS = "SELECT log FROM stage_run WHERE log_sha256 = :sha256 AND log IS NOT NULL"
_AGAIN = f"""
SELECT e.document ->> '$.customData.cxlocal.log.path' AS log FROM redaction x
JOIN run_lookup r ON r.name = x.run JOIN event e ON e.run = r.id
JOIN type_lookup t ON t.id = e.type AND t.name = '{RUN_REPEATED}' WHERE x.sha256 = :sha256
"""


_OF_RUN = """
SELECT sha256 FROM redaction WHERE run = :run
UNION SELECT x.sha256 FROM stage_run s JOIN redaction x ON x.sha256 IN (s.log_sha256, s.tail_sha256) WHERE s.run = :run
UNION SELECT x.sha256 FROM report t JOIN redaction x ON x.sha256 = t.sha256 WHERE t.run = :run
"""
_NAMED = f"""
SELECT log FROM stage_run WHERE run = :run
UNION ALL SELECT e.document ->> '$.customData.cxlocal.log.path' FROM event e
JOIN run_lookup r ON r.id = e.run JOIN type_lookup t ON t.id = e.type
WHERE r.name = :run AND t.name = '{RUN_REPEATED}'
"""


class Dropped(NamedTuple):
    """What became of redactions that were not carried out yet."""

    files: int = 0
    """Removed on this machine."""
    problems: tuple[str, ...] = ()
    """Why the store may still have some of it."""
    kept: tuple[str, ...] = ()
    """Folders that runs had left here, and that went."""
    stay: tuple[str, ...] = ()
    """Such folders that could not go, and why."""


def told_of(journal: Journal, sha256: str | None, run: str) -> dict[str, Any] | None:
    """Who said that these bytes are to be nowhere, of what run and stage, why and when: of this run, else
    of another one that has the same bytes; None where nobody did."""
    if not sha256:
        return None
    said = journal.one(_TOLD, {"sha256": sha256, "run": run})
    if said is None and is_redacted(journal, sha256):
        said = journal.one(_TOLD, {"sha256": sha256, "run": ""})
    return said


def is_redacted(journal: Journal, sha256: str) -> bool:
    """Whether these bytes are to be nowhere. What was released never is, and the word of one
    deliverable does not count for the bytes of another."""
    about = {"sha256": sha256, "run": ""}
    return journal.one(_TOLD, about) is not None and journal.one(_SPARED, about) is None


def drop_redacted(journal: Journal, store: Store | None) -> Dropped:
    """Remove what this machine and the store have of bytes that are to be nowhere. Call after
    ``catch_up``. Raises nothing of the store: what it does not do now is done at the next contact."""
    lineage = store_state(journal.connection).lineage
    done = _drop_left(journal)
    for row in journal.query("SELECT DISTINCT sha256 FROM redaction"):
        digest = str(row["sha256"])
        if journal.value(REMOVED + digest) == lineage or not is_redacted(journal, digest):
            continue
        done = done._replace(files=done.files + sum(map(_removed, _files(journal, digest))))
        if store is None:
            continue
        try:
            store.drop_blob(digest, timeout=DROP_SECONDS)
        except StoreUnreachable as problem:
            why = problem.why or problem.what
            return done._replace(problems=(*done.problems, why))
        except CxError as problem:
            done = done._replace(problems=(*done.problems, problem.what))
            if problem.name != "not-allowed":
                continue  # a server of an earlier release, say: it is asked again
            # One who may does it when the event reaches them.
        if lineage:
            with journal.write() as transaction:
                transaction.set_value(REMOVED + digest, lineage)
    return done


def _drop_left(journal: Journal) -> Dropped:
    """Remove what runs whose bytes are to be nowhere left on this machine alone: a kept checkout with its
    scratch folders, where whatever a stage wrote may lie in any file, and logs that no event names."""
    if journal.one("SELECT 1 FROM redaction LIMIT 1") is None:
        return Dropped()
    from cxlocal.revision.removal import (
        remove_checkout,  # where nothing is redacted nothing is removed
    )

    files, kept, stay = 0, [], []
    for folder in _folders_left(journal.home):
        run = folder.name.partition(".")[0]
        row = journal.one("SELECT id, finished_at FROM run WHERE id = ?", (run,))
        digests = journal.query(_OF_RUN, {"run": run}) if row is not None else ()
        if row is None or not any(is_redacted(journal, one["sha256"]) for one in digests):
            continue
        checkout = folder.parent.name == CHECKOUTS
        if row["finished_at"] is None:
            if checkout:
                stay.append(f"{folder}: run {run[:8]} is going on")
        elif not checkout:
            named = {str(one["log"]) for one in journal.query(_NAMED, {"run": run})}
            logs = [path for path in folder.iterdir() if path.suffix == ".log"]
            free = [path for path in logs if f"logs/{folder.name}/{path.name}" not in named]
            files += sum(_removed(each) for path in free for each in (path, times_path(path)))
        else:
            try:
                remove_checkout(folder)
            except CxError as problem:
                stay.append(f"{folder}: {problem.why}")
            else:
                kept.append(str(folder))
    return Dropped(files, kept=tuple(kept), stay=tuple(stay))


def _folders_left(home: Path) -> Iterator[Path]:
    from cxlocal.journal.logs import FOLDER as LOGS

    for name in (CHECKOUTS, LOGS):
        root = home / name
        yield from sorted(
            path for path in (root.iterdir() if root.is_dir() else ()) if path.is_dir()
        )


def _files(journal: Journal, sha256: str) -> Iterator[Path]:
    """Where the bytes lie here: where a log was written, or by their digest. An event names a path; the
    bytes there decide."""
    from cxlocal.journal.blobs import blob_path, digest_of
    from cxlocal.journal.logs import log_here

    about = {"sha256": sha256}
    for row in (*journal.query(_LOGS, about), *journal.query(_AGAIN, about)):
        path = log_here(journal.home, row["log"])
        if path is not None and digest_of(path)[0] == sha256:
            yield path
            yield times_path(path)
    yield blob_path(journal.home, sha256)


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
