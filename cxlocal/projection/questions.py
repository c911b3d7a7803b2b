"""The ten questions the tables must answer in short SQL: title, description, SQL.

Each is executed by the tests on a full journal, with the answer known beforehand.
"""

from __future__ import annotations

from cxlocal.projection.asked import (
    BEFORE,
    CHOSEN_RUN,
    PLACE,
    RUN_WORDS,
    SINCE_ROWS,
    SINCE_WORDS,
    TITLE,
    asked_time,
    newest,
    since,
)

_AHEAD = "'; the clock it was done by was ahead of the one here'"
_FIRST = (
    "(SELECT strftime('%Y-%m-%dT%H:%M:%fZ', received / 1000.0, 'unixepoch') FROM event"
    " ORDER BY id LIMIT 1)"
)
QUESTIONS: dict[str, tuple[str, str, str]] = {
    "live-now": (
        "What is live where",
        (
            "Which version runs in which environment, since when, and who put it there; and what was"
            " to run there after it and failed."
        ),
        """
SELECT deliverable, environment, service, version, since, actor, state, after_it, promotions, uri, run
FROM release_board ORDER BY deliverable, position IS NULL, position, environment, service, since
""",
    ),
    "live-at": (
        "What was live at a time",
        (
            "What ran at one time (at), as this machine knew it at another (known): a day (its end) or a"
            " time such as 2026-11-23 02:14, UTC unless it says otherwise (+01:00). Empty: now."
        ),
        # sql: constants of the projection
        f"""
WITH asked AS (SELECT {asked_time("at")} AS at,
  {asked_time("known")} AS k)
SELECT d.deliverable, d.environment, d.version, d.deployed_at AS since, d.actor, d.run,
  nullif(ltrim(iif(julianday(d.deployed_at) > julianday(d.received_at, '+5 minutes'), {_AHEAD}, '')
    || coalesce((SELECT '; it took over from ' || o.version || ', which says a later time'
      FROM deployment_replaces r JOIN deployment o ON o.id = r.replaced
      WHERE r.deployment = d.id AND o.deployed_at > d.deployed_at LIMIT 1), ''), '; '), '') AS words, {TITLE.format("d")} AS title, {PLACE.format("d")} AS environment_title
FROM deployment d
WHERE (d.replaced = 0 OR :at || :known <> '') AND :deliverable IN ('', d.deliverable) AND d.deployed_at <=
  (SELECT at FROM asked) AND d.received_at <= (SELECT k FROM asked) AND NOT coalesce(d.removed_at <= (SELECT at FROM asked)
    AND coalesce(d.removed_received_at, '') <= (SELECT k FROM asked), 0)
  AND NOT EXISTS (SELECT 1 FROM deployment_replaces r WHERE r.replaced = d.id AND r.since <= (SELECT at FROM asked) AND r.received_at <= (SELECT k FROM asked))
  AND NOT EXISTS (SELECT 1 FROM environment e WHERE e.deliverable = d.deliverable
    AND e.instance = d.instance AND e.lifetime = 'per-run')
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, 'this machine knew nothing before ' || first, NULL, NULL
FROM asked, (SELECT {_FIRST} AS first) WHERE k < first ORDER BY 1, 2
""",
    ),
    "commits": (
        "Commits in a run",
        (
            f"Which commits a run brought since the version that was live, or released, before. {RUN_WORDS}"
        ),
        f"""
SELECT position, revision, subject, author, committed_at FROM run_change
WHERE run = {CHOSEN_RUN}
ORDER BY position
""",
    ),
    "flaky-tests": (
        "Flaky tests",
        (
            "Cases that failed and then passed without a change: on a rerun inside the suite, or in a"
            f" later attempt of the same stage of the same run; of the newest {SINCE_ROWS} runs."
        ),
        # sql: constants of the projection
        f"""
SELECT r.deliverable, c.suite, c.name, count(*) AS times, max(p.finished_at) AS last_at,
  max(c.message) AS message
FROM (SELECT id, deliverable FROM run ORDER BY queued_at DESC LIMIT {SINCE_ROWS}) r
CROSS JOIN report p ON p.run = r.id CROSS JOIN report_case c ON c.report = p.id
WHERE c.outcome = 'flaky' OR c.outcome IN ('failed', 'error') AND EXISTS (SELECT 1 FROM report q
  WHERE q.run = p.run AND q.stage = p.stage AND q.suite = p.suite AND q.outcome = 'success'
    AND q.started_at > p.started_at)
GROUP BY r.deliverable, c.suite, c.name ORDER BY times DESC, last_at DESC
""",
    ),
    "stage-times": (
        "Work and waiting time per stage",
        (
            "How long each stage waited after all it needed was done, and how long it worked, in the mean. Until"
            " somebody approves or goes on with a run is not in it (way tells that): its stages are ready when it"
            f" goes on. {SINCE_WORDS}"
        ),
        # sql: constants of the projection
        f"""
SELECT r.deliverable, t.stage, count(*) AS times,
  round(avg(t.waiting_seconds), 3) AS mean_waiting_seconds,
  round(avg(t.duration_seconds), 3) AS mean_duration_seconds,
  round(sum(t.duration_seconds), 3) AS total_duration_seconds
FROM run r CROSS JOIN stage_run t ON t.run = r.id AND t.outcome IS NOT NULL
WHERE r.queued_at >= {since("queued_at", "run")}
GROUP BY +r.deliverable, t.stage ORDER BY r.deliverable, mean_duration_seconds DESC
""",
    ),
    "lead-time": (
        "Lead time from commit to live",
        (
            "For every deployment into a lasting environment: time from the oldest and from the newest"
            " commit it brought there, with all that came since the version there before. The oldest is empty where it brought none, or not all are known; the first"
            " deployment there counts what its own run lists. Empty: every environment."
        ),
        # sql: constants of the projection
        f"""
WITH went AS (SELECT d.*, r.queued_at, r.revision_at, coalesce((SELECT q.queued_at
    FROM run q CROSS JOIN deployment x ON x.version_run = q.id WHERE q.deliverable = d.deliverable
      AND q.queued_at <= d.deployed_at AND x.environment = d.environment AND x.deployed_at < d.deployed_at
      AND x.kind <> 'rolledback' AND NOT (q.id = d.version_run AND x.service IS NOT d.service)
    ORDER BY q.queued_at DESC LIMIT 1), (SELECT max(p.queued_at) FROM run p WHERE p.deliverable = d.deliverable
      AND p.queued_at < r.queued_at), '') AS after
  FROM deployment d JOIN run r ON r.id = d.version_run AND r.kind = 'release'
  JOIN environment e ON e.deliverable = d.deliverable AND e.instance = d.instance
  WHERE d.kind <> 'rolledback' AND e.lifetime = 'lasting' AND :environment IN ('', d.environment))
SELECT w.deliverable, w.version, w.environment, w.deployed_at,
  round((julianday(w.deployed_at) - julianday((SELECT iif(min(n.known), min(n.oldest), NULL)
    FROM (SELECT count(c.run) IS r.changes_total AS known, min(iif({BEFORE.format("c", "r", "w.after")}, NULL, c.committed_at)) AS oldest
      FROM run r LEFT JOIN run_change c ON c.run = r.id WHERE r.deliverable = w.deliverable AND r.kind = 'release'
        AND r.queued_at > w.after AND r.queued_at <= w.queued_at GROUP BY r.id) n))) * 86400)
    AS oldest_commit_seconds,
  round((julianday(w.deployed_at) - julianday(w.revision_at)) * 86400) AS newest_commit_seconds,
  w.version_run AS run
FROM went w ORDER BY w.deployed_at DESC
""",
    ),
    "promoted-by-hand": (
        "Promoted by hand or overridden",
        "Decisions about versions that a person took, with the reason given.",
        """
SELECT decided_at, deliverable, version, name, decision, actor, reason, run FROM promotion
WHERE id IN (SELECT id FROM promotion WHERE automatic = 0
  UNION SELECT id FROM promotion WHERE decision = 'overridden') ORDER BY decided_at DESC
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
        (
            "How many releases were made on laptops and on which CI, month by month. A run that did not"
            f" succeed is no release; the newest {SINCE_ROWS} runs count. By week: releases-by-week."
        ),
        # sql: constants of the projection
        f"""
SELECT substr(queued_at, 1, 7) AS month, coalesce(nullif(place, ''), place_kind) AS place,
  sum(coalesce(outcome, '') = 'success') AS releases, count(*) AS runs
FROM run WHERE kind = 'release' AND queued_at >= {newest("queued_at", "run")}
GROUP BY 1, 2 ORDER BY month DESC, releases DESC
""",
    ),
    "same-image": (
        "Same image in test and production",
        (
            "Did every environment get the same bytes of a version, and were the environments made from"
            " the same image and spec? Yes, no, or not known: of how many it is known; and what differs of"
            " components all the same (but_for)."
            f" Of versions deployed {SINCE_WORDS[0].lower()}{SINCE_WORDS[1:]}"
        ),
        # sql: constants of the projection
        f"""
WITH got AS (SELECT DISTINCT d.deliverable, d.version, d.version_run, d.environment,
    nullif(d.artifact_sha256, '') AS bytes, coalesce(nullif(e.spec_sha256, ''),
      (SELECT s.spec FROM deployment_specs s WHERE s.deployment = d.id)) AS spec,
    (SELECT s.but_for FROM deployment_specs s WHERE s.deployment = d.id) AS but_for, d.deployed_at
  FROM deployment d LEFT JOIN environment e ON e.deliverable = d.deliverable AND e.instance = d.instance WHERE d.version_run IN (SELECT version_run FROM deployment
    WHERE deployed_at >= {since("deployed_at", "deployment")}) ORDER BY bytes, spec),
place AS (SELECT deliverable, version, version_run, environment, max(deployed_at) AS last_at,
    iif(count(*) = count(bytes), group_concat(DISTINCT bytes), NULL) AS bytes,
    iif(count(*) = count(spec), group_concat(DISTINCT spec), NULL) AS spec,
    group_concat(DISTINCT but_for) AS but_for
  FROM got GROUP BY 1, 2, 3, 4)
SELECT deliverable, version, group_concat(environment) AS environments,
  CASE WHEN count(DISTINCT bytes) > 1 THEN 'no' WHEN count(*) = count(bytes) THEN 'yes'
    ELSE 'not known, ' || count(bytes) || ' of ' || count(*) END AS same_artifact,
  CASE WHEN count(DISTINCT spec) > 1 THEN 'no' WHEN count(*) = count(spec) THEN 'yes'
    ELSE 'not known, ' || count(spec) || ' of ' || count(*) END AS same_environment_image,
  group_concat(DISTINCT but_for) AS but_for,
  max(last_at) AS last_at, version_run AS run
FROM place GROUP BY deliverable, version, version_run HAVING count(*) > 1 ORDER BY last_at DESC
""",
    ),
}
