"""How often, how long, how safe: the five figures of delivery performance (DORA), as SQL.

Title, description, SQL, as in ``questions``. What each means is in docs/pages.md; all are about what goes
*live*: into the environment of the plan with ``live = true``, else into its last lasting one.
"""

from __future__ import annotations

from cxlocal.projection.asked import PLACE_IN_ORDER

MONTHS = 12
COMMITS_SINCE = "-1 year"
"""How long before the first of the months a commit may have been released and still count."""

LIVE_ENVIRONMENT = """(SELECT o.name FROM plan_environment o WHERE o.lifetime = 'lasting'
    AND o.plan_sha256 = (SELECT n.plan_sha256 FROM run n WHERE n.deliverable = {of}
      AND n.kind = 'release' ORDER BY n.queued_at DESC LIMIT 1)
  ORDER BY coalesce(o.live, 0) DESC, o.position DESC LIMIT 1)"""
"""The name of the environment in which something is live; NULL where no plan says so."""

_WORDS = (
    "Months: a list of name, beginning and end of each (JSON, UTC); empty: the last twelve, of the zone of"
    " the machine that is asked. Empty: the deliverable that ran last."
)
# sql: constants of this module
_BASE = f"""chosen AS MATERIALIZED (SELECT c.id, {LIVE_ENVIRONMENT.format(of="c.id")} AS place FROM (SELECT
  coalesce(nullif(:deliverable, ''), (SELECT deliverable FROM run ORDER BY queued_at DESC LIMIT 1)) AS id) c),
first AS (SELECT 0 AS n, date(coalesce((SELECT max(deployed_at) FROM deployment), 'now'), 'localtime',
    'start of month') AS day
  UNION ALL SELECT n + 1, date(day, '-1 month') FROM first WHERE n < {MONTHS - 1}),
month AS MATERIALIZED (SELECT value ->> 0 AS month, value ->> 1 AS lo, value ->> 2 AS hi
    FROM json_each(:months) WHERE :months <> ''
  UNION ALL SELECT strftime('%Y-%m', day), strftime('%Y-%m-%dT%H:%M:%fZ', day, 'utc'),
    strftime('%Y-%m-%dT%H:%M:%fZ', day, '+1 month', 'utc') FROM first WHERE :months = ''),
served AS MATERIALIZED (SELECT d.*, row_number() OVER (PARTITION BY d.version_run, d.run,
    d.kind = 'rolledback', d.service ORDER BY d.deployed_at, d.id) AS round
  FROM chosen c CROSS JOIN deployment d ON d.deliverable = c.id AND d.environment = c.place
  WHERE d.deployed_at >= (SELECT min(lo) FROM month) AND d.deployed_at < (SELECT max(hi) FROM month)),
gone AS MATERIALIZED (SELECT min(s.deployed_at) AS at, max(s.deployed_at) AS last_at, s.version,
    s.version_run, s.run, s.kind = 'rolledback' AS back, s.actor, s.deliverable, s.environment,
    json_group_array(s.id) AS ids
  FROM served s GROUP BY s.version_run, s.run, s.kind = 'rolledback', s.round),
ended AS MATERIALIZED (SELECT g.*, m.month,
  (SELECT min(b.deployed_at) FROM json_each(g.ids) j JOIN deployment_replaces x ON x.replaced = j.value
    JOIN deployment b ON b.id = x.deployment WHERE b.kind = 'rolledback') AS rolled_at,
  (SELECT min(f.deployed_at) FROM run w JOIN deployment f ON f.version_run = w.id
    WHERE w.deliverable = g.deliverable AND w.fixes = g.version AND f.environment = g.environment
      AND f.kind <> 'rolledback' AND f.deployed_at > g.at) AS fixed_at,
  (SELECT min(i.opened_at) FROM incident i WHERE i.run = g.version_run AND i.opened_at >= g.at)
    AS incident_at,
  (SELECT iif(count(*) = count(i.closed_at), max(i.closed_at), NULL) FROM incident i
    WHERE i.run = g.version_run AND i.opened_at >= g.at) AS closed_at,
  (SELECT min(n.at) FROM gone n WHERE n.version_run = g.version_run AND NOT n.back AND n.at > g.at)
    AS again_at, r.planned, r.fixes,
  EXISTS (SELECT 1 FROM incident i WHERE i.deliverable = g.deliverable AND i.opened_at < r.queued_at
    AND coalesce(i.closed_at, '9') > r.queued_at) AS in_incident
  FROM gone g JOIN month m ON g.at >= m.lo AND g.at < m.hi LEFT JOIN run r ON r.id = g.version_run),
told AS MATERIALIZED (SELECT e.*, NOT e.back AND coalesce(min(coalesce(e.rolled_at, '9'),
      coalesce(e.fixed_at, '9'), coalesce(e.incident_at, '9')) < coalesce(e.again_at, '9'), 0) AS failed,
    nullif(min(coalesce(e.rolled_at, '9'), coalesce(e.fixed_at, '9')), '9') AS mended_at,
    NOT e.back AND coalesce(e.planned = 0, 0) AND (e.fixes <> '' OR e.in_incident) IS 1 AS rework
  FROM ended e),
gone_live AS MATERIALIZED (SELECT t.*, iif(t.failed, coalesce(t.mended_at, t.closed_at), NULL) AS recovered_at,
    iif(t.failed, round((julianday(coalesce(t.mended_at, t.closed_at)) - julianday(t.at)) * 86400, 3), NULL)
      AS recovery_seconds FROM told t)"""
