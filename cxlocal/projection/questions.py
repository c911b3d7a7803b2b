"""The ten questions the tables must answer in short SQL: title, description, SQL.

Each is executed by the tests on a full journal, with the answer known beforehand.
"""

from __future__ import annotations

QUESTIONS: dict[str, tuple[str, str, str]] = {
    "live-now": (
        "What is live where",
        (
            "Which version runs in which environment, since when, and who put it there; and what was"
            " to run there after it and failed."
        ),
        """
SELECT deliverable, environment, service, version, since, actor, state, after_it, promotions, uri, run
FROM release_board ORDER BY deliverable, environment, service
""",
    ),
    "live-at": (
        "What was live at a time",
        (
            "What ran at one time (at), as this machine knew it at another (known): both UTC, such as"
            " 2026-11-23T02:14 or only a day. Empty: now."
        ),
        """
WITH asked AS (SELECT coalesce(nullif(:at, ''), '9') AS at, coalesce(nullif(:known, ''), '9') AS k)
SELECT d.deliverable, d.environment, d.version, d.deployed_at AS since, d.actor, d.run
FROM deployment d, asked
WHERE d.deployed_at <= asked.at AND d.received_at <= asked.k
  AND (d.removed_at IS NULL OR d.removed_at > asked.at)
  AND NOT EXISTS (SELECT 1 FROM deployment_replaces r WHERE r.replaced = d.id
    AND r.since <= asked.at AND r.received_at <= asked.k)
  AND NOT EXISTS (SELECT 1 FROM environment e WHERE e.deliverable = d.deliverable
    AND e.instance = d.instance AND e.lifetime = 'per-run')
ORDER BY d.deliverable, d.environment
""",
    ),
    "commits": (
        "Commits in a run",
        (
            "Which commits a run brought since the version that was live before. The run is a version"
            " or the beginning of a run's id; empty: the newest run."
        ),
        """
SELECT position, revision, subject, author, committed_at FROM run_change
WHERE run = (SELECT id FROM run WHERE version = :run OR id LIKE :run || '%'
  ORDER BY queued_at DESC LIMIT 1)
ORDER BY position
""",
    ),
    "flaky-tests": (
        "Flaky tests",
        (
            "Cases that failed and then passed without a change: on a rerun inside the suite, or in a"
            " later attempt of the same stage of the same run."
        ),
        """
SELECT r.deliverable, c.suite, c.name, count(*) AS times, max(p.finished_at) AS last_at,
  max(c.message) AS message
FROM report_case c JOIN report p ON p.id = c.report JOIN run r ON r.id = p.run
WHERE c.outcome = 'flaky' OR c.outcome IN ('failed', 'error') AND EXISTS (SELECT 1 FROM report q
  WHERE q.run = p.run AND q.stage = p.stage AND q.suite = p.suite AND q.outcome = 'success'
    AND q.started_at > p.started_at)
GROUP BY r.deliverable, c.suite, c.name ORDER BY times DESC, last_at DESC
""",
    ),
    "stage-times": (
        "Work and waiting time per stage",
        (
            "How long each stage waited after all it needed was done, and how long it worked: means"
            " over all runs."
        ),
        """
SELECT r.deliverable, t.stage, count(*) AS times,
  round(avg(t.waiting_seconds), 3) AS mean_waiting_seconds,
  round(avg(t.duration_seconds), 3) AS mean_duration_seconds,
  round(sum(t.duration_seconds), 3) AS total_duration_seconds
FROM stage_run t JOIN run r ON r.id = t.run WHERE t.outcome IS NOT NULL
GROUP BY r.deliverable, t.stage ORDER BY r.deliverable, mean_duration_seconds DESC
""",
    ),
    "lead-time": (
        "Lead time from commit to live",
        (
            "For every deployment into a lasting environment: time from the oldest and from the newest"
            " commit it brought. Empty: every environment."
        ),
        """
SELECT d.deliverable, d.version, d.environment, d.deployed_at,
  round((julianday(d.deployed_at) - julianday(coalesce((SELECT min(c.committed_at)
    FROM run_change c WHERE c.run = r.id), r.revision_at))) * 86400) AS oldest_commit_seconds,
  round((julianday(d.deployed_at) - julianday(r.revision_at)) * 86400) AS newest_commit_seconds,
  d.version_run AS run
FROM deployment d JOIN run r ON r.id = d.version_run AND r.kind = 'release'
JOIN environment e ON e.deliverable = d.deliverable AND e.instance = d.instance
WHERE d.kind <> 'rolledback' AND e.lifetime = 'lasting' AND :environment IN ('', d.environment)
ORDER BY d.deployed_at DESC
""",
    ),
    "promoted-by-hand": (
        "Promoted by hand or overridden",
        "Decisions about versions that a person took, with the reason given.",
        """
SELECT decided_at, deliverable, version, name, decision, actor, reason, run FROM promotion
WHERE automatic = 0 OR decision = 'overridden' ORDER BY decided_at DESC
""",
    ),
    "offline-numbers": (
        "Numbers taken offline",
        (
            "Which versions were numbered while the store could not be reached, and when the store"
            " confirmed them."
        ),
        """
SELECT deliverable, version, used_at, state, confirmed_at, actor, run FROM number_uses
WHERE how <> 'online' ORDER BY used_at DESC
""",
    ),
    "releases-by-place": (
        "Releases by place and month",
        "How many releases were made on laptops and on which CI, month by month.",
        """
SELECT substr(queued_at, 1, 7) AS month, place, count(*) AS releases,
  sum(outcome = 'success') AS succeeded
FROM run_board WHERE kind = 'release' AND queued_at IS NOT NULL
GROUP BY month, place ORDER BY month DESC, releases DESC
""",
    ),
    "same-image": (
        "Same image in test and production",
        (
            "Did every environment get the same bytes of a version, and were the environments made from"
            " the same image and virtualisation spec?"
        ),
        """
SELECT d.deliverable, d.version, group_concat(DISTINCT d.environment) AS environments,
  iif(count(DISTINCT d.artifact_sha256) = 1, 'yes', 'no') AS same_artifact,
  iif(count(DISTINCT nullif(e.spec_sha256, '')) = 1, 'yes', 'no') AS same_environment_image,
  max(d.deployed_at) AS last_at, d.version_run AS run
FROM deployment d
LEFT JOIN environment e ON e.deliverable = d.deliverable AND e.instance = d.instance
WHERE d.version_run IS NOT NULL GROUP BY d.deliverable, d.version, d.version_run
HAVING count(DISTINCT d.environment) > 1 ORDER BY last_at DESC
""",
    ),
}
