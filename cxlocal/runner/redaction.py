"""A person's word that bytes a run told of are to be nowhere any more."""

from __future__ import annotations

from cxlocal.domain import Actor
from cxlocal.errors import Refused, UsageError
from cxlocal.events.runs import run_redacted
from cxlocal.events.types import RUN_REPEATED
from cxlocal.exchange.redaction import is_redacted
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.review import spoken_of
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

OF_STAGE = f"""
SELECT stage, log_sha256 AS log, tail_sha256 AS tail, finished_at FROM stage_run
WHERE run = :run AND stage = :stage AND started_at IS NOT NULL
UNION ALL SELECT e.document ->> '$.customData.cxlocal.stage',
  e.document ->> '$.customData.cxlocal.log.sha256', NULL, e.time FROM event e
JOIN run_lookup r ON r.id = e.run JOIN type_lookup t ON t.id = e.type
WHERE r.name = :run AND t.name = '{RUN_REPEATED}'
  AND e.document ->> '$.customData.cxlocal.stage' = :stage
"""
BY_DIGEST = """
SELECT run, stage FROM stage_run WHERE log_sha256 = :sha256 OR tail_sha256 = :sha256
UNION ALL SELECT run, '' FROM report WHERE sha256 = :sha256
"""


RELEASED = "an artifact has the same bytes; what was released is not redacted: cxlocal withdraw"


class Meant(NamedTuple):
    """What is to go."""

    run: str
    stage: str
    """Empty for a report."""
    sha256: tuple[str, ...]
    deliverable: str
    """Of the run."""


def of_digest(journal: Journal, sha256: str) -> list[Meant]:
    """What a digest means: the report of it, or all that the stages printed whose log or last lines it
    is, since a secret in the one stands in the other. Raises UsageError where no run told of it, Refused
    for what was released."""
    if _is_artifact(journal, sha256):
        raise _released(sha256)
    rows = journal.query(f"SELECT DISTINCT run, stage FROM ({BY_DIGEST})", {"sha256": sha256})
    if not rows:
        raise UsageError(
            f"no run told of a log or report {sha256[:12]}…",
            why="neither a log, nor last lines, nor a raw report here has that digest",
            hint="cxlocal show RUN --json   names the digests of logs and reports",
            name="no-such-digest",
        )
    return [
        of_stage(journal, row["run"], row["stage"])
        if row["stage"]
        else Meant(row["run"], "", (sha256,), _deliverable(journal, row["run"]))
        for row in rows
    ]


def of_stage(journal: Journal, run: str, stage: str) -> Meant:
    """All that a stage of a run printed: every attempt and part. Raises UsageError, Refused
    where an artifact has all these bytes."""
    rows = journal.query(OF_STAGE, {"run": run, "stage": stage})
    digests = dict.fromkeys(row[kind] for row in rows for kind in ("log", "tail") if row[kind])
    if any(row["finished_at"] is None for row in rows):
        raise UsageError(
            f"stage {stage} of run {run[:8]} has not ended",
            why="its log is being written",
            hint=f"wait for its end, then: cxlocal journal redact {run[:8]} {quoted(stage)} -m WHY",
            name="stage-runs",
        )
    if not digests:
        raise UsageError(
            f"run {run[:8]} has no log of a stage {stage!r}",
            why="nothing that it printed is known by a digest",
            hint=f"cxlocal show {run[:8]}   names its stages",
            name="no-such-log",
        )
    if all(_is_artifact(journal, one) for one in digests):
        raise _released(next(iter(digests)))
    return Meant(run, stage, tuple(digests), _deliverable(journal, run))


def _deliverable(journal: Journal, run: str) -> str:
    return (journal.one("SELECT deliverable FROM run WHERE id = ?", (run,)) or {}).get(
        "deliverable"
    ) or ""


def redact(journal: Journal, meant: Meant, actor: Actor, reason: str) -> None:
    """Record that these bytes are to be nowhere any more. Removing them is ``drop_redacted``.

    Raises UsageError where nothing is said, Refused where nobody is named, where the store does not let
    this machine push what it is about.
    """
    if not reason.strip():
        raise UsageError(
            "a redaction says why",
            why="the words are empty",
            hint="cxlocal journal redact RUN STAGE -m 'a password, changed since'",
            name="no-words",
        )
    actor.require_named("a redaction")
    record = spoken_of(journal, meant.run)
    record.record(
        run_redacted(
            record.ref, stage=meant.stage, sha256=list(meant.sha256), actor=actor._asdict(),
            reason=reason,
        )
    )  # fmt: skip
    catch_up(journal)


def kept_bytes(journal: Journal, meant: Meant) -> dict[str, str]:
    """Digests that stay after the redaction of ``meant``, and why."""
    return {
        one: RELEASED
        if _is_artifact(journal, one)
        else "another deliverable has the same bytes; redact it there, too"
        for one in meant.sha256
        if not is_redacted(journal, one)
    }


def same_bytes(journal: Journal, meant: Meant) -> list[tuple[str, str]]:
    """Run and stage of the other logs that a redaction of ``meant`` takes along."""
    found: dict[tuple[str, str], None] = {}
    for digest in meant.sha256:
        if is_redacted(journal, digest):
            rows = journal.query(BY_DIGEST, {"sha256": digest})
            found |= {(row["run"], row["stage"]): None for row in rows if row["stage"]}
    return [one for one in found if one != (meant.run, meant.stage)]


def _is_artifact(journal: Journal, sha256: str) -> bool:
    return journal.one("SELECT 1 FROM artifact WHERE sha256 = ?", (sha256,)) is not None


def _released(sha256: str) -> Refused:
    return Refused(
        "these bytes were released, and are removed nowhere",
        why=f"{sha256[:12]}… is an artifact: what is live and may be rolled back to needs its bytes",
        hint="change the secret and make a new version; 'cxlocal withdraw' takes this one back from its targets",
        name="is-released",
    )