# A commit goes live with the first version that was asked for when it had been listed, or later: what a run
# lists is what came since the version before in its first environment, not since the one that is live.
_COMMITS = f"""listed AS MATERIALIZED (SELECT g.revision, min(r.queued_at) AS asked_at,
    max(g.committed_at) AS committed_at, max(g.subject) AS subject, max(g.author) AS author
  FROM chosen c JOIN run r ON r.deliverable = c.id AND r.kind = 'release'
    AND r.queued_at >= strftime('%Y-%m-%dT%H:%M:%fZ', (SELECT min(lo) FROM month), '{COMMITS_SINCE}')
  JOIN run_change g ON g.run = r.id AND julianday(g.committed_at) IS NOT NULL GROUP BY g.revision),
first_live AS MATERIALIZED (SELECT l.*, (SELECT d.id FROM deployment d CROSS JOIN run r ON r.id = d.version_run
    WHERE d.deliverable = (SELECT id FROM chosen) AND d.environment = (SELECT place FROM chosen)
      AND d.deployed_at >= l.asked_at AND d.kind <> 'rolledback' AND r.queued_at >= l.asked_at
    ORDER BY d.deployed_at LIMIT 1) AS deployment FROM listed l),
commits_live AS MATERIALIZED (SELECT m.month, f.revision, f.subject, f.author, f.committed_at,
    d.deployed_at AS live_at, d.version, d.version_run AS run,
    round((julianday(d.deployed_at) - julianday(f.committed_at)) * 86400, 3) AS seconds
  FROM first_live f JOIN deployment d ON d.id = f.deployment
  JOIN month m ON d.deployed_at >= m.lo AND d.deployed_at < m.hi)"""

