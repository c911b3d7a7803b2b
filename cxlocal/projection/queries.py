"""The questions people ask, as SQL over the projected tables and views. One list for pages,
command line and docs.

``datasette-metadata.yml`` and ``docs/questions.md`` are written from it; ``cxlocal sql -q NAME``
runs one. Every parameter may be left empty, and then means what its sentence says. ``:run`` takes a
version text or the beginning of a run's id; when it is empty the newest run answers.
"""

from __future__ import annotations

import re

from cxlocal.projection.asked import (
    CHOSEN_RUN,
    PAGE_ROWS,
    RUN_WORDS,
    SINCE_WORDS,
    TITLE,
    UNCONFIRMED,
    newest,
    since,
)
from cxlocal.projection.evidence import EVIDENCE
from cxlocal.projection.figures import FIGURES
from cxlocal.projection.number_ledger import ledger_sql
from cxlocal.projection.oversight_questions import OVERSIGHT_QUESTIONS
from cxlocal.projection.own_record import RECORDED_OTHERWISE
from cxlocal.projection.page_questions import PAGE_QUESTIONS
from cxlocal.projection.questions import QUESTIONS
from cxlocal.projection.timeline import timeline_sql
from cxlocal.values import NamedTuple


class Query(NamedTuple):
    """One stored query."""

    title: str
    description: str
    sql: str

    @property
    def paged(self) -> str:
        """The statement for a page, which shows ``PAGE_ROWS`` of the rows: HTML of a thousand costs more
        than any of these questions."""
        return f"{self.sql}\nLIMIT {PAGE_ROWS} OFFSET {PAGE_ROWS} * max(0, coalesce(:page, 1) - 1)"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in order of first use."""
        return tuple(dict.fromkeys(re.findall(r"(?<!\w):([a-z_]+)", self.sql)))


# sql: conditions and statements of the projection; what is asked comes in by parameters
_ONE_DELIVERABLE = (
    "deliverable = coalesce(nullif(:deliverable, ''),"
    " (SELECT deliverable FROM run ORDER BY queued_at DESC LIMIT 1))"
)

_FAILED_RUN = f"""SELECT {TITLE.format("r")} AS title, r.deliverable, r.version, r.outcome, (SELECT stage
    FROM stage_run t WHERE t.run = r.id AND t.outcome <> 'success' ORDER BY t.finished_at LIMIT 1) AS stage,
  r.outcome_reason, r.queued_at, r.actor, coalesce(nullif(r.place, ''), r.place_kind) AS place, r.id AS run
FROM run r WHERE r.outcome <> 'success'"""
_FAILED_DEPLOYMENT = f"""SELECT {TITLE.format("a")}, a.deliverable, a.version, a.outcome, a.stage, 'deploying to ' ||
  a.environment || coalesce(': ' || nullif(a.why, ''), ''), a.tried_at, a.actor, NULL, a.run FROM"""

_EVERYDAY: dict[str, tuple[str, str, str]] = {
    "story": (
        "Story of a run",
        f"What happened in a run, in order. {RUN_WORDS}",
        # sql: the statement of the view, and an expression of ours
        f"""
WITH chosen AS MATERIALIZED (SELECT {CHOSEN_RUN} AS id)
SELECT at, what, name, result, environment, waiting_seconds, duration_seconds, words FROM (
{timeline_sql("(SELECT id FROM chosen)").strip()})
ORDER BY at, what = 'promotion', what = 'deployment', what = 'tests'
""",
    ),
    "version-history": (
        "History of one version",
        (
            "Everything that became of a version: its runs, decisions and deployments, until today."
            " Empty: the newest release; the deliverable says which of several with that version."
        ),
        """
WITH chosen AS (SELECT id, deliverable, version, actor, outcome, queued_at, outcome_reason FROM run
  WHERE :deliverable IN ('', deliverable) AND version = coalesce(nullif(:version, ''),
    (SELECT version FROM run WHERE kind = 'release' AND version IS NOT NULL
      AND :deliverable IN ('', deliverable) ORDER BY queued_at DESC LIMIT 1)))
SELECT queued_at AS at, 'run' AS what, deliverable AS name, coalesce(outcome, 'open') AS result,
  actor, outcome_reason AS words, id AS run FROM chosen
