"""The questions people ask, as SQL over the projected tables and views. One list for pages,
command line and docs.

``datasette-metadata.yml`` and ``docs/questions.md`` are written from it; ``cxlocal sql -q NAME``
runs one. Every parameter may be left empty, and then means what its sentence says. ``:run`` takes a
version text or the beginning of a run's id; when it is empty the newest run answers.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cxlocal.projection.questions import QUESTIONS


class Query(NamedTuple):
    """One stored query."""

    title: str
    description: str
    sql: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in order of first use."""
        return tuple(dict.fromkeys(re.findall(r"(?<!\w):([a-z_]+)", self.sql)))


_EVERYDAY: dict[str, tuple[str, str, str]] = {
    "story": (
        "Story of a run",
        (
            "What happened in a run, in order. The run is a version or the beginning of a run's id;"
            " empty: the newest run."
        ),
        """
SELECT at, what, name, result, environment, waiting_seconds, duration_seconds, words
FROM run_timeline
WHERE run = (SELECT id FROM run WHERE version = :run OR id LIKE :run || '%'
  ORDER BY queued_at DESC LIMIT 1)
ORDER BY at, what = 'promotion', what = 'deployment', what = 'tests'
""",
    ),
    "version-history": (
        "History of one version",
        (
            "Everything that became of a version: its runs, decisions and deployments, until today."
            " Empty: the newest release of all."
        ),
        """
WITH chosen AS (SELECT id, deliverable, version, actor, outcome, queued_at, outcome_reason FROM run
  WHERE version = coalesce(nullif(:version, ''), (SELECT version FROM run
    WHERE kind = 'release' AND version IS NOT NULL ORDER BY queued_at DESC LIMIT 1)))
SELECT queued_at AS at, 'run' AS what, deliverable AS name, coalesce(outcome, 'open') AS result,
  actor, outcome_reason AS words, id AS run FROM chosen
UNION ALL SELECT p.decided_at, 'promotion', p.name, p.decision, p.actor, p.reason, p.run
  FROM promotion p JOIN chosen c ON c.id = p.run
UNION ALL SELECT d.deployed_at, 'deployment', d.environment, d.kind, d.actor, d.reason, d.run
  FROM deployment d JOIN chosen c ON c.id = d.version_run
UNION ALL SELECT a.ended_at, 'deployment', a.environment, a.outcome, a.actor, a.why, a.run
  FROM deployment_attempt a JOIN chosen c ON c.id = a.run WHERE a.ended_at IS NOT NULL
UNION ALL SELECT r.since, 'replaced', old.environment, 'by ' || coalesce(new.version, '?'),
  new.actor, new.reason, new.run FROM deployment old JOIN chosen c ON c.id = old.version_run
  JOIN deployment_replaces r ON r.replaced = old.id AND r.since IS NOT NULL
  LEFT JOIN deployment new ON new.id = r.deployment
ORDER BY at
""",
    ),
    "numbers-unconfirmed": (
        "Numbers not yet confirmed",
        (
            "Numbers in use that the store does not know of yet. They are final all the same; the next"
            " sync confirms them."
        ),
        """
SELECT deliverable, version, how, used_at, actor, run FROM number_uses
WHERE state = 'in use, not yet confirmed' ORDER BY used_at DESC
""",
    ),
    "numbers": (
        "What became of every number",
        (
            "Each number up to the highest one handed out has exactly one state; neighbours of one"
            " fate stand in one row, from lo to hi. Empty: every deliverable."
        ),
        """
SELECT deliverable, line, lo, hi, state, why, version, how, used_at, machine, run
FROM number_ledger WHERE :deliverable IN ('', deliverable)
ORDER BY deliverable, line, lo DESC
""",
    ),
    "failed-runs": (
        "Runs that did not succeed",
        (
            "Failure: the work said no. Error: something around it broke. Cancel: somebody stopped it."
            " With the first stage that ended badly."
        ),
        """
SELECT deliverable, version, outcome, (SELECT stage FROM stage_run t WHERE t.run = r.id
    AND t.outcome <> 'success' ORDER BY t.finished_at LIMIT 1) AS stage,
  outcome_reason, queued_at, actor, coalesce(nullif(place, ''), place_kind) AS place, id AS run
FROM run r WHERE outcome <> 'success' ORDER BY queued_at DESC
""",
    ),
    "slowest-stages": (
        "Slowest stages",
        "Median and 90 % of working time for each stage that succeeded, slowest first.",
        """
WITH ranked AS (SELECT r.deliverable, t.stage, t.duration_seconds,
    row_number() OVER (PARTITION BY r.deliverable, t.stage ORDER BY t.duration_seconds) AS rank,
    count(*) OVER (PARTITION BY r.deliverable, t.stage) AS times
  FROM stage_run t JOIN run r ON r.id = t.run
  WHERE t.outcome = 'success' AND t.duration_seconds IS NOT NULL)
SELECT deliverable, stage, max(times) AS times,
  max(CASE WHEN rank = (times + 1) / 2 THEN duration_seconds END) AS median_seconds,
  max(CASE WHEN rank = (times * 9 + 9) / 10 THEN duration_seconds END) AS slow_tenth_seconds
FROM ranked GROUP BY deliverable, stage ORDER BY median_seconds DESC
""",
    ),
    "tests-of-version": (
        "Tests of a version",
        (
            "Test suites that ran for a version, and the cases that failed or wavered. Empty: the"
            " newest run."
        ),
        """
SELECT p.finished_at AS at, p.stage, p.suite, p.environment, p.outcome, p.total, p.passed, p.failed,
  p.errors, p.skipped, p.flaky, p.duration_seconds, p.problem,
  (SELECT group_concat(c.name || ' (' || c.outcome || ')', ', ') FROM report_case c
    WHERE c.report = p.id) AS cases, p.run
FROM report p
WHERE p.run = (SELECT id FROM run WHERE version = :run OR id LIKE :run || '%'
  ORDER BY queued_at DESC LIMIT 1)
ORDER BY p.started_at
""",
    ),
    "look-at": (
        "What somebody should look at",
        "Things cxlocal noticed that need a person and nothing has settled since, newest first.",
        """
SELECT raised_at, kind, text, deliverable, version, run FROM open_flags ORDER BY raised_at DESC
""",
    ),
}

QUERIES: dict[str, Query] = {
    name: Query(title, description, sql.strip())
    for name, (title, description, sql) in {**QUESTIONS, **_EVERYDAY}.items()
}
"""All stored queries by name: the ten questions of the design first."""
