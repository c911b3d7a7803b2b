"""Bytes that are to be nowhere any more: removed here and at the store, and never carried again.

A redaction is an event, so every machine that meets it removes what it has of the bytes (decision 104).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cxlocal.domain import path_part
from cxlocal.errors import CxError
from cxlocal.events.types import RUN_REPEATED
from cxlocal.exchange.state import store_state
from cxlocal.exchange.store import Store, StoreUnreachable
from cxlocal.journal.file import Journal
from cxlocal.journal.home import CHECKOUTS, IN_USE
from cxlocal.processes.log_times import times_path
from cxlocal.values import NamedTuple

DROP_SECONDS = 5.0
REMOVED = "redacted "
"""Local value of a digest whose bytes were removed here and at the store of the lineage it names, after so
many words about it: the same may be printed, and redacted, again."""
LEFT = "left by redacted "
"""Local value of a redaction and a digest: what runs left here was looked for once, and what could not go
then, as a list of paths."""

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


_LEFT_OPEN = """
SELECT x.sha256, :left || x.id || ' ' || x.sha256 AS mark, v.value AS waiting FROM redaction x
LEFT JOIN local_value v ON v.name = :left || x.id || ' ' || x.sha256
WHERE coalesce(v.value, '') <> '[]'
"""
_OF_DIGEST = """
SELECT DISTINCT told.run, run.finished_at FROM (
    SELECT run FROM stage_run WHERE log_sha256 = :sha256 OR tail_sha256 = :sha256
    UNION ALL SELECT run FROM report WHERE sha256 = :sha256
  ) told JOIN run ON run.id = told.run
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
    """What is here and could not go, and why."""


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
    ``catch_up``. Raises nothing of the store nor of files: what is not done now is tried at the next contact."""
    lineage = store_state(journal.connection).lineage
    done = _drop_left(journal)
    for row in journal.query("SELECT sha256, count(*) AS words FROM redaction GROUP BY sha256"):
        digest, carried_out = str(row["sha256"]), f"{lineage} {row['words']}"
        if journal.value(REMOVED + digest) == carried_out or not is_redacted(journal, digest):
            continue
        files, stays = _drop_files(journal, digest)
        done = done._replace(files=done.files + files, stay=(*done.stay, *stays))
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
        if lineage and not stays:
            with journal.write() as transaction:
                transaction.set_value(REMOVED + digest, carried_out)
    return done


def _drop_files(journal: Journal, sha256: str) -> tuple[int, list[str]]:
    """How many files of these bytes went, and what could not, with the reason."""
    removed, stays = 0, []
    try:
        for path in _files(journal, sha256):
            try:
                removed += _removed(path)
            except OSError as problem:
                stays.append(f"{path}: {problem.strerror}")
    except OSError as problem:  # a log that cannot be read
        stays.append(f"{problem.filename}: {problem.strerror}")
    return removed, stays


def _drop_left(journal: Journal) -> Dropped:
    """Remove what runs whose bytes are to be nowhere left on this machine alone: a kept checkout with its
    scratch folders, where whatever a stage wrote may lie in any file, and logs that no event names. What is
    here when the redaction is met goes, once; what is in use then goes at a contact after that."""
    done = Dropped()
    for row in journal.query(_LEFT_OPEN, {"left": LEFT}):
        if not is_redacted(journal, row["sha256"]):
            continue
        try:
            found = _left_of(journal, row["sha256"])
        except OSError as problem:
            done = done._replace(stay=(*done.stay, f"{problem.filename}: {problem.strerror}"))
            continue
        if row["waiting"] is not None:
            waiting = set(json.loads(row["waiting"]))
            found = [one for one in found if one.name in waiting]
        why = {one: one.used or _why_not_removed(one) for one in found}
        stays = [one for one in found if why[one]]
        words = [f"{one.path}: {why[one]}" for one in stays if one.folder or not one.used]
        gone = [one for one in found if not why[one]]
        done = Dropped(
            files=done.files + sum(not one.folder for one in gone),
            kept=(*done.kept, *(str(one.path) for one in gone if one.folder)),
            stay=tuple(dict.fromkeys((*done.stay, *words))),
        )
        with journal.write() as transaction:
            transaction.set_value(row["mark"], json.dumps([one.name for one in stays]))
    return done


class _Left(NamedTuple):
    """What a run left."""

    path: Path
    name: str
    """The path from the home on."""
    folder: bool
    """A checkout; else a log that no event names."""
    used: str
    """By whom, in words; empty for nobody."""


def _left_of(journal: Journal, sha256: str) -> list[_Left]:
    """What the runs that told of a digest left here."""
    from cxlocal.processes.locks import is_held  # only where something is redacted

    found: list[_Left] = []
    checkouts = _listed(journal.home / CHECKOUTS, Path.is_dir)
    for row in journal.query(_OF_DIGEST, {"sha256": sha256}):
        run, name = str(row["run"]), path_part(str(row["run"]))
        goes_on = f"run {run[:8]} is going on" if row["finished_at"] is None else ""
        of_run = [
            _Left(
                one, f"{CHECKOUTS}/{one.name}", True,
                goes_on or ("it is in use" if is_held(one / IN_USE) else ""),
            )
            for one in checkouts
            if one.name == name or one.name.startswith(name + path_part("."))
        ]  # fmt: skip
        # Whoever carries out the run, deploys or publishes it may be writing a log of it.
        used = goes_on or next((one.used for one in of_run if one.used), "")
        found += of_run
        found += [_Left(journal.home / log, log, False, used) for log in _logs(journal, run, name)]
    return found


def _logs(journal: Journal, run: str, name: str) -> list[str]:
    """Those of a run that no event names."""
    from cxlocal.journal.logs import FOLDER as LOGS

    folder = journal.home / LOGS / name
    if folder.is_symlink():
        return []
    logs = [
        f"{LOGS}/{name}/{one.name}" for one in _listed(folder, Path.is_file) if one.suffix == ".log"
    ]
    if not logs:
        return []
    named = {row["log"] for row in journal.query(_NAMED, {"run": run})}
    return [one for one in logs if one not in named]


def _listed(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """What is in a folder; links are no part of it. Raises OSError."""
    try:
        return sorted(one for one in folder.iterdir() if not one.is_symlink() and wanted(one))
    except FileNotFoundError:
        return []


def _why_not_removed(left: _Left) -> str:
    """Remove it; why it stays, empty where it is gone."""
    from cxlocal.revision.removal import remove_checkout

    try:
        if left.folder:
            remove_checkout(left.path)
        else:
            _removed(left.path)
            _removed(times_path(left.path))
    except CxError as problem:
        return problem.why
    except OSError as problem:
        return problem.strerror or str(problem)
    return ""


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