UNION ALL SELECT p.decided_at, 'promotion', p.name, p.decision, p.actor, p.reason, p.run
  FROM chosen c CROSS JOIN promotion p ON c.id = p.run
UNION ALL SELECT d.deployed_at, 'deployment', d.environment, d.kind, d.actor, d.reason, d.run
  FROM chosen c CROSS JOIN deployment d ON c.id = d.version_run
UNION ALL SELECT a.ended_at, 'deployment', a.environment, a.outcome, a.actor, a.why, a.run
  FROM chosen c CROSS JOIN deployment_attempt a ON c.id = a.run WHERE a.ended_at IS NOT NULL
UNION ALL SELECT r.since, 'replaced', old.environment, 'by ' || coalesce(new.version, '?'),
  new.actor, new.reason, new.run FROM chosen c CROSS JOIN deployment old ON c.id = old.version_run
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
        f"""
SELECT deliverable, version, how, used_at, actor, run FROM number_uses
WHERE {UNCONFIRMED} ORDER BY used_at DESC
""",
    ),
    "numbers": (
        "What became of every number",
        (
            "Each number up to the highest one handed out has exactly one state; neighbours of one"
            " fate stand in one row, from lo to hi. Empty: the deliverable that ran last."
        ),
        # sql: the statement of the view, and a condition of ours
        f"""
SELECT deliverable, line, lo, hi, state, why, version, how, used_at, machine, run FROM (
{ledger_sql(_ONE_DELIVERABLE).strip()}
) ORDER BY deliverable, line, lo DESC
""",
    ),
    "failed-runs": (
        "Runs and deployments that did not succeed",
        (
            "Failure: the work said no. Error: something around it broke. Cancel: somebody stopped it."
            " With the first stage that ended badly; and deployments that failed though their run went"
            " well. Empty: of all deliverables."
        ),
        # sql: constants of this module; of one product and of all each by an index of its own
        f"""
{_FAILED_RUN} AND :deliverable = ''
UNION ALL {_FAILED_RUN} AND r.deliverable = nullif(:deliverable, '')
UNION ALL {_FAILED_DEPLOYMENT} deployment_attempt a JOIN run r ON r.id = a.run
WHERE r.outcome = 'success' AND a.outcome IN ('failed', 'cancelled', 'cut off') AND :deliverable = ''
UNION ALL {_FAILED_DEPLOYMENT} run r CROSS JOIN deployment_attempt a ON a.run = r.id
WHERE r.outcome = 'success' AND a.outcome IN ('failed', 'cancelled', 'cut off')
  AND r.deliverable = nullif(:deliverable, '')
ORDER BY queued_at DESC
""",
    ),
    "releases-by-week": (
        "Releases by place and week",
        "The same as releases-by-place, by weeks; a week is named by its Monday.",
        # sql: constants of the projection
        f"""
SELECT date(queued_at, 'weekday 0', '-6 days') AS week,
  coalesce(nullif(place, ''), place_kind) AS place,
  sum(coalesce(outcome, '') = 'success') AS releases, count(*) AS runs
FROM run WHERE kind = 'release' AND queued_at >= {newest("queued_at", "run")}
GROUP BY 1, 2 ORDER BY week DESC, releases DESC
""",
    ),
    "deployment-periods": (
        "What ran from when until when",
        "Each deployment into a lasting environment, its end and what ended it. Empty: every environment.",
        """
SELECT p.deliverable, p.environment, p.service, p.version, p.since, p.until, p.ended_by, p.seconds,
  p.actor, p.run
FROM deployment_periods p JOIN environment e ON e.deliverable = p.deliverable
  AND e.instance = p.instance AND e.lifetime = 'lasting'
WHERE :environment IN ('', p.environment) ORDER BY p.since DESC
""",
    ),
    "stage-failure-rate": (
        "How often each stage fails",
        f"Attempts of each stage in releases, and the share that failed or broke. {SINCE_WORDS}",
        # sql: constants of the projection
        f"""
SELECT r.deliverable, t.stage, count(*) AS attempts, sum(t.outcome = 'failure') AS failures,
  sum(t.outcome = 'error') AS errors,
  round(avg(t.outcome IN ('failure', 'error')), 3) AS failure_rate
FROM run r CROSS JOIN stage_run t ON t.run = r.id AND t.outcome IN ('success', 'failure', 'error')
WHERE r.kind = 'release' AND r.queued_at >= {since("queued_at", "run")}
GROUP BY +r.deliverable, t.stage ORDER BY failure_rate DESC, attempts DESC
""",
    ),
    "deployed-untested": (
        "Deployed without tests that passed",
        (
            "Deployments into lasting environments of versions whose run has no report of tests that passed, or"
            f" one that did not. A later attempt that passed counts. {SINCE_WORDS}"
        ),
        # sql: constants of the projection
        f"""
SELECT d.deployed_at, d.deliverable, d.version, d.environment, d.actor, d.reason, d.kind,
  CASE WHEN NOT EXISTS (SELECT 1 FROM report p WHERE p.run = d.version_run)
    THEN 'no test reported anything' ELSE 'tests failed' END AS why, d.version_run AS run
FROM deployment d JOIN environment e ON e.deliverable = d.deliverable
  AND e.instance = d.instance AND e.lifetime = 'lasting'
WHERE d.deployed_at >= {since("deployed_at", "deployment")} AND (
  NOT EXISTS (SELECT 1 FROM report p WHERE p.run = d.version_run) OR EXISTS (
  SELECT 1 FROM report p WHERE p.run = d.version_run GROUP BY p.stage, p.suite
  HAVING max(iif(p.outcome = 'success', p.started_at, '')) < max(p.started_at)))
ORDER BY d.deployed_at DESC
""",
    ),
    "slowest-stages": (
        "Slowest stages",
        f"Median and 90 % of working time for each stage that succeeded, slowest first. {SINCE_WORDS}",
        # sql: constants of the projection
        f"""
WITH ranked AS (SELECT r.deliverable, t.stage, t.duration_seconds,
    row_number() OVER (PARTITION BY +r.deliverable, t.stage ORDER BY t.duration_seconds) AS rank,
    count(*) OVER (PARTITION BY +r.deliverable, t.stage) AS times
  FROM run r CROSS JOIN stage_run t ON t.run = r.id
  WHERE t.outcome = 'success' AND t.duration_seconds IS NOT NULL
    AND r.queued_at >= {since("queued_at", "run")})
SELECT deliverable, stage, max(times) AS times,
  max(CASE WHEN rank = (times + 1) / 2 THEN duration_seconds END) AS median_seconds,
  max(CASE WHEN rank = (times * 9 + 9) / 10 THEN duration_seconds END) AS slow_tenth_seconds
FROM ranked GROUP BY deliverable, stage ORDER BY median_seconds DESC
""",
    ),
    "tests-of-version": (
        "Tests of a version",
        (f"Test suites that ran for a version, and the cases that failed or wavered. {RUN_WORDS}"),
        f"""
SELECT p.finished_at AS at, p.stage, p.suite, p.environment, p.outcome, p.total, p.passed, p.failed,
  p.errors, p.skipped, p.flaky, p.duration_seconds, p.problem,
  (SELECT group_concat(c.name || ' (' || c.outcome || ')', ', ') FROM report_case c
    WHERE c.report = p.id) AS cases, p.run
FROM report p
WHERE p.run = {CHOSEN_RUN}
ORDER BY p.started_at
""",
    ),
    "look-at": (
        "What somebody should look at",
        "Things cxlocal noticed that need a person and nothing has settled since, newest first.",
        """
SELECT f.raised_at, f.kind, coalesce((SELECT nullif(e.title, '') || substr(f.text, length(e.name) + 1)
    FROM environment e WHERE e.deliverable = f.deliverable AND e.instance = f.subject
      AND substr(f.text, 1, length(e.name) + 2) = e.name || ': '), f.text) AS text, coalesce(d.title, f.deliverable) AS title, f.deliverable, f.version,
  f.run
FROM open_flags f LEFT JOIN deliverable d ON d.id = f.deliverable
WHERE :deliverable IN ('', coalesce(f.deliverable, '')) ORDER BY f.raised_at DESC
""",
    ),
}

QUERIES: dict[str, Query] = {
    name: Query(title, description, sql.strip())
    for name, (title, description, sql) in {
        **QUESTIONS,
        **PAGE_QUESTIONS,
        **OVERSIGHT_QUESTIONS,
        **FIGURES,
        "evidence": EVIDENCE,
        "recorded-otherwise": RECORDED_OTHERWISE,
        **_EVERYDAY,
    }.items()
}
"""All stored queries by name: the ten questions of the design first."""