FIGURES: dict[str, tuple[str, str, str]] = {
    "figures": (
        "How often, how long, how safe",
        (
            "By month: deployments to live and rollbacks; the middle and nine of ten of the time from commit"
            " to live; the share that went wrong, how long until it was put right, and the share of rework."
            f" A share is empty where nothing of the kind was recorded. {_WORDS}"
        ),
        f"""
WITH RECURSIVE {_BASE},
{_COMMITS},
lead AS (SELECT month, count(*) AS commits, max(iif(place = (times + 1) / 2, seconds, NULL)) AS median,
    max(iif(place = (times * 9 + 9) / 10, seconds, NULL)) AS slow FROM (SELECT month, seconds,
      row_number() OVER (PARTITION BY month ORDER BY seconds) AS place,
      count(*) OVER (PARTITION BY month) AS times FROM commits_live) GROUP BY month),
mended AS (SELECT month, count(*) AS recovered, max(iif(place = (times + 1) / 2, seconds, NULL)) AS median
  FROM (SELECT month, recovery_seconds AS seconds,
      row_number() OVER (PARTITION BY month ORDER BY recovery_seconds) AS place,
      count(*) OVER (PARTITION BY month) AS times FROM gone_live WHERE recovery_seconds IS NOT NULL)
  GROUP BY month)
SELECT m.month, coalesce(sum(NOT g.back), 0) AS deployments, coalesce(sum(g.back), 0) AS rollbacks,
  coalesce(l.commits, 0) AS commits, l.median AS lead_median_seconds, l.slow AS lead_slow_tenth_seconds,
  coalesce(sum(g.failed), 0) AS failed,
  iif(sum(g.failed) > 0, round(1.0 * sum(g.failed) / sum(NOT g.back), 3), NULL) AS fail_share,
  coalesce(e.recovered, 0) AS recovered, e.median AS recovery_median_seconds,
  coalesce(sum(g.rework), 0) AS rework,
  iif(sum(g.rework) > 0, round(1.0 * sum(g.rework) / sum(NOT g.back), 3), NULL) AS rework_share,
  (SELECT place FROM chosen) AS environment, (SELECT id FROM chosen) AS deliverable
FROM month m LEFT JOIN gone_live g ON g.month = m.month LEFT JOIN lead l ON l.month = m.month
LEFT JOIN mended e ON e.month = m.month WHERE EXISTS (SELECT 1 FROM chosen WHERE id IS NOT NULL)
GROUP BY m.month ORDER BY m.month
""",
    ),
    "gone-live": (
        "What went live, and what became of it",
        (
            "Each deployment to live and each rollback: whether it went wrong (a rollback, a release that says it"
            f" fixes it, or an incident followed), when that was over, and whether it was rework. {_WORDS}"
        ),
        f"""
WITH RECURSIVE {_BASE}
SELECT g.at, g.version, iif(g.back, 'put back', 'went out') AS what, g.failed,
  CASE WHEN NOT g.failed THEN '' WHEN g.rolled_at IS NOT NULL AND g.rolled_at = g.mended_at
    THEN 'it was rolled back' WHEN g.mended_at IS NOT NULL THEN 'another release fixes it'
    ELSE 'an incident names it' END AS why, g.recovered_at, g.recovery_seconds, g.rework,
  nullif(g.fixes, '') AS fixes, g.actor, g.month, g.environment, g.deliverable, g.version_run AS run
FROM gone_live g ORDER BY g.at DESC, {PLACE_IN_ORDER.format("g.version_run", "g.version")} DESC, g.version DESC
""",
    ),
    "commits-live": (
        "How long each commit took to go live",
        f"Each commit once: when it was made, and with which version it was live first. {_WORDS}",
        f"""
WITH RECURSIVE {_BASE},
{_COMMITS}
SELECT live_at, revision, subject, author, committed_at, seconds, version, month, run
FROM commits_live ORDER BY live_at DESC, revision
""",
    ),
    "incidents": (
        "Incidents",
        "What was said to be wrong with what was live, those first that are not over. Empty: of all deliverables.",
        """
SELECT i.opened_at, coalesce(d.title, i.deliverable) AS title, i.version, i.environment, i.words, i.actor,
  i.closed_at, i.closed_words, i.closed_by, i.deliverable, i.run
FROM incident i LEFT JOIN deliverable d ON d.id = i.deliverable
WHERE i.opened_at IS NOT NULL AND :deliverable IN ('', i.deliverable)
ORDER BY i.closed_at IS NOT NULL, i.opened_at DESC
""",
    ),
    "products": (
        "Products",
        "Every product that this machine knows of.",
        "\nSELECT coalesce(title, id) AS title, owner, repository, id AS deliverable FROM deliverable WHERE :deliverable IN ('', id) ORDER BY title, id\n",
    ),
}
